//! The gateway under load: one that runs already, or the `sluice` beside this program as a child, with a
//! configuration of its own in a private folder.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{clock, platform};

/// How long a child may take until it listens, and until it has ended after it was asked to.
const START_MS: u64 = 10_000;
const STOP_MS: u64 = 10_000;
const LOOK_AGAIN_MS: u64 = 20;

/// How much of the end of a log is searched for something to show, and how many lines are shown.
const TAIL_BYTES: u64 = 64 << 10;
const TAIL_LINES: usize = 5;

const EVENTS_FILE: &str = "events.log";
const STDERR_FILE: &str = "stderr.log";

/// A gateway to send the load through.
pub enum Gateway {
    /// Started here; ends with this value.
    Child(Box<Started>),
    /// Someone else's.
    Existing {
        /// Where it listens.
        address: SocketAddr,
        /// To watch its processor time and memory.
        pid: Option<u32>,
    },
}

/// A child gateway.
pub struct Started {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

/// The `sluice` beside this program.
pub fn beside_this_program() -> Result<PathBuf, String> {
    let here = std::env::current_exe()
        .map_err(|why| format!("this program's own folder cannot be found: {why}"))?;
    let gateway = here.with_file_name(format!("sluice{}", std::env::consts::EXE_SUFFIX));
    if gateway.is_file() {
        return Ok(gateway);
    }
    Err(format!(
        "{} is not there: build it (cargo build --release) or name a running gateway with --gateway ADDR:PORT",
        gateway.display()
    ))
}

impl Gateway {
    /// Starts `program` so that it lets clients reach `target` and nothing else, and waits until it
    /// listens. `carrier` is passed on as it is.
    pub fn start(program: &Path, target: &str, carrier: &str) -> Result<Gateway, String> {
        let folder = tempfile::Builder::new()
            .prefix("loadgen-")
            .tempdir()
            .map_err(|why| format!("no temporary folder: {why}"))?;
        let file = folder.path().join("sluice.toml");
        let in_folder =
            |what: &str, why: std::io::Error| format!("{}: {what}: {why}", file.display());
        fs::write(&file, configuration(&folder.path().join(EVENTS_FILE), target, carrier))
            .map_err(|why| in_folder("not written", why))?;
        let stderr = File::create(folder.path().join(STDERR_FILE))
            .map_err(|why| in_folder("no file for errors beside it", why))?;
        let child = Command::new(program)
            .args(["run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|why| format!("{} cannot be started: {why}", program.display()))?;
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut started = Started { child, folder, address: unknown };
        started.address = started
            .await_address()
            .map_err(|why| format!("{} {why}{}", program.display(), started.last_words()))?;
        Ok(Gateway::Child(Box::new(started)))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        match self {
            Gateway::Child(started) => started.address,
            Gateway::Existing { address, .. } => *address,
        }
    }

    /// Its process, if known.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Gateway::Child(started) => Some(started.child.id()),
            Gateway::Existing { pid, .. } => *pid,
        }
    }

    /// How a child ended that should not have.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        match self {
            Gateway::Child(started) => started.child.try_wait().ok().flatten(),
            Gateway::Existing { .. } => None,
        }
    }

    /// The last warnings and errors a child has told, ready to be appended to a message.
    pub fn last_words(&self) -> String {
        match self {
            Gateway::Child(started) => started.last_words(),
            Gateway::Existing { .. } => String::new(),
        }
    }

    /// Ends a child and waits for it. Errors where it had to be killed or did not end with success.
    pub fn stop(self) -> Result<(), String> {
        match self {
            Gateway::Child(mut started) => started.stop(),
            Gateway::Existing { .. } => Ok(()),
        }
    }
}

