//! What went wrong on the way to a list, in words for the one who operates the gateway and with what to do,
//! where the library tells it to those who write programs. What a server shows may be in it.

use std::io::{self, ErrorKind};

use rustls::CertificateError;
use ureq::Error;

use crate::logic::feed::shown;

/// What to do where nobody vouches for the server.
const TRUST: &str = "name its authority's certificate in allow.feed.ca_file";
/// Names of a certificate that are told.
const NAMES_MAX: usize = 4;

/// A sentence without its end; nothing in it is a secret.
pub(super) fn told(error: &Error) -> String {
    match error {
        Error::Timeout(_) => "not done in time".to_owned(),
        Error::HostNotFound => "the name has no address; check allow.feed.url".to_owned(),
        Error::Io(error) => of_connection(error),
        Error::Rustls(error) => of_tls(error),
        Error::Protocol(_) => "what it answers is no HTTP; check allow.feed.url".to_owned(),
        Error::LargeResponseHeader(_, most) => {
            format!("the head of its answer has more than {most} bytes")
        }
        Error::ConnectProxyFailed(why) => {
            // Its own words repeat the number.
            let words = why.split('/').next().unwrap_or(why);
            format!("the relay proxy opens no tunnel: {}", shown(words))
        }
        error => shown(&error.to_string()),
    }
}

fn of_connection(error: &io::Error) -> String {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return of_tls(error);
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => "nobody listens there (connection refused)".to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            "the other side broke the connection".to_owned()
        }
        ErrorKind::UnexpectedEof => "the connection ended before the answer did".to_owned(),
        ErrorKind::TimedOut => "not done in time".to_owned(),
        _ => shown(&error.to_string()),
    }
}

fn of_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => of_certificate(error),
        rustls::Error::InvalidMessage(_) => {
            "what answers there speaks no TLS; check allow.feed.url".to_owned()
        }
        rustls::Error::AlertReceived(alert) => {
            format!("the server refuses the TLS handshake, with the alert {alert:?}")
        }
        rustls::Error::PeerIncompatible(_) => {
            "the server has no version or cipher of TLS in common with this gateway, which speaks \
             1.2 and 1.3"
                .to_owned()
        }
        error => format!("TLS: {}", shown(&error.to_string())),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            format!("its certificate comes from no authority that is trusted here; {TRUST}")
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "its certificate is for {}, not for {}; check allow.feed.url",
            names(presented),
            shown(&expected.to_str())
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; check the clock of this machine too".to_owned()
        }
        CertificateError::BadSignature => format!(
            "its certificate names an authority that is trusted here, but another of the same name \
             has signed it; {TRUST}"
        ),
        // The library of the certificates has no name for it that can be asked for here.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "it shows the certificate of an authority (CA) as its own; have that authority issue \
             one for the server"
                .to_owned()
        }
        error => format!("its certificate is no good: {}", shown(&error.to_string())),
    }
}

/// As in `DnsName("a.test")`, of which the name is wanted.
fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "no name at all".to_owned();
    }
    let name = |text: &String| shown(text.split('"').nth(1).unwrap_or(text));
    let mut names: Vec<String> = presented.iter().take(NAMES_MAX).map(name).collect();
    if presented.len() > NAMES_MAX {
        names.push(format!("{} more", presented.len() - NAMES_MAX));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{AlertDescription, InvalidMessage, OtherError};

    use super::*;

    #[derive(Debug)]
    struct CaUsedAsEndEntity;

    impl std::fmt::Display for CaUsedAsEndEntity {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{self:?}")
        }
    }

    impl std::error::Error for CaUsedAsEndEntity {}

    #[test]
    fn what_a_library_says_is_told_to_people() {
        let certificate = rustls::Error::InvalidCertificate;
        let over_io =
            |error: rustls::Error| Error::Io(io::Error::new(ErrorKind::InvalidData, error));
        let of_kind = |kind: ErrorKind| Error::Io(io::Error::from(kind));
        let presented = |count: usize| (0..count).map(|n| format!("DnsName(\"n{n}.test\")"));
        let misnamed = |count| CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("a.test").unwrap(),
            presented: presented(count).collect(),
        };
        let other = OtherError(std::sync::Arc::new(CaUsedAsEndEntity));
        for (error, words) in [
            (over_io(certificate(CertificateError::UnknownIssuer)), "allow.feed.ca_file"),
            (Error::Rustls(certificate(CertificateError::UnknownIssuer)), "allow.feed.ca_file"),
            (over_io(certificate(misnamed(1))), "is for n0.test, not for a.test; check"),
            (over_io(certificate(misnamed(0))), "is for no name at all, not for a.test"),
            (over_io(certificate(misnamed(9))), "n3.test, 5 more, not for"),
            (
                over_io(certificate(CertificateError::Other(other))),
                "the certificate of an authority",
            ),
            (over_io(certificate(CertificateError::Expired)), "has expired"),
            (over_io(rustls::Error::InvalidMessage(InvalidMessage::InvalidCcs)), "speaks no TLS"),
            (over_io(rustls::Error::AlertReceived(AlertDescription::UnrecognisedName)), "refuses"),
            (of_kind(ErrorKind::ConnectionRefused), "nobody listens there"),
            (of_kind(ErrorKind::UnexpectedEof), "ended before the answer did"),
            (Error::ConnectProxyFailed("proxy server responded 407/407".into()), "responded 407"),
            (Error::HostNotFound, "has no address; check allow.feed.url"),
            (Error::Other("\x1b[2J".into()), "\\u{1b}[2J"),
        ] {
            let told = told(&error);
            assert!(told.contains(words), "{error:?}: {told}");
            assert!(!told.contains("io:") && !told.contains("UsedAs"), "{told}");
            assert!(!told.contains("407/407") && !told.contains('\x1b'), "{told}");
        }
    }
}
