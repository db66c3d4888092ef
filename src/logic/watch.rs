//! What has been seen of the TLS handshake passing by, and what may go on because of it.
//!
//! Record headers are judged as they pass and are stored nowhere. A hello that is not judged yet waits
//! in the carrier, which hands all it holds to [`Watch::observe`]; the hello is parsed there once, when
//! it is whole, so that nothing of a refused one reaches the other side. The watch over the client
//! lives until the server's real hello: after a HelloRetryRequest (RFC 8446 section 4.1.4) the second
//! ClientHello is judged like the first. Only with a list of client certificates does it go on, up to
//! the server's change of cipher, by the rules of [`Flight`].

use std::sync::Arc;
use std::time::Instant;

use super::certificates::CertificateRules;
use super::ending::Side;
use super::flight::Flight;
use super::policy::{Refusal, TlsRules};
use super::reason::Reason;
use super::strand::{Passing, Rejected, Speaker, Strand};
use crate::proto::target::Target;
use crate::proto::tls::handshake::{CLIENT_HELLO, SERVER_HELLO};
use crate::proto::tls::hello::{ClientHello, ServerHello, ServerName};
use crate::proto::tls::record::ContentType;
use crate::proto::tls::{Version, alert};

#[cfg(any(test, fuzzing))]
pub mod fuzzed;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Client to remote.
    Up,
    /// Remote to client.
    Down,
}

/// What may happen to the bytes a flow holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They wait for more.
    Hold,
    /// They go on; the watch goes on too.
    Forward,
    /// They go on, and nothing that follows is looked at: the handshake is what it should be.
    LetGo,
    /// They go nowhere.
    Refuse(Refusal),
}

/// What the hellos said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The server name of the client's hello.
    pub server_name: Option<Box<str>>,
    /// The best version that the client offered.
    pub offered: Option<Version>,
    /// The version that the server chose.
    pub version: Option<Version>,
    /// The subject of the client's certificate, written as the certificate has it; only where
    /// certificates are looked at.
    pub subject: Option<Box<str>>,
}

/// The watch over one tunnel.
#[derive(Debug)]
pub struct Watch {
    rules: TlsRules,
    hello_bytes: usize,
    up: Strand,
    down: Strand,
    hello_judged: bool,
    retried: bool,
    /// The client is asked for its hello again.
    owes_hello: bool,
    follows_handshake: bool,
    facts: Facts,
    /// The rest of the handshake, where it is watched.
    flight: Option<Box<Flight>>,
}

impl Watch {
    /// A watch over a tunnel that has not moved a byte.
    pub fn new(rules: TlsRules, hello_bytes: usize) -> Watch {
        Watch {
            rules,
            hello_bytes,
            up: Strand::new(Speaker::Client),
            down: Strand::new(Speaker::Server),
            hello_judged: false,
            retried: false,
            owes_hello: false,
            follows_handshake: false,
            facts: Facts::default(),
            flight: None,
        }
    }

    /// Looks at client certificates too. `now` is when the handshake begins.
    pub fn with_certificates(mut self, rules: Arc<CertificateRules>, now: Instant) -> Watch {
        self.flight = Some(Box::new(Flight::new(rules, now)));
        self
    }

    /// Judges `held`, all that the flow in `direction` holds; the bytes before `fresh` were shown
    /// before and told to wait.
    pub fn observe(
        &mut self,
        direction: Direction,
        held: &[u8],
        fresh: usize,
        target: &Target,
    ) -> Verdict {
        let verdict = match direction {
            Direction::Up => self.observe_up(held, fresh, target),
            Direction::Down => self.observe_down(held, fresh, target),
        };
        verdict.unwrap_or_else(Verdict::Refuse)
    }

    /// Whether the client's hello has been judged good.
    pub fn hello_judged(&self) -> bool {
        self.hello_judged
    }

    /// Whether the hellos are judged good, and the rest of the handshake is watched.
    pub fn follows_handshake(&self) -> bool {
        self.follows_handshake
    }

    /// Whose turn it is to speak.
    pub fn awaited(&self) -> Side {
        match &self.flight {
            _ if !self.hello_judged || self.owes_hello => Side::Client,
            Some(flight) if self.follows_handshake => flight.awaited(),
            _ => Side::Remote,
        }
    }

