//! Does what the operator asks of a running gateway: reload, drain, stop.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use super::change;
use super::gateway::Gateway;
use crate::feed::follow::News;
use crate::observe::liveness::Liveness;
use crate::observe::outlets::Outlet;
use crate::sys::{self, Signal, Signals, Standing};

/// How often a drain looks whether it is over.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// How often the workers are looked at where no service manager asks for it.
const LONGEST_PULSE: Duration = Duration::from_secs(3600);

/// After this time without a request, what only the start or the last request needed is let go.
const LULL: Duration = Duration::from_secs(1);

const BY_SIGNAL: &str = "SIGHUP";

/// What the operator asks for.
#[derive(Debug)]
pub enum Request {
    /// End: a first time to drain, a second time at once.
    Stop,
    /// Read the configuration again. Who asked, and where the outcome goes.
    Reload(&'static str, Sender<Result<String, Vec<String>>>),
    /// Read the configuration again; nobody waits for the outcome.
    Reread(Arc<Wish>),
    /// The feed of this number has news.
    Feed(u64, News),
}

/// A wish for a new reading of the configuration. Signals come faster than files are read: until the
/// reading begins, further ones ask for nothing more, so that neither memory nor a stop waits on them.
#[derive(Debug)]
pub struct Wish {
    by: &'static str,
    is_open: AtomicBool,
}

impl Wish {
    fn of(by: &'static str) -> Arc<Wish> {
        Arc::new(Wish { by, is_open: AtomicBool::new(false) })
    }

    /// False where nobody serves requests any more.
    fn ask(self: &Arc<Wish>, requests: &Sender<Request>) -> bool {
        self.is_open.swap(true, Ordering::AcqRel)
            || requests.send(Request::Reread(Arc::clone(self))).is_ok()
    }

    /// The file is about to be read: what changes it from here on takes another reading.
    fn take(&self) -> &'static str {
        self.is_open.store(false, Ordering::Release);
        self.by
    }
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
            let wish = Wish::of(BY_SIGNAL);
            loop {
                let is_served = match signals.wait() {
                    Signal::Stop => by_signal.send(Request::Stop).is_ok(),
                    Signal::Reload => wish.ask(&by_signal),
                };
                if !is_served {
                    return;
                }
            }
        },
    )?;
    let by_change = requests.clone();
    let wish = Wish::of("a changed file");
    change::follow(file, move || wish.ask(&by_change))
}

/// Serves requests until the gateway has stopped.
pub(super) fn run(mut gateway: Gateway, inbox: &Receiver<Request>, outlet: Outlet) {
    sys::tell_manager(Standing::Ready);
    // Twice within the time after which the manager would give us up.
    let pulse = sys::manager_patience().map_or(LONGEST_PULSE, |patience| patience / 2);
    let mut liveness = Liveness::new();
    // By the clock, not by silence: requests that keep coming must not look like a gateway that hangs.
    let mut pulse_at = clock() + pulse;
    let mut has_worked = true;
    loop {
        let longest = if has_worked { LULL } else { pulse };
        let next = inbox.recv_timeout(pulse_at.saturating_duration_since(clock()).min(longest));
        if next.is_err() && has_worked {
            sys::let_go_of_pages();
        }
        has_worked = next.is_ok();
        match next {
            Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(Request::Reload(by, answer)) => {
                // Who asked may have stopped waiting.
                let _ = answer.send(reload(&mut gateway, by));
            }
            Ok(Request::Reread(wish)) => {
                let by = wish.take();
                if by == BY_SIGNAL {
                    // As logrotate asks for it.
                    gateway.events.reopen(wall());
                }
                // What came of it is told by events.
                let _ = reload(&mut gateway, by);
            }
            Ok(Request::Feed(number, news)) => gateway.take_news(number, news),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = clock();
        if now >= pulse_at {
            if gateway.is_alive(&mut liveness, now) {
                sys::tell_manager(Standing::Alive);
            }
            pulse_at = now + pulse;
        }
    }
    sys::tell_manager(Standing::Stopping);
    drain(&mut gateway, inbox);
    gateway.stop(outlet);
}

fn reload(gateway: &mut Gateway, by: &str) -> Result<String, Vec<String>> {
    sys::tell_manager(Standing::Reloading);
    let outcome = gateway.reload(by);
    sys::tell_manager(Standing::Ready);
    outcome
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
            Ok(Request::Reload(_, answer)) => {
                let _ = answer.send(Err(vec!["the gateway is about to stop".to_owned()]));
            }
            Ok(Request::Reread(_) | Request::Feed(..)) | Err(RecvTimeoutError::Timeout) => {}
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
