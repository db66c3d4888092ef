//! The part of a session that is different where its target is reached through a relay proxy: the
//! relay proxy is dialled instead of the target, asked for it, and must have opened the tunnel before
//! the client gets its 200.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::ending::Stage;
use super::input::Action;
use super::reason::Reason;
use super::relay_call::{Heard, RelayCall};
use super::secret::Secret;
use super::session::Session;
use crate::proto::via::Via;

impl Session {
    /// What is written to a relay proxy, where the target is reached through one.
    pub fn relay_request(&self) -> Option<Secret> {
        let (call, target) = (self.call.as_ref()?, self.target.as_ref()?);
        Some(call.request(target, &self.policy.relay))
    }

    /// The relay proxy finds the addresses of a name; an address itself is judged here.
    pub(super) fn call(
        &mut self,
        address: Option<IpAddr>,
        passed: Option<Box<Via>>,
        early_at: usize,
        now: Instant,
    ) -> Action {
        let judged = address.map(|address| self.policy.judge_addresses(&[address])).transpose();
        if let Err(refusal) = judged {
            return self.refuse(refusal, now);
        }
        let limits = &self.policy.limits;
        let time = Duration::from_millis(limits.dial_ms.saturating_add(limits.relay_proxy_ms));
        self.call = Some(Box::new(RelayCall::new(passed, now + time)));
        self.enter_on_call(Stage::AwaitDial, limits.dial_ms, now);
        Action::DialRelayProxy { early_at }
    }

    /// A relay proxy is connected.
    pub(super) fn ask_relay_proxy(&mut self, now: Instant) -> Action {
        self.enter_on_call(Stage::AwaitRelayProxy, self.policy.limits.relay_proxy_ms, now);
        Action::AskRelayProxy
    }

    /// Another one is dialled.
    pub(super) fn dials_relay_proxy(&mut self, now: Instant) -> Action {
        self.enter_on_call(Stage::AwaitDial, self.policy.limits.dial_ms, now);
        Action::Wait
    }

    pub(super) fn on_relay_reply(&mut self, bytes: &[u8], now: Instant) -> Action {
        let heard = self.call.as_mut().map_or(Heard::More, |call| call.read(bytes));
        self.on_heard(heard, now)
    }

    pub(super) fn on_relay_end(&mut self, now: Instant) -> Action {
        let heard = self.call.as_ref().map_or(Heard::More, |call| call.ended());
        self.on_heard(heard, now)
    }

    /// Why a dial, or the answer to it, is too late.
    pub(super) fn late_dial(&self) -> Reason {
        match (self.stage(), &self.call) {
            (Stage::AwaitRelayProxy, _) => Reason::RelayProxyTimeout,
            (_, Some(_)) => Reason::RelayProxyUnreachable,
            (_, None) => Reason::DialTimeout,
        }
    }

    fn on_heard(&mut self, heard: Heard, now: Instant) -> Action {
        match heard {
            Heard::More => Action::Wait,
            Heard::Opened(early_at) => self.open(early_at, now),
            Heard::Refused(refusal) => self.refuse(refusal, now),
            Heard::Unavailable(refusal) => {
                if let Some(call) = &mut self.call {
                    call.begin_anew();
                }
                Action::TryNextRelayProxy(refusal)
            }
        }
    }

