//! Calls of the gateway's workers that fail as they are told to, or are counted.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::deadline::{PATIENCE, until};
use crate::support::gateway::{Gateway, wait};
use crate::support::process;

/// A strace that holds the workers of a gateway and tampers with one call of theirs, or counts all.
#[derive(Debug)]
pub struct Strace {
    child: Child,
    notes: PathBuf,
    gateway: Pid,
    /// The threads it holds; without any, it holds all there are.
    held: Vec<String>,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Noted {
    /// Calls that the workers made.
    pub calls: usize,
    /// How many of them were tampered with.
    pub injected: usize,
}

impl Strace {
    /// Tampers with `call` of the workers, and of who accepts for them, as `fault` says, in the words of strace(1).
    ///
    /// # Panics
    /// Where strace is missing, or the system does not let it trace.
    pub fn inject(gateway: &Gateway, call: &str, fault: &str) -> Strace {
        let mut held = workers(gateway);
        held.extend(threads(gateway.pid(), "acceptor"));
        Strace::attach(gateway, &tampering(call, fault), &held, held.clone())
    }

    /// The same of every thread, those that begin later among them.
    pub fn inject_everywhere(gateway: &Gateway, call: &str, fault: &str) -> Strace {
        let all = [gateway.pid().to_string()];
        let options = [vec!["-f".to_owned()], tampering(call, fault)].concat();
        Strace::attach(gateway, &options, &all, Vec::new())
    }

    /// Tampers with nothing: it is there for what [`Strace::end_counted`] tells.
    pub fn count(gateway: &Gateway) -> Strace {
        let held = workers(gateway);
        Strace::attach(gateway, &[], &held, held.clone())
    }

    fn attach(
        gateway: &Gateway,
        options: &[String],
        targets: &[String],
        held: Vec<String>,
    ) -> Strace {
        let notes = gateway.folder().path().join("strace");
        let mut command = Command::new("strace");
        command.args(options).arg("-o").arg(&notes);
        for target in targets {
            command.args(["-p", target]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("strace is missing: see .ci/install");
        let told = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        let (sender, attached) = channel();
        std::thread::spawn(move || {
            for line in told.lines().map_while(Result::ok) {
                // Nobody reads what it tells when it detaches.
                let _ = sender.send(line);
            }
        });
        let process = Pid::from_raw(gateway.pid().cast_signed()).expect("it is not 0");
        let strace = Strace { child, notes, gateway: process, held };
        for _ in targets {
            let line = attached.recv_timeout(PATIENCE).expect("strace says that it is there");
            let hint = "kernel.yama.ptrace_scope must be 0 for others than root";
            assert!(line.contains(" attached"), "{options:?}: {line}; {hint}");
        }
        strace
    }

    /// Lets the calls be as they are again. To let go of a thread in the middle of a call would make up
    /// an error of its own (ENOSYS), so the gateway is halted for that.
    pub fn end(self) -> Noted {
        let notes = self.end_noted();
        Noted {
            calls: notes.lines().filter(|line| line.contains('(')).count(),
            injected: notes.matches("(INJECTED").count() + notes.matches("(DELAYED").count(),
        }
    }

    /// The same, and how often each call was made. Sleeps that brought no event are left out: how many
    /// there are is a matter of time, and to be halted is one.
    pub fn end_counted(self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for line in self.end_noted().lines() {
            // Lines begin with the thread where there are several.
            let line = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
            let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if let Some((call, _)) = line.split_once('(')
                && call.chars().all(is_letter)
                && (!call.starts_with("epoll_") || call == "epoll_ctl" || brought_events(line))
            {
                *counts.entry(call.to_owned()).or_default() += 1;
            }
        }
        counts
    }

    fn end_noted(mut self) -> String {
        let process = self.gateway;
        kill_process(process, Signal::STOP).expect("the gateway runs");
        until("every held thread is between two calls", PATIENCE, || self.is_idle().then_some(()));
        self.stop();
        kill_process(process, Signal::CONT).expect("the gateway runs");
        std::fs::read_to_string(&self.notes).expect("strace has taken notes")
    }

    fn is_idle(&self) -> bool {
        let process = self.gateway.as_raw_nonzero().get().cast_unsigned();
        let held = if self.held.is_empty() { threads(process, "") } else { self.held.clone() };
        let notes = std::fs::read_to_string(&self.notes).unwrap_or_default();
        let is_stopped = |thread: &String| {
            notes.lines().filter(|line| line.contains("--- stopped by SIGSTOP")).any(|line| {
                // Where there is only one, it is not named.
                held.len() == 1 || line.split_ascii_whitespace().next() == Some(thread)
            })
        };
        held.iter().all(is_stopped)
    }

    fn stop(&mut self) {
        let pid = Pid::from_child(&self.child);
        // Where it is gone already, there is nothing to stop.
        if kill_process(pid, Signal::INT).is_ok() {
            wait(&mut self.child);
        }
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.stop();
        }
    }
}

fn brought_events(line: &str) -> bool {
    let result = line.rsplit_once(" = ").and_then(|(_, result)| result.parse::<u32>().ok());
    result.is_some_and(|events| events > 0)
}

fn tampering(call: &str, fault: &str) -> Vec<String> {
    ["-e".to_owned(), format!("trace={call}"), "-e".to_owned(), format!("inject={call}:{fault}")]
        .into()
}

/// The ids of the threads that relay.
pub fn workers(gateway: &Gateway) -> Vec<String> {
    until("every thread bears its own name", PATIENCE, || are_named(gateway.pid()).then_some(()));
    let workers = threads(gateway.pid(), "worker-");
    assert!(!workers.is_empty(), "the gateway has workers");
    workers
}

/// Whether the threads of a process are told apart by now.
fn are_named(pid: u32) -> bool {
    let main = std::fs::read_to_string(format!("/proc/{pid}/comm")).expect("the process runs");
    threads(pid, main.trim_end()).len() == 1
}

/// The ids of the threads of a process whose names begin so.
fn threads(pid: u32, name: &str) -> Vec<String> {
    process::threads(pid, |told| told.starts_with(name)).iter().map(ToString::to_string).collect()
}
