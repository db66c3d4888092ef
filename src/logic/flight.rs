//! The handshake of TLS 1.0 to 1.2 from the server's hello to its change of cipher (RFC 5246 section
//! 7.3), for a gateway that admits by client certificate.
//!
//! A certificate is public, so a client has proven nothing by sending one. Only the server can judge
//! the proof, and it answers with its change of cipher: until that has come nothing counts as verified
//! and no session as one that may be resumed. The order of messages is judged, because a message out
//! of its place is how one side makes another reader believe in a certificate that nobody checked.

#[doc(hidden)]
pub mod fuzzed;

use std::sync::Arc;
use std::time::Instant;

use super::certificates::{CertificateRules, Grounds};
use super::ending::Side;
use super::policy::Refusal;
use super::reason::Reason;
use super::resumption::{Key, Means};
use super::strand::Passing;
use crate::proto::target::Target;
use crate::proto::tls::certificate::{self, CertificateError};
use crate::proto::tls::handshake::{self, Offer};
use crate::proto::tls::hello::HelloError;

/// What has been seen of one handshake.
#[derive(Debug)]
pub struct Flight {
    rules: Arc<CertificateRules>,
    now: Instant,
    /// The session that the client offers to resume.
    offered: Option<Offered>,
    /// The id of the session that begins or goes on, and the ticket that is given for it.
    id: Option<Key>,
    ticket: Option<Key>,
    server: Server,
    client: Client,
    /// The written subject of the client's certificate.
    subject: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug)]
struct Offered {
    key: Key,
    means: Means,
}

/// How far the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// It has sent its hello.
    Hello,
    /// It has begun to introduce itself: the handshake is a full one.
    Introduces { asks: bool },
    /// It has said all it has to say.
    Done { asks: bool },
}

/// How far the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    /// It has sent its hello.
    Hello,
    /// It has shown its certificate, or that it has none.
    Shown { grounds: Grounds, must_prove: bool },
    /// It has sent its part of the key exchange.
    Exchanged { grounds: Grounds, must_prove: bool },
    /// It has changed its cipher: the rest cannot be read.
    Sealed { grounds: Grounds },
}

impl Flight {
    /// A handshake that begins at `now`.
    pub fn new(rules: Arc<CertificateRules>, now: Instant) -> Flight {
        Flight {
            rules,
            now,
            offered: None,
            id: None,
            ticket: None,
            server: Server::Hello,
            client: Client::Hello,
            subject: None,
        }
    }

    /// Whose turn it is to speak: the server's, but for the client's answer to all it has said.
    pub fn awaited(&self) -> Side {
        match (self.server, self.client) {
            (Server::Done { .. }, Client::Sealed { .. }) => Side::Remote,
            (Server::Done { .. }, _) => Side::Client,
            _ => Side::Remote,
        }
    }

    /// The written subject of the client's certificate, once it has been seen.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Takes note of what the body of a ClientHello offers to resume. A ticket counts before an id:
    /// RFC 5077 section 3.4 forbids a server to resume by the id where there is a ticket.
    ///
    /// # Errors
    /// Where the hello cannot be read.
    pub fn offer(&mut self, hello: &[u8], target: &Target) -> Result<(), Refusal> {
        let offer = Offer::of(hello).map_err(unreadable_hello)?;
        let (means, bytes) = match offer.ticket {
            Some(ticket) => (Means::Ticket, ticket),
            None => (Means::Id, offer.session_id),
        };
        let key = self.rules.resumable.key(target, means, bytes);
        self.offered = (!bytes.is_empty()).then_some(Offered { key, means });
        Ok(())
    }

    /// The server settles TLS 1.3: nothing more is to be seen.
    ///
    /// # Errors
    /// Where such sessions are refused.
    pub fn settle_tls13(&self) -> Result<(), Refusal> {
        self.rules.judge_tls13()
    }

    /// Takes note of the session in the body of a ServerHello of TLS 1.2 or below.
    ///
    /// # Errors
    /// Where the hello cannot be read.
    pub fn settle(&mut self, hello: &[u8], target: &Target) -> Result<(), Refusal> {
        let id = handshake::settled_session_id(hello).map_err(unreadable_hello)?;
        self.id = (!id.is_empty()).then(|| self.rules.resumable.key(target, Means::Id, id));
        Ok(())
    }

