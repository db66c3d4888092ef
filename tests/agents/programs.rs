//! The programs that the library's upload takes: what is to be done where one is missing.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

use crate::support::folder::Folder;
use crate::support::gateway::{PROGRAM, wait};

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/python");

/// The ingestion endpoint of loadgen with a certificate of its own.
pub struct Endpoint {
    child: Child,
    out: BufReader<ChildStdout>,
    certificate: PathBuf,
    _folder: Folder,
}

impl Endpoint {
    /// Starts it on port 443 with a certificate for `host`.
    ///
    /// # Panics
    /// Where loadgen has not been built, or does not come to listen.
    pub fn start(host: &str) -> Endpoint {
        let loadgen = Path::new(PROGRAM).with_file_name("loadgen");
        assert!(loadgen.is_file(), "{}: not there; cargo build --workspace", loadgen.display());
        let folder = Folder::new();
        let (certificate, key) = (folder.path().join("ca.pem"), folder.path().join("key.pem"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]);
        openssl.args(["-subj", "/CN=endpoint"]);
        openssl.args(["-addext", &format!("subjectAltName=DNS:{host}")]);
        openssl.args(["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]);
        openssl.arg("-out").arg(&certificate).arg("-keyout").arg(&key);
        let made = finish(&mut openssl, "apt-get install openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut command = Command::new(loadgen);
        command.args(["endpoint", "--json", "--listen", "0.0.0.0:443", "--cert"]).arg(&certificate);
        command.arg("--key").arg(&key).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("loadgen starts");
        let mut out = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a pipe");
        assert_eq!(line, "endpoint on 0.0.0.0:443\n");
        Endpoint { child, out, certificate, _folder: folder }
    }

    /// What its clients have to trust.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Ends it; what it has counted.
    pub fn stop(mut self) -> Value {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let mut told = String::new();
        self.out.read_to_string(&mut told).expect("a pipe");
        assert!(wait(&mut self.child).success(), "{told}");
        serde_json::from_str(&told).expect("its counts are JSON")
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Already gone where it was stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a script with the Python that has azure-monitor-ingestion.
///
/// # Panics
/// Where there is none.
pub fn python(script: &str, arguments: &[&str]) -> Output {
    let mut python = Command::new(PYTHON);
    for variable in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        python.env_remove(variable).env_remove(variable.to_uppercase());
    }
    finish(python.args(["-c", script]).args(arguments), ".ci/install")
}

fn finish(command: &mut Command, install: &str) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        let name = command.get_program().to_string_lossy().into_owned();
        panic!("{name}: {error}; run {install}")
    })
}