    /// What the hellos have said so far.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The alert that tells a client why it is refused; none where it does not speak TLS, or may be
    /// past the point where an alert in clear means anything.
    pub fn alert(&self, reason: Reason) -> Option<[u8; 7]> {
        let description = match reason {
            Reason::SslVersion
            | Reason::TlsVersionTooLow
            | Reason::NotTls
            | Reason::ServerSpokeFirst => alert::PROTOCOL_VERSION,
            Reason::HandshakeUnreadable | Reason::HelloTooLarge => alert::DECODE_ERROR,
            Reason::ServerNameMismatch | Reason::ServerNameMissing => alert::UNRECOGNIZED_NAME,
            Reason::ClientCertificateNotAllowed
            | Reason::ClientCertificateUnseenTls13
            | Reason::ClientCertificateUnseenResumed
            | Reason::ClientCertificateUnseenNone => alert::ACCESS_DENIED,
            _ => return None,
        };
        if !self.up.speaks_tls() {
            return None;
        }
        // What the client offers decides how an alert to it looks.
        let offered = self.facts.offered.unwrap_or(Version::TLS12);
        Some(alert::fatal(offered.clamp(Version::SSL3, Version::TLS12), description))
    }

    fn observe_up(
        &mut self,
        held: &[u8],
        fresh: usize,
        target: &Target,
    ) -> Result<Verdict, Refusal> {
        let mut at = fresh;
        let limit = self.hello_bytes;
        while let Some(passing) = self.up.next_message(held, &mut at, limit).map_err(refuse_up)? {
            match &passing {
                Passing::Message { kind: CLIENT_HELLO, body } => self.judge_hello(body, target)?,
                _ => self.judge_flight_up(&passing)?,
            }
        }
        Ok(if self.up.is_unjudged() { Verdict::Hold } else { Verdict::Forward })
    }

    fn judge_hello(&mut self, body: &[u8], target: &Target) -> Result<(), Refusal> {
        let hello = ClientHello::parse(body)
            .map_err(|error| unreadable(format!("the client's hello: {error}")))?;
        self.facts.offered = Some(hello.best);
        if let ServerName::Name(name) = &hello.server_name {
            self.facts.server_name = Some(name.clone());
        }
        self.rules.judge_client_hello(&hello, target)?;
        if let Some(flight) = &mut self.flight {
            flight.offer(body, target)?;
        }
        self.hello_judged = true;
        self.owes_hello = false;
        Ok(())
    }

    fn judge_flight_up(&mut self, passing: &Passing<'_>) -> Result<(), Refusal> {
        let Some(flight) = &mut self.flight else { return Ok(()) };
        let judged = flight.up(passing);
        // Also of one that is refused.
        self.facts.subject = flight.subject().map(Box::from);
        if judged? {
            self.up.seal();
        }
        Ok(())
    }

    fn observe_down(
        &mut self,
        held: &[u8],
        fresh: usize,
        target: &Target,
    ) -> Result<Verdict, Refusal> {
        if !self.hello_judged {
            return Err(Refusal::plain(Reason::ServerSpokeFirst));
        }
        let mut at = fresh;
        let limit = self.hello_bytes;
        while let Some(passing) =
            self.down.next_message(held, &mut at, limit).map_err(refuse_down)?
        {
            let is_verified = match &passing {
                Passing::Message { kind: SERVER_HELLO, body } => self.judge_answer(body, target)?,
                _ => match &mut self.flight {
                    Some(flight) => flight.down(&passing, target)?,
                    None => false,
                },
            };
            if is_verified {
                return Ok(Verdict::LetGo);
            }
        }
        Ok(if self.down.is_unjudged() { Verdict::Hold } else { Verdict::Forward })
    }

    /// Whether all is verified with this ServerHello.
    fn judge_answer(&mut self, body: &[u8], target: &Target) -> Result<bool, Refusal> {
        let hello = ServerHello::parse(body)
            .map_err(|error| unreadable(format!("the server's hello: {error}")))?;
        self.facts.version = Some(hello.version);
        self.rules.judge_server_hello(&hello)?;
        if hello.retry {
            if self.retried {
                return Err(unreadable("the server asked for a second retry".to_owned()));
            }
            self.retried = true;
            self.owes_hello = true;
            self.down.admit(ContentType::ChangeCipherSpec);
            return Ok(false);
        }
        let Some(flight) = &mut self.flight else { return Ok(true) };
        if hello.version >= Version::TLS13 {
            return flight.settle_tls13().map(|()| true);
        }
        flight.settle(body, target)?;
        self.up.follow().map_err(refuse_up)?;
        self.down.follow().map_err(refuse_down)?;
        self.follows_handshake = true;
        Ok(false)
    }
}

fn unreadable(why: String) -> Refusal {
    Refusal::because(Reason::HandshakeUnreadable, why)
}