    /// Judges what the server sends. True when its change of cipher passes: all is verified.
    ///
    /// # Errors
    /// Where the session is refused.
    pub fn down(&mut self, passing: &Passing<'_>, target: &Target) -> Result<bool, Refusal> {
        match passing {
            Passing::ChangeCipherSpec => self.server_changes().map(|()| true),
            Passing::Message { kind, body } => {
                self.server_says(*kind, body, target).map(|()| false)
            }
        }
    }

    /// Judges what the client sends. True when it has changed its cipher, and nothing more can be read.
    ///
    /// # Errors
    /// Where the session is refused.
    pub fn up(&mut self, passing: &Passing<'_>) -> Result<bool, Refusal> {
        match passing {
            Passing::ChangeCipherSpec => self.client_changes().map(|()| true),
            Passing::Message { kind, body } => self.client_says(*kind, body).map(|()| false),
        }
    }

    fn server_says(&mut self, kind: u8, body: &[u8], target: &Target) -> Result<(), Refusal> {
        let asks = match self.server {
            Server::Hello => false,
            Server::Introduces { asks } => asks,
            Server::Done { .. } if kind == handshake::NEW_SESSION_TICKET => {
                if !matches!(self.client, Client::Sealed { .. }) {
                    return Err(out_of_order("the server gives a ticket before it may"));
                }
                return self.take_ticket(body, target);
            }
            Server::Done { .. } => return Err(out_of_order("the server goes on after its end")),
        };
        self.server = match kind {
            handshake::NEW_SESSION_TICKET if self.server == Server::Hello => {
                return self.take_ticket(body, target);
            }
            handshake::CERTIFICATE
            | handshake::CERTIFICATE_STATUS
            | handshake::SERVER_KEY_EXCHANGE
            | handshake::SUPPLEMENTAL_DATA
                if self.ticket.is_none() =>
            {
                Server::Introduces { asks }
            }
            handshake::CERTIFICATE_REQUEST if self.ticket.is_none() => {
                Server::Introduces { asks: true }
            }
            handshake::SERVER_HELLO_DONE if self.ticket.is_none() => {
                if !asks {
                    self.rules.judge_none("the server asks for none")?;
                }
                Server::Done { asks }
            }
            _ => return Err(out_of_order("the server sends a message that does not belong here")),
        };
        Ok(())
    }

    fn take_ticket(&mut self, body: &[u8], target: &Target) -> Result<(), Refusal> {
        let ticket = handshake::new_ticket(body)
            .map_err(|_| out_of_order("the server's ticket cannot be read"))?;
        if self.ticket.is_some() {
            return Err(out_of_order("the server gives two tickets"));
        }
        self.ticket = Some(self.rules.resumable.key(target, Means::Ticket, ticket));
        Ok(())
    }

    /// The server changes its cipher after the client has, in a full handshake; at once in a resumed one.
    fn server_changes(&mut self) -> Result<(), Refusal> {
        let grounds = match (self.server, self.client) {
            (Server::Done { .. }, Client::Sealed { grounds }) => Some(grounds),
            (Server::Hello, Client::Hello) => {
                let known =
                    self.resumed().and_then(|key| self.rules.resumable.recall(key, self.now));
                self.rules.judge_resumed(known)?
            }
            _ => return Err(out_of_order("the server changes its cipher too early")),
        };
        // Not earlier: what resumes a session is good only where the session has come about.
        if let Some(grounds) = grounds {
            for key in [self.id, self.ticket].into_iter().flatten() {
                self.rules.resumable.remember(key, grounds, self.now);
            }
        }
        Ok(())
    }

    /// What the server resumes the session by; by an id it says so with the same one.
    fn resumed(&self) -> Option<Key> {
        let offered = self.offered?;
        let is_said = offered.means == Means::Ticket || self.id == Some(offered.key);
        is_said.then_some(offered.key)
    }

