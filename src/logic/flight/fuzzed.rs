//! What the watch over a whole handshake must do with any bytes of either side: how they are cut
//! changes no verdict, nothing of a refused turn passes that was not whole before, and nothing is
//! verified before both sides have changed their cipher or a session is known.

use std::sync::Arc;
use std::time::Instant;

use crate::logic::certificates::{CertificateRules, SubjectRule, Subjects, UnseenAllowed};
use crate::logic::policy::TlsRules;
use crate::logic::watch::{Direction, Verdict, Watch};
use crate::proto::target::Target;
use crate::proto::tls::Version;
use crate::proto::tls::record::ContentType;
use crate::proto::tls::sample::{SampleHello, client_hello, records};

/// The body of the fuzz target: a byte of `input` chooses what is allowed unseen, the others are turns
/// of both sides after a good hello of TLS 1.2: direction and length in two bytes, then so many bytes.
///
/// # Panics
/// Where a promise of the watch is broken.
pub fn flight(input: &[u8], now: Instant) {
    let [choice, rest @ ..] = input else { return };
    let whole = play(*choice, rest, usize::MAX, now);
    for cut in [1, 7] {
        let pieces = play(*choice, rest, cut, now);
        assert_eq!(whole.verdict, pieces.verdict, "in pieces of {cut}");
        assert_eq!(whole.subject, pieces.subject, "in pieces of {cut}");
    }
    let allows_anything = *choice & 7 != 0;
    if whole.verdict == Some(Verdict::LetGo) && !allows_anything {
        let subject = whole.subject.expect("who was admitted has a name");
        assert!(subject.to_ascii_lowercase().contains("agent"), "{subject}");
        assert!(whole.changes_up > 0, "verified before the client has changed its cipher");
    }
}

/// How it went.
struct Outcome {
    /// The one that ended it.
    verdict: Option<Verdict>,
    subject: Option<Box<str>>,
    /// Bytes of the client that hold the header of a change of cipher.
    changes_up: usize,
}

fn play(choice: u8, mut rest: &[u8], cut: usize, now: Instant) -> Outcome {
    let target = Target::parse(b"ok.test:443").expect("a good target");
    let mut watch = watch(choice, now);
    let (ids, ticket) = (usize::from(choice >> 3 & 1) * 32, [(35, &b"ticket"[..])]);
    let hello = client_hello(&SampleHello {
        versions: &[Version::TLS12],
        server_name: Some(b"ok.test"),
        session_id_len: ids,
        extra: if choice & 16 == 0 { &[] } else { &ticket },
        ..SampleHello::default()
    });
    let hello = records(ContentType::Handshake, Version::TLS10, &hello, 1 << 14);
    assert_eq!(watch.observe(Direction::Up, &hello, 0, &target), Verdict::Forward);
    // What each side has sent and the other has not got yet.
    let mut held = [Vec::new(), Vec::new()];
    let mut outcome = Outcome { verdict: None, subject: None, changes_up: 0 };
    'turns: while let [first, second, bytes @ ..] = rest {
        let direction = if first & 128 == 0 { Direction::Up } else { Direction::Down };
        let len = usize::from(u16::from_be_bytes([first & 127, *second])).min(bytes.len());
        let (turn, later) = bytes.split_at(len);
        rest = later;
        let held = &mut held[direction as usize];
        for piece in turn.chunks(cut) {
            let fresh = held.len();
            held.extend_from_slice(piece);
            match watch.observe(direction, held, fresh, &target) {
                Verdict::Hold => {}
                Verdict::Forward => {
                    if direction == Direction::Up {
                        outcome.changes_up += held.iter().filter(|byte| **byte == 20).count();
                    }
                    held.clear();
                }
                verdict => {
                    outcome.verdict = Some(verdict);
                    break 'turns;
                }
            }
        }
    }
    outcome.subject = watch.facts().subject.clone();
    outcome
}

fn watch(choice: u8, now: Instant) -> Watch {
    let subjects = ["agent", "CN=a, O=agent"].map(|text| SubjectRule::parse(text).expect("a rule"));
    let unseen =
        UnseenAllowed { tls13: choice & 1 != 0, resumed: choice & 2 != 0, none: choice & 4 != 0 };
    let rules = Arc::new(CertificateRules {
        subjects: Subjects::new(subjects.to_vec()),
        unseen,
        resumable: Arc::default(),
    });
    let tls = TlsRules { min_version: Version::TLS10, match_server_name: true };
    Watch::new(tls, 65_536).with_certificates(rules, now)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use std::time::Instant;

    #[test]
    fn the_corpus_passes() {
        crate::corpus::replay("flight", |input| super::flight(input, Instant::now()));
    }
}
