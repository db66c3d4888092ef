//! Sluice: a lean gateway that lets machines without internet access send their logs.
//!
//! It is an HTTP forward proxy for CONNECT. It admits only allowed hosts, checks the TLS handshakes that
//! pass through, and relays the rest untouched. This page is the map; every room has a page of its own.
//!
//! # Words
//!
//! One word for one thing, in code, events and documents.
//!
//! | word | meaning |
//! |---|---|
//! | client | who connected to us |
//! | target | the `host:port` that the client named in CONNECT |
//! | relay proxy | the proxy that we may have to go through ([`logic::relay_proxies`]) |
//! | remote | the socket we dialled: the target, or the relay proxy |
//! | session | accept to close of one client connection ([`logic::session`]) |
//! | stage | what a session waits for ([`logic::ending::Stage`]) |
//! | up, down | client to remote, remote to client |
//! | flow | one direction of a tunnel ([`logic::flow`]) |
//! | burst, piece | what comes between two moments at which a source is dry; how much of it is moved at a time ([`logic::bursts`]) |
//! | carrier | what holds bytes between read and write: a buffer or a pipe ([`net::carrier`]) |
//! | fill, pour | bytes into a carrier, bytes out of it |
//! | watch | what has been seen of the TLS handshake passing by ([`logic::watch`]) |
//! | ending | stage, side and cause of a close: one value for event, counter and test ([`logic::ending`]) |
//! | reason | why something was refused or told, as the contract spells it ([`logic::reason`]) |
//! | turn, budget | one pass of the event loop; the bytes one flow may move in it ([`serve::worker`], `serve::relay`) |
//! | drain | what a stopping gateway does with the tunnels that are open; never said of a carrier |
//!
//! # Rooms
//!
//! | room | holds | does not know |
//! |---|---|---|
//! | [`proto`] | bytes to values and back: target, head, reply, TLS records, hellos and certificates | sockets, clocks, events |
//! | [`logic`] | decides, never does: session, flow, watch, policy, hosts, certificates, timers | sockets, clocks, events |
//! | [`sys`] | what differs between systems, and the only `unsafe` | everything else |
//! | [`net`] | mechanisms: the [`Kernel`](net::kernel::Kernel) trait, sockets, carriers, pools, slots, resolver | policy |
//! | [`observe`] | events, their texts, their outlets, counters | what caused them |
//! | [`serve`] | the shell: worker, tunnel, acceptor, start and stop | protocols |
//! | [`azure`] | workspaces, clouds and profiles to host patterns | configuration, what runs |
//! | [`config`] | a file to values, with the place of every mistake; changes to the file, as a whole or not at all | what runs |
//! | [`feed`] | a downloaded list of hosts: got, kept, followed | what is in force |
//! | [`cli`] | the command line | how it is done |
//!
//! Who may import whom is checked by `tests/tidy.rs`: `proto` <- `logic` <- `net`, `observe` <- `serve` <-
//! `cli`, with `sys` below `net` (and one file opened by it for `observe`), `config` beside `serve`, and `feed`
//! between the two; never upward.
//!
//! # The stages of a session
//!
//! ```text
//! accept
//!   | AwaitHead          head whole and well-formed, host and port allowed
//!   | AwaitAddress       addresses known, those that are allowed kept    (not for an address literal)
//!   | AwaitDial          connected: "200" goes to the client, never before
//!   | AwaitRelayProxy    only where a relay proxy was dialled: its 2xx has come, and then our "200"
//!   | AwaitHello         the client's hello is whole: version and server name are right
//!   | AwaitServerHello   the server's hello is whole: its version is right  (a retry stays here)
//!   | AwaitHandshake     only with a list of client certificates: the server has changed its cipher
//!   | Tunnel             both directions spliced until both have ended, or one broke
//!   v
//! close                  one ending, one event
//!
//! Every stage before the tunnel leads to Refusing when something is wrong: a reply (or, once TLS is
//! spoken, an alert) that the client can read, then the close.
//! ```
//!
//! # The path of a byte
//!
//! 1. [`serve::worker`] polls, accepts, and gives each event to its [`serve::tunnel`] by token (slot and
//!    generation: an event of a past session is nobody's).
//! 2. The tunnel reads the head and hands it to [`logic::session`], the transition table. Each input has one
//!    action as its answer; the tunnel does it.
//! 3. Names go to [`net::resolver`]'s threads. Addresses are judged after resolution, by [`logic::policy`], and
//!    dialled as judged, with one family staggered after the other (`serve::dialling`). Where a relay proxy leads
//!    to the target, it is looked up, dialled and asked instead (`serve::asking`, [`logic::relay_call`]).
//! 4. `serve::relay` asks each [`logic::flow`] for its next step and moves bytes with its [`net::carrier`]. While
//!    the handshake is watched the carrier is a buffer, and [`logic::watch`] sees the bytes before they leave;
//!    afterwards it is a pipe that splice(2) fills and empties, or a buffer where there is no splice.
//! 5. A flow with nothing in flight gives its carrier back to [`net::pools`]: an idle tunnel owns two sockets.
//! 6. The end: `serve::leaving` closes, resets or says farewell; [`observe`] tells of it.

pub mod azure;
pub mod cli;
pub mod config;
#[cfg(test)]
mod corpus;
pub mod feed;
pub mod logic;
pub mod net;
pub mod observe;
pub mod proto;
pub mod serve;
pub mod sys;
