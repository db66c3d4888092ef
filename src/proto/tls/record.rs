//! Record headers (RFC 8446 section 5.1, RFC 5246 section 6.2.1) and what is mistaken for one.

use std::fmt;

use super::Version;

/// The bytes of a record header.
pub const HEADER_BYTES: usize = 5;
/// The longest payload any version allows: 2^14 of plaintext and 2,048 of protection (RFC 5246 section 6.2.3).
pub const PAYLOAD_BYTES: usize = (1 << 14) + 2048;

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// The switch to the negotiated keys; in TLS 1.3 a gesture towards middleboxes.
    ChangeCipherSpec = 20,
    /// A warning or the reason of a close.
    Alert = 21,
    /// Hellos, certificates, keys.
    Handshake = 22,
    /// Anything, protected.
    ApplicationData = 23,
}

/// The five bytes before every payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// What the payload is.
    pub kind: ContentType,
    /// The record's version. Its minor part says nothing about the session and is not to be judged.
    pub version: Version,
    /// Bytes of the payload that follows, at most [`PAYLOAD_BYTES`].
    pub len: usize,
}

/// Why five bytes are not the header of a TLS record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordError {
    /// Another protocol.
    NotTls,
    /// A ClientHello in the framing of SSL 2.0 (RFC 5246 appendix E.2).
    SslV2,
    /// TLS by its version, but against its rules; the text says which.
    Unreadable(&'static str),
}

impl RecordHeader {
    /// Reads a header. Any minor version passes: real hellos carry 0x0300, 0x0301 and 0x0303 here.
    pub fn parse(bytes: [u8; HEADER_BYTES]) -> Result<RecordHeader, RecordError> {
        if is_ssl2_hello(bytes) {
            return Err(RecordError::SslV2);
        }
        let [kind, major, minor, high, low] = bytes;
        if major != 3 {
            return Err(RecordError::NotTls);
        }
        let kind = match kind {
            20 => ContentType::ChangeCipherSpec,
            21 => ContentType::Alert,
            22 => ContentType::Handshake,
            23 => ContentType::ApplicationData,
            _ => return Err(RecordError::Unreadable("a record of an unknown type")),
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len > PAYLOAD_BYTES {
            return Err(RecordError::Unreadable("a record longer than TLS allows"));
        }
        // RFC 8446 section 5.1: only application data may be empty; the others would be free work for us.
        if len == 0 && kind != ContentType::ApplicationData {
            return Err(RecordError::Unreadable("an empty record"));
        }
        Ok(RecordHeader { kind, version: Version(u16::from_be_bytes([major, minor])), len })
    }
}

/// Two bytes of length with the high bit set, message type 1, and a version of SSL or TLS.
fn is_ssl2_hello(bytes: [u8; HEADER_BYTES]) -> bool {
    let version = Version(u16::from_be_bytes([bytes[3], bytes[4]]));
    bytes[0] & 0x80 != 0 && bytes[2] == 1 && (version == Version::SSL2 || bytes[3] == 3)
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecordError::NotTls => "this is not TLS",
            RecordError::SslV2 => "this is SSL 2.0",
            RecordError::Unreadable(what) => what,
        })
    }
}

impl std::error::Error for RecordError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: u8, version: u16, len: usize) -> Result<RecordHeader, RecordError> {
        let ([major, minor], [high, low]) = (version.to_be_bytes(), (len as u16).to_be_bytes());
        RecordHeader::parse([kind, major, minor, high, low])
    }

    #[test]
    fn headers_of_every_minor_version_are_read() {
        for version in [0x0300, 0x0301, 0x0303, 0x0304, 0x0399] {
            let header = parse(22, version, 512).unwrap();
            assert_eq!(
                header,
                RecordHeader { kind: ContentType::Handshake, version: Version(version), len: 512 }
            );
        }
        let kinds = [
            (20, ContentType::ChangeCipherSpec),
            (21, ContentType::Alert),
            (22, ContentType::Handshake),
            (23, ContentType::ApplicationData),
        ];
        for (byte, kind) in kinds {
            assert_eq!(parse(byte, 0x0303, 1).unwrap().kind, kind);
            assert_eq!(kind as u8, byte);
        }
    }

    #[test]
    fn lengths_are_bounded_on_both_sides() {
        assert_eq!(parse(23, 0x0303, PAYLOAD_BYTES).unwrap().len, 18_432);
        assert!(matches!(parse(23, 0x0303, PAYLOAD_BYTES + 1), Err(RecordError::Unreadable(_))));
        assert!(matches!(parse(22, 0x0303, 0xffff), Err(RecordError::Unreadable(_))));
        assert!(parse(23, 0x0303, 0).is_ok());
        for kind in [20, 21, 22] {
            assert!(matches!(parse(kind, 0x0303, 0), Err(RecordError::Unreadable(_))), "{kind}");
        }
    }

    #[test]
    fn other_protocols_are_told_apart() {
        let rows: [([u8; 5], RecordError); 16] = [
            (*b"GET /", RecordError::NotTls),
            (*b"SSH-2", RecordError::NotTls),
            (*b"EHLO ", RecordError::NotTls),
            (*b"220 m", RecordError::NotTls),
            ([5, 1, 0, 0, 0], RecordError::NotTls),
            ([0; 5], RecordError::NotTls),
            ([0x16, 0xfe, 0xfd, 0, 0], RecordError::NotTls),
            ([0x16, 0x01, 0x01, 0, 80], RecordError::NotTls),
            ([0x16, 0x02, 0x00, 0, 80], RecordError::NotTls),
            ([0x80, 0x2e, 0x01, 0x03, 0x01], RecordError::SslV2),
            ([0x80, 0x2e, 0x01, 0x00, 0x02], RecordError::SslV2),
            ([0x81, 0x03, 0x01, 0x03, 0x03], RecordError::SslV2),
            ([0x80, 0x2e, 0x04, 0x00, 0x02], RecordError::NotTls),
            ([0x80, 0x2e, 0x01, 0x04, 0x01], RecordError::NotTls),
            ([0x18, 0x03, 0x03, 0, 3], RecordError::Unreadable("a record of an unknown type")),
            ([0xff, 0x03, 0x03, 0, 3], RecordError::Unreadable("a record of an unknown type")),
        ];
        for (bytes, error) in rows {
            assert_eq!(RecordHeader::parse(bytes), Err(error), "{bytes:x?}");
        }
    }
}
