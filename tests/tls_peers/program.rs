//! A program that runs beside the test: what it prints, what is typed into it, its end.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::support::deadline::{Deadline, PATIENCE};
use crate::support::gateway::wait;

/// A command without the settings of whoever runs the tests.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    for variable in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(variable).env_remove(variable.to_uppercase());
    }
    // Distributions raise the least version of TLS in their configuration.
    command.env("OPENSSL_CONF", "/dev/null");
    command
}

/// A program that runs; it is killed when this is dropped.
pub struct Running {
    name: String,
    child: Child,
    printed: Arc<Printed>,
}

#[derive(Default)]
struct Printed {
    text: Mutex<Text>,
    more: Condvar,
}

#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    open: usize,
}

impl Running {
    /// Starts it, with both of its outputs gathered as one.
    ///
    /// # Panics
    /// Where it is not installed.
    pub fn start(command: &mut Command) -> Running {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{name}: {error}; install it, as with apt-get install openssl gnutls-bin")
        });
        let printed = Arc::new(Printed::default());
        printed.text.lock().open = 2;
        gather(child.stdout.take().expect("a pipe"), &printed);
        gather(child.stderr.take().expect("a pipe"), &printed);
        Running { name, child, printed }
    }

    /// Types a line.
    pub fn type_in(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is open until the end");
        // One that has ended already shows so by what it prints.
        let _ = stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush());
    }

    /// Waits until it has printed this. False where it ends without.
    pub fn prints(&self, words: &str) -> bool {
        self.prints_within(words, PATIENCE)
    }

    /// Waits until it has printed this, and gives all it has printed.
    ///
    /// # Panics
    /// Where it does not.
    pub fn expect(&self, words: &str) -> String {
        assert!(self.prints(words), "{} does not print {words:?}:\n{}", self.name, self.shown());
        self.shown()
    }

    /// All it has printed.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.printed.text.lock().bytes).into_owned()
    }

    /// Closes its input and waits for its end: whether it succeeded, and all it has printed.
    pub fn finish(mut self) -> (bool, String) {
        drop(self.child.stdin.take());
        let status = wait(&mut self.child);
        let deadline = Deadline::patience();
        let mut text = self.printed.text.lock();
        while text.open > 0 && !deadline.has_passed() {
            self.printed.more.wait_for(&mut text, deadline.left());
        }
        drop(text);
        (status.success(), self.shown())
    }

    fn prints_within(&self, words: &str, time: Duration) -> bool {
        let deadline = Deadline::after(time);
        let mut text = self.printed.text.lock();
        loop {
            if String::from_utf8_lossy(&text.bytes).contains(words) {
                return true;
            }
            if text.open == 0 || deadline.has_passed() {
                return false;
            }
            self.printed.more.wait_for(&mut text, deadline.left());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Servers run until they are killed; others are gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gather(mut stream: impl Read + Send + 'static, printed: &Arc<Printed>) {
    let printed = Arc::clone(printed);
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut piece) {
            printed.text.lock().bytes.extend_from_slice(&piece[..read]);
            printed.more.notify_all();
        }
        printed.text.lock().open -= 1;
        printed.more.notify_all();
    });
}
