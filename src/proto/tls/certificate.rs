//! Certificates as they pass in clear up to TLS 1.2 (RFC 5246 section 7.4.2): the list of a
//! Certificate message, and the subject of the first one in it (RFC 5280 section 4.1.2.6).
//!
//! Only the structure down to the subject is read, and it must be DER to the letter: two readers of
//! one certificate must not see two subjects. Signatures are the target's business, which alone can
//! judge them.

#[doc(hidden)]
pub mod fuzzed;

use std::fmt;

use der::asn1::AnyRef;
use der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};

use super::distinguished_name::{Attribute, DistinguishedName, Kind, Rdn, Value};

/// Bytes of a certificate whose subject is read. Those of the agents take 1 KiB.
pub const LEAF_BYTES: usize = 16 * 1024;

/// Why there is no subject to be had from a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateError {
    /// The lengths of the list do not fit each other; the text says which.
    Framing(&'static str),
    /// The first certificate is larger than [`LEAF_BYTES`].
    TooLarge,
    /// The certificate is not DER, or no certificate.
    Der(der::Error),
    /// A text of the subject breaks the rules of its own type.
    Text(&'static str),
}

/// The first certificate in the body of a Certificate message; `None` where the list is empty, which
/// is how a client says that it has none.
///
/// # Errors
/// Where the list's framing is broken or its first certificate is too large.
pub fn leaf(body: &[u8]) -> Result<Option<&[u8]>, CertificateError> {
    let (mut list, rest) =
        vector24(body).ok_or(CertificateError::Framing("the list is longer than its message"))?;
    if !rest.is_empty() {
        return Err(CertificateError::Framing("bytes follow the list"));
    }
    let mut leaf = None;
    while !list.is_empty() {
        let (certificate, rest) = vector24(list)
            .ok_or(CertificateError::Framing("a certificate is longer than its list"))?;
        if certificate.is_empty() {
            return Err(CertificateError::Framing("a certificate without a byte"));
        }
        leaf.get_or_insert(certificate);
        list = rest;
    }
    match leaf {
        Some(certificate) if certificate.len() > LEAF_BYTES => Err(CertificateError::TooLarge),
        leaf => Ok(leaf),
    }
}

/// The subject of a certificate in DER.
///
/// # Errors
/// Where it is not DER, not a certificate, or has a text in its subject that cannot be decoded.
pub fn subject(certificate: &[u8]) -> Result<DistinguishedName, CertificateError> {
    let mut reader = SliceReader::new(certificate)?;
    let name = reader.sequence(|certificate| {
        let name = certificate.sequence(of_body)?;
        // The algorithm and the signature.
        skip(certificate, Tag::Sequence)?;
        skip(certificate, Tag::BitString)?;
        Ok::<_, CertificateError>(name)
    })?;
    reader.finish()?;
    Ok(name)
}

/// The subject within TBSCertificate (RFC 5280 section 4.1.2).
fn of_body(body: &mut SliceReader<'_>) -> Result<DistinguishedName, CertificateError> {
    if matches!(body.peek_byte(), Some(VERSION)) {
        AnyRef::decode(body)?;
    }
    skip(body, Tag::Integer)?; // the serial number
    skip(body, Tag::Sequence)?; // the algorithm
    skip(body, Tag::Sequence)?; // the issuer
    skip(body, Tag::Sequence)?; // the validity
    let mut rdns = Vec::new();
    body.sequence(|name| {
        while !name.is_finished() {
            rdns.push(rdn(AnyRef::decode(name)?)?);
        }
        Ok::<_, CertificateError>(())
    })?;
    skip(body, Tag::Sequence)?; // the key
    while !body.is_finished() {
        AnyRef::decode(body)?;
    }
    Ok(DistinguishedName::new(rdns))
}

/// The identifier octet of `[0] EXPLICIT Version`.
pub(super) const VERSION: u8 = 0xa0;

pub(super) fn rdn(set: AnyRef<'_>) -> Result<Rdn, CertificateError> {
    set.tag().assert_eq(Tag::Set)?;
    let mut reader = SliceReader::new(set.value())?;
    let mut attributes = Vec::with_capacity(1);
    // SET SIZE (1..MAX)
    while attributes.is_empty() || !reader.is_finished() {
        attributes.push(reader.sequence(attribute)?);
    }
    Ok(attributes)
}

fn attribute(pair: &mut SliceReader<'_>) -> Result<Attribute, CertificateError> {
    let kind = skip(pair, Tag::ObjectIdentifier)?;
    if !is_object_identifier(kind.value()) {
        return Err(CertificateError::Text("an attribute without a type"));
    }
    let value = decoded(AnyRef::decode(pair)?)?;
    Ok(Attribute { kind: Kind::of_der(kind.value()), value })
}

/// Numbers of seven bits a byte, each in its shortest form and whole (X.690 section 8.19.2).
fn is_object_identifier(bytes: &[u8]) -> bool {
    const MORE: u8 = 0x80;
    let mut begins = true;
    for &byte in bytes {
        if begins && byte == MORE {
            return false;
        }
        begins = byte & MORE == 0;
    }
    begins && !bytes.is_empty()
}

/// The value of an attribute. Texts of all types that names are made of become one; what is no text
/// is kept as it is, and equals nothing but itself.
pub(super) fn decoded(value: AnyRef<'_>) -> Result<Value, CertificateError> {
    let bytes = value.value();
    let text = match value.tag() {
        Tag::Utf8String => std::str::from_utf8(bytes)
            .map_err(|_| CertificateError::Text("a UTF8String that is not UTF-8"))?
            .to_owned(),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            if !bytes.is_ascii() {
                return Err(CertificateError::Text("a string of ASCII with other bytes in it"));
            }
            bytes.iter().copied().map(char::from).collect()
        }
        // As every implementation reads it, and not T.61.
        Tag::TeletexString => bytes.iter().copied().map(char::from).collect(),
        Tag::BmpString => {
            bmp(bytes).ok_or(CertificateError::Text("a BMPString that is not UCS-2"))?
        }
        _ => {
            let mut encoded = vec![0; u32::from(value.encoded_len()?) as usize];
            value.encode_to_slice(&mut encoded)?;
            return Ok(Value::Opaque(encoded.into()));
        }
    };
    Ok(Value::Text(text.into()))
}