impl Started {
    fn await_address(&mut self) -> Result<SocketAddr, String> {
        let Some(stdout) = self.child.stdout.take() else {
            return Err("has no standard output".to_owned());
        };
        let (sender, lines) = mpsc::channel();
        // It reads to the end, so that the child never waits on a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let deadline = clock::now() + Duration::from_millis(START_MS);
        loop {
            let left = deadline.saturating_duration_since(clock::now());
            match lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(address) = line.strip_prefix("listening on ") {
                        return address
                            .trim()
                            .parse()
                            .map_err(|why| format!("says {line:?}, which is no address: {why}"));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("did not say \"listening on\" within {START_MS} ms"));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let ended = self.await_end(deadline);
                    let how = ended.map_or("closed its output".to_owned(), |status| {
                        format!("ended before it listened ({status})")
                    });
                    return Err(how);
                }
            }
        }
    }

    fn stop(&mut self) -> Result<(), String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(format!("the gateway had ended by itself ({status}){}", self.last_words()));
        }
        platform::terminate(&mut self.child)
            .map_err(|why| format!("the gateway cannot be asked to end: {why}"))?;
        match self.await_end(clock::now() + Duration::from_millis(STOP_MS)) {
            Some(status) if status.success() || !platform::ENDS_IN_ITS_OWN_WAY => Ok(()),
            Some(status) => Err(format!("the gateway ended badly ({status}){}", self.last_words())),
            None => {
                self.kill();
                Err(format!(
                    "the gateway did not end within {STOP_MS} ms of being asked to; killed"
                ))
            }
        }
    }

    fn await_end(&mut self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if clock::now() >= deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(LOOK_AGAIN_MS));
        }
    }

    fn kill(&mut self) {
        // It may have ended in this moment; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn last_words(&self) -> String {
        let mut words = String::new();
        let is_bad = |line: &&str| {
            let line = line.to_ascii_lowercase();
            line.contains("warning") || line.contains("error")
        };
        let events = tail(&self.folder.path().join(EVENTS_FILE));
        let stderr = tail(&self.folder.path().join(STDERR_FILE));
        let bad: Vec<&str> = events.lines().filter(is_bad).collect();
        let said: Vec<&str> = stderr.lines().collect();
        for line in last(&bad).iter().chain(last(&said)) {
            words.push_str("\n  gateway: ");
            words.extend(line.chars().filter(|c| !c.is_control()));
        }
        words
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.kill();
        }
    }
}

/// The addresses a gateway refuses unless told otherwise, but where test endpoints are.
const TEST_NETWORKS: &str =
    r#"["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]"#;

fn configuration(events: &Path, target: &str, carrier: &str) -> String {
    format!(
        "listen = [\"127.0.0.1:0\"]\ncarrier = {}\n\n\
         [allow]\nhosts = [{}]\naddresses = {TEST_NETWORKS}\n\n\
         [events]\nto = {}\n\n[admin]\nlisten = \"\"\n",
        quoted(carrier),
        quoted(target),
        quoted(&format!("file:{}", events.display())),
    )
}

/// A TOML basic string; TOML took its escapes from JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn tail(file: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(file)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

fn last<'a, 'b>(lines: &'a [&'b str]) -> &'a [&'b str] {
    &lines[lines.len().saturating_sub(TAIL_LINES)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_quotes_what_it_is_given() {
        let text = configuration(Path::new("C:\\t\"mp\\events.log"), "localhost:4433", "splice");
        assert!(text.contains("carrier = \"splice\"\n"), "{text}");
        assert!(text.contains("hosts = [\"localhost:4433\"]\n"), "{text}");
        assert!(text.contains("[admin]\nlisten = \"\"\n"), "{text}");
        assert!(text.contains("to = \"file:C:\\\\t\\\"mp\\\\events.log\"\n"), "{text}");
    }

    #[test]
    fn a_program_that_is_not_there_or_does_not_listen_is_told() {
        let why = Gateway::start(Path::new("/nonexistent/sluice"), "localhost:1", "auto")
            .map(drop)
            .expect_err("not there");
        assert!(why.contains("cannot be started"), "{why}");
    }
}
