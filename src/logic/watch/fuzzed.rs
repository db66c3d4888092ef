//! What a watch must do with any bytes of either side: it shows the other side a beginning of what
//! came and nothing else, nothing at all of a first hello that it refuses, and how the bytes are cut
//! changes neither verdict nor alert nor facts.

use super::{Direction, Facts, Verdict, Watch};
use crate::logic::policy::{Refusal, TlsRules};
use crate::logic::strand::RECORDS_MAX;
use crate::proto::cuts::Cut;
use crate::proto::target::Target;
use crate::proto::tls::Version;
use crate::proto::tls::hello::{ClientHello, ServerHello};
use crate::proto::tls::record::{ContentType, HEADER_BYTES, RecordHeader};
use crate::proto::tls::sample::{SampleHello, captured, client_hello, records};

/// What the first two bytes of an input choose from.
const VERSIONS: [Version; 4] = [Version::TLS12, Version::TLS10, Version::TLS11, Version::TLS13];
const HELLO_BYTES: [usize; 4] = [65_536, 512, 2_000, 16_384];

/// Rules, limit and cuts of one run.
struct Setting {
    rules: TlsRules,
    hello_bytes: usize,
    target: Target,
    cuts: u8,
}

impl Setting {
    fn of(choice: u8, cuts: u8) -> Setting {
        let pick = |shift: u8| usize::from(choice >> shift & 3);
        let name = if choice & 32 == 0 { captured::SERVER_NAME } else { "192.0.2.1" };
        Setting {
            rules: TlsRules { min_version: VERSIONS[pick(0)], match_server_name: choice & 16 == 0 },
            hello_bytes: HELLO_BYTES[pick(2)],
            target: Target::parse(format!("{name}:443").as_bytes()).expect("a good target"),
            cuts,
        }
    }

    fn watch(&self) -> Watch {
        Watch::new(self.rules, self.hello_bytes)
    }

    /// Each hello in its own bytes and the records that they may be spread over.
    fn held_bytes_max(&self) -> usize {
        self.hello_bytes + 4 + HEADER_BYTES * (RECORDS_MAX as usize + 1)
    }
}

/// The body of the fuzz target: two bytes of `input` choose the rules and the cuts, the others come
/// from a client.
///
/// # Panics
/// Where a promise of [`Watch`] is broken.
pub fn tls_up(input: &[u8]) {
    let [choice, cuts, bytes @ ..] = input else { return };
    let setting = Setting::of(*choice, *cuts);
    parse_alone(bytes);
    let [whole, single, drawn] = Cut::ways(setting.cuts)
        .map(|cut| show(setting.watch(), Direction::Up, bytes, cut, &setting));
    for outcome in [&whole, &single, &drawn] {
        assert!(!outcome.let_go, "the server has not answered");
        assert!(outcome.judged || outcome.passed == 0, "a byte of a hello that is not judged");
        assert!(outcome.refusal.is_none() || outcome.judged || outcome.passed == 0);
    }
    compare(&whole, &single, "byte by byte");
    compare(&whole, &drawn, "in pieces");
}

/// The body of the fuzz target: two bytes of `input` choose the rules and the cuts, the others come
/// from a server whose client has sent a good hello.
///
/// # Panics
/// Where a promise of [`Watch`] is broken.
pub fn tls_down(input: &[u8]) {
    let [choice, cuts, bytes @ ..] = input else { return };
    let setting = Setting::of(*choice, *cuts);
    parse_alone(bytes);
    let early = show(setting.watch(), Direction::Down, bytes, Cut::Drawn(*cuts), &setting);
    assert!(early.passed == 0 && early.refusal.is_some() != bytes.is_empty(), "it spoke first");
    let sample = SampleHello {
        server_name: (*choice & 32 == 0).then_some(captured::SERVER_NAME.as_bytes()),
        ..SampleHello::default()
    };
    let hello = records(ContentType::Handshake, Version::TLS10, &client_hello(&sample), 1 << 14);
    let [whole, single, drawn] = Cut::ways(setting.cuts).map(|cut| {
        let mut watch = setting.watch();
        let verdict = watch.observe(Direction::Up, &hello, 0, &setting.target);
        assert_eq!(verdict, Verdict::Forward);
        show(watch, Direction::Down, bytes, cut, &setting)
    });
    for outcome in [&whole, &single, &drawn] {
        if outcome.let_go {
            let version = outcome.facts.version.expect("the server has chosen one");
            let is_good = (setting.rules.min_version..=Version::TLS13).contains(&version);
            assert!(is_good, "let go with {version}");
        }
    }
    compare(&whole, &single, "byte by byte");
    compare(&whole, &drawn, "in pieces");
}

/// What a watch has made of a stream.
#[derive(Debug)]
struct Outcome {
    refusal: Option<(Refusal, Option<[u8; 7]>)>,
    let_go: bool,
    judged: bool,
    facts: Facts,
    /// Bytes from the beginning that the other side has got.
    passed: usize,
}

/// Shows `bytes` to the watch as a flow does: what it holds grows until it may go on.
fn show(
    mut watch: Watch,
    direction: Direction,
    bytes: &[u8],
    cut: Cut,
    setting: &Setting,
) -> Outcome {
    let mut outcome =
        Outcome { refusal: None, let_go: false, judged: false, facts: Facts::default(), passed: 0 };
    let mut end = 0;
    for piece in cut.pieces(bytes) {
        let fresh = end - outcome.passed;
        end += piece.len();
        let held = &bytes[outcome.passed..end];
        match watch.observe(direction, held, fresh, &setting.target) {
            Verdict::Hold => {
                let most = setting.held_bytes_max() + piece.len();
                assert!(held.len() <= most, "{} bytes are held, {most} at most", held.len());
            }
            Verdict::Forward => outcome.passed = end,
            Verdict::LetGo => {
                outcome.passed = bytes.len();
                outcome.let_go = true;
                break;
            }
            Verdict::Refuse(refusal) => {
                let alert = watch.alert(refusal.reason);
                outcome.refusal = Some((refusal, alert));
                break;
            }
        }
    }
    outcome.judged = watch.hello_judged();
    outcome.facts = watch.facts().clone();
    outcome
}

/// Bytes of a stream that is refused later, or not whole yet, may have gone on when they came alone.
fn compare(whole: &Outcome, cut: &Outcome, how: &str) {
    assert_eq!(whole.refusal, cut.refusal, "{how}");
    assert_eq!(whole.let_go, cut.let_go, "{how}");
    assert_eq!(whole.judged, cut.judged, "{how}");
    assert_eq!(whole.facts, cut.facts, "{how}");
    assert!(whole.passed <= cut.passed, "{how}: {} and {}", whole.passed, cut.passed);
}

/// The parsers below the watch, with anything.
fn parse_alone(bytes: &[u8]) {
    for body in [bytes, bytes.get(HEADER_BYTES + 4..).unwrap_or_default()] {
        let (client, server) = (ClientHello::parse(body), ServerHello::parse(body));
        let errors = [client.err(), server.err()];
        for text in errors.into_iter().flatten().map(|error| error.to_string()) {
            assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}");
        }
    }
    if let Some(header) = bytes.first_chunk() {
        let read = RecordHeader::parse(*header);
        assert!(read.is_err() || matches!(header[0], 20..=23));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpora_pass() {
        crate::corpus::replay("tls_up", super::tls_up);
        crate::corpus::replay("tls_down", super::tls_down);
    }
}
