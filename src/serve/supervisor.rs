//! Does what the operator asks of a running gateway: reload, drain, stop.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use super::change;
use super::gateway::Gateway;
use crate::observe::liveness::Liveness;
use crate::observe::outlets::Outlet;
use crate::sys::{self, Signal, Signals, Standing};

/// How often a drain looks whether it is over.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// How often the workers are looked at where no service manager asks for it.
const LONGEST_PULSE: Duration = Duration::from_secs(3600);

const BY_SIGNAL: &str = "SIGHUP";

/// What the operator asks for.
#[derive(Debug)]
pub enum Request {
    /// End: a first time to drain, a second time at once.
    Stop,
    /// Read the configuration again. Who asked, and where the outcome goes if somebody waits for it.
    Reload(&'static str, Option<Sender<Result<String, Vec<String>>>>),
}

/// Turns signals and changes of `file` into requests.
///
/// # Errors
/// Where the system gives no signal handler or no thread.
pub fn listen_to_operator(requests: &Sender<Request>, file: PathBuf) -> io::Result<()> {
    let mut signals = Signals::catch()?;
    let by_signal = requests.clone();
    std::thread::Builder::new().name("signals".to_owned()).stack_size(128 * 1024).spawn(
        move || {
            loop {
                let request = match signals.wait() {
                    Signal::Stop => Request::Stop,
                    Signal::Reload => Request::Reload(BY_SIGNAL, None),
                };
                if by_signal.send(request).is_err() {
                    return;
                }
            }
        },
    )?;
    let by_change = requests.clone();
    change::follow(file, move || by_change.send(Request::Reload("a changed file", None)).is_ok())
}

/// Serves requests until the gateway has stopped.
pub(super) fn run(mut gateway: Gateway, inbox: &Receiver<Request>, outlet: Outlet) {
    sys::tell_manager(Standing::Ready);
    // Twice within the time after which the manager would give us up.
    let pulse = sys::manager_patience().map_or(LONGEST_PULSE, |patience| patience / 2);
    let mut liveness = Liveness::new();
    loop {
        let request = match inbox.recv_timeout(pulse) {
            Ok(request) => request,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                if gateway.is_alive(&mut liveness, clock()) {
                    sys::tell_manager(Standing::Alive);
                }
                continue;
            }
        };
        match request {
            Request::Stop => break,
            Request::Reload(by, answer) => {
                sys::tell_manager(Standing::Reloading);
                if by == BY_SIGNAL {
                    // As logrotate asks for it.
                    gateway.events.reopen(wall());
                }
                let outcome = gateway.reload(by);
                sys::tell_manager(Standing::Ready);
                if let Some(answer) = answer {
                    // Who asked may have stopped waiting.
                    let _ = answer.send(outcome);
                }
            }
        }
    }
    sys::tell_manager(Standing::Stopping);
    drain(&mut gateway, inbox);
    gateway.stop(outlet);
}

/// Waits until the open tunnels have ended and the balancers have seen it, or a second stop.
fn drain(gateway: &mut Gateway, inbox: &Receiver<Request>) {
    let limits = gateway.config.limits;
    let notice = Duration::from_millis(limits.drain_notice_ms);
    let longest = Duration::from_millis(limits.drain_ms).max(notice);
    if longest.is_zero() {
        return;
    }
    gateway.drain();
    let since = clock();
    loop {
        match inbox.recv_timeout(DRAIN_LOOK) {
            Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Request::Reload(_, Some(answer))) => {
                let _ = answer.send(Err(vec!["the gateway is about to stop".to_owned()]));
            }
            Ok(Request::Reload(_, None)) | Err(RecvTimeoutError::Timeout) => {}
        }
        let waited = clock().saturating_duration_since(since);
        let is_quiet = gateway.counters.tunnels() == 0 && waited >= notice;
        if is_quiet || waited >= longest {
            return;
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a thread of its own, outside every worker's turn")]
pub(super) fn clock() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "what an operator asks for is outside every turn")]
pub(super) fn wall() -> SystemTime {
    SystemTime::now()
}
