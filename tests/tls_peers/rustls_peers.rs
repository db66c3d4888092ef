//! rustls on both ends.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, Error, HandshakeKind,
    RootCertStore, ServerConfig, ServerConnection, SignatureScheme, Stream,
    SupportedProtocolVersion, version,
};

use super::credentials::{
    AGENT, AGENT_ECDSA, Credential, SERVER, STRANGER, STRANGER_SUBJECT, SUBJECT, WORKSPACE,
};
use super::{checking, expect_refused, expect_verified, gateway, told};
use crate::support::deadline::PATIENCE;
use crate::support::gateway::Gateway;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn chain(credential: Credential) -> Vec<CertificateDer<'static>> {
    vec![CertificateDer::from_pem_file(credential.certificate()).unwrap()]
}

fn key(credential: Credential) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(credential.key()).unwrap()
}

/// Asks for a certificate, takes any, and checks the proof that its key is owned.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// How a server lets sessions be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Id,
    Ticket,
}

/// A server that sends back what it reads; it lives as long as the test.
fn server(by: By) -> SocketAddr {
    server_in_pieces(by, None)
}

/// The same with records of at most so many bytes.
fn server_in_pieces(by: By, fragment_bytes: Option<usize>) -> SocketAddr {
    let algorithms = provider().signature_verification_algorithms;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS12, &version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Anybody(algorithms)))
        .with_single_cert(chain(SERVER), key(SERVER))
        .unwrap();
    config.max_fragment_size = fragment_bytes;
    match by {
        By::Id => config.session_storage = ServerSessionMemoryCache::new(16),
        By::Ticket => {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.ticketer = ring::Ticketer::new().unwrap();
        }
    }
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port to listen on");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            std::thread::spawn(move || echo(&mut connection, stream));
        }
    });
    address
}

fn echo(connection: &mut ServerConnection, mut socket: TcpStream) {
    let mut stream = Stream::new(connection, &mut socket);
    let mut piece = [0; 4096];
    // A client that is refused shows so by itself.
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        if stream.write_all(&piece[..read]).is_err() {
            return;
        }
    }
}

fn config(
    versions: &[&'static SupportedProtocolVersion],
    identity: Option<Arc<dyn ResolvesClientCert>>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(chain(SERVER).remove(0)).unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match identity {
        Some(identity) => builder.with_client_cert_resolver(identity),
        None => builder.with_no_client_auth(),
    })
}

/// Shows this certificate, and proves to own this key, whether they belong together or not.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl Shows {
    fn both(certificate: Credential, owned: Credential) -> Arc<dyn ResolvesClientCert> {
        let key = ring::sign::any_supported_type(&key(owned)).unwrap();
        Arc::new(Shows(Arc::new(CertifiedKey::new(chain(certificate), key))))
    }
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A socket that sends what it is given in segments of this size, with a pause after each.
struct InSegments(TcpStream, usize);