    fn client_says(&mut self, kind: u8, body: &[u8]) -> Result<(), Refusal> {
        let Server::Done { asks } = self.server else {
            return Err(out_of_order("the client goes on before the server has answered"));
        };
        self.client = match (kind, self.client) {
            (handshake::SUPPLEMENTAL_DATA, Client::Hello) => Client::Hello,
            (handshake::CERTIFICATE, Client::Hello) if asks => self.judge_certificate(body)?,
            (handshake::CLIENT_KEY_EXCHANGE, Client::Hello) => {
                let cause = "the client does not answer the server that asks for one";
                let grounds = match asks {
                    true => self.rules.judge_none(cause)?,
                    false => Grounds::NoneNeeded,
                };
                Client::Exchanged { grounds, must_prove: false }
            }
            (handshake::CLIENT_KEY_EXCHANGE, Client::Shown { grounds, must_prove }) => {
                Client::Exchanged { grounds, must_prove }
            }
            (handshake::CERTIFICATE_VERIFY, Client::Exchanged { grounds, must_prove: true }) => {
                Client::Exchanged { grounds, must_prove: false }
            }
            _ => return Err(out_of_order("the client sends a message that does not belong here")),
        };
        Ok(())
    }

    fn judge_certificate(&mut self, body: &[u8]) -> Result<Client, Refusal> {
        let Some(leaf) = certificate::leaf(body).map_err(unreadable_certificate)? else {
            let grounds = self.rules.judge_none("the client has none")?;
            return Ok(Client::Shown { grounds, must_prove: false });
        };
        let subject = certificate::subject(leaf).map_err(unreadable_certificate)?;
        self.subject = Some(subject.shown());
        let grounds = self.rules.judge_subject(&subject)?;
        Ok(Client::Shown { grounds, must_prove: true })
    }

    fn client_changes(&mut self) -> Result<(), Refusal> {
        let Client::Exchanged { grounds, must_prove } = self.client else {
            return Err(out_of_order("the client changes its cipher too early"));
        };
        if must_prove {
            return Err(out_of_order("the client does not prove that it owns its certificate"));
        }
        self.client = Client::Sealed { grounds };
        Ok(())
    }
}

fn out_of_order(what: &'static str) -> Refusal {
    Refusal::because(Reason::HandshakeUnreadable, what)
}

fn unreadable_hello(error: HelloError) -> Refusal {
    Refusal::because(Reason::HandshakeUnreadable, error.to_string())
}

