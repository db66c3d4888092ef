//! Certificates and what is made of them: the endpoint's own CA and leaf, or files, as rustls
//! configurations for both ends. Only the ring provider, only TLS 1.2 and 1.3.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, version};

/// Which TLS the agents speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2 and nothing newer.
    Tls12,
    /// TLS 1.3 and nothing older.
    Tls13,
}

/// What the endpoint shows its clients.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authority: Option<Authority>,
}

/// The CA that signed a certificate made here.
#[derive(Clone)]
pub struct Authority {
    /// For the agents' trust.
    pub der: CertificateDer<'static>,
    /// For a file.
    pub pem: String,
}

impl Identity {
    /// A new CA and a leaf for localhost, 127.0.0.1 and ::1, both on P-256, which keeps handshakes cheap.
    pub fn generate() -> Result<Identity, String> {
        generate().map_err(|why| format!("the test certificate could not be made: {why}"))
    }

    /// Chain and key from PEM files.
    pub fn load(cert_file: &Path, key_file: &Path) -> Result<Identity, String> {
        let chain = certificates(cert_file)?;
        let key = PrivateKeyDer::from_pem_file(key_file)
            .map_err(|why| format!("{}: no private key in PEM: {why}", key_file.display()))?;
        Ok(Identity { chain, key, authority: None })
    }

    /// The CA, where this identity was made here.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// What the endpoint's connections share.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, String> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS12, &version::TLS13])
            .and_then(|builder| {
                builder
                    .with_no_client_auth()
                    .with_single_cert(self.chain.clone(), self.key.clone_key())
            })
            .map_err(|why| format!("certificate and key do not make a TLS server: {why}"))?;
        Ok(Arc::new(config))
    }
}

fn generate() -> Result<Identity, rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "loadgen test CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut leaf = CertificateParams::new(names)?;
    leaf.distinguished_name.push(DnType::CommonName, "loadgen endpoint");
    let key = KeyPair::generate()?;
    let leaf = leaf.signed_by(&key, &authority)?;
    Ok(Identity {
        chain: vec![leaf.der().clone()],
        key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        authority: Some(Authority { der: authority.der().clone(), pem: authority.pem() }),
    })
}

/// The certificates of a PEM file; an empty file is an error.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(|found| found.collect());
    match read {
        Ok(found) if Vec::is_empty(&found) => {
            Err(format!("{}: no certificate in PEM in it", file.display()))
        }
        Ok(found) => Ok(found),
        Err(why) => Err(format!("{}: {why}", file.display())),
    }
}

/// What the agents' connections share: they trust `roots` only, and resume nothing, so that every
/// tunnel pays for a full handshake as a fresh agent does.
pub fn client_config(
    version: Version,
    roots: &[CertificateDer<'static>],
) -> Result<Arc<ClientConfig>, String> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(|why| format!("not a usable CA certificate: {why}"))?;
    }
    let versions: &[&SupportedProtocolVersion] = match version {
        Version::Tls12 => &[&version::TLS12],
        Version::Tls13 => &[&version::TLS13],
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .map_err(|why| format!("TLS cannot be set up: {why}"))?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_what_is_asked_of_them_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("empty.pem");
        std::fs::write(&file, "nothing\n").expect("written");
        let why = certificates(&file).expect_err("no certificate");
        assert!(why.contains("empty.pem"), "{why}");
        let why = Identity::load(&file, &file).map(|_| ()).expect_err("no identity");
        assert!(why.contains("empty.pem"), "{why}");
    }

    #[test]
    fn a_made_identity_serves_and_its_ca_can_be_loaded_from_a_file() {
        let identity = Identity::generate().expect("an identity");
        identity.server_config().expect("a server");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, &identity.authority().expect("a CA").pem).expect("written");
        let roots = certificates(&file).expect("certificates");
        client_config(Version::Tls13, &roots).expect("a client");
    }
}
