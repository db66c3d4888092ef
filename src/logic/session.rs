//! One session from accept to close: what to do next, never doing it.
//!
//! [`Session::handle`] takes one input and gives one action. The `match` over stage and input is the
//! transition table; there is no queue and no callback. Time is an argument.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ending::{Cause, Ending, Side, Stage};
pub use super::input::{Action, Input};
use super::introduction::{Introduced, Introduction};
use super::limits;
use super::policy::{Policy, Refusal};
use super::reason::Reason;
use super::relay_call::RelayCall;
use super::watch::{Direction, Facts, Verdict, Watch};
use crate::proto::head::{HeadReader, Progress, Request};
use crate::proto::target::{Host, Target};

/// Time a refused client gets to read its refusal before the socket is closed under it.
const REFUSING_TIME: Duration = Duration::from_secs(2);

/// The state of one session.
#[derive(Debug)]
pub struct Session {
    stage: Stage,
    client: IpAddr,
    introduction: Introduction,
    pub(super) policy: Arc<Policy>,
    head: HeadReader,
    pub(super) target: Option<Target>,
    /// Until a relay proxy has answered, where the target is reached through one.
    pub(super) call: Option<Box<RelayCall>>,
    watch: Option<Box<Watch>>,
    /// Its target is let through only because the list of hosts is not enforced, which nobody knows yet.
    reported: Option<Reason>,
    stage_deadline: Option<Instant>,
    oldest: Option<Instant>,
    last_byte: Instant,
    half_closed: bool,
    draining: bool,
    /// There is no place for this session: it will be refused for this reason.
    without_place: Option<Reason>,
    refused: Option<Ending>,
}

impl Session {
    /// A session whose client was accepted at `now`.
    pub fn new(policy: Arc<Policy>, client: IpAddr, now: Instant) -> Session {
        let limits = policy.limits;
        Session {
            stage: Stage::AwaitHead,
            client,
            introduction: Introduction::of(client, &policy),
            head: HeadReader::new(limits.head_bytes),
            target: None,
            call: None,
            watch: None,
            reported: None,
            stage_deadline: Some(now + Duration::from_millis(limits.head_ms)),
            oldest: limits::duration(limits.session_ms).map(|age| now + age),
            last_byte: now,
            half_closed: false,
            draining: false,
            without_place: None,
            refused: None,
            policy,
        }
    }

    /// What the session waits for.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The target, once a well-formed CONNECT has named it.
    pub fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// Why the target would be refused if the list of hosts were enforced. It is given once, to whoever
    /// tells of it: not before a later rule can have refused the session after all.
    pub fn take_reported(&mut self) -> Option<Reason> {
        self.reported.take()
    }

    /// The rules this session began with.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// What the hellos said, while they are watched.
    pub fn facts(&self) -> Option<&Facts> {
        self.watch.as_ref().map(|watch| watch.facts())
    }

    /// The alert for a client refused for `reason`.
    pub fn alert(&self, reason: Reason) -> Option<[u8; 7]> {
        self.watch.as_ref().and_then(|watch| watch.alert(reason))
    }

    /// Whether flows show their bytes to the session before they pour them.
    pub fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// When [`Input::Deadline`] is due; `None` where every limit that applies is off.
    pub fn deadline(&self) -> Option<Instant> {
        let limits = &self.policy.limits;
        let of_stage = match self.stage {
            Stage::Tunnel => {
                limits.silence_allowed(self.half_closed).map(|time| self.last_byte + time)
            }
            _ => self.stage_deadline,
        };
        match (of_stage, self.oldest) {
            (Some(stage), Some(oldest)) => Some(stage.min(oldest)),
            (stage, oldest) => stage.or(oldest),
        }
    }

    /// Bytes moved in either direction.
    pub fn touch(&mut self, now: Instant) {
        self.last_byte = now;
    }

    /// The gateway drains: a CONNECT that comes from now on is refused.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// There is no place for this session. It may still ask for the gateway's health, or go as silently
    /// as it came; anything else is refused for `reason`, and soon.
    pub fn without_place(&mut self, reason: Reason, now: Instant) {
        self.without_place = Some(reason);
        let soon = now + REFUSING_TIME;
        self.stage_deadline = self.stage_deadline.map(|deadline| deadline.min(soon));
    }

