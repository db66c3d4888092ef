//! What a session is told, and what it says to do. One input has one action as its answer.

use std::net::{IpAddr, SocketAddr};

use super::ending::{Ending, Side};
use super::policy::Refusal;
use super::watch::Direction;

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes of the client, while the head is awaited.
    Head(&'a [u8]),
    /// The addresses of the target's name, or why there are none.
    Resolved(Result<&'a [IpAddr], Refusal>),
    /// A remote is connected.
    Dialled,
    /// No address could be connected, for this reason; of relay proxies: none is left to try.
    DialFailed(Refusal),
    /// Another relay proxy is dialled.
    DialsNext,
    /// Bytes of the relay proxy, while its answer is awaited.
    RelayReply(&'a [u8]),
    /// All the bytes that a watched flow holds; those before `fresh` were held before.
    Held {
        /// The flow they are in.
        direction: Direction,
        /// All of them.
        held: &'a [u8],
        /// Where the new ones begin.
        fresh: usize,
    },
    /// A watched flow cannot hold more.
    HoldFull,
    /// A side has sent its last byte.
    Ended(Side),
    /// A side's connection was reset or broke.
    Broke(Side),
    /// Both flows have delivered everything; this side ended last.
    Delivered(Side),
    /// The deadline may have passed.
    Deadline,
    /// The refused client has read, or never will.
    RefusalRead,
    /// The target is not allowed any more.
    Cut,
    /// The gateway stops.
    Stop,
}

/// What the shell does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing until the next input.
    Wait,
    /// A load balancer has told for whom it connected. What follows its header is the next input.
    Introduce {
        /// Who the client is from now on; `None` = the balancer itself.
        client: Option<SocketAddr>,
        /// Index of the first byte after the header in the slice just given.
        head_at: usize,
    },
    /// Find the addresses of the target's name. Bytes of the client from `early_at` on in the slice
    /// just given came after the head.
    Resolve {
        /// Index of the first byte after the head.
        early_at: usize,
    },
    /// Connect to the first of these that answers.
    Dial {
        /// Judged addresses, in order of preference.
        addresses: Vec<IpAddr>,
        /// Index of the first byte after the head, where the target was an address itself.
        early_at: usize,
    },
    /// Connect to a relay proxy. Bytes of the client from `early_at` on in the slice just given came
    /// after the head.
    DialRelayProxy {
        /// Index of the first byte after the head.
        early_at: usize,
    },
    /// Ask the connected relay proxy for the target.
    AskRelayProxy,
    /// Leave this relay proxy and try the next, if one is left.
    TryNextRelayProxy(Refusal),
    /// Send the 200 and start both flows. Bytes of a relay proxy from `early_at` on in the slice just
    /// given came after its answer: they are the target's.
    OpenTunnel {
        /// Index of the first byte after the answer; 0 where the target itself was dialled.
        early_at: usize,
    },
    /// Keep the held bytes.
    Hold,
    /// Pour the held bytes.
    Forward,
    /// Pour the held bytes and watch no more.
    LetGo,
    /// Answer a health check and close.
    AnswerHealth,
    /// Tell the client why, then close.
    Refuse(Refusal),
    /// Close both sides.
    End(Ending),
}
