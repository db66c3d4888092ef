//! Starting the programs: what they are called with, and what to install where they are missing.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;

use crate::support::deadline::PATIENCE;
use crate::support::folder::Folder;
use crate::support::gateway::{Gateway, wait};

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real_clients/endpoint.py");

/// An HTTPS server in Python, with a certificate of its own for `localhost`.
pub struct Endpoint {
    child: Child,
    port: u16,
    certificate: PathBuf,
    _folder: Folder,
}

impl Endpoint {
    /// Starts it. `old` admits TLS 1.0, which today's OpenSSL has to be asked for.
    pub fn start(old: bool) -> Endpoint {
        let folder = Folder::new();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let mut openssl = program("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]);
        openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
        openssl.arg("-out").arg(&certificate).arg("-keyout").arg(&key);
        let (status, _, error) = finish(&mut openssl, b"");
        assert!(status.success(), "{error}");
        let mut python = program("python3");
        python.arg(SERVER).arg(&certificate).arg(&key).args(old.then_some("old"));
        let mut child = spawn(python.stderr(Stdio::inherit()));
        let out = child.stdout.take().expect("stdout is a pipe");
        let (sender, line) = channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            // What the test gets where nothing was printed is an empty line.
            let _ = BufReader::new(out).read_line(&mut text);
            let _ = sender.send(text);
        });
        let mut endpoint = Endpoint { child, port: 0, certificate, _folder: folder };
        let text = line.recv_timeout(PATIENCE).expect("the endpoint prints its port");
        endpoint.port = text.trim().parse().expect("the endpoint prints its port");
        endpoint
    }

    /// `localhost:PORT`.
    pub fn authority(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// `https://localhost:PORT/`.
    pub fn url(&self) -> String {
        format!("https://{}/", self.authority())
    }

    /// curl through a gateway that is named by this flag.
    pub fn curl(&self, gateway: &Gateway, proxy_flag: &str) -> Command {
        let mut curl = program("curl");
        curl.args(["--silent", "--show-error", "--max-time", "60", "--noproxy", ""]);
        curl.arg("--cacert").arg(&self.certificate);
        curl.args([proxy_flag, &gateway.address().to_string()]);
        curl
    }

    /// `openssl s_client` through a gateway; it exits after the handshake.
    pub fn s_client(&self, gateway: &Gateway) -> Command {
        let mut openssl = program("openssl");
        openssl.args(["s_client", "-brief", "-verify_return_error", "-connect", &self.authority()]);
        openssl.args(["-proxy", &gateway.address().to_string()]);
        openssl.arg("-CAfile").arg(&self.certificate);
        openssl
    }

    /// A Python script with gateway, port and certificate as its arguments.
    pub fn python(&self, gateway: &Gateway, script: &str) -> Command {
        let mut python = program("python3");
        python.args(["-c", script, &gateway.address().to_string(), &self.port.to_string()]);
        python.arg(&self.certificate);
        python
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // It serves until it is killed; where it has failed it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command without the settings of whoever runs the tests.
fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    for variable in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(variable).env_remove(variable.to_uppercase());
    }
    // Distributions raise the least version of TLS in their configuration.
    command.env("OPENSSL_CONF", "/dev/null");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|error| {
        let name = command.get_program().to_string_lossy().into_owned();
        panic!("{name}: {error}; install it, as with apt-get install curl openssl python3")
    })
}

/// Gives a program its standard input and waits for its end: status, standard output and error.
pub fn finish(command: &mut Command, input: &[u8]) -> (ExitStatus, String, String) {
    let mut child = spawn(command);
    let out = child.stdout.take().map(read);
    let error = child.stderr.take().map(read);
    if let Some(mut stdin) = child.stdin.take() {
        // A program that fails early reads nothing.
        let _ = stdin.write_all(input);
    }
    let status = wait(&mut child);
    let text = |reading: Option<std::thread::JoinHandle<Vec<u8>>>| {
        let bytes = reading.expect("it is a pipe").join().expect("reading does not panic");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    (status, text(out), text(error))
}

fn read(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("a pipe");
        bytes
    })
}

/// Fails where the Python library is missing.
pub fn need_requests() {
    let (status, _, error) = finish(program("python3").args(["-c", "import requests"]), b"");
    assert!(status.success(), "{error}install it, as with apt-get install python3-requests");
}
