//! A TLS handshake with the target, as an agent would have it, to see what the server shows. Nothing
//! is refused for its certificate: whether it is trusted is what is to be told.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error,
    ProtocolVersion, RootCertStore, SignatureScheme,
};

use crate::config::schema::Config;
use crate::proto::target::{Host, Target};
use crate::proto::tls::Version;
use crate::proto::tls::identity::{Identity, identity};

use super::dial::Stopwatch;

/// What a handshake showed.
#[derive(Debug)]
pub(super) struct Shaken {
    version: Version,
    suite: String,
    took: String,
    certificates: Vec<CertificateDer<'static>>,
    trust: String,
}

/// Shakes hands on `stream` within `limits.hello_ms` for each step.
///
/// # Errors
/// Why there is no session.
pub(super) fn shake(
    mut stream: TcpStream,
    target: &Target,
    config: &Config,
) -> Result<Shaken, String> {
    let provider = Arc::new(ring::default_provider());
    let witness = Arc::new(Witness::new(&provider));
    let server = match &target.host {
        Host::Name(name) => ServerName::try_from(name.to_string())
            .map_err(|_| "the name cannot stand in a hello".to_owned())?,
        Host::Address(address) => ServerName::IpAddress((*address).into()),
    };
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let mut session =
        ClientConnection::new(Arc::new(client), server).map_err(|error| error.to_string())?;
    let limit = Duration::from_millis(config.limits.hello_ms);
    let timed = stream.set_read_timeout(Some(limit)).and(stream.set_write_timeout(Some(limit)));
    timed.map_err(|error| error.to_string())?;
    let started = Stopwatch::start();
    while session.is_handshaking() {
        session.complete_io(&mut stream).map_err(|error| why(&error, config))?;
    }
    let took = started.shown();
    session.send_close_notify();
    // The server may be gone already; what it showed is known.
    let _ = session.complete_io(&mut stream);
    Ok(Shaken {
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => Version::TLS13,
            _ => Version::TLS12,
        },
        suite: session.negotiated_cipher_suite().map_or_else(String::new, |suite| {
            suite.suite().as_str().unwrap_or_default().to_owned()
        }),
        took,
        certificates: session.peer_certificates().unwrap_or_default().to_vec(),
        trust: witness.seen.lock().take().unwrap_or_default(),
    })
}

impl Shaken {
    /// Lines of a name and what belongs to it.
    pub(super) fn told(&self, config: &Config) -> Vec<(&'static str, String)> {
        let Shaken { version, suite, took, .. } = self;
        let mut lines = vec![("tls", format!("{version}, {suite}, in {took}"))];
        if *version < config.min_version {
            let least = config.min_version;
            lines.push(("", format!("below tls.min_version {least}: the gateway would refuse it")));
        }
        if let Some(certificate) = self.certificates.first() {
            match identity(certificate) {
                Ok(Identity { subject, issuer, not_before, not_after }) => {
                    lines.push(("certificate", format!("{subject}")));
                    lines.push(("", format!("by {issuer}, from {not_before} to {not_after}")));
                }
                Err(error) => lines.push(("certificate", format!("cannot be read: {error}"))),
            }
        }
        lines.push(("trust", self.trust.clone()));
        if !config.client_certificates.is_empty() {
            lines.push(("certificates", self.as_a_client(config)));
        }
        lines
    }

    /// What the gateway would make of a client that shows no certificate, as this one does not.
    fn as_a_client(&self, config: &Config) -> String {
        let unseen = &config.unseen_client_certificate;
        let (why, key, is_allowed) = match self.version {
            Version::TLS13 => ("TLS 1.3 hides what a client shows", "tls13", unseen.tls13),
            _ => ("this handshake shows none", "none", unseen.none),
        };
        let outcome = if is_allowed { "let it pass" } else { "refuse it" };
        format!("{why}: the gateway would {outcome} (tls.unseen_client_certificate.{key})")
    }
}

/// Looks at the certificate and lets it pass.
#[derive(Debug)]
struct Witness {
    provider: Arc<CryptoProvider>,
    judge: Result<Arc<WebPkiServerVerifier>, String>,
    seen: Mutex<Option<String>>,
}

impl Witness {
    fn new(provider: &Arc<CryptoProvider>) -> Witness {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let judge = match roots.is_empty() {
            true => Err("this machine has no root certificates to judge it by".to_owned()),
            false => {
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                    .build()
                    .map_err(|error| error.to_string())
            }
        };
        Witness { provider: Arc::clone(provider), judge, seen: Mutex::default() }
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let told = match &self.judge {
            Err(why) => format!("not judged: {why}"),
            Ok(judge) => match judge.verify_server_cert(leaf, others, server, ocsp, now) {
                Ok(_) => "the certificate is good, by the root certificates of this machine".into(),
                Err(error) => {
                    format!("this machine would not trust the certificate: {}", distrust(&error))
                }
            },
        };
        *self.seen.lock() = Some(told);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What is wrong with a certificate, for people.
fn distrust(error: &Error) -> String {
    let Error::InvalidCertificate(error) = error else { return error.to_string() };
    match error {
        CertificateError::Other(_) => {
            "it is that of a certificate authority, and no server's own".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "nobody whom this machine trusts has issued it".to_owned()
        }
        error => error.to_string(),
    }
}

fn why(error: &io::Error, config: &Config) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("no answer within {} ms (limits.hello_ms)", config.limits.hello_ms)
        }
        io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        _ => error.to_string(),
    }
}
