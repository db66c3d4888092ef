//! The one alert a refused client gets, so that it says more than "connection closed".

use super::Version;

/// RFC 8446 section 6.2: the version is recognised, but not admitted.
pub const PROTOCOL_VERSION: u8 = 70;
/// RFC 8446 section 6.2: the message could not be decoded.
pub const DECODE_ERROR: u8 = 50;
/// RFC 6066 section 3: the server name is not the one expected.
pub const UNRECOGNIZED_NAME: u8 = 112;
/// RFC 8446 section 6.2: a valid certificate, but not an admitted one.
pub const ACCESS_DENIED: u8 = 49;

const ALERT: u8 = 21;
const FATAL: u8 = 2;

/// A record with one fatal alert. `version` is what the client offered; the record carries at most
/// TLS 1.2, as RFC 8446 section 5.1 wants, and at least SSL 3.0, below which there are no alert records.
pub fn fatal(version: Version, description: u8) -> [u8; 7] {
    let [major, minor] = version.clamp(Version::SSL3, Version::TLS12).0.to_be_bytes();
    [ALERT, major, minor, 0, 2, FATAL, description]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_version_stays_between_ssl_3_and_tls_1_2() {
        let rows = [
            (Version::SSL2, [21, 3, 0, 0, 2, 2, 70]),
            (Version::SSL3, [21, 3, 0, 0, 2, 2, 70]),
            (Version::TLS10, [21, 3, 1, 0, 2, 2, 70]),
            (Version::TLS12, [21, 3, 3, 0, 2, 2, 70]),
            (Version::TLS13, [21, 3, 3, 0, 2, 2, 70]),
            (Version(0x7f1c), [21, 3, 3, 0, 2, 2, 70]),
        ];
        for (version, record) in rows {
            assert_eq!(fatal(version, PROTOCOL_VERSION), record, "{version}");
        }
    }
}