    fn enter_on_call(&mut self, stage: Stage, limit_ms: u64, now: Instant) {
        let time = Duration::from_millis(limit_ms);
        let until = self.call.as_ref().map_or(now + time, |call| call.until().min(now + time));
        self.enter_until(stage, until);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use super::*;
    use crate::logic::ending::Side;
    use crate::logic::hosts::{HostPattern, Hosts};
    use crate::logic::input::Input;
    use crate::logic::limits::Limits;
    use crate::logic::policy::{AllowMode, Policy, Refusal, TlsRules};
    use crate::logic::relay_proxies::{RelayProxy, RelayRules};
    use crate::proto::target::Target;
    use crate::proto::tls::Version;
    use crate::proto::via::ViaName;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const CONNECT: &[u8] = b"CONNECT ok.test:443 HTTP/1.1\r\nVia: 1.0 a\r\n\r\n";
    const OPEN: &[u8] = b"HTTP/1.1 200 OK\r\n\r\nearly";

    fn session(now: Instant) -> Session {
        let hosts =
            |texts: &[&str]| Hosts::new(texts.iter().map(|text| HostPattern::parse(text).unwrap()));
        let relay_proxy = RelayProxy::new(Target::parse(b"10.0.0.1:8080").unwrap(), now);
        let policy = Policy {
            hosts: hosts(&["ok.test", "near.test", "93.184.216.34", "10.0.0.2"]),
            mode: AllowMode::Enforce,
            addresses: Default::default(),
            clients: Vec::new(),
            balancers: Vec::new(),
            relay: RelayRules {
                proxies: vec![Arc::new(relay_proxy)],
                direct: hosts(&["near.test"]),
                authorization: Some(Arc::new(Secret::new("Basic dTpw".to_owned()))),
                name: ViaName::new(1),
            },
            tls: TlsRules { min_version: Version::TLS12, match_server_name: true },
            certificates: None,
            limits: Limits::default(),
        };
        Session::new(Arc::new(policy), CLIENT, now)
    }

    fn session_at(stage: Stage, now: Instant) -> Session {
        let mut session = session(now);
        for (reached, input) in [
            (Stage::AwaitHead, Input::Head(b"")),
            (Stage::AwaitDial, Input::Head(CONNECT)),
            (Stage::AwaitRelayProxy, Input::Dialled),
            (Stage::AwaitHello, Input::RelayReply(OPEN)),
        ] {
            session.handle(input, now);
            assert_eq!(session.stage(), reached);
            if reached == stage {
                break;
            }
        }
        session
    }

    fn outline(action: &Action) -> String {
        match action {
            Action::Refuse(refusal) => format!("refuse {}", refusal.reason),
            Action::TryNextRelayProxy(refusal) => format!("next {}", refusal.reason),
            Action::End(ending) => format!("end {ending}"),
            Action::Resolve { .. } => "resolve".to_owned(),
            Action::DialRelayProxy { early_at } => format!("dial {early_at}"),
            Action::OpenTunnel { early_at } => format!("open {early_at}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn every_row_of_the_table() {
        use Stage::{AwaitAddress, AwaitDial, AwaitHead, AwaitHello, AwaitRelayProxy, Refusing};
        let gone = || Refusal::plain(Reason::RelayProxyUnreachable);
        let head = |text: &'static str| Input::Head(text.as_bytes());
        let reply = |text: &'static str| Input::RelayReply(text.as_bytes());
        let rows: Vec<(Stage, Input<'_>, &str, Stage)> = vec![
            (AwaitHead, Input::Head(CONNECT), "dial 44", AwaitDial),
            (AwaitHead, head("CONNECT ok.test:443 HTTP/1.1\r\n\r\nhello"), "dial 32", AwaitDial),
            (AwaitHead, head("CONNECT near.test:443 HTTP/1.1\r\n\r\n"), "resolve", AwaitAddress),
            (AwaitHead, head("CONNECT 93.184.216.34:443 HTTP/1.1\r\n\r\n"), "dial 38", AwaitDial),
            (
                AwaitHead,
                head("CONNECT 10.0.0.2:443 HTTP/1.1\r\n\r\n"),
                "refuse address_not_allowed",
                Refusing,
            ),
            (
                AwaitHead,
                head("CONNECT no.test:443 HTTP/1.1\r\n\r\n"),
                "refuse host_not_allowed",
                Refusing,
            ),
            (
                AwaitHead,
                head("CONNECT ok.test:443 HTTP/1.1\r\nVia: 1.1 sluice-0000000000000001\r\n\r\n"),
                "refuse loop",
                Refusing,
            ),
            (
                AwaitHead,
                head("CONNECT near.test:443 HTTP/1.1\r\nVia: 1.1 sluice-0000000000000001\r\n\r\n"),
                "refuse loop",
                Refusing,
            ),
            (
                AwaitHead,
                head("CONNECT ok.test:443 HTTP/1.1\r\nVia: a,,,,,,,,,,,,,,,,b\r\n\r\n"),
                "refuse loop",
                Refusing,
            ),
            (AwaitDial, Input::Dialled, "AskRelayProxy", AwaitRelayProxy),
            (AwaitDial, Input::DialFailed(gone()), "refuse relay_proxy_unreachable", Refusing),
            (AwaitDial, Input::Ended(Side::Client), "Wait", AwaitDial),
            (AwaitDial, Input::Broke(Side::Client), "end await_dial.client.reset", AwaitDial),
            (AwaitDial, Input::RelayReply(OPEN), "Wait", AwaitDial),
            (AwaitDial, Input::DialsNext, "Wait", AwaitDial),
            (AwaitRelayProxy, reply("HTTP/1.1 2"), "Wait", AwaitRelayProxy),
            (AwaitRelayProxy, reply("HTTP/1.1 100 x\r\n\r\n"), "Wait", AwaitRelayProxy),
            (AwaitRelayProxy, Input::RelayReply(OPEN), "open 19", AwaitHello),
            (
                AwaitRelayProxy,
                reply("HTTP/1.1 407 Who\r\n\r\n"),
                "refuse relay_proxy_refused_credentials",
                Refusing,
            ),
            (
                AwaitRelayProxy,
                reply("HTTP/1.1 302 There\r\n\r\n"),
                "refuse relay_proxy_refused",
                Refusing,
            ),
            (AwaitRelayProxy, reply("ICY 200 OK\r\n"), "refuse relay_proxy_bad_reply", Refusing),
            (
                AwaitRelayProxy,
                reply("HTTP/1.1 503 Busy\r\n\r\n"),
                "next relay_proxy_refused",
                AwaitRelayProxy,
            ),
            (
                AwaitRelayProxy,
                Input::Ended(Side::Remote),
                "next relay_proxy_bad_reply",
                AwaitRelayProxy,
            ),
            (
                AwaitRelayProxy,
                Input::Broke(Side::Remote),
                "next relay_proxy_bad_reply",
                AwaitRelayProxy,
            ),
            (AwaitRelayProxy, Input::DialsNext, "Wait", AwaitDial),
            (
                AwaitRelayProxy,
                Input::DialFailed(gone()),
                "refuse relay_proxy_unreachable",
                Refusing,
            ),
            (AwaitRelayProxy, Input::Ended(Side::Client), "Wait", AwaitRelayProxy),
            (AwaitRelayProxy, Input::Dialled, "Wait", AwaitRelayProxy),
            (
                AwaitRelayProxy,
                Input::Broke(Side::Client),
                "end await_relay_proxy.client.reset",
                AwaitRelayProxy,
            ),
            (
                AwaitRelayProxy,
                Input::Stop,
                "end await_relay_proxy.gateway.stopping",
                AwaitRelayProxy,
            ),
            (AwaitRelayProxy, Input::Cut, "end await_relay_proxy.gateway.cut", AwaitRelayProxy),
            (AwaitHello, Input::RelayReply(OPEN), "Wait", AwaitHello),
            (AwaitHello, Input::DialsNext, "Wait", AwaitHello),
        ];
        let now = Instant::now();
        for (stage, input, expected, next) in rows {
            let what = format!("{stage:?} {input:?}");
            let mut session = session_at(stage, now);
            let action = session.handle(input, now);
            assert_eq!(outline(&action), expected, "{what}");
            assert_eq!(session.stage(), next, "{what}");
        }
    }

    #[test]
    fn a_request_carries_the_way_it_has_come_and_our_credentials() {
        let now = Instant::now();
        let session = session_at(Stage::AwaitRelayProxy, now);
        assert_eq!(
            session.relay_request().unwrap().reveal(),
            "CONNECT ok.test:443 HTTP/1.1\r\nHost: ok.test:443\r\n\
             Via: 1.0 a, 1.1 sluice-0000000000000001\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
        );
        let open = session_at(Stage::AwaitHello, now);
        assert_eq!(open.relay_request(), None, "nothing of it is kept");
    }

    #[test]
    fn the_answer_is_due_in_time_and_all_together_are() {
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        let mut session = session_at(Stage::AwaitRelayProxy, now);
        assert_eq!(session.deadline(), Some(after(10_000)));
        // Each that is tried has its time, and all of them twenty seconds.
        session.handle(Input::Broke(Side::Remote), after(7_000));
        session.handle(Input::DialsNext, after(7_000));
        assert_eq!(session.deadline(), Some(after(17_000)));
        session.handle(Input::Dialled, after(12_000));
        assert_eq!(session.deadline(), Some(after(20_000)));
        assert_eq!(session.handle(Input::Deadline, after(19_999)), Action::Wait);
        let action = session.handle(Input::Deadline, after(20_000));
        assert_eq!(outline(&action), "refuse relay_proxy_timeout");
        let mut dialling = session_at(Stage::AwaitDial, now);
        let action = dialling.handle(Input::Deadline, after(10_000));
        assert_eq!(outline(&action), "refuse relay_proxy_unreachable");
    }

    #[test]
    fn an_answer_is_read_anew_from_the_next_one() {
        let now = Instant::now();
        let mut session = session_at(Stage::AwaitRelayProxy, now);
        session.handle(Input::RelayReply(b"HTTP/1.1 503 Busy\r\n\r\n"), now);
        session.handle(Input::DialsNext, now);
        session.handle(Input::Dialled, now);
        assert_eq!(outline(&session.handle(Input::RelayReply(OPEN), now)), "open 19");
    }
}