fn unreadable_certificate(error: CertificateError) -> Refusal {
    Refusal::because(Reason::HandshakeUnreadable, format!("the client's certificate: {error}"))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use super::*;
    use crate::logic::certificates::{SubjectRule, Subjects, UnseenAllowed};
    use crate::logic::policy::TlsRules;
    use crate::logic::watch::{Direction, Verdict, Watch};
    use crate::proto::tls::Version;
    use crate::proto::tls::handshake::*;
    use crate::proto::tls::record::ContentType;
    use crate::proto::tls::sample::{
        SampleHello, SampleServerHello, certificate as certificate_with, certificates,
        client_hello, message, records, server_hello,
    };
    use Direction::{Down, Up};

    const REFUSE: UnseenAllowed = UnseenAllowed { tls13: false, resumed: false, none: false };
    const ALLOW: UnseenAllowed = UnseenAllowed { tls13: true, resumed: true, none: true };

    /// What one side sends at a time.
    type Turn = (Direction, Vec<u8>);

    fn rules(unseen: UnseenAllowed) -> Arc<CertificateRules> {
        let subjects = Subjects::new(vec![SubjectRule::parse("agent").unwrap()]);
        Arc::new(CertificateRules { subjects, unseen, resumable: Arc::default() })
    }

    fn target() -> Target {
        Target::parse(b"ok.test:443").unwrap()
    }

    fn record(messages: &[Vec<u8>]) -> Vec<u8> {
        in_records(messages, 1 << 14)
    }

    fn in_records(messages: &[Vec<u8>], fragment: usize) -> Vec<u8> {
        records(ContentType::Handshake, Version::TLS12, &messages.concat(), fragment)
    }

    fn hello_with(session_id_len: usize, ticket: Option<&[u8]>) -> Turn {
        let extra: Vec<(u16, &[u8])> = ticket.map(|ticket| (35, ticket)).into_iter().collect();
        let sample = SampleHello {
            versions: &[Version::TLS12],
            server_name: Some(b"ok.test"),
            session_id_len,
            extra: &extra,
            ..SampleHello::default()
        };
        (Up, record(&[client_hello(&sample)]))
    }

    fn hello() -> Turn {
        hello_with(32, None)
    }

    fn answer() -> Vec<u8> {
        server_hello(&SampleServerHello::default())
    }

    fn own() -> Vec<u8> {
        message(CERTIFICATE, &certificates(&[&[7; 3_000]]))
    }

    fn exchange() -> Vec<u8> {
        message(SERVER_KEY_EXCHANGE, &[8; 300])
    }

    fn asks() -> Vec<u8> {
        message(CERTIFICATE_REQUEST, &[9; 80])
    }

    fn done() -> Vec<u8> {
        message(SERVER_HELLO_DONE, &[])
    }

    fn shows(common_name: &[u8]) -> Vec<u8> {
        let leaf = certificate_with(&[&[(&[0x55, 4, 3], 12, common_name)]]);
        message(CERTIFICATE, &certificates(&[&leaf, b"issuer"]))
    }

    fn shows_none() -> Vec<u8> {
        message(CERTIFICATE, &certificates(&[]))
    }

    fn key() -> Vec<u8> {
        message(CLIENT_KEY_EXCHANGE, &[5; 66])
    }

    fn proves() -> Vec<u8> {
        message(CERTIFICATE_VERIFY, &[6; 260])
    }

    fn ticket(ticket: &[u8]) -> Vec<u8> {
        let body = [&[0; 4][..], &(ticket.len() as u16).to_be_bytes(), ticket].concat();
        message(NEW_SESSION_TICKET, &body)
    }

    fn changes() -> Vec<u8> {
        vec![20, 3, 3, 0, 1, 1]
    }

    fn finished() -> Vec<u8> {
        records(ContentType::Handshake, Version::TLS12, &[0xee; 40], 1 << 14)
    }

    /// A whole handshake; the client shows what `shown` says.
    fn full(shown: &[Vec<u8>], tickets: &[Vec<u8>]) -> Vec<Turn> {
        let up = [record(shown), changes(), finished()].concat();
        let tickets = if tickets.is_empty() { Vec::new() } else { record(tickets) };
        vec![
            hello(),
            (Down, record(&[answer(), own(), exchange(), asks(), done()])),
            (Up, up),
            (Down, [tickets, changes(), finished()].concat()),
        ]
    }

    fn resumed(hello: Turn, down: &[Vec<u8>]) -> Vec<Turn> {
        vec![hello, (Down, [record(down), changes(), finished()].concat())]
    }

    /// How a handshake went: the last verdict, the subject seen, and what was let through each way.
    struct Outcome {
        verdict: Verdict,
        subject: Option<Box<str>>,
        passed: [Vec<u8>; 2],
    }

    impl Outcome {
        fn reason(&self) -> Option<Reason> {
            match &self.verdict {
                Verdict::Refuse(refusal) => Some(refusal.reason),
                _ => None,
            }
        }
    }

    fn play(rules: &Arc<CertificateRules>, turns: &[Turn], cut: usize, now: Instant) -> Outcome {
        let tls = TlsRules { min_version: Version::TLS10, match_server_name: true };
        let mut watch = Watch::new(tls, 65_536).with_certificates(Arc::clone(rules), now);
        let mut passed = [Vec::new(), Vec::new()];
        let mut verdict = Verdict::Forward;
        'turns: for (direction, bytes) in turns {
            let mut held = Vec::new();
            for piece in bytes.chunks(cut) {
                let fresh = held.len();
                held.extend_from_slice(piece);
                verdict = watch.observe(*direction, &held, fresh, &target());
                match verdict {
                    Verdict::Hold => {}
                    Verdict::Forward => passed[*direction as usize].append(&mut held),
                    Verdict::LetGo | Verdict::Refuse(_) => break 'turns,
                }
            }
        }
        Outcome { verdict, subject: watch.facts().subject.clone(), passed }
    }

    /// Plays it whole, byte by byte and in pieces, each time from the beginning.
    fn expect(what: &str, unseen: UnseenAllowed, turns: &[Turn], expected: Option<Reason>) {
        for cut in [usize::MAX, 1, 7] {
            let outcome = play(&rules(unseen), turns, cut, Instant::now());
            let (got, verdict) = (outcome.reason(), &outcome.verdict);
            assert_eq!(got, expected, "{what}, cut {cut}: {verdict:?}");
            if expected.is_none() {
                assert_eq!(verdict, &Verdict::LetGo, "{what}, cut {cut}");
            }
        }
    }

    const NOT_ALLOWED: Option<Reason> = Some(Reason::ClientCertificateNotAllowed);
    const UNSEEN_NONE: Option<Reason> = Some(Reason::ClientCertificateUnseenNone);
    const UNSEEN_RESUMED: Option<Reason> = Some(Reason::ClientCertificateUnseenResumed);
    const UNSEEN_13: Option<Reason> = Some(Reason::ClientCertificateUnseenTls13);
    const UNREADABLE: Option<Reason> = Some(Reason::HandshakeUnreadable);

    #[test]
    fn an_alert_of_ours_follows_a_whole_record() {
        let long = [answer(), message(CERTIFICATE, &[7; 40_000]), exchange(), done()];
        for fragment in [1 << 14, 900, 20] {
            let turns = vec![hello(), (Down, in_records(&long, fragment))];
            for cut in [1, 3, 7, 1_000, 1_460, 20_000] {
                let outcome = play(&rules(REFUSE), &turns, cut, Instant::now());
                assert_eq!(outcome.reason(), UNSEEN_NONE);
                let passed = &outcome.passed[Down as usize];
                let mut at = 0;
                while let Some(header) = passed.get(at..at + 5) {
                    at += 5 + usize::from(u16::from_be_bytes([header[3], header[4]]));
                }
                assert_eq!(at, passed.len(), "cut {cut}, records of {fragment}");
            }
        }
    }

    #[test]
    fn a_certificate_is_found_wherever_it_lies() {
        let shown = [shows(b"agent"), key(), proves()];
        for fragment in [1 << 14, 500, 33, 5] {
            let turns = vec![
                hello(),
                (Down, in_records(&[answer(), own(), exchange(), asks(), done()], fragment)),
                (Up, [in_records(&shown, fragment), changes(), finished()].concat()),
                (Down, [changes(), finished()].concat()),
            ];
            expect("good", REFUSE, &turns, None);
        }
        let apart = vec![
            hello(),
            (Down, [answer(), own(), asks(), done()].map(|message| record(&[message])).concat()),
            (Up, shown.clone().map(|message| record(&[message])).concat()),
            (Up, changes()),
            (Up, finished()),
            (Down, record(&[ticket(b"t")])),
            (Down, changes()),
        ];
        expect("each in its record", REFUSE, &apart, None);
        let outcome = play(&rules(REFUSE), &apart, 1 << 14, Instant::now());
        assert_eq!(outcome.subject.as_deref(), Some("CN=agent"));
    }

    #[test]
    fn nothing_of_a_refused_certificate_reaches_the_server() {
        for cut in [usize::MAX, 1, 7] {
            let shown = [shows(b"stranger"), key(), proves()];
            let turns = full(&shown, &[]);
            let outcome = play(&rules(ALLOW), &turns, cut, Instant::now());
            assert_eq!(outcome.reason(), NOT_ALLOWED);
            assert_eq!(outcome.passed, [turns[0].1.clone(), turns[1].1.clone()], "cut {cut}");
            assert_eq!(outcome.subject.as_deref(), Some("CN=stranger"));
        }
    }

    #[test]
    fn handshakes_and_what_becomes_of_them() {
        let nul = shows(b"agent\0.evil");
        let broken = message(CERTIFICATE, &certificates(&[b"no certificate"]));
        let large = message(CERTIFICATE, &certificates(&[&[0x30; 16_385]]));
        let chain = message(CERTIFICATE, &certificates(&[&[0x30; 65_600]]));
        let framing = message(CERTIFICATE, &[0, 0, 9, 0, 0, 1, 0]);
        let rows = [
            ("admitted", vec![shows(b"agent"), key(), proves()], None, None),
            ("another", vec![shows(b"agent2"), key(), proves()], NOT_ALLOWED, NOT_ALLOWED),
            ("a prefix", vec![shows(b"agen"), key(), proves()], NOT_ALLOWED, NOT_ALLOWED),
            ("NUL", vec![nul, key(), proves()], NOT_ALLOWED, NOT_ALLOWED),
            ("empty list", vec![shows_none(), key()], UNSEEN_NONE, None),
            ("no answer", vec![key()], UNSEEN_NONE, None),
            ("not DER", vec![broken], UNREADABLE, UNREADABLE),
            ("framing", vec![framing], UNREADABLE, UNREADABLE),
            ("large leaf", vec![large], UNREADABLE, UNREADABLE),
            ("large chain", vec![chain], UNREADABLE, UNREADABLE),
            ("no proof", vec![shows(b"agent"), key()], UNREADABLE, UNREADABLE),
            ("no key", vec![shows(b"agent")], UNREADABLE, UNREADABLE),
            ("proof first", vec![proves(), shows(b"agent"), key()], UNREADABLE, UNREADABLE),
            (
                "two proofs",
                vec![shows(b"agent"), key(), proves(), proves()],
                UNREADABLE,
                UNREADABLE,
            ),
            ("two certificates", vec![shows(b"agent"), shows(b"agent")], UNREADABLE, UNREADABLE),
            ("proof of none", vec![shows_none(), key(), proves()], UNSEEN_NONE, UNREADABLE),
            ("late", vec![key(), shows(b"agent")], UNSEEN_NONE, UNREADABLE),
            ("a second hello", vec![client_hello(&SampleHello::default())], UNREADABLE, UNREADABLE),
            ("of a server", vec![done()], UNREADABLE, UNREADABLE),
        ];
        for (what, shown, strict, lenient) in rows {
            expect(what, REFUSE, &full(&shown, &[]), strict);
            expect(what, ALLOW, &full(&shown, &[]), lenient);
        }
    }

    #[test]
    fn a_server_that_asks_for_none_and_one_that_is_out_of_order() {
        let after = |down: &[Vec<u8>], shown: &[Vec<u8>]| {
            let up = [record(shown), changes(), finished()].concat();
            vec![hello(), (Down, record(down)), (Up, up), (Down, changes())]
        };
        let unasked = after(&[answer(), own(), done()], &[key()]);
        expect("asks for none", REFUSE, &unasked, UNSEEN_NONE);
        expect("asks for none", ALLOW, &unasked, None);
        let shown = after(&[answer(), own(), done()], &[shows(b"agent"), key(), proves()]);
        expect("shown unasked", ALLOW, &shown, UNREADABLE);
        let with_request = [answer(), own(), message(HELLO_REQUEST, &[]), asks(), done()];
        let good = [shows(b"agent"), key(), proves()];
        expect("a HelloRequest between", REFUSE, &after(&with_request, &good), None);
        let status = message(CERTIFICATE_STATUS, &[1; 900]);
        let stapled = [answer(), own(), status, exchange(), asks(), done()];
        expect("a stapled response", REFUSE, &after(&stapled, &good), None);
        let many_names = message(CERTIFICATE_REQUEST, &[9; 100_000]);
        expect("many names", REFUSE, &after(&[answer(), own(), many_names, done()], &good), None);
        for (what, down) in [
            ("done twice", vec![answer(), own(), asks(), done(), done()]),
            ("asks after the end", vec![answer(), own(), done(), asks()]),
            ("a ticket in between", vec![answer(), own(), ticket(b"t"), asks(), done()]),
            ("introduces itself after a ticket", vec![answer(), ticket(b"t"), own()]),
            ("two tickets", vec![answer(), ticket(b"t"), ticket(b"u")]),
            ("a broken ticket", vec![answer(), message(NEW_SESSION_TICKET, b"12345")]),
            ("a second hello", vec![answer(), answer()]),
            ("a key of a client", vec![answer(), key()]),
            ("a HelloRequest with a body", vec![answer(), message(HELLO_REQUEST, &[1])]),
            ("a chain too large", vec![answer(), message(CERTIFICATE, &[0; 70_000])]),
            ("a list too large", vec![answer(), message(CERTIFICATE_REQUEST, &[0; 140_000])]),
        ] {
            expect(what, ALLOW, &[hello(), (Down, record(&down))], UNREADABLE);
        }
        let early_ticket = [
            hello(),
            (Down, record(&[answer(), own(), asks(), done()])),
            (Down, record(&[ticket(b"t")])),
        ];
        expect("a ticket before the client's end", ALLOW, &early_ticket, UNREADABLE);
    }

    #[test]
    fn no_cipher_is_changed_too_early() {
        let introduction = || (Down, record(&[answer(), own(), asks(), done()]));
        let shown = || (Up, record(&[shows(b"agent"), key(), proves()]));
        for (what, turns) in [
            ("before the answer", vec![hello(), (Up, changes()), introduction()]),
            ("data before the answer", {
                vec![hello(), (Up, vec![23, 3, 3, 0, 1, 7]), introduction()]
            }),
            ("by the client at once", vec![hello(), introduction(), (Up, changes())]),
            ("before the key", {
                vec![hello(), introduction(), (Up, record(&[shows(b"agent")])), (Up, changes())]
            }),
            ("by the server at its end", vec![hello(), introduction(), (Down, changes())]),
            ("by the server within", {
                vec![hello(), (Down, [record(&[answer(), own()]), changes()].concat())]
            }),
            ("by the server before the client", {
                vec![hello(), introduction(), shown(), (Down, changes())]
            }),
            ("of two bytes", {
                vec![hello(), introduction(), shown(), (Up, vec![20, 3, 3, 0, 2, 1, 1])]
            }),
            ("data in clear", {
                vec![hello(), introduction(), shown(), (Up, vec![23, 3, 3, 0, 1, 7])]
            }),
            ("the client before the server's end", {
                vec![hello(), (Down, record(&[answer(), own()])), shown()]
            }),
            ("within a message", {
                let half = record(&[shows(b"agent")])[..40].to_vec();
                let mut half = half;
                half[4] = 35;
                vec![hello(), introduction(), (Up, [half, changes()].concat())]
            }),
        ] {
            expect(what, ALLOW, &turns, UNREADABLE);
        }
    }

    #[test]
    fn a_stolen_certificate_is_not_verified_until_the_server_says_so() {
        let mut turns = full(&[shows(b"agent"), key(), proves()], &[ticket(b"t")]);
        let rules = rules(REFUSE);
        let (_, last) = turns.pop().unwrap();
        // The server's alert takes the place of its change of cipher.
        turns.push((Down, [record(&[ticket(b"t")]), vec![21, 3, 3, 0, 2, 2, 51]].concat()));
        let now = Instant::now();
        assert_eq!(play(&rules, &turns, usize::MAX, now).verdict, Verdict::Forward);
        let known =
            |ticket| play(&rules, &resumed(hello_with(32, Some(ticket)), &[answer()]), 7, now);
        assert_eq!(known(b"t").reason(), UNSEEN_RESUMED, "nothing came of it");
        turns.pop();
        turns.push((Down, last));
        assert_eq!(play(&rules, &turns, usize::MAX, now).verdict, Verdict::LetGo);
        assert_eq!(known(b"t").verdict, Verdict::LetGo);
    }

    #[test]
    fn sessions_that_were_seen_to_begin_may_be_resumed() {
        let now = Instant::now();
        let rules = rules(REFUSE);
        let resume = |turns: &[Turn]| {
            let outcomes = [usize::MAX, 1, 7].map(|cut| play(&rules, turns, cut, now).reason());
            assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
            outcomes[0]
        };
        let by_id = || resumed(hello(), &[answer()]);
        let by_ticket = |ticket: &[u8]| resumed(hello_with(32, Some(ticket)), &[answer()]);
        assert_eq!(resume(&by_id()), UNSEEN_RESUMED);
        assert_eq!(resume(&by_ticket(b"one")), UNSEEN_RESUMED);
        let shown = [shows(b"agent"), key(), proves()];
        assert_eq!(resume(&full(&shown, &[ticket(b"one")])), None);
        assert_eq!(resume(&by_id()), None);
        assert_eq!(resume(&by_ticket(b"one")), None);
        assert_eq!(resume(&by_ticket(b"two")), UNSEEN_RESUMED, "whatever the id beside it");
        assert_eq!(resume(&by_ticket(b"on")), UNSEEN_RESUMED);
        let renewed = resumed(hello_with(32, Some(b"one")), &[answer(), ticket(b"two")]);
        assert_eq!(resume(&renewed), None);
        assert_eq!(resume(&by_ticket(b"two")), None, "a renewed ticket is as good");
        let other_id = SampleServerHello { session_id: &[0x44; 32], ..Default::default() };
        let not_said = resumed(hello(), &[server_hello(&other_id)]);
        assert_eq!(resume(&not_said), UNSEEN_RESUMED, "the server names another session");
        assert_eq!(resume(&resumed(hello_with(0, None), &[answer()])), UNSEEN_RESUMED);
        let late = now + std::time::Duration::from_secs(25 * 3_600);
        assert_eq!(play(&rules, &by_id(), 7, late).reason(), UNSEEN_RESUMED, "a day later");
    }

    #[test]
    fn what_is_not_known_is_allowed_by_itself() {
        let rules = rules(UnseenAllowed { resumed: true, ..REFUSE });
        let now = Instant::now();
        let renewed = resumed(hello_with(32, Some(b"x")), &[answer(), ticket(b"y")]);
        assert_eq!(play(&rules, &renewed, 7, now).verdict, Verdict::LetGo);
        let strict = Arc::new(CertificateRules {
            subjects: rules.subjects.clone(),
            unseen: REFUSE,
            resumable: Arc::clone(&rules.resumable),
        });
        let next = resumed(hello_with(32, Some(b"y")), &[answer()]);
        assert_eq!(play(&strict, &next, 7, now).reason(), UNSEEN_RESUMED, "and is not known then");
    }

    #[test]
    fn tls_13_is_judged_at_the_hello() {
        let chosen = SampleServerHello { version: Some(Version::TLS13), ..Default::default() };
        let retry = SampleServerHello { retry: true, ..chosen.clone() };
        let sample = SampleHello { server_name: Some(b"ok.test"), ..SampleHello::default() };
        let hello = || (Up, record(&[client_hello(&sample)]));
        let turns = vec![
            hello(),
            (Down, [record(&[server_hello(&retry)]), changes()].concat()),
            (Up, changes()),
            hello(),
            (Down, [record(&[server_hello(&chosen)]), changes()].concat()),
        ];
        expect("refused", REFUSE, &turns, UNSEEN_13);
        expect("allowed", UnseenAllowed { tls13: true, ..REFUSE }, &turns, None);
    }

    #[test]
    fn an_alert_passes_in_the_place_of_anything() {
        let alert = |direction| (direction, vec![21, 3, 3, 0, 2, 2, 40]);
        let introduction = || (Down, record(&[answer(), own(), asks(), done()]));
        for turns in [
            vec![hello(), alert(Down)],
            vec![hello(), (Down, record(&[answer()])), alert(Down)],
            vec![hello(), introduction(), alert(Up)],
            vec![hello(), introduction(), (Up, record(&[shows(b"agent")])), alert(Down)],
        ] {
            for cut in [usize::MAX, 1, 7] {
                let outcome = play(&rules(REFUSE), &turns, cut, Instant::now());
                assert_eq!(outcome.verdict, Verdict::Forward);
                let sent: usize = turns.iter().map(|(_, bytes)| bytes.len()).sum();
                assert_eq!(outcome.passed.concat().len(), sent);
            }
        }
    }

    /// Turns as the fuzz target takes them.
    fn as_input(choice: u8, turns: &[Turn]) -> Vec<u8> {
        let mut input = vec![choice];
        for (direction, bytes) in turns {
            let flag = if *direction == Down { 0x8000 } else { 0 };
            input.extend((flag | bytes.len() as u16).to_be_bytes());
            input.extend(bytes);
        }
        input
    }

    proptest::proptest! {
        #[test]
        fn any_change_of_one_byte_ends_somehow(turn in 0usize..4, at in 0usize..5_000, byte: u8, cut in 1usize..900) {
            let mut turns = full(&[shows(b"agent"), key(), proves()], &[ticket(b"t")]);
            let bytes = &mut turns[turn].1;
            let at = at % bytes.len();
            bytes[at] = byte;
            let now = Instant::now();
            let whole = play(&rules(REFUSE), &turns, usize::MAX, now);
            let pieces = play(&rules(REFUSE), &turns, cut, now);
            proptest::prop_assert_eq!(whole.reason(), pieces.reason());
        }

        #[test]
        fn changed_handshakes_keep_the_promises(
            choice: u8,
            kind in 0usize..4,
            changes in proptest::collection::vec((0usize..5_000, proptest::num::u8::ANY), 0..4),
        ) {
            let turns = match kind {
                0 => full(&[shows(b"agent"), key(), proves()], &[ticket(b"t")]),
                1 => full(&[shows_none(), key()], &[]),
                2 => resumed(hello(), &[answer(), ticket(b"t")]),
                _ => full(&[shows(b"stranger"), key(), proves()], &[]),
            };
            // The target says its own hello.
            let mut input = as_input(choice, &turns[1..]);
            for (at, byte) in changes {
                let at = at % input.len();
                input[at] = byte;
            }
            fuzzed::flight(&input, Instant::now());
        }
    }
}
