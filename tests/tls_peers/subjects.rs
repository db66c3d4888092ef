//! Subjects of certificates as OpenSSL reads and writes them, beside how the gateway does: what one
//! prints, the other must read as the same name.

use sluice::proto::tls::certificate;
use sluice::proto::tls::distinguished_name::DistinguishedName;
use sluice::proto::tls::sample::{certificate_of, der};

use super::program::{Running, program};
use crate::support::folder::Folder;
use crate::support::random::Random;

/// Types that OpenSSL has names for, and two of nobody.
const KINDS: [&[u8]; 10] = [
    &[0x55, 4, 3],
    &[0x55, 4, 10],
    &[0x55, 4, 11],
    &[0x55, 4, 6],
    &[0x55, 4, 8],
    &[0x55, 4, 5],
    &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25],
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1],
    &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 0x3c, 0x7f],
    &[0x88, 0x37, 3],
];

/// Texts that are hard to write.
const TEXTS: [&str; 16] = [
    "Gateway",
    "Foo, Inc",
    "a+b=c",
    " leads",
    "trails ",
    " ",
    "#begins",
    "say \"hi\"",
    "back\\slash",
    "<a;b>",
    "two  spaces",
    "Z\u{fc}rich",
    "\u{20ac}",
    "CN=x, O=y",
    "",
    "caf\u{e9} \\",
];

/// A value with the tag that it is encoded by; some encodings cannot have some texts.
fn value(random: &mut Random) -> (u8, Vec<u8>) {
    let text = TEXTS[random.below(TEXTS.len())];
    let bmp = || text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let latin =
        || text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>();
    match random.below(6) {
        0 => (30, bmp()),
        1 if text.is_ascii() => (19, text.into()),
        2 if text.is_ascii() => (22, text.into()),
        3 => latin().map_or((12, text.into()), |bytes| (20, bytes)),
        4 if random.below(4) == 0 => (3, vec![0, 2, 0xff]),
        _ => (12, text.into()),
    }
}

/// A certificate whose subject has some parts, few of them of two attributes.
fn subject(random: &mut Random) -> Vec<u8> {
    let mut parts = Vec::new();
    for _ in 0..1 + random.below(4) {
        let mut part = Vec::new();
        for _ in 0..1 + usize::from(random.once_in(5)) {
            let (tag, bytes) = value(random);
            let kind = der(6, KINDS[random.below(KINDS.len())]);
            part.extend(der(0x30, &[kind, der(tag, &bytes)].concat()));
        }
        parts.extend(der(0x31, &part));
    }
    certificate_of(&der(0x30, &parts))
}

/// Certificates in the envelope of a message that nobody signed (RFC 2315 section 9.1): one file for
/// one run of OpenSSL.
fn envelope(certificates: &[Vec<u8>]) -> Vec<u8> {
    let oid = |last| der(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, last]);
    let inside = [
        der(2, &[1]),
        der(0x31, &[]),
        der(0x30, &oid(1)),
        der(0xa0, &certificates.concat()),
        der(0x31, &[]),
    ];
    der(0x30, &[oid(2), der(0xa0, &der(0x30, &inside.concat()))].concat())
}

#[test]
fn openssl_and_the_gateway_read_the_same_subjects() {
    let mut random = Random::of_this_run();
    let certificates: Vec<Vec<u8>> = (0..400).map(|_| subject(&mut random)).collect();
    let folder = Folder::new();
    let file = folder.path().join("certificates.p7b");
    std::fs::write(&file, envelope(&certificates)).unwrap();
    let mut openssl = program("openssl");
    openssl.args(["pkcs7", "-inform", "DER", "-print_certs", "-noout", "-in"]).arg(&file);
    let (done, printed) = Running::start(&mut openssl).finish();
    assert!(done, "{printed}");
    let written: Vec<&str> =
        printed.lines().filter_map(|line| line.strip_prefix("subject=")).collect();
    assert_eq!(written.len(), certificates.len(), "{printed}");
    for (certificate, written) in certificates.iter().zip(written) {
        let ours = certificate::subject(certificate).unwrap();
        let theirs = DistinguishedName::parse(written)
            .unwrap_or_else(|error| panic!("{written} for {ours}: {error}"));
        assert_eq!(theirs.key(), ours.key(), "{written} for {ours}");
        let own = DistinguishedName::parse(&ours.to_string());
        assert_eq!(own.as_ref(), Ok(&ours), "{ours}");
    }
}