impl Read for InSegments {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for InSegments {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (now, later) = bytes.split_at(self.1.min(bytes.len()));
        self.0.write_all(now)?;
        if !later.is_empty() {
            std::thread::sleep(Duration::from_millis(3));
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends a line and reads it back, through the gateway.
fn talk(
    gateway: &Gateway,
    server: SocketAddr,
    config: &Arc<ClientConfig>,
) -> Result<HandshakeKind, String> {
    talk_in_segments(gateway, server, config, usize::MAX)
}

fn talk_in_segments(
    gateway: &Gateway,
    server: SocketAddr,
    config: &Arc<ClientConfig>,
    segment_bytes: usize,
) -> Result<HandshakeKind, String> {
    let socket = gateway.open(&format!("localhost:{}", server.port())).stream;
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut socket = InSegments(socket, segment_bytes);
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = Stream::new(&mut connection, &mut socket);
    let mut back = [0; 14];
    stream.write_all(b"there and back").map_err(|error| error.to_string())?;
    stream.read_exact(&mut back).map_err(|error| error.to_string())?;
    assert_eq!(&back, b"there and back");
    connection.send_close_notify();
    connection.write_tls(&mut socket).map_err(|error| error.to_string())?;
    connection.handshake_kind().ok_or_else(|| "no handshake".to_owned())
}

fn port_of(server: SocketAddr) -> u16 {
    server.port()
}

#[test]
fn both_versions_pass_and_certificates_of_tls_12_are_judged() {
    let server = server(By::Id);
    let list = || checking(port_of(server), &[WORKSPACE], "").start();
    for (versions, spelled) in [(&version::TLS12, "1.2"), (&version::TLS13, "1.3")] {
        let gateway = gateway(port_of(server)).start();
        let config = config(&[versions], Some(Shows::both(AGENT, AGENT)));
        talk(&gateway, server, &config).unwrap();
        expect_verified(gateway, spelled, "", spelled);
    }
    for credential in [AGENT, AGENT_ECDSA] {
        let gateway = list();
        let config = config(&[&version::TLS12], Some(Shows::both(credential, credential)));
        talk(&gateway, server, &config).unwrap();
        expect_verified(gateway, "1.2", SUBJECT, "admitted");
    }
    let refused = |versions: &[&'static SupportedProtocolVersion], identity, reason, subject| {
        let gateway = list();
        let error = talk(&gateway, server, &config(versions, identity)).unwrap_err();
        assert!(error.contains("AccessDenied"), "{reason}: {error}");
        expect_refused(gateway, reason, subject, reason);
    };
    let stranger = Some(Shows::both(STRANGER, STRANGER));
    let not_allowed = "client_certificate_not_allowed";
    refused(&[&version::TLS12], stranger, not_allowed, STRANGER_SUBJECT);
    refused(&[&version::TLS12], None, "client_certificate_unseen_none", "");
    let agent = Some(Shows::both(AGENT, AGENT));
    refused(&[&version::TLS13, &version::TLS12], agent, "client_certificate_unseen_tls13", "");
}

#[test]
fn a_stolen_certificate_is_never_verified() {
    let server = server(By::Id);
    let gateway = checking(port_of(server), &[WORKSPACE], "").start();
    let stolen = config(&[&version::TLS12], Some(Shows::both(AGENT_ECDSA, STRANGER)));
    talk(&gateway, server, &stolen).unwrap_err();
    let (told, _) = told(gateway);
    let ids: Vec<u64> = told.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [103, 100], "the server refuses it: {told:?}");
}

#[test]
fn a_session_is_resumed_where_this_gateway_saw_it_begin() {
    for by in [By::Id, By::Ticket] {
        let server = server(by);
        let config = config(&[&version::TLS12], Some(Shows::both(AGENT, AGENT)));
        let gateway = checking(port_of(server), &[WORKSPACE], "").start();
        let kinds = [(); 3].map(|()| talk(&gateway, server, &config).unwrap());
        use HandshakeKind::{Full, Resumed};
        assert_eq!(kinds, [Full, Resumed, Resumed], "{by:?}");
        let (told, _) = told(gateway);
        assert_eq!(told.iter().filter(|(id, _)| *id == 107).count(), 3, "{by:?}: {told:?}");
        let gateway = checking(port_of(server), &[WORKSPACE], "").start();
        let error = talk(&gateway, server, &config).unwrap_err();
        assert!(error.contains("AccessDenied"), "{by:?}: {error}");
        expect_refused(gateway, "client_certificate_unseen_resumed", "", &format!("{by:?}"));
    }
}

#[test]
fn small_records_and_segments_change_nothing() {
    for (fragment_bytes, segment_bytes) in [(None, 1_400), (Some(64), usize::MAX), (Some(40), 33)] {
        let server = server_in_pieces(By::Id, fragment_bytes);
        let what = format!("{fragment_bytes:?} and {segment_bytes}");
        for (versions, spelled) in [(&version::TLS12, "1.2"), (&version::TLS13, "1.3")] {
            let mut config = (*config(&[versions], Some(Shows::both(AGENT, AGENT)))).clone();
            config.max_fragment_size = fragment_bytes;
            // As long as a hello with a post-quantum key share.
            config.alpn_protocols =
                (0..60).map(|n| format!("protocol-number-{n:010}").into()).collect();
            let config = Arc::new(config);
            let gateway = checking(port_of(server), &[WORKSPACE], "tls13 = \"allow\"").start();
            talk_in_segments(&gateway, server, &config, segment_bytes).unwrap();
            let subject = if spelled == "1.2" { SUBJECT } else { "" };
            expect_verified(gateway, spelled, subject, &what);
            let gateway = self::gateway(port_of(server)).start();
            talk_in_segments(&gateway, server, &config, segment_bytes).unwrap();
            expect_verified(gateway, spelled, "", &what);
        }
    }
}
