//! Asking the running gateway, at the admin listener that the configuration names.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::config::load;
use crate::config::place::{self, Place};
use crate::config::problem::Problem;

use super::command::USAGE;

/// How long to wait for a connection, and for each piece of the answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Bytes of an answer: beyond the longest that a gateway gives.
const ANSWER_BYTES: u64 = 4 << 20;
const HEADERS: usize = 32;

/// A running gateway, where it can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    address: SocketAddr,
    /// Of the configuration that names the address.
    place: Place,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum AskError {
    /// The configuration is wrong, so that the address is not known.
    Configuration(Vec<Problem>),
    /// The configuration says that there is no admin listener.
    Off(PathBuf),
    /// The port is given by the system, and only the gateway knows it.
    AnyPort(PathBuf),
    /// Nothing listens, or nobody answers.
    Silent(Running, io::Error),
    /// What answers is no admin listener; why it cannot be.
    Strange(Running, String),
}

impl AskError {
    /// Tells it on stderr, and the exit code.
    pub(super) fn tell(&self) -> ExitCode {
        eprintln!("{self}");
        match self {
            AskError::Configuration(_) => ExitCode::from(USAGE),
            _ => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Configuration(problems) => f.write_str(&lines(problems)),
            AskError::Off(file) => write!(
                f,
                "The admin listener is off: {} says admin.listen = \"\". Without it a running \
                 gateway cannot be asked",
                file.display()
            ),
            AskError::AnyPort(file) => write!(
                f,
                "admin.listen in {} has port 0, so only the gateway knows where it is: it printed \
                 \"admin on ADDR:PORT\"",
                file.display()
            ),
            AskError::Silent(running, error) => write!(
                f,
                "No gateway answers at {running}: {error}. Check that it runs with this \
                 configuration"
            ),
            AskError::Strange(running, why) => {
                write!(f, "What answers at {running} is no gateway of this version: {why}")
            }
        }
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (admin.listen of {})", self.address, self.place.file.display())
    }
}

impl Running {
    /// The gateway of the configuration in `file`, else in the usual place; the defaults where there
    /// is none.
    ///
    /// # Errors
    /// The configuration is wrong or names no address.
    pub(super) fn find(file: Option<&Path>) -> Result<Running, AskError> {
        Running::of(&place::find(file, std::env::var_os("SLUICE_CONFIG")))
    }

    /// The gateway of the configuration at `place`.
    ///
    /// # Errors
    /// As [`Running::find`].
    pub(super) fn of(place: &Place) -> Result<Running, AskError> {
        let file = || place.file.clone();
        let admin_listen = match load::read_aside(place) {
            Ok(loaded) => loaded.config.admin_listen,
            Err(problems) => match load::admin_listen_despite(place) {
                Some(admin_listen) => {
                    // A gateway that runs keeps what it had; asking it is how to find out.
                    eprintln!("{}", lines(&problems));
                    admin_listen
                }
                None => return Err(AskError::Configuration(problems)),
            },
        };
        match admin_listen {
            None => Err(AskError::Off(file())),
            Some(address) if address.port() == 0 => Err(AskError::AnyPort(file())),
            Some(address) => Ok(Running { address: reachable(address), place: place.clone() }),
        }
    }

    /// Where its configuration is.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Asks by `method` for `path`.
    ///
    /// # Errors
    /// [`AskError::Silent`] or [`AskError::Strange`].
    pub(super) fn ask(&self, method: &str, path: &str) -> Result<Answer, AskError> {
        let bytes =
            self.exchange(method, path).map_err(|error| AskError::Silent(self.clone(), error))?;
        answer(&bytes).map_err(|why| self.is_strange(why))
    }

    /// The body of `path`, which has to be there.
    ///
    /// # Errors
    /// As [`Running::ask`], and where the answer is no 200.
    pub(super) fn get(&self, path: &str) -> Result<String, AskError> {
        let Answer { status, body } = self.ask("GET", path)?;
        if status == 200 {
            return Ok(body);
        }
        Err(self.is_strange(format!("GET {path} gets {status}: {}", body.trim_end())))
    }

    /// What answers is not what was expected.
    pub(super) fn is_strange(&self, why: impl Into<String>) -> AskError {
        AskError::Strange(self.clone(), why.into())
    }

    fn exchange(&self, method: &str, path: &str) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&self.address, ANSWER_TIME)?;
        stream.set_read_timeout(Some(ANSWER_TIME))?;
        stream.set_write_timeout(Some(ANSWER_TIME))?;
        let host = self.address;
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        let mut bytes = Vec::new();
        match stream.take(ANSWER_BYTES).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            // The system's words for it, "temporarily unavailable", would mislead.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let text = format!("no answer within {} s", ANSWER_TIME.as_secs());
                Err(io::Error::new(ErrorKind::TimedOut, text))
            }
            Err(error) => Err(error),
        }
    }
}

