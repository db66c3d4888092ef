//! What a person wants to know of a server's certificate: whose it is, on whose word, and from when to
//! when (RFC 5280 sections 4.1.2.4 to 4.1.2.6).

use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{DateTime, Decode, Reader, SliceReader, Tag, Tagged};

use super::certificate::{CertificateError, VERSION, rdn, skip};
use super::distinguished_name::DistinguishedName;

/// Whose a certificate is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Whom it names.
    pub subject: DistinguishedName,
    /// Who signed it.
    pub issuer: DistinguishedName,
    /// Before this it is not valid yet.
    pub not_before: DateTime,
    /// After this it is not valid any more.
    pub not_after: DateTime,
}

/// Reads a certificate in DER as far as these four.
///
/// # Errors
/// Where it is not DER, not a certificate, or has a text in a name that cannot be decoded.
pub fn identity(certificate: &[u8]) -> Result<Identity, CertificateError> {
    let mut reader = SliceReader::new(certificate)?;
    let certificate = skip(&mut reader, Tag::Sequence)?;
    let mut parts = SliceReader::new(certificate.value())?;
    let body = skip(&mut parts, Tag::Sequence)?;
    let mut body = SliceReader::new(body.value())?;
    if matches!(body.peek_byte(), Some(VERSION)) {
        AnyRef::decode(&mut body)?;
    }
    skip(&mut body, Tag::Integer)?; // the serial number
    skip(&mut body, Tag::Sequence)?; // the algorithm
    let issuer = name(&mut body)?;
    let (not_before, not_after) =
        body.sequence(|validity| Ok::<_, CertificateError>((time(validity)?, time(validity)?)))?;
    let subject = name(&mut body)?;
    Ok(Identity { subject, issuer, not_before, not_after })
}

fn name(body: &mut SliceReader<'_>) -> Result<DistinguishedName, CertificateError> {
    let mut rdns = Vec::new();
    body.sequence(|name| {
        while !name.is_finished() {
            rdns.push(rdn(AnyRef::decode(name)?)?);
        }
        Ok::<_, CertificateError>(())
    })?;
    Ok(DistinguishedName::new(rdns))
}

/// Years up to 2049 come in two digits, later ones in four.
fn time(validity: &mut SliceReader<'_>) -> Result<DateTime, CertificateError> {
    let element = AnyRef::decode(validity)?;
    Ok(match element.tag() {
        Tag::UtcTime => element.decode_as::<UtcTime>()?.to_date_time(),
        _ => element.decode_as::<GeneralizedTime>()?.to_date_time(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tls::sample::{SampleAttribute, certificate, der, name};

    const CN: &[u8] = &[0x55, 4, 3];
    const UTF8: u8 = 12;
    const UTC_TIME: u8 = 23;
    const GENERALIZED_TIME: u8 = 24;

    /// A certificate as far as it is read, with a name for both sides.
    fn with_validity(validity: &[u8]) -> Vec<u8> {
        let common_name = |text: &'static [u8]| {
            let attribute: SampleAttribute<'_> = (CN, UTF8, text);
            name(&[&[attribute]])
        };
        let parts = [
            der(VERSION, &der(2, &[2])),
            der(2, &[1]),
            der(0x30, &[]),
            common_name(b"authority"),
            der(0x30, validity),
            common_name(b"server"),
        ];
        der(0x30, &der(0x30, &parts.concat()))
    }

    #[test]
    fn names_and_times_are_read() {
        let validity =
            [der(UTC_TIME, b"260102030405Z"), der(GENERALIZED_TIME, b"20510203040506Z")].concat();
        let read = identity(&with_validity(&validity)).unwrap();
        assert_eq!(read.subject.to_string(), "CN=server");
        assert_eq!(read.issuer.to_string(), "CN=authority");
        assert_eq!(read.not_before.to_string(), "2026-01-02T03:04:05Z");
        assert_eq!(read.not_after.to_string(), "2051-02-03T04:05:06Z");
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        let good = certificate(&[&[(CN, UTF8, b"x")]]);
        for end in 0..40.min(good.len()) {
            assert!(identity(&good[..end]).is_err(), "{end}");
        }
        for validity in [
            der(UTC_TIME, b"260102030405Z"),
            [der(UTC_TIME, b"261302030405Z"), der(UTC_TIME, b"260102030405Z")].concat(),
            [der(UTC_TIME, b"2601020304Z"), der(UTC_TIME, b"260102030405Z")].concat(),
            [der(2, b"1"), der(2, b"1")].concat(),
        ] {
            assert!(identity(&with_validity(&validity)).is_err(), "{validity:?}");
        }
    }
}
