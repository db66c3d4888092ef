//! Protocol versions as the wire has them.

use std::fmt;

/// A protocol version; ordered as on the wire, which for SSL 2.0 to TLS 1.3 is the order of age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u16);

impl Version {
    /// SSL 2.0 (RFC 6176 forbids it).
    pub const SSL2: Version = Version(0x0002);
    /// SSL 3.0 (RFC 7568 forbids it).
    pub const SSL3: Version = Version(0x0300);
    /// TLS 1.0.
    pub const TLS10: Version = Version(0x0301);
    /// TLS 1.1.
    pub const TLS11: Version = Version(0x0302);
    /// TLS 1.2.
    pub const TLS12: Version = Version(0x0303);
    /// TLS 1.3.
    pub const TLS13: Version = Version(0x0304);

    /// The number alone, as in `1.2`; none for what is not a finished version.
    pub fn digits(self) -> Option<&'static str> {
        Some(match self {
            Version::SSL2 => "ssl2",
            Version::SSL3 => "ssl3",
            Version::TLS10 => "1.0",
            Version::TLS11 => "1.1",
            Version::TLS12 => "1.2",
            Version::TLS13 => "1.3",
            _ => return None,
        })
    }

    /// Whether this is SSL of any version, which is never admitted.
    pub fn is_ssl(self) -> bool {
        self < Version::TLS10
    }

    /// Whether this is a version of TLS, drafts of TLS 1.3 (0x7fxx) included, and neither GREASE nor DTLS.
    pub fn is_tls(self) -> bool {
        matches!(self.0 >> 8, 0x03 | 0x7f) && !self.is_ssl()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Version::SSL2 => "SSL 2.0",
            Version::SSL3 => "SSL 3.0",
            Version::TLS10 => "TLS 1.0",
            Version::TLS11 => "TLS 1.1",
            Version::TLS12 => "TLS 1.2",
            Version::TLS13 => "TLS 1.3",
            Version(other) => return write!(f, "0x{other:04x}"),
        })
    }
}

/// Whether `value` is one of the sixteen that mean nothing and keep servers tolerant (RFC 8701 section 2).
pub const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_age_and_named() {
        let by_age = [
            (Version::SSL2, "SSL 2.0"),
            (Version::SSL3, "SSL 3.0"),
            (Version::TLS10, "TLS 1.0"),
            (Version::TLS11, "TLS 1.1"),
            (Version::TLS12, "TLS 1.2"),
            (Version::TLS13, "TLS 1.3"),
            (Version(0x7f1c), "0x7f1c"),
        ];
        assert!(by_age.is_sorted());
        for (version, text) in by_age {
            assert_eq!(version.to_string(), text);
        }
    }

    #[test]
    fn grease_is_sixteen_values() {
        let all: Vec<u16> = (0..=u16::MAX).filter(|&value| is_grease(value)).collect();
        assert_eq!(all.len(), 16);
        assert_eq!((all[0], all[1], all[15]), (0x0a0a, 0x1a1a, 0xfafa));
        assert!(all.into_iter().all(|value| !Version(value).is_tls() && !Version(value).is_ssl()));
    }
}