    /// Takes one input, gives one action.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) -> Action {
        match (self.stage, input) {
            (Stage::Refusing, input) => self.after_refusal(input, now),

            // What a relay proxy breaks is not a tunnel yet.
            (Stage::AwaitRelayProxy, Input::Ended(Side::Remote) | Input::Broke(Side::Remote)) => {
                self.on_relay_end(now)
            }
            (Stage::AwaitRelayProxy, Input::RelayReply(bytes)) => self.on_relay_reply(bytes, now),
            (Stage::AwaitRelayProxy, Input::DialsNext) => self.dials_relay_proxy(now),

            (_, Input::Stop) => self.end(Side::Gateway, Cause::Stopping),
            (_, Input::Cut) => self.end(Side::Gateway, Cause::Cut),
            (_, Input::Broke(side)) => self.end(side, Cause::Reset),
            (_, Input::Deadline) => self.on_deadline(now),

            (Stage::AwaitHead, Input::Head(bytes)) => self.on_head(bytes, now),
            (Stage::AwaitHead, Input::Ended(_)) => {
                match self.introduction.judge_early_end(&self.head) {
                    Ok(()) => self.end(Side::Client, Cause::Closed),
                    Err(refusal) => self.refuse(refusal, now),
                }
            }

            (Stage::AwaitAddress, Input::Resolved(Ok(addresses))) => {
                self.on_addresses(addresses, 0, now)
            }
            (Stage::AwaitAddress, Input::Resolved(Err(refusal))) => self.refuse(refusal, now),

            (Stage::AwaitDial, Input::Dialled) if self.call.is_some() => self.ask_relay_proxy(now),
            (Stage::AwaitDial, Input::Dialled) => self.open(0, now),
            (Stage::AwaitDial | Stage::AwaitRelayProxy, Input::DialFailed(refusal)) => {
                self.refuse(refusal, now)
            }

            // A client that half-closes before the 200 may still read its answer.
            (Stage::AwaitAddress | Stage::AwaitDial | Stage::AwaitRelayProxy, Input::Ended(_)) => {
                Action::Wait
            }

            // Without a whole hello nothing can come of the session, whichever side gives up.
            (Stage::AwaitHello, Input::Ended(side)) => self.end(side, Cause::Closed),
            (
                Stage::AwaitHello | Stage::AwaitServerHello | Stage::AwaitHandshake,
                Input::Held { direction, held, fresh },
            ) => self.on_held(direction, held, fresh, now),
            (
                Stage::AwaitHello | Stage::AwaitServerHello | Stage::AwaitHandshake,
                Input::HoldFull,
            ) => {
                let is_hello = self.stage == Stage::AwaitHello;
                let refusal = match is_hello || self.policy.certificates.is_none() {
                    true => Refusal::plain(Reason::HelloTooLarge),
                    false => Refusal::because(
                        Reason::HandshakeUnreadable,
                        "more of it came without a pause than can be held",
                    ),
                };
                self.refuse(refusal, now)
            }

            (Stage::AwaitServerHello | Stage::AwaitHandshake | Stage::Tunnel, Input::Ended(_)) => {
                self.half_closed = true;
                self.last_byte = now;
                Action::Wait
            }
            (
                Stage::AwaitServerHello | Stage::AwaitHandshake | Stage::Tunnel,
                Input::Delivered(side),
            ) => self.end(side, Cause::Finished),

            // Late answers to questions that a deadline or a reset has settled.
            (_, Input::Resolved(_) | Input::Dialled | Input::DialFailed(_)) => Action::Wait,
            (_, Input::DialsNext | Input::RelayReply(_)) => Action::Wait,
            (_, Input::Head(_) | Input::Held { .. } | Input::HoldFull) => Action::Wait,
            (_, Input::Delivered(_) | Input::RefusalRead) => Action::Wait,
        }
    }

    /// Refuses the session from outside of the table: the client that a load balancer names has all the
    /// sessions it may have.
    pub fn refuse(&mut self, refusal: Refusal, now: Instant) -> Action {
        self.refused = Some(self.ending(Side::Gateway, Cause::Refused(refusal.reason)));
        self.stage = Stage::Refusing;
        self.stage_deadline = Some(now + REFUSING_TIME);
        Action::Refuse(refusal)
    }

    fn on_head(&mut self, bytes: &[u8], now: Instant) -> Action {
        match self.introduction.read(bytes, self.client) {
            Introduced::Head => {}
            Introduced::More => return Action::Wait,
            Introduced::Whole { client, head_at } => {
                self.client = client.map_or(self.client, |client| client.ip());
                return Action::Introduce { client, head_at };
            }
            Introduced::Refused(refusal) => return self.refuse(refusal, now),
        }
        // Judged with the first byte, not at accept: a connection without a byte stays silent.
        if self.head.is_empty()
            && !self.introduction.is_of_balancer()
            && let Err(refusal) = self.policy.judge_client(self.client)
        {
            return self.refuse(refusal, now);
        }
        let (head, early_at) = match self.head.read(bytes) {
            Progress::More => return Action::Wait,
            Progress::Refused(error) => {
                let refusal = self.introduction.blame(error, self.client);
                return self.refuse(refusal, now);
            }
            Progress::Whole { head, early_at } => (head, early_at),
        };
        self.head = HeadReader::new(0);
        let target = match head.request {
            Request::Connect(target) => target,
            Request::Health => {
                self.refused = Some(self.ending(Side::Gateway, Cause::HealthChecked));
                self.stage = Stage::Refusing;
                self.stage_deadline = Some(now + REFUSING_TIME);
                return Action::AnswerHealth;
            }
        };
        // Again, for a balancer that speaks for nobody.
        let client = self.policy.judge_client(self.client);
        let placed = self.without_place.map_or(Ok(()), |reason| Err(Refusal::plain(reason)));
        let judged = client.and(placed).and_then(|()| self.policy.judge_target(&target));
        self.reported = judged.as_ref().ok().copied().flatten();
        let judged = judged.and_then(|_| self.policy.judge_way(head.via.as_deref()));
        let is_relayed = self.policy.relay.lead_to(&target);
        let address = match target.host {
            Host::Address(address) => Some(address),
            Host::Name(_) => None,
        };
        self.target = Some(target);
        if self.draining && judged.is_ok() {
            return self.refuse(Refusal::plain(Reason::Draining), now);
        }
        match (judged, address) {
            (Err(refusal), _) => self.refuse(refusal, now),
            (Ok(()), address) if is_relayed => self.call(address, head.via, early_at, now),
            (Ok(()), Some(address)) => self.on_addresses(&[address], early_at, now),
            (Ok(()), None) => {
                self.enter(Stage::AwaitAddress, self.policy.limits.resolve_ms, now);
                Action::Resolve { early_at }
            }
        }
    }

    fn on_addresses(&mut self, addresses: &[IpAddr], early_at: usize, now: Instant) -> Action {
        match self.policy.judge_addresses(addresses) {
            Ok(addresses) => {
                self.enter(Stage::AwaitDial, self.policy.limits.dial_ms, now);
                Action::Dial { addresses, early_at }
            }
            Err(refusal) => self.refuse(refusal, now),
        }
    }

    pub(super) fn open(&mut self, early_at: usize, now: Instant) -> Action {
        self.call = None;
        self.watch = Some(Box::new(self.policy.watch(now)));
        self.enter(Stage::AwaitHello, self.policy.limits.hello_ms, now);
        Action::OpenTunnel { early_at }
    }

    fn on_held(&mut self, direction: Direction, held: &[u8], fresh: usize, now: Instant) -> Action {
        let (Some(watch), Some(target)) = (&mut self.watch, &self.target) else {
            return Action::Forward;
        };
        let verdict = watch.observe(direction, held, fresh, target);
        // The time for the server's hello is that for all of the handshake.
        if self.stage == Stage::AwaitServerHello && watch.follows_handshake() {
            self.stage = Stage::AwaitHandshake;
        }
        match verdict {
            Verdict::Hold => Action::Hold,
            Verdict::Forward => {
                if self.stage == Stage::AwaitHello && watch.hello_judged() {
                    self.enter(Stage::AwaitServerHello, self.policy.limits.hello_ms, now);
                }
                Action::Forward
            }
            Verdict::LetGo => {
                self.stage = Stage::Tunnel;
                self.last_byte = now;
                Action::LetGo
            }
            Verdict::Refuse(refusal) => self.refuse(refusal, now),
        }
    }

    /// Forgets the handshake once the shell has told of it: an idle tunnel keeps nothing of it.
    pub fn forget_handshake(&mut self) {
        self.watch = None;
    }

    fn on_deadline(&mut self, now: Instant) -> Action {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Action::Wait;
        }
        if self.oldest.is_some_and(|oldest| now >= oldest) {
            return self.end(Side::Gateway, Cause::TooOld);
        }
        match self.stage {
            Stage::AwaitHead => {
                let reason = self.without_place.unwrap_or(Reason::HeadTimeout);
                self.refuse(Refusal::plain(reason), now)
            }
            Stage::AwaitAddress => self.refuse(Refusal::plain(Reason::ResolveTimeout), now),
            Stage::AwaitDial | Stage::AwaitRelayProxy => {
                self.refuse(Refusal::plain(self.late_dial()), now)
            }
            Stage::AwaitHello => self.end(Side::Client, Cause::HelloTimeout),
            Stage::AwaitServerHello | Stage::AwaitHandshake => {
                let late = self.watch.as_ref().map_or(Side::Remote, |watch| watch.awaited());
                self.end(late, Cause::HelloTimeout)
            }
            Stage::Tunnel if self.half_closed => self.end(Side::Gateway, Cause::HalfClosed),
            Stage::Tunnel => self.end(Side::Gateway, Cause::Idle),
            Stage::Refusing => Action::Wait,
        }
    }

    /// The ending was settled when the session was refused; whatever comes now only closes it.
    fn after_refusal(&mut self, input: Input<'_>, now: Instant) -> Action {
        let over = match input {
            Input::Broke(Side::Client) | Input::RefusalRead | Input::Stop => true,
            Input::Deadline => self.deadline().is_some_and(|deadline| now >= deadline),
            _ => false,
        };
        match (over, self.refused) {
            (true, Some(ending)) => Action::End(ending),
            _ => Action::Wait,
        }
    }

    fn enter(&mut self, stage: Stage, limit_ms: u64, now: Instant) {
        self.enter_until(stage, now + Duration::from_millis(limit_ms));
    }

    pub(super) fn enter_until(&mut self, stage: Stage, until: Instant) {
        self.stage = stage;
        self.stage_deadline = Some(until);
    }

    fn ending(&self, side: Side, cause: Cause) -> Ending {
        Ending { stage: self.stage, side, cause }
    }

    fn end(&self, side: Side, cause: Cause) -> Action {
        Action::End(self.ending(side, cause))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use super::*;
    use crate::logic::addresses::Addresses;
    use crate::logic::hosts::{HostPattern, Hosts};
    use crate::logic::limits::Limits;
    use crate::logic::policy::{AllowMode, TlsRules};
    use crate::logic::relay_proxies::RelayRules;
    use crate::proto::tls::Version;
    use crate::proto::tls::record::ContentType;
    use crate::proto::tls::sample::{
        SampleServerHello, modern_client_hello, records, server_hello,
    };

    const CONNECT: &[u8] = b"CONNECT ok.test:443 HTTP/1.1\r\n\r\n";
    const PUBLIC: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(93, 184, 216, 34));

    fn policy(change: impl FnOnce(&mut Policy)) -> Arc<Policy> {
        let patterns = ["ok.test", "93.184.216.34", "10.0.0.1"];
        let mut policy = Policy {
            hosts: Hosts::new(patterns.map(|text| HostPattern::parse(text).unwrap())),
            mode: AllowMode::Enforce,
            addresses: Addresses::new(Vec::new()),
            clients: Vec::new(),
            balancers: Vec::new(),
            relay: RelayRules::default(),
            tls: TlsRules { min_version: Version::TLS12, match_server_name: true },
            certificates: None,
            limits: Limits::default(),
        };
        change(&mut policy);
        Arc::new(policy)
    }

    fn hello() -> Vec<u8> {
        let message = modern_client_hello(b"ok.test");
        records(ContentType::Handshake, Version::TLS10, &message, 16_384)
    }

    fn answer() -> Vec<u8> {
        let message = server_hello(&SampleServerHello::default());
        records(ContentType::Handshake, Version::TLS12, &message, 16_384)
    }

    fn held(direction: Direction, held: &[u8]) -> Input<'_> {
        Input::Held { direction, held, fresh: 0 }
    }

    /// A session that the given policy has let come as far as `stage`.
    fn session_at(stage: Stage, policy: Arc<Policy>, now: Instant) -> Session {
        let mut session = Session::new(policy, PUBLIC, now);
        let (hello, answer) = (hello(), answer());
        let way: [(Stage, Input<'_>); 5] = [
            (Stage::AwaitAddress, Input::Head(CONNECT)),
            (Stage::AwaitDial, Input::Resolved(Ok(&[PUBLIC]))),
            (Stage::AwaitHello, Input::Dialled),
            (Stage::AwaitServerHello, held(Direction::Up, &hello)),
            (Stage::Tunnel, held(Direction::Down, &answer)),
        ];
        if stage == Stage::Refusing {
            session.handle(Input::Head(b"GET / HTTP/1.1\r\n\r\n"), now);
        } else if stage != Stage::AwaitHead {
            for (reached, input) in way {
                session.handle(input, now);
                assert_eq!(session.stage(), reached);
                if reached == stage {
                    break;
                }
            }
        }
        assert_eq!(session.stage(), stage);
        session
    }

    fn ended(stage: Stage, side: Side, cause: Cause) -> Action {
        Action::End(Ending { stage, side, cause })
    }

    /// What an action is, without its texts.
    fn outline(action: &Action) -> String {
        match action {
            Action::Refuse(refusal) => format!("refuse {}", refusal.reason),
            Action::End(ending) => format!("end {ending}"),
            Action::Dial { addresses, .. } => format!("dial {}", addresses.len()),
            Action::Resolve { .. } => "resolve".to_owned(),
            Action::DialRelayProxy { .. } => "dial relay proxy".to_owned(),
            Action::TryNextRelayProxy(refusal) => format!("try next {}", refusal.reason),
            Action::OpenTunnel { early_at } => format!("open {early_at}"),
            Action::Introduce { client: Some(client), .. } => format!("introduce {client}"),
            Action::Introduce { client: None, .. } => "introduce itself".to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_target_that_is_only_reported_is_let_through_by_the_list_of_hosts_alone() {
        let now = Instant::now();
        let (host, port) = (Some(Reason::HostNotAllowed), Some(Reason::PortNotAllowed));
        for (target, outcome, reported) in [
            ("ok.test:443", "resolve", None),
            ("other.test:443", "resolve", host),
            ("ok.test:80", "resolve", port),
            ("93.184.216.35:443", "dial 1", host),
            ("169.254.169.254:443", "refuse address_not_allowed", host),
            ("10.0.0.1:443", "refuse address_not_allowed", None),
            ("other.test", "refuse malformed_target", None),
        ] {
            let policy = policy(|policy| policy.mode = AllowMode::Report);
            let mut session = Session::new(policy, PUBLIC, now);
            let head = format!("CONNECT {target} HTTP/1.1\r\n\r\n");
            let action = session.handle(Input::Head(head.as_bytes()), now);
            assert_eq!(
                (outline(&action).as_str(), session.take_reported()),
                (outcome, reported),
                "{target}"
            );
        }
        let policy = policy(|policy| {
            policy.mode = AllowMode::Report;
            policy.clients = vec!["10.0.0.0/8".parse().unwrap()];
        });
        let mut session = Session::new(policy, PUBLIC, now);
        let action = session.handle(Input::Head(b"CONNECT other.test:443 HTTP/1.1\r\n\r\n"), now);
        let told = (outline(&action), session.take_reported());
        assert_eq!(told, ("refuse client_not_allowed".to_owned(), None));
    }

    #[test]
    fn every_row_of_the_table() {
        use Stage::{
            AwaitAddress, AwaitDial, AwaitHead, AwaitHello, AwaitServerHello, Refusing, Tunnel,
        };
        let (hello, answer) = (hello(), answer());
        let private: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), PUBLIC];
        let failed = || Refusal::plain(Reason::DialFailed);
        let unresolved = || Refusal::plain(Reason::ResolveFailed);
        let rows: Vec<(Stage, Input<'_>, &str, Stage)> = vec![
            (AwaitHead, Input::Head(b"CONN"), "Wait", AwaitHead),
            (AwaitHead, Input::Head(CONNECT), "resolve", AwaitAddress),
            (
                AwaitHead,
                Input::Head(b"CONNECT 93.184.216.34:443 HTTP/1.0\r\n\r\n"),
                "dial 1",
                AwaitDial,
            ),
            (
                AwaitHead,
                Input::Head(b"CONNECT 10.0.0.1:443 HTTP/1.1\r\n\r\n"),
                "refuse address_not_allowed",
                Refusing,
            ),
            (
                AwaitHead,
                Input::Head(b"CONNECT no.test:443 HTTP/1.1\r\n\r\n"),
                "refuse host_not_allowed",
                Refusing,
            ),
            (
                AwaitHead,
                Input::Head(b"CONNECT ok.test:80 HTTP/1.1\r\n\r\n"),
                "refuse port_not_allowed",
                Refusing,
            ),
            (
                AwaitHead,
                Input::Head(b"CONNECT ok.test HTTP/1.1\r\n\r\n"),
                "refuse malformed_target",
                Refusing,
            ),
            (
                AwaitHead,
                Input::Head(b"CONNECT ok.test:443 HTTP/2.0\r\n\r\n"),
                "refuse unsupported_version",
                Refusing,
            ),
            (AwaitHead, Input::Head(b"GET / HTTP/1.1\r\n\r\n"), "refuse not_connect", Refusing),
            (AwaitHead, Input::Head(b"\x16\x03\x01"), "refuse malformed_head", Refusing),
            (AwaitHead, Input::Head(b"GET /healthz HTTP/1.1\r\n\r\n"), "AnswerHealth", Refusing),
            (AwaitHead, Input::Ended(Side::Client), "end await_head.client.closed", AwaitHead),
            (AwaitHead, Input::Broke(Side::Client), "end await_head.client.reset", AwaitHead),
            (AwaitHead, Input::Stop, "end await_head.gateway.stopping", AwaitHead),
            (AwaitAddress, Input::Resolved(Ok(&[PUBLIC])), "dial 1", AwaitDial),
            (AwaitAddress, Input::Resolved(Ok(&private)), "dial 1", AwaitDial),
            (
                AwaitAddress,
                Input::Resolved(Ok(&private[..1])),
                "refuse address_not_allowed",
                Refusing,
            ),
            (AwaitAddress, Input::Resolved(Ok(&[])), "refuse resolve_failed", Refusing),
            (AwaitAddress, Input::Resolved(Err(unresolved())), "refuse resolve_failed", Refusing),
            (AwaitAddress, Input::Ended(Side::Client), "Wait", AwaitAddress),
            (
                AwaitAddress,
                Input::Broke(Side::Client),
                "end await_address.client.reset",
                AwaitAddress,
            ),
            (AwaitAddress, Input::Dialled, "Wait", AwaitAddress),
            (AwaitAddress, Input::Stop, "end await_address.gateway.stopping", AwaitAddress),
            (AwaitDial, Input::Dialled, "open 0", AwaitHello),
            (AwaitDial, Input::DialFailed(failed()), "refuse dial_failed", Refusing),
            (AwaitDial, Input::Ended(Side::Client), "Wait", AwaitDial),
            (AwaitDial, Input::Broke(Side::Client), "end await_dial.client.reset", AwaitDial),
            (AwaitDial, Input::Resolved(Ok(&[PUBLIC])), "Wait", AwaitDial),
            (AwaitHello, held(Direction::Up, &hello[..40]), "Hold", AwaitHello),
            (AwaitHello, held(Direction::Up, &hello), "Forward", AwaitServerHello),
            (AwaitHello, held(Direction::Up, b"GET / HTTP/1.1"), "refuse not_tls", Refusing),
            (
                AwaitHello,
                held(Direction::Down, b"220 hello"),
                "refuse server_spoke_first",
                Refusing,
            ),
            (AwaitHello, Input::HoldFull, "refuse hello_too_large", Refusing),
            (AwaitHello, Input::Ended(Side::Client), "end await_hello.client.closed", AwaitHello),
            (AwaitHello, Input::Ended(Side::Remote), "end await_hello.remote.closed", AwaitHello),
            (AwaitHello, Input::Broke(Side::Remote), "end await_hello.remote.reset", AwaitHello),
            (AwaitHello, Input::DialFailed(failed()), "Wait", AwaitHello),
            (AwaitServerHello, held(Direction::Down, &answer[..40]), "Hold", AwaitServerHello),
            (AwaitServerHello, held(Direction::Down, &answer), "LetGo", Tunnel),
            (AwaitServerHello, held(Direction::Down, b"HTTP/1.1 400"), "refuse not_tls", Refusing),
            (AwaitServerHello, Input::Ended(Side::Remote), "Wait", AwaitServerHello),
            (AwaitServerHello, Input::Ended(Side::Client), "Wait", AwaitServerHello),
            (
                AwaitServerHello,
                Input::Delivered(Side::Remote),
                "end await_server_hello.remote.finished",
                AwaitServerHello,
            ),
            (
                AwaitServerHello,
                Input::Broke(Side::Remote),
                "end await_server_hello.remote.reset",
                AwaitServerHello,
            ),
            (Tunnel, Input::Ended(Side::Client), "Wait", Tunnel),
            (Tunnel, Input::Ended(Side::Remote), "Wait", Tunnel),
            (Tunnel, Input::Delivered(Side::Client), "end tunnel.client.finished", Tunnel),
            (Tunnel, Input::Broke(Side::Remote), "end tunnel.remote.reset", Tunnel),
            (Tunnel, Input::Stop, "end tunnel.gateway.stopping", Tunnel),
            (Tunnel, Input::Cut, "end tunnel.gateway.cut", Tunnel),
            (AwaitDial, Input::Cut, "end await_dial.gateway.cut", AwaitDial),
            (Refusing, Input::Cut, "Wait", Refusing),
            (Tunnel, Input::RefusalRead, "Wait", Tunnel),
            (Tunnel, Input::Deadline, "Wait", Tunnel),
            (Refusing, Input::Head(CONNECT), "Wait", Refusing),
            (Refusing, Input::Ended(Side::Client), "Wait", Refusing),
            (Refusing, Input::Broke(Side::Remote), "Wait", Refusing),
            (Refusing, Input::Broke(Side::Client), "end await_head.gateway.not_connect", Refusing),
            (Refusing, Input::RefusalRead, "end await_head.gateway.not_connect", Refusing),
            (Refusing, Input::Stop, "end await_head.gateway.not_connect", Refusing),
            (Refusing, Input::Deadline, "Wait", Refusing),
        ];
        let now = Instant::now();
        for (stage, input, expected, next) in rows {
            let what = format!("{stage:?} {input:?}");
            let mut session = session_at(stage, policy(|_| {}), now);
            let action = session.handle(input, now);
            assert_eq!(outline(&action), expected, "{what}");
            assert_eq!(session.stage(), next, "{what}");
        }
    }

    #[test]
    fn every_stage_has_its_deadline() {
        let now = Instant::now();
        let limits = Limits::default();
        let rows = [
            (Stage::AwaitHead, limits.head_ms, "refuse head_timeout"),
            (Stage::AwaitAddress, limits.resolve_ms, "refuse resolve_timeout"),
            (Stage::AwaitDial, limits.dial_ms, "refuse dial_timeout"),
            (Stage::AwaitHello, limits.hello_ms, "end await_hello.client.hello_timeout"),
            (
                Stage::AwaitServerHello,
                limits.hello_ms,
                "end await_server_hello.remote.hello_timeout",
            ),
            (Stage::Tunnel, limits.idle_ms, "end tunnel.gateway.idle"),
            (Stage::Refusing, 2_000, "end await_head.gateway.not_connect"),
        ];
        for (stage, limit_ms, expected) in rows {
            let mut session = session_at(stage, policy(|_| {}), now);
            let deadline = now + Duration::from_millis(limit_ms);
            assert_eq!(session.deadline(), Some(deadline), "{stage:?}");
            let early = deadline - Duration::from_millis(1);
            assert_eq!(session.handle(Input::Deadline, early), Action::Wait, "{stage:?}");
            let action = session.handle(Input::Deadline, deadline);
            assert_eq!(outline(&action), expected, "{stage:?}");
        }
    }

    #[test]
    fn a_byte_moves_the_idle_deadline_and_a_half_close_shortens_it() {
        let now = Instant::now();
        let mut session = session_at(Stage::Tunnel, policy(|_| {}), now);
        let later = now + Duration::from_secs(400);
        session.touch(later);
        assert_eq!(session.deadline(), Some(later + Duration::from_secs(600)));
        session.handle(Input::Ended(Side::Client), later);
        let over = later + Duration::from_secs(60);
        assert_eq!(session.deadline(), Some(over));
        let action = session.handle(Input::Deadline, over);
        assert_eq!(action, ended(Stage::Tunnel, Side::Gateway, Cause::HalfClosed));
    }

    #[test]
    fn limits_of_0_are_off_and_age_is_absolute() {
        let now = Instant::now();
        let off = policy(|policy| {
            policy.limits.idle_ms = 0;
            policy.limits.half_closed_ms = 0;
        });
        let mut session = session_at(Stage::Tunnel, off, now);
        assert_eq!(session.deadline(), None);
        session.handle(Input::Ended(Side::Remote), now);
        assert_eq!(session.deadline(), None);
        let aging = policy(|policy| policy.limits.session_ms = 5_000);
        let mut session = session_at(Stage::Tunnel, aging, now);
        let old = now + Duration::from_secs(5);
        session.touch(old);
        assert_eq!(session.deadline(), Some(old));
        let action = session.handle(Input::Deadline, old);
        assert_eq!(action, ended(Stage::Tunnel, Side::Gateway, Cause::TooOld));
    }

    #[test]
    fn a_client_that_may_not_come_in_is_told_so_with_its_first_byte() {
        let now = Instant::now();
        let closed = policy(|policy| policy.clients = vec!["10.0.0.0/8".parse().unwrap()]);
        let mut session = Session::new(closed, PUBLIC, now);
        assert_eq!(outline(&session.handle(Input::Head(b"C"), now)), "refuse client_not_allowed");
    }

    #[test]
    fn of_a_balancer_a_header_is_required_but_for_its_health_check() {
        const BALANCER: &str = "10.0.0.4";
        const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\n\r\n";
        const AGENT: &[u8] = b"PROXY TCP4 192.0.2.9 10.0.0.4 4711 8080\r\n";
        const STRANGER: &[u8] = b"PROXY TCP4 198.51.100.9 10.0.0.4 4711 8080\r\n";
        const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";
        const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
        let head = |bytes| Input::Head(bytes);
        let end = || Input::Ended(Side::Client);
        let rows: Vec<(Vec<Input<'_>>, &str)> = vec![
            (vec![head(AGENT), head(CONNECT)], "introduce 192.0.2.9:4711, resolve"),
            (vec![head(AGENT), head(HEALTH)], "introduce 192.0.2.9:4711, AnswerHealth"),
            (vec![head(AGENT), end()], "introduce 192.0.2.9:4711, end await_head.client.closed"),
            (vec![head(AGENT), head(AGENT)], "introduce 192.0.2.9:4711, refuse malformed_head"),
            (
                vec![head(STRANGER), head(b"C")],
                "introduce 198.51.100.9:4711, refuse client_not_allowed",
            ),
            (vec![head(UNKNOWN), head(HEALTH)], "introduce itself, AnswerHealth"),
            (vec![head(LOCAL), head(HEALTH)], "introduce itself, AnswerHealth"),
            (vec![head(LOCAL), end()], "introduce itself, end await_head.client.closed"),
            (vec![head(LOCAL), head(CONNECT)], "introduce itself, refuse client_not_allowed"),
            (vec![head(b"PROXY TCP4"), end()], "Wait, refuse malformed_head"),
            (vec![head(b"PROXY TCP5 \r\n")], "refuse malformed_head"),
            (vec![head(&LOCAL[..12]), head(b"\x11\x11\0\0")], "Wait, refuse malformed_head"),
            (vec![head(HEALTH)], "AnswerHealth"),
            (vec![head(b"G"), head(&HEALTH[1..])], "Wait, AnswerHealth"),
            (vec![head(b"GET / HTTP/1.1\r\n\r\n")], "refuse malformed_head"),
            (vec![head(b"G\0 /\r\n")], "refuse malformed_head"),
            (vec![head(b"G"), end()], "Wait, refuse malformed_head"),
            (vec![head(b"C")], "refuse malformed_head"),
            (vec![head(b"\x16")], "refuse malformed_head"),
            (vec![head(b"\r\nG")], "refuse malformed_head"),
            (vec![end()], "end await_head.client.closed"),
        ];
        let now = Instant::now();
        let policy = policy(|policy| {
            policy.clients = vec!["192.0.2.0/24".parse().unwrap()];
            policy.balancers = vec!["10.0.0.0/24".parse().unwrap()];
        });
        for (inputs, expected) in rows {
            let what = format!("{inputs:?}");
            let mut session = Session::new(Arc::clone(&policy), BALANCER.parse().unwrap(), now);
            let deadline = session.deadline();
            let mut told = Vec::new();
            for input in inputs {
                assert_eq!(session.deadline(), deadline, "one deadline for all: {what}");
                let action = session.handle(input, now);
                if let Action::Refuse(refusal) = &action
                    && refusal.reason == Reason::MalformedHead
                    && !expected.starts_with("introduce")
                {
                    let text = refusal.detail.as_deref().unwrap();
                    let names = text.contains("PROXY header") || text == "the head ends early";
                    assert!(names, "{what}: {text}");
                }
                told.push(outline(&action));
            }
            assert_eq!(told.join(", "), expected, "{what}");
        }
    }

    #[test]
    fn what_follows_a_header_is_pointed_at() {
        let now = Instant::now();
        let policy = policy(|policy| policy.balancers = vec!["10.0.0.0/24".parse().unwrap()]);
        let mut session = Session::new(policy, "10.0.0.4".parse().unwrap(), now);
        let header = b"PROXY UNKNOWN\r\n";
        let glued = [&header[..], CONNECT].concat();
        let action = session.handle(Input::Head(&glued), now);
        assert_eq!(action, Action::Introduce { client: None, head_at: header.len() });
    }

    #[test]
    fn a_connect_that_comes_while_draining_is_refused() {
        let now = Instant::now();
        let mut session = Session::new(policy(|_| {}), PUBLIC, now);
        session.drain();
        assert_eq!(outline(&session.handle(Input::Head(CONNECT), now)), "refuse draining");
        let mut open = session_at(Stage::Tunnel, policy(|_| {}), now);
        open.drain();
        assert_eq!(open.handle(Input::Ended(Side::Client), now), Action::Wait);
    }

    #[test]
    fn a_head_that_ends_early_is_refused() {
        let now = Instant::now();
        let mut session = Session::new(policy(|_| {}), PUBLIC, now);
        session.handle(Input::Head(b"CONNECT ok"), now);
        let action = session.handle(Input::Ended(Side::Client), now);
        assert_eq!(outline(&action), "refuse malformed_head");
    }

    #[test]
    fn bytes_after_the_head_are_pointed_at() {
        let now = Instant::now();
        let mut session = Session::new(policy(|_| {}), PUBLIC, now);
        let glued = [CONNECT, b"early"].concat();
        let action = session.handle(Input::Head(&glued), now);
        assert_eq!(action, Action::Resolve { early_at: CONNECT.len() });
    }
}
