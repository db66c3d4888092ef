//! What the watch over a handshake costs: from the client's first byte until it lets go.
//!
//! The flights have the sizes of real ones: a browser-like hello of 1.7 KiB, a server's chain of
//! 3 KiB, an agent's of 1 KiB, each flight in one piece, each message in a record.

#![allow(clippy::disallowed_methods, reason = "a bench may ask the clock")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use Direction::{Down, Up};
use criterion::{Criterion, criterion_group, criterion_main};
use sluice::logic::certificates::{CertificateRules, SubjectRule, Subjects, UnseenAllowed};
use sluice::logic::policy::TlsRules;
use sluice::logic::watch::{Direction, Verdict, Watch};
use sluice::proto::target::Target;
use sluice::proto::tls::Version;
use sluice::proto::tls::handshake::{
    CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_VERIFY, CLIENT_KEY_EXCHANGE, NEW_SESSION_TICKET,
    SERVER_HELLO_DONE, SERVER_KEY_EXCHANGE,
};
use sluice::proto::tls::record::ContentType;
use sluice::proto::tls::sample::{
    SampleServerHello, certificate, certificates, message, modern_client_hello, records,
    server_hello,
};

const NAME: &str = "ws.ods.opinsights.azure.com";
const CHANGES: [u8; 6] = [20, 3, 3, 0, 1, 1];

type Flights = Vec<(Direction, Vec<u8>)>;

fn each_in_its_record(messages: &[Vec<u8>]) -> Vec<u8> {
    let record =
        |message: &Vec<u8>| records(ContentType::Handshake, Version::TLS12, message, 1 << 14);
    messages.iter().flat_map(record).collect()
}

fn hello() -> (Direction, Vec<u8>) {
    (Up, each_in_its_record(&[modern_client_hello(NAME.as_bytes())]))
}

fn answer(version: Option<Version>) -> Vec<u8> {
    server_hello(&SampleServerHello { version, ..SampleServerHello::default() })
}

fn tls13() -> Flights {
    vec![hello(), (Down, each_in_its_record(&[answer(Some(Version::TLS13))]))]
}

/// A subject as the agents have it.
fn agents_certificate() -> Vec<u8> {
    const CN: &[u8] = &[0x55, 4, 3];
    certificate(&[
        &[(CN, 12, b"6f1d4ca0-1a2b-4c3d-8e4f-0123456789ab")],
        &[(CN, 12, b"9a8b7c6d-0000-4444-8888-ba9876543210")],
        &[(&[0x55, 4, 11], 12, b"Linux Monitoring Agent")],
        &[(&[0x55, 4, 10], 12, b"Microsoft")],
    ])
}

fn tls12() -> Flights {
    let introduction = [
        answer(None),
        message(CERTIFICATE, &certificates(&[&[7; 1_500], &[7; 1_500]])),
        message(SERVER_KEY_EXCHANGE, &[8; 300]),
        message(CERTIFICATE_REQUEST, &[9; 80]),
        message(SERVER_HELLO_DONE, &[]),
    ];
    let shown = [
        message(CERTIFICATE, &certificates(&[&agents_certificate(), &[7; 700]])),
        message(CLIENT_KEY_EXCHANGE, &[5; 66]),
        message(CERTIFICATE_VERIFY, &[6; 260]),
    ];
    let ticket = [&[0; 4][..], &180u16.to_be_bytes(), &[3; 180]].concat();
    let given = each_in_its_record(&[message(NEW_SESSION_TICKET, &ticket)]);
    vec![
        hello(),
        (Down, each_in_its_record(&introduction)),
        (Up, [each_in_its_record(&shown), CHANGES.to_vec()].concat()),
        (Down, [given, CHANGES.to_vec()].concat()),
    ]
}

fn resumed() -> Flights {
    vec![hello(), (Down, [each_in_its_record(&[answer(None)]), CHANGES.to_vec()].concat())]
}

fn list() -> Arc<CertificateRules> {
    let mut subjects: Vec<SubjectRule> = (0..999)
        .map(|n| SubjectRule::parse(&format!("workspace-{n}")).expect("a plain value"))
        .collect();
    subjects.push(SubjectRule::parse("6f1d4ca0-1a2b-4c3d-8e4f-0123456789ab").expect("one more"));
    Arc::new(CertificateRules {
        subjects: Subjects::new(subjects),
        unseen: UnseenAllowed { tls13: true, ..UnseenAllowed::default() },
        resumable: Arc::default(),
    })
}

/// Shows the flights to a new watch, which must let go at the last.
fn watch(flights: &Flights, list: Option<&Arc<CertificateRules>>, target: &Target, now: Instant) {
    let rules = TlsRules { min_version: Version::TLS12, match_server_name: true };
    let mut watch = Watch::new(rules, 65_536);
    if let Some(list) = list {
        watch = watch.with_certificates(Arc::clone(list), now);
    }
    let let_go = flights.iter().any(|(direction, bytes)| {
        watch.observe(*direction, black_box(bytes), 0, target) == Verdict::LetGo
    });
    assert!(let_go, "the handshake is not what it should be");
}

fn handshakes(criterion: &mut Criterion) {
    let target = Target::parse(format!("{NAME}:443").as_bytes()).expect("a good target");
    let now = Instant::now();
    let list = list();
    let mut group = criterion.benchmark_group("watch");
    for (name, flights, list) in [
        ("TLS 1.3, no list", tls13(), None),
        ("TLS 1.2, no list", tls12(), None),
        ("TLS 1.3, a list that lets it pass", tls13(), Some(&list)),
        ("TLS 1.2, a list of 1,000", tls12(), Some(&list)),
        // The full handshake before it has made the session known.
        ("TLS 1.2 resumed, a list of 1,000", resumed(), Some(&list)),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| watch(&flights, list, &target, now));
        });
    }
    group.finish();
}

criterion_group!(benches, handshakes);
criterion_main!(benches);