/// A listener on every address of its family is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn answer(bytes: &[u8]) -> Result<Answer, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let body_at = match head.parse(bytes) {
        Ok(httparse::Status::Complete(body_at)) => body_at,
        Ok(httparse::Status::Partial) => return Err("its answer breaks off".to_owned()),
        Err(error) => return Err(format!("its answer is not HTTP ({error})")),
    };
    let length = head.headers.iter().find(|header| header.name == "Content-Length");
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
    let body = &bytes[body_at..];
    if length != Some(body.len()) {
        return Err("its answer breaks off".to_owned());
    }
    let body =
        String::from_utf8(body.to_vec()).map_err(|_| "its answer is not UTF-8".to_owned())?;
    Ok(Answer { status: head.code.unwrap_or_default(), body })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use socket2::{Domain, Socket, Type};

    use super::*;

    fn named(file: &str) -> Place {
        Place { file: PathBuf::from(file), is_named: true }
    }

    fn told(name: &str, text: Option<&str>) -> Result<Running, AskError> {
        let folder = std::env::temp_dir().join(format!("sluice-ask-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("sluice.toml");
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let found = Running::of(&Place { file, is_named: text.is_some() });
        std::fs::remove_dir_all(&folder).unwrap();
        found
    }

    #[test]
    fn the_address_is_that_of_the_configuration() {
        for (text, address) in [
            (None, "127.0.0.1:9180"),
            (Some("workers = 1\n"), "127.0.0.1:9180"),
            (Some("admin.listen = \"127.0.0.9:1\""), "127.0.0.9:1"),
            (Some("admin.listen = \"0.0.0.0:2\""), "127.0.0.1:2"),
            (Some("admin.listen = \"[::]:3\""), "[::1]:3"),
            (Some("admin.listen = \"127.0.0.1:4\"\nwrokers = 1\n"), "127.0.0.1:4"),
            (Some("admin.listen = \"127.0.0.1:5\"\nfoo = [\n"), "127.0.0.1:5"),
        ] {
            assert_eq!(told("address", text).unwrap().address.to_string(), address);
        }
        for (text, words) in [
            ("admin.listen = \"\"", "The admin listener is off"),
            ("admin.listen = \"127.0.0.1:0\"", "has port 0"),
            ("admin.listen = 1", "sluice.toml:1:16: admin.listen must be a string"),
            ("wrokers = 1", "sluice.toml:1:1: unknown key"),
            ("foo = [\nadmin.listen = \"127.0.0.1:5\"", "sluice.toml:"),
        ] {
            let why = told("wrong", Some(text)).unwrap_err().to_string();
            assert!(why.contains(words), "{why}");
        }
    }

    fn asked(answer: &'static [u8]) -> Result<Answer, AskError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let len = stream.read(&mut head).unwrap();
            stream.write_all(answer).unwrap();
            String::from_utf8_lossy(&head[..len]).into_owned()
        });
        let running = Running { address, place: named("f.toml") };
        let told = running.ask("GET", "/x?y=z");
        assert!(thread.join().unwrap().starts_with("GET /x?y=z HTTP/1.1\r\nHost: 127.0.0.1:"));
        told
    }

    #[test]
    fn an_answer_is_whole_or_strange() {
        let whole = asked(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n").unwrap();
        assert_eq!(whole, Answer { status: 404, body: "no\n".to_owned() });
        for (bytes, words) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nno\n"[..], "breaks off"),
            (b"HTTP/1.1 200 OK\r\n", "breaks off"),
            (b"", "breaks off"),
            (b"SSH-2.0-x\r\n", "is not HTTP"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xff", "is not UTF-8"),
        ] {
            let why = asked(bytes).unwrap_err().to_string();
            assert!(why.contains(words) && why.contains("(admin.listen of f.toml)"), "{why}");
        }
    }

    #[test]
    fn silence_is_told_with_what_to_check() {
        // It stays bound, so that nobody else is given its port meanwhile.
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bound.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let free = bound.local_addr().unwrap().as_socket().unwrap();
        let running = Running { address: free, place: named("f.toml") };
        let why = running.get("/status").unwrap_err().to_string();
        assert!(why.contains(&format!("No gateway answers at {free}")), "{why}");
        assert!(why.contains("Check that it runs"), "{why}");
    }
}