fn refuse_up(rejected: Rejected) -> Refusal {
    match rejected {
        Rejected::NotTls => Refusal::because(Reason::NotTls, "the client does not speak TLS"),
        Rejected::SslV2 => {
            Refusal::because(Reason::SslVersion, "the client sends an SSL 2.0 hello")
        }
        Rejected::TooLarge(limit) => {
            Refusal::because(Reason::HelloTooLarge, format!("limits.hello_bytes is {limit}"))
        }
        Rejected::Unreadable(why) => unreadable(format!("from the client: {why}")),
    }
}

fn refuse_down(rejected: Rejected) -> Refusal {
    match rejected {
        Rejected::NotTls => Refusal::because(Reason::NotTls, "the server does not speak TLS"),
        Rejected::SslV2 => Refusal::because(Reason::SslVersion, "the server answers in SSL 2.0"),
        Rejected::TooLarge(limit) => Refusal::because(
            Reason::HelloTooLarge,
            format!("the server's hello is larger than limits.hello_bytes, {limit}"),
        ),
        Rejected::Unreadable(why) => unreadable(format!("from the server: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::tls::sample::{
        SampleHello, SampleServerHello, client_hello, message, modern_client_hello, records,
        server_hello,
    };
    use ContentType::{Alert, ApplicationData, ChangeCipherSpec, Handshake};

    const NAME: &[u8] = b"ok.test";

    fn target() -> Target {
        Target::parse(b"ok.test:443").unwrap()
    }

    fn rules() -> TlsRules {
        TlsRules { min_version: Version::TLS12, match_server_name: true }
    }

    fn in_records(message: &[u8], fragment: usize) -> Vec<u8> {
        records(Handshake, Version::TLS10, message, fragment)
    }

    fn good_hello() -> Vec<u8> {
        in_records(&modern_client_hello(NAME), 16_384)
    }

    fn answer(version: Version) -> Vec<u8> {
        let (server_version, version) = match version {
            Version::TLS13 => (Version::TLS12, Some(Version::TLS13)),
            older => (older, None),
        };
        let sample = SampleServerHello { server_version, version, ..SampleServerHello::default() };
        in_records(&server_hello(&sample), 16_384)
    }

    fn retry() -> Vec<u8> {
        let sample = SampleServerHello { retry: true, ..SampleServerHello::default() };
        in_records(&server_hello(&sample), 16_384)
    }

    /// Shows bytes to a watch the way a flow does, cut where `cuts` says, and gives the last verdict
    /// with the bytes that were let through.
    fn show(
        watch: &mut Watch,
        direction: Direction,
        bytes: &[u8],
        mut cut: impl FnMut() -> usize,
    ) -> (Verdict, Vec<u8>) {
        let mut passed = Vec::new();
        let mut held = Vec::new();
        let mut verdict = Verdict::Forward;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cut().clamp(1, rest.len()));
            rest = later;
            let fresh = held.len();
            held.extend_from_slice(now);
            verdict = watch.observe(direction, &held, fresh, &target());
            match &verdict {
                Verdict::Hold => {}
                Verdict::Forward => passed.append(&mut held),
                Verdict::LetGo => {
                    passed.append(&mut held);
                    passed.extend_from_slice(rest);
                    break;
                }
                Verdict::Refuse(_) => break,
            }
        }
        (verdict, passed)
    }

    fn whole(watch: &mut Watch, direction: Direction, bytes: &[u8]) -> Verdict {
        show(watch, direction, bytes, || usize::MAX).0
    }

    fn reason(verdict: &Verdict) -> Option<Reason> {
        match verdict {
            Verdict::Refuse(refusal) => Some(refusal.reason),
            _ => None,
        }
    }

    fn new_watch() -> Watch {
        Watch::new(rules(), 65_536)
    }

    fn offering(client_version: Version, versions: &[Version]) -> Vec<u8> {
        let sample = SampleHello {
            client_version,
            versions,
            server_name: Some(NAME),
            ..SampleHello::default()
        };
        in_records(&client_hello(&sample), 16_384)
    }

    #[test]
    fn first_bytes_of_a_client() {
        let mut too_large = vec![22, 3, 1, 0, 4, 1];
        too_large.extend_from_slice(&[0xff, 0xff, 0xff]);
        let mut not_a_hello = in_records(&message(11, b"certificate"), 16_384);
        not_a_hello.extend_from_slice(&good_hello());
        let unnamed = SampleHello { server_name: None, ..SampleHello::default() };
        let other = SampleHello { server_name: Some(b"other.test"), ..SampleHello::default() };
        let rows: [(&str, Vec<u8>, Option<Reason>); 17] = [
            ("a good hello", good_hello(), None),
            ("TLS 1.2 alone", offering(Version::TLS12, &[]), None),
            ("TLS 1.1 alone", offering(Version::TLS11, &[]), Some(Reason::TlsVersionTooLow)),
            (
                "1.3 claims 1.1",
                offering(Version::TLS12, &[Version::TLS11]),
                Some(Reason::TlsVersionTooLow),
            ),
            ("SSL 3.0", offering(Version::SSL3, &[]), Some(Reason::SslVersion)),
            ("an SSL 2.0 frame", vec![0x80, 0x2e, 1, 3, 1, 0, 0], Some(Reason::SslVersion)),
            ("TLCP", offering(Version(0x0101), &[]), Some(Reason::NotTls)),
            ("HTTP", b"GET / HTTP/1.1\r\n".to_vec(), Some(Reason::NotTls)),
            ("SSH", b"SSH-2.0-x\r\n".to_vec(), Some(Reason::NotTls)),
            ("DTLS", vec![22, 0xfe, 0xfd, 0, 0, 0], Some(Reason::NotTls)),
            ("application data first", vec![23, 3, 3, 0, 1, 0], Some(Reason::NotTls)),
            ("an empty record", vec![22, 3, 1, 0, 0], Some(Reason::HandshakeUnreadable)),
            ("too long a record", vec![22, 3, 1, 0x48, 1], Some(Reason::HandshakeUnreadable)),
            ("too large a hello", too_large, Some(Reason::HelloTooLarge)),
            ("no hello at all", not_a_hello, Some(Reason::HandshakeUnreadable)),
            (
                "no name",
                in_records(&client_hello(&unnamed), 16_384),
                Some(Reason::ServerNameMissing),
            ),
            (
                "another name",
                in_records(&client_hello(&other), 16_384),
                Some(Reason::ServerNameMismatch),
            ),
        ];
        for (what, bytes, expected) in rows {
            for cut in [usize::MAX, 1, 7] {
                let (verdict, passed) = show(&mut new_watch(), Direction::Up, &bytes, || cut);
                assert_eq!(reason(&verdict), expected, "{what}, cut {cut}: {verdict:?}");
                let through = if expected.is_none() { bytes.len() } else { 0 };
                assert_eq!(passed.len(), through, "{what}, cut {cut}: what reached the target");
            }
        }
    }

    #[test]
    fn answers_of_a_server() {
        let alert = records(Alert, Version::TLS12, &[2, 40], 16_384);
        let mut request_then_hello = in_records(&message(0, b""), 16_384);
        request_then_hello.extend_from_slice(&answer(Version::TLS12));
        let rows: [(&str, Vec<u8>, Verdict); 11] = [
            ("TLS 1.3", answer(Version::TLS13), Verdict::LetGo),
            ("TLS 1.2", answer(Version::TLS12), Verdict::LetGo),
            ("a HelloRequest before it", request_then_hello, Verdict::LetGo),
            ("an alert", alert, Verdict::Forward),
            ("a retry", retry(), Verdict::Forward),
            ("TLS 1.1", answer(Version::TLS11), refused(Reason::TlsVersionTooLow)),
            ("SSL 3.0", answer(Version::SSL3), refused(Reason::SslVersion)),
            ("HTTP", b"HTTP/1.1 400 Bad\r\n".to_vec(), refused(Reason::NotTls)),
            ("two retries", [retry(), retry()].concat(), refused(Reason::HandshakeUnreadable)),
            (
                "data",
                [retry(), vec![23, 3, 3, 0, 1, 0]].concat(),
                refused(Reason::HandshakeUnreadable),
            ),
            ("an unknown version", answer(Version(0x0305)), refused(Reason::HandshakeUnreadable)),
        ];
        for (what, bytes, expected) in rows {
            for cut in [usize::MAX, 1, 7] {
                let mut watch = new_watch();
                assert_eq!(whole(&mut watch, Direction::Up, &good_hello()), Verdict::Forward);
                let (verdict, passed) = show(&mut watch, Direction::Down, &bytes, || cut);
                match (&verdict, &expected) {
                    (Verdict::Refuse(got), Verdict::Refuse(wanted)) => {
                        assert_eq!(got.reason, wanted.reason, "{what}, cut {cut}");
                    }
                    _ => {
                        assert_eq!(verdict, expected, "{what}, cut {cut}");
                        assert_eq!(passed, bytes, "{what}, cut {cut}: what reached the client");
                    }
                }
            }
        }
    }

    fn refused(reason: Reason) -> Verdict {
        Verdict::Refuse(Refusal::plain(reason))
    }

    #[test]
    fn the_hello_after_a_retry_is_judged_like_the_first() {
        let other = SampleHello { server_name: Some(b"other.test"), ..SampleHello::default() };
        let dummy = records(ChangeCipherSpec, Version::TLS12, &[1], 16_384);
        for (second, expected) in [
            (good_hello(), None),
            (in_records(&client_hello(&other), 16_384), Some(Reason::ServerNameMismatch)),
        ] {
            let mut watch = new_watch();
            assert_eq!(whole(&mut watch, Direction::Up, &good_hello()), Verdict::Forward);
            let down = [retry(), dummy.clone()].concat();
            assert_eq!(whole(&mut watch, Direction::Down, &down), Verdict::Forward);
            let up = [dummy.clone(), second].concat();
            assert_eq!(reason(&whole(&mut watch, Direction::Up, &up)), expected);
            if expected.is_none() {
                assert_eq!(
                    whole(&mut watch, Direction::Down, &answer(Version::TLS13)),
                    Verdict::LetGo
                );
            }
        }
    }

    #[test]
    fn early_data_passes_between_the_hellos() {
        let mut watch = new_watch();
        let early = records(ApplicationData, Version::TLS12, &[7; 40_000], 16_384);
        let up = [good_hello(), early].concat();
        let (verdict, passed) = show(&mut watch, Direction::Up, &up, || 1_000);
        assert_eq!((verdict, passed), (Verdict::Forward, up));
    }

    #[test]
    fn a_server_that_speaks_first_is_refused_and_the_client_told_if_it_began() {
        let mut watch = new_watch();
        assert_eq!(
            reason(&whole(&mut watch, Direction::Down, b"220 smtp")),
            Some(Reason::ServerSpokeFirst)
        );
        assert_eq!(watch.alert(Reason::ServerSpokeFirst), None, "no TLS was spoken");
        let mut watch = new_watch();
        assert_eq!(whole(&mut watch, Direction::Up, &good_hello()[..9]), Verdict::Hold);
        assert_eq!(
            reason(&whole(&mut watch, Direction::Down, b"2")),
            Some(Reason::ServerSpokeFirst)
        );
        assert_eq!(watch.alert(Reason::ServerSpokeFirst), Some([21, 3, 3, 0, 2, 2, 70]));
    }

    #[test]
    fn endless_small_records_are_cut_off() {
        let mut watch = new_watch();
        assert_eq!(whole(&mut watch, Direction::Up, &good_hello()), Verdict::Forward);
        let empty = [23, 3, 3, 0, 0].repeat(10_000);
        assert_eq!(
            reason(&whole(&mut watch, Direction::Up, &empty)),
            Some(Reason::HandshakeUnreadable)
        );
    }

    proptest! {
        /// Any cut of any stream gives the same verdict and lets the same bytes through.
        #[test]
        fn cuts_change_nothing(
            fragment in 1usize..600,
            up_tail in prop::collection::vec(any::<u8>(), 0..40),
            flip in prop::option::of((0usize..2_000, any::<u8>())),
            cuts in prop::collection::vec(1usize..200, 1..50),
        ) {
            let mut up = in_records(&modern_client_hello(NAME), fragment);
            up.extend_from_slice(&up_tail);
            if let Some((at, bits)) = flip {
                let at = at % up.len();
                up[at] ^= bits;
            }
            let mut turns = cuts.iter().cycle();
            let uncut = show(&mut new_watch(), Direction::Up, &up, || usize::MAX);
            let cut = show(&mut new_watch(), Direction::Up, &up, || *turns.next().unwrap());
            prop_assert_eq!(reason(&uncut.0), reason(&cut.0));
            if let Verdict::Refuse(_) = uncut.0 {
                // A later fault may be seen after a good hello has gone its way; never the reverse.
                prop_assert!(cut.1.is_empty() || up.starts_with(&cut.1));
            }
        }

        #[test]
        fn garbage_never_panics(up in prop::collection::vec(any::<u8>(), 0..300), down in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut watch = new_watch();
            whole(&mut watch, Direction::Up, &up);
            whole(&mut watch, Direction::Down, &down);
            let mut watch = new_watch();
            whole(&mut watch, Direction::Up, &good_hello());
            whole(&mut watch, Direction::Down, &down);
        }
    }
}
