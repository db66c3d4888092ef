//! Certificates and keys for both ends, made by OpenSSL once for all tests.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::program::{Running, program};
use crate::support::folder::Folder;

/// A certificate and its key, as files.
#[derive(Clone, Copy, Debug)]
pub struct Credential(&'static str);

/// The server's own, for `localhost`.
pub const SERVER: Credential = Credential("server");
/// An agent's as it makes its own: two common names, RSA.
pub const AGENT: Credential = Credential("agent");
/// The same subject with a key on an elliptic curve.
pub const AGENT_ECDSA: Credential = Credential("agent-ecdsa");
/// Somebody else's.
pub const STRANGER: Credential = Credential("stranger");

/// The workspace, the agent, and the whole subject of [`AGENT`] as it is written.
pub const WORKSPACE: &str = "6f1d4ca0-1a2b-4c3d-8e4f-0123456789ab";
pub const SUBJECT: &str = "CN=6f1d4ca0-1a2b-4c3d-8e4f-0123456789ab, \
     CN=9a8b7c6d-0000-4444-8888-ba9876543210, OU=Linux Monitoring Agent, O=Microsoft";
/// The subject of [`STRANGER`].
pub const STRANGER_SUBJECT: &str = "CN=Foo\\, Inc, O=\\C3\\9Cber";

impl Credential {
    /// The certificate in PEM.
    pub fn certificate(self) -> PathBuf {
        folder().path().join(format!("{}.pem", self.0))
    }

    /// Its key in PEM.
    pub fn key(self) -> PathBuf {
        folder().path().join(format!("{}.key", self.0))
    }
}

fn folder() -> &'static Folder {
    static FOLDER: OnceLock<Folder> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Folder::new();
        let agent = "/CN=6f1d4ca0-1a2b-4c3d-8e4f-0123456789ab\
             /CN=9a8b7c6d-0000-4444-8888-ba9876543210/OU=Linux Monitoring Agent/O=Microsoft";
        let ecdsa = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"][..];
        for (credential, subject, key) in [
            (SERVER, "/CN=localhost", &["rsa:2048"][..]),
            (AGENT, agent, &["rsa:2048"]),
            (AGENT_ECDSA, agent, ecdsa),
            (STRANGER, "/CN=Foo, Inc/O=\u{dc}ber", ecdsa),
        ] {
            let mut openssl = program("openssl");
            openssl.args(["req", "-x509", "-newkey"]).args(key);
            openssl.args(["-nodes", "-days", "2", "-utf8", "-subj", subject]);
            openssl.args(["-config", "/dev/null", "-addext", "subjectAltName=DNS:localhost"]);
            openssl.arg("-out").arg(folder.path().join(format!("{}.pem", credential.0)));
            openssl.arg("-keyout").arg(folder.path().join(format!("{}.key", credential.0)));
            let (done, printed) = Running::start(&mut openssl).finish();
            assert!(done, "{printed}");
        }
        folder
    })
}
