//! What the readers of certificates and of written names must do with any bytes: what is read is
//! written so that it reads as the same, and equal names have equal keys.

use super::{leaf, subject};
use crate::proto::tls::distinguished_name::DistinguishedName;

/// The body of the fuzz target: `input` is a certificate in DER, the body of a Certificate message, and
/// a written name. Gives the subject in the first, for other readers to agree with.
///
/// # Panics
/// Where a promise of these readers is broken.
pub fn certificate(input: &[u8]) -> Option<DistinguishedName> {
    if let Ok(Some(first)) = leaf(input) {
        assert!(!first.is_empty() && first.len() < input.len());
    }
    if let Ok(Ok(name)) = std::str::from_utf8(input).map(DistinguishedName::parse) {
        assert!(!name.has_nul(), "a name that nobody can have written");
        check(&name);
    }
    let name = subject(input).ok()?;
    check(&name);
    Some(name)
}

fn check(name: &DistinguishedName) {
    let written = name.to_string();
    assert!(written.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{written:?}");
    assert!(name.shown().len() <= 515);
    // A name without a part, with a control character, or with a type beyond 32 bits is no rule's.
    if let Ok(read) = DistinguishedName::parse(&written) {
        assert_eq!(read.key(), name.key(), "{written}");
        assert_eq!(read.key_reversed(), name.key_reversed(), "{written}");
        assert_eq!(read.to_string(), written);
    }
}

#[cfg(test)]
mod tests {
    use crate::proto::tls::sample::certificate;

    #[test]
    fn the_corpus_passes() {
        crate::corpus::replay("certificate", |input| drop(super::certificate(input)));
    }

    proptest::proptest! {
        #[test]
        fn changed_certificates_keep_the_promises(
            value in proptest::collection::vec(proptest::num::u8::ANY, 0..40),
            tag in proptest::sample::select(vec![12u8, 19, 20, 22, 30, 3, 4]),
            changes in proptest::collection::vec((0usize..300, proptest::num::u8::ANY), 0..4),
        ) {
            let mut bytes = certificate(&[&[(&[0x55, 4, 3], tag, &value)]]);
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            super::certificate(&bytes);
            super::certificate(&value);
        }
    }
}