/// Two bytes a character; surrogates are none (X.680 section 41.15).
fn bmp(bytes: &[u8]) -> Option<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|&pair| char::from_u32(u16::from_be_bytes(pair).into())).collect()
}

/// Takes one element of this tag.
pub(super) fn skip<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Result<AnyRef<'a>, der::Error> {
    let element = AnyRef::decode(reader)?;
    element.tag().assert_eq(tag)?;
    Ok(element)
}

fn vector24(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[high, middle, low], rest) = bytes.split_first_chunk::<3>()?;
    let len = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    rest.split_at_checked(len)
}

impl From<der::Error> for CertificateError {
    fn from(error: der::Error) -> CertificateError {
        CertificateError::Der(error)
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateError::Framing(what) => f.write_str(what),
            CertificateError::TooLarge => {
                write!(f, "the certificate is larger than {LEAF_BYTES} bytes")
            }
            CertificateError::Der(error) => write!(f, "the certificate is not DER: {error}"),
            CertificateError::Text(what) => write!(f, "the subject has {what}"),
        }
    }
}

impl std::error::Error for CertificateError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tls::sample::{
        SampleAttribute, certificate, certificate_of, certificates, der, name,
    };

    const CN: &[u8] = &[0x55, 4, 3];
    const O: &[u8] = &[0x55, 4, 10];
    const UTF8: u8 = 12;
    const PRINTABLE: u8 = 19;
    const TELETEX: u8 = 20;
    const IA5: u8 = 22;
    const BMP: u8 = 30;

    fn written(parts: &[&[SampleAttribute<'_>]]) -> String {
        match subject(&certificate(parts)) {
            Ok(name) => name.to_string(),
            Err(error) => format!("! {error}"),
        }
    }

    #[test]
    fn subjects_are_decoded_whatever_their_encoding() {
        let one = |tag, value| written(&[&[(CN, tag, value)]]);
        for (tag, value) in [
            (UTF8, &b"Gateway"[..]),
            (PRINTABLE, b"Gateway"),
            (TELETEX, b"Gateway"),
            (IA5, b"Gateway"),
            (BMP, b"\0G\0a\0t\0e\0w\0a\0y"),
        ] {
            assert_eq!(one(tag, value), "CN=Gateway", "{tag}");
        }
        assert_eq!(one(UTF8, "\u{fc}".as_bytes()), "CN=\\C3\\BC");
        assert_eq!(one(TELETEX, b"\xfc"), "CN=\\C3\\BC");
        assert_eq!(one(BMP, b"\0\xfc"), "CN=\\C3\\BC");
        assert_eq!(one(PRINTABLE, b"a@b_*"), "CN=a@b_*", "as lenient as everybody");
        assert_eq!(one(4, b"ab"), "CN=#04026162");
        assert_eq!(one(UTF8, b"Gateway\0.evil"), "CN=Gateway\\00.evil");
        let agent: [&[SampleAttribute<'_>]; 3] =
            [&[(CN, UTF8, b"ws")], &[(CN, PRINTABLE, b"agent")], &[(O, BMP, b"\0M\0S")]];
        assert_eq!(written(&agent), "CN=ws, CN=agent, O=MS");
        assert_eq!(written(&[&[(CN, UTF8, b"a"), (O, UTF8, b"b")]]), "CN=a+O=b");
        assert_eq!(written(&[]), "");
        for (tag, value) in [
            (UTF8, &b"\xff"[..]),
            (UTF8, b"\xed\xa0\x80"),
            (PRINTABLE, b"\xfc"),
            (IA5, b"\x80"),
            (BMP, b"\0"),
            (BMP, b"\xd8\x00\xdc\x00"),
        ] {
            assert!(one(tag, value).starts_with("! the subject has "), "{tag} {value:?}");
        }
    }

    #[test]
    fn a_type_is_a_whole_object_identifier() {
        for (bytes, is_one) in [
            (&[0x55, 4, 3][..], true),
            (&[0x55, 0x81, 0], true),
            (&[], false),
            (&[0x55, 4, 0xf5], false),
            (&[0x55, 0x80, 3], false),
        ] {
            assert_eq!(is_object_identifier(bytes), is_one, "{bytes:x?}");
            let read = subject(&certificate(&[&[(bytes, UTF8, b"a")]]));
            assert_eq!(read.is_ok(), is_one, "{bytes:x?}");
        }
    }

    #[test]
    fn only_der_is_a_certificate() {
        let good = certificate(&[&[(CN, UTF8, b"agent")]]);
        assert!(subject(&good).is_ok());
        for end in 0..good.len() {
            assert!(subject(&good[..end]).is_err(), "cut at {end}");
        }
        let subject_of = |encoded: &[u8]| subject(&certificate_of(encoded));
        assert!(subject_of(&name(&[&[(CN, UTF8, b"a")]])).is_ok());
        let pair = der(0x30, &[der(6, CN), der(UTF8, b"a")].concat());
        let deep = (0..10_000).fold(Vec::new(), |inside, _| {
            if inside.len() > 60_000 { inside } else { der(0x30, &inside) }
        });
        let rows = [
            ("bytes behind it", [&good[..], &[0]].concat()),
            ("indefinite length", [&[0x30, 0x80], &good[4..], &[0, 0]].concat()),
            ("a length of five bytes", [&[0x30, 0x85, 0, 0, 0, 0, 9], &good[4..]].concat()),
            (
                "a length that is too long",
                [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &good[4..]].concat(),
            ),
            ("a length not the shortest", [&[0x30, 0x81, 5], &good[2..7]].concat()),
            ("deep", deep.clone()),
            ("deep within", certificate_of(&deep)),
            ("an indefinite length in the subject", certificate_of(&[0x30, 0x80, 0, 0])),
            ("a set without attributes", certificate_of(&der(0x30, &der(0x31, &[])))),
            ("a set that is none", certificate_of(&der(0x30, &pair))),
            ("an attribute without a value", {
                certificate_of(&der(0x30, &der(0x31, &der(0x30, &der(6, CN)))))
            }),
            ("an attribute with two", {
                let pair = [der(6, CN), der(UTF8, b"a"), der(UTF8, b"b")].concat();
                certificate_of(&der(0x30, &der(0x31, &der(0x30, &pair))))
            }),
            ("an attribute without a type", certificate(&[&[(&[], UTF8, b"a")]])),
            ("no certificate", der(0x30, &[])),
            ("a number", der(2, &[1])),
            ("nothing", vec![]),
        ];
        for (what, bytes) in rows {
            assert!(subject(&bytes).is_err(), "{what}");
        }
    }

    #[test]
    fn a_list_gives_its_first_certificate() {
        assert_eq!(leaf(&certificates(&[])), Ok(None));
        assert_eq!(leaf(&certificates(&[b"leaf", b"issuer"])), Ok(Some(&b"leaf"[..])));
        let large = vec![7; LEAF_BYTES];
        assert_eq!(leaf(&certificates(&[&large, &[1; 40_000]])), Ok(Some(&large[..])));
        assert_eq!(leaf(&certificates(&[&[7; LEAF_BYTES + 1]])), Err(CertificateError::TooLarge));
        for broken in [
            &b""[..],
            b"\0\0",
            b"\0\0\x01",
            b"\0\0\0\0",
            b"\0\0\x03\0\0\x01",
            b"\0\0\x04\0\0\x02a",
            b"\0\0\x03\0\0\0",
            b"\0\0\x05\0\0\x01ab",
        ] {
            assert!(matches!(leaf(broken), Err(CertificateError::Framing(_))), "{broken:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_change_of_one_byte_gives_a_name_or_an_error(at in 0usize..400, byte: u8) {
            let mut bytes = certificate(&[&[(CN, UTF8, b"agent")], &[(O, BMP, b"\0M\0S")]]);
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(name) = subject(&bytes) {
                let _ = (name.shown(), name.key(), name.has_nul());
            }
            let _ = leaf(&bytes);
        }
    }
}
