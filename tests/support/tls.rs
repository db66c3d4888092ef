//! TLS flights without TLS: hellos that a watch reads, so that a tunnel opens without cryptography.

use sluice::proto::tls::Version;
use sluice::proto::tls::record::ContentType;
use sluice::proto::tls::sample::{
    SampleHello, SampleServerHello, client_hello, records, server_hello,
};

/// A ClientHello of TLS 1.3 and 1.2 as one record.
pub fn hello(name: Option<&str>) -> Vec<u8> {
    hello_of(&SampleHello { server_name: name.map(str::as_bytes), ..SampleHello::default() })
}

/// A ClientHello as one record.
pub fn hello_of(sample: &SampleHello<'_>) -> Vec<u8> {
    records(ContentType::Handshake, Version::TLS10, &client_hello(sample), 1 << 14)
}

/// The name that the flights below are for.
pub const NAMED: &str = "localhost";

/// This ClientHello with the name localhost, as one record.
pub fn named(sample: SampleHello<'_>) -> Vec<u8> {
    hello_of(&SampleHello { server_name: Some(NAMED.as_bytes()), ..sample })
}

/// A ClientHello of this version and no extension for versions, with the name localhost.
pub fn of_version(version: Version) -> Vec<u8> {
    named(SampleHello { client_version: version, versions: &[], ..SampleHello::default() })
}

/// A ClientHello with these bytes as the name.
pub fn with_name(name: &[u8]) -> Vec<u8> {
    hello_of(&SampleHello { server_name: Some(name), ..SampleHello::default() })
}

/// A ServerHello that settles TLS 1.2, as one record.
pub fn answer() -> Vec<u8> {
    answer_of(&SampleServerHello::default())
}

/// A ServerHello that settles TLS 1.3, as one record.
pub fn answer_13() -> Vec<u8> {
    answer_of(&SampleServerHello { version: Some(Version::TLS13), ..SampleServerHello::default() })
}

/// A HelloRetryRequest as one record.
pub fn retry() -> Vec<u8> {
    answer_of(&SampleServerHello {
        version: Some(Version::TLS13),
        retry: true,
        ..SampleServerHello::default()
    })
}

/// A ServerHello as one record.
pub fn answer_of(sample: &SampleServerHello) -> Vec<u8> {
    records(ContentType::Handshake, Version::TLS12, &server_hello(sample), 1 << 14)
}

/// The compatibility ChangeCipherSpec of TLS 1.3.
pub fn change_cipher_spec() -> Vec<u8> {
    vec![20, 3, 3, 0, 1, 1]
}

/// A fatal alert in clear.
pub fn alert(minor: u8, description: u8) -> Vec<u8> {
    vec![21, 3, minor, 0, 2, 2, description]
}
