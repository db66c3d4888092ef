#![no_main]
//! Certificates, with a second reader beside ours: where both take one, they see the same names.

use x509_parser::asn1_rs::Class;
use x509_parser::prelude::{FromDer, X509Certificate};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some(ours) = sluice::proto::tls::certificate::fuzzed::certificate(input) else { return };
    let Ok((rest, theirs)) = X509Certificate::from_der(input) else { return };
    assert!(rest.is_empty(), "we have read it to its end");
    // It gives no text of a BMPString or a TeletexString, and takes a number of another class for that of
    // a text; all others must come in the same order.
    let mut ours = ours.common_names();
    let texts = theirs.subject().iter_common_name();
    let texts = texts.filter(|name| name.attr_value().class() == Class::Universal);
    for name in texts.filter_map(|name| name.as_str().ok()) {
        assert!(ours.any(|our| our == name), "{name:?}");
    }
});
