//! Names to addresses, off the workers: getaddrinfo(3) blocks, has no deadline and cannot be cancelled.
//!
//! A few threads work on a bounded queue. One name is asked once however many wait for it; a question
//! that nobody waits for any more is dropped. A thread whose question is never answered is replaced.
//! getaddrinfo tells no time to live, so answers are kept for [`KEPT`], failures for less; while the
//! resolver is down, older answers serve on.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use socket2::{Domain, Socket, Type};

use super::kernel::{Lookup, LookupError};
use super::slots::Token;
use crate::sys;

/// How long an answer is used without asking again.
pub const KEPT: Duration = Duration::from_secs(30);
/// How long a failure is answered without asking again.
pub const FAILURE_KEPT: Duration = Duration::from_secs(5);
/// The same where the resolver could not tell, and no older answer stands in: that may be over at any
/// moment, as when descriptors are free again.
pub const TROUBLE_KEPT: Duration = Duration::from_millis(500);
/// How long an old answer may stand in while the resolver is down.
pub const STALE_KEPT: Duration = Duration::from_secs(3600);
/// After so long without an answer the resolver counts as down, and a known name is answered from
/// memory.
const PATIENCE: Duration = Duration::from_secs(1);
/// Threads that ask. Eight slow names do not stop a ninth from being known already.
const THREADS_MAX: usize = 8;
/// After so long without an answer a thread counts as lost: another takes its place, and its name is
/// asked for again. glibc waits without any limit for a name server that takes a question over TCP and
/// keeps silent; its usual tries over UDP take less than this.
const LOST_AFTER: Duration = Duration::from_secs(30);
/// Threads, those that count as lost included.
const THREADS_AND_LOST_MAX: usize = 64;
/// Names that wait for a thread.
const QUEUE_MAX: usize = 1024;
/// Names remembered; a fleet names a few dozen.
const NAMES_MAX: usize = 4096;

/// Who gets an answer.
pub trait Waiter: Send + Sync {
    /// Takes the answer for the session of `token`.
    fn answer(&self, token: Token, answer: Result<Arc<[IpAddr]>, LookupError>);
}

/// Asks for one name and blocks until it knows.
pub type Ask = dyn Fn(&str) -> Result<Vec<IpAddr>, LookupError> + Send + Sync;

/// All that the threads share.
pub struct Resolver {
    state: Mutex<State>,
    work: Condvar,
    ask: Box<Ask>,
}

#[derive(Default)]
struct State {
    names: HashMap<Box<str>, Known>,
    queue: VecDeque<Box<str>>,
    threads: usize,
    idle_threads: usize,
    /// Since when each thread has been asking that does.
    asking: Vec<Instant>,
}

/// What is known of one name.
#[derive(Default)]
struct Known {
    addresses: Option<(Arc<[IpAddr]>, Instant)>,
    failure: Option<(LookupError, Instant)>,
    asked_at: Option<Instant>,
    waiters: Vec<(Arc<dyn Waiter>, Token)>,
}

impl Resolver {
    /// A resolver that asks the system.
    pub fn of_system() -> Arc<Resolver> {
        Resolver::new(Box::new(ask_system))
    }

    /// A resolver that asks `ask`. Threads start as they are needed and are never joined.
    pub fn new(ask: Box<Ask>) -> Arc<Resolver> {
        Arc::new(Resolver { state: Mutex::default(), work: Condvar::new(), ask })
    }

    /// Looks `name` up; where that takes time, `waiter` gets the answer for `token`.
    pub fn look_up(
        self: &Arc<Resolver>,
        name: &str,
        now: Instant,
        waiter: &Arc<dyn Waiter>,
        token: Token,
    ) -> Lookup {
        let mut state = self.state.lock();
        if let Some(known) = state.names.get_mut(name) {
            if let Some(answer) = known.answer(now) {
                return Lookup::Known(answer);
            }
            if known.asked_at.is_some_and(|since| !is_lost(since, now)) {
                known.waiters.push((Arc::clone(waiter), token));
                return Lookup::Pending;
            }
        }
        if state.queue.len() >= QUEUE_MAX || !state.make_room(now) {
            return match state.names.get(name).and_then(|known| known.recall(now)) {
                Some(addresses) => Lookup::Known(Ok(addresses)),
                None => Lookup::Busy,
            };
        }
        let known = state.names.entry(name.into()).or_default();
        known.asked_at = Some(now);
        known.waiters.push((Arc::clone(waiter), token));
        state.queue.push_back(name.into());
        self.call_a_thread(&mut state, now);
        Lookup::Pending
    }

    /// The last known addresses of `name`, if they are not too old to be of use.
    pub fn recall(&self, name: &str, now: Instant) -> Option<Arc<[IpAddr]>> {
        self.state.lock().names.get(name)?.recall(now)
    }

    /// `token` does not wait for `name` any more.
    pub fn forget(&self, name: &str, token: Token) {
        if let Some(known) = self.state.lock().names.get_mut(name) {
            known.waiters.retain(|(_, waiting)| *waiting != token);
        }
    }

    /// Names that wait for a thread.
    pub fn queued(&self) -> usize {
        self.state.lock().queue.len()
    }

    fn call_a_thread(self: &Arc<Resolver>, state: &mut State, now: Instant) {
        let are_enough = state.threads_at_work(now) >= THREADS_MAX
            || state.threads == THREADS_AND_LOST_MAX
            || state.idle_threads >= state.queue.len();
        if are_enough {
            self.work.notify_one();
            return;
        }
        let resolver = Arc::clone(self);
        let spawned = std::thread::Builder::new()
            .name("resolver".to_owned())
            // getaddrinfo keeps its buffers on the stack, musl's as much as 12 KiB of them.
            .stack_size(256 * 1024)
            .spawn(move || resolver.work());
        // Without this thread the others take the work; without any, questions meet their deadline.
        if spawned.is_ok() {
            state.threads += 1;
        }
    }

    /// Works until another thread has taken this one's place.
    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            let Some(name) = state.queue.pop_front() else {
                state.idle_threads += 1;
                self.work.wait(&mut state);
                state.idle_threads -= 1;
                continue;
            };
            let State { names, .. } = &mut *state;
            match names.get_mut(&name) {
                Some(known) if !known.waiters.is_empty() => {}
                Some(known) => {
                    known.asked_at = None;
                    continue;
                }
                None => continue,
            }
            let since = clock();
            state.asking.push(since);
            parking_lot::MutexGuard::unlocked(&mut state, || {
                let answer = (self.ask)(&name);
                self.settle(&name, answer, clock());
            });
            if let Some(at) = state.asking.iter().position(|&asking| asking == since) {
                state.asking.swap_remove(at);
            }
            if is_lost(since, clock()) && state.threads > THREADS_MAX {
                state.threads -= 1;
                return;
            }
        }
    }

    /// Remembers an answer and tells everyone who waits for it.
    fn settle(&self, name: &str, answer: Result<Vec<IpAddr>, LookupError>, now: Instant) {
        let (waiters, answer) = {
            let mut state = self.state.lock();
            let Some(known) = state.names.get_mut(name) else { return };
            known.asked_at = None;
            let answer = known.learn(answer, now);
            (std::mem::take(&mut known.waiters), answer)
        };
        for (waiter, token) in waiters {
            waiter.answer(token, answer.clone());
        }
    }
}

impl State {
    /// Threads that are not lost.
    fn threads_at_work(&self, now: Instant) -> usize {
        self.threads - self.asking.iter().filter(|&&since| is_lost(since, now)).count()
    }

    /// Forgets names until one more fits; those that are being asked stay.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.names.len() < NAMES_MAX {
            return true;
        }
        self.names.retain(|_, known| known.asked_at.is_some() || known.answer(now).is_some());
        if self.names.len() >= NAMES_MAX {
            self.names.retain(|_, known| known.asked_at.is_some());
        }
        self.names.len() < NAMES_MAX
    }
}

/// Whether a question that was asked at `since` is not worth waiting for any more.
fn is_lost(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) > LOST_AFTER
}

impl Known {
    /// What can be said without asking.
    fn answer(&self, now: Instant) -> Option<Result<Arc<[IpAddr]>, LookupError>> {
        if let Some((addresses, since)) = &self.addresses
            && now.saturating_duration_since(*since) < KEPT
        {
            return Some(Ok(Arc::clone(addresses)));
        }
        let asked_long_ago =
            self.asked_at.is_some_and(|asked| now.saturating_duration_since(asked) > PATIENCE);
        if let Some((failure, since)) = &self.failure {
            let older = self.recall(now).filter(|_| failure.temporary);
            let kept = match older {
                None if failure.temporary => TROUBLE_KEPT,
                _ => FAILURE_KEPT,
            };
            if now.saturating_duration_since(*since) < kept {
                return Some(older.ok_or_else(|| failure.clone()));
            }
        }
        if asked_long_ago { self.recall(now).map(Ok) } else { None }
    }

    fn recall(&self, now: Instant) -> Option<Arc<[IpAddr]>> {
        let (addresses, since) = self.addresses.as_ref()?;
        (now.saturating_duration_since(*since) < STALE_KEPT).then(|| Arc::clone(addresses))
    }

    fn learn(
        &mut self,
        answer: Result<Vec<IpAddr>, LookupError>,
        now: Instant,
    ) -> Result<Arc<[IpAddr]>, LookupError> {
        match answer {
            Ok(addresses) => {
                let addresses: Arc<[IpAddr]> = addresses.into();
                self.addresses = Some((Arc::clone(&addresses), now));
                self.failure = None;
                Ok(addresses)
            }
            Err(failure) => {
                self.failure = Some((failure.clone(), now));
                match self.recall(now) {
                    Some(addresses) if failure.temporary => Ok(addresses),
                    _ => {
                        self.addresses = None;
                        Err(failure)
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("queued", &self.queued()).finish_non_exhaustive()
    }
}

/// The addresses of `name`, by getaddrinfo(3), in its order and each once; blocks until it knows.
///
/// # Errors
/// The name has no address, or the system cannot tell.
pub fn ask_system(name: &str) -> Result<Vec<IpAddr>, LookupError> {
    let hints = dns_lookup::AddrInfoHints {
        socktype: dns_lookup::SockType::Stream.into(),
        ..dns_lookup::AddrInfoHints::default()
    };
    let found = dns_lookup::getaddrinfo(Some(name), None, Some(hints)).map_err(told)?;
    let mut addresses = Vec::new();
    for entry in found {
        let address = entry
            .map_err(|error| LookupError { text: error.to_string().into(), temporary: true })?;
        if !addresses.contains(&address.sockaddr.ip()) {
            addresses.push(address.sockaddr.ip());
        }
    }
    Ok(addresses)
}

fn told(error: dns_lookup::LookupError) -> LookupError {
    use dns_lookup::LookupErrorKind;
    let no_such_name = matches!(error.kind(), LookupErrorKind::NoName | LookupErrorKind::NoData);
    match lacks_descriptor() {
        // Without a descriptor for the file of hosts or for a question, libraries say "no such name".
        Some(lack) => LookupError { text: lack.to_string().into(), temporary: true },
        None => {
            let text: io::Error = error.into();
            LookupError { text: text.to_string().into(), temporary: !no_such_name }
        }
    }
}

fn lacks_descriptor() -> Option<io::Error> {
    let tried = Socket::new(Domain::IPV4, Type::DGRAM, None);
    tried.err().filter(sys::is_out_of_descriptors)
}

/// The resolver's threads have no turn of a loop to take their time from.
#[allow(clippy::disallowed_methods, reason = "a thread of its own, outside every worker's turn")]
fn clock() -> Instant {
    Instant::now()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    type Answer = (Token, Result<Arc<[IpAddr]>, LookupError>);

    struct Letters(Mutex<Sender<Answer>>);

    impl Waiter for Letters {
        fn answer(&self, token: Token, answer: Result<Arc<[IpAddr]>, LookupError>) {
            self.0.lock().send((token, answer)).unwrap();
        }
    }

    fn waiter() -> (Arc<dyn Waiter>, Receiver<Answer>) {
        let (sender, receiver) = channel();
        (Arc::new(Letters(Mutex::new(sender))), receiver)
    }

    fn failure(temporary: bool) -> LookupError {
        LookupError { text: "no".into(), temporary }
    }

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn one_question_serves_all_who_wait_and_then_the_cache() {
        let asked = Arc::new(AtomicUsize::new(0));
        let (gate, open) = channel::<()>();
        let open = Mutex::new(open);
        let count = Arc::clone(&asked);
        let resolver = Resolver::new(Box::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            open.lock().recv().unwrap();
            Ok(vec![LOCAL])
        }));
        let (waiter, answers) = waiter();
        let now = Instant::now();
        for number in 0..3 {
            assert_eq!(resolver.look_up("a.test", now, &waiter, Token(number)), Lookup::Pending);
        }
        resolver.forget("a.test", Token(1));
        gate.send(()).unwrap();
        let mut tokens = [answers.recv().unwrap().0, answers.recv().unwrap().0];
        tokens.sort_by_key(|token| token.0);
        assert_eq!(tokens, [Token(0), Token(2)]);
        let known = resolver.look_up("a.test", now, &waiter, Token(9));
        assert_eq!(known, Lookup::Known(Ok([LOCAL].into())));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_is_known_ages() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut known = Known::default();
        known.learn(Ok(vec![LOCAL]), start).unwrap();
        assert!(known.answer(after(29)).is_some());
        assert!(known.answer(after(31)).is_none());
        // The resolver goes down: the old answer serves on, for an hour.
        assert!(known.learn(Err(failure(true)), after(31)).is_ok());
        assert!(matches!(known.answer(after(33)), Some(Ok(_))));
        assert!(known.answer(after(37)).is_none(), "asked again after five seconds");
        assert!(known.learn(Err(failure(true)), after(3_700)).is_err());
        // The name is gone: the old answer with it.
        known.learn(Ok(vec![LOCAL]), after(4_000)).unwrap();
        assert!(known.learn(Err(failure(false)), after(4_001)).is_err());
        assert_eq!(known.recall(after(4_001)), None);
    }

    #[test]
    fn a_silent_resolver_leaves_known_names_usable() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut known = Known::default();
        known.learn(Ok(vec![LOCAL]), start).unwrap();
        known.asked_at = Some(after(40));
        assert!(known.answer(after(41)).is_none());
        assert!(matches!(known.answer(after(42)), Some(Ok(_))));
    }

    #[test]
    fn the_queue_is_bounded_and_unwanted_questions_are_dropped() {
        let (gate, open) = channel::<()>();
        let open = Mutex::new(open);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let resolver = Resolver::new(Box::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            // An error means that the test is over.
            let _ = open.lock().recv();
            Err(failure(true))
        }));
        let (waiter, _answers) = waiter();
        let now = Instant::now();
        let mut busy = 0;
        let names = QUEUE_MAX + THREADS_MAX + 50;
        for number in 0..names {
            let name = format!("n{number}.test");
            match resolver.look_up(&name, now, &waiter, Token(number as u64)) {
                Lookup::Pending => {}
                Lookup::Busy => busy += 1,
                Lookup::Known(_) => panic!("nothing is known"),
            }
        }
        assert!(busy >= 50, "{busy} of {names} were turned away");
        for number in 0..names {
            resolver.forget(&format!("n{number}.test"), Token(number as u64));
        }
        drop(gate);
        let patience = Instant::now() + Duration::from_secs(60);
        while resolver.queued() > 0 && Instant::now() < patience {
            std::thread::yield_now();
        }
        assert_eq!(resolver.queued(), 0);
        assert!(asked.load(Ordering::SeqCst) <= THREADS_MAX, "dropped questions were asked");
    }

    #[test]
    fn threads_that_get_no_answer_are_replaced_and_their_names_asked_again() {
        let (gate, open) = channel::<()>();
        let open = Mutex::new(open);
        let stuck = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&stuck);
        let resolver = Resolver::new(Box::new(move |name| {
            if name != "well.test" && count.fetch_add(1, Ordering::SeqCst) < THREADS_MAX {
                let _ = open.lock().recv();
            }
            Ok(vec![LOCAL])
        }));
        let (waiter, answers) = waiter();
        let now = Instant::now();
        for number in 0..THREADS_MAX as u64 {
            let name = format!("n{number}.test");
            assert_eq!(resolver.look_up(&name, now, &waiter, Token(number)), Lookup::Pending);
        }
        assert_eq!(resolver.look_up("well.test", now, &waiter, Token(100)), Lookup::Pending);
        let (brief, patience) = (Duration::from_millis(200), Duration::from_secs(60));
        let until = Instant::now() + patience;
        while stuck.load(Ordering::SeqCst) < THREADS_MAX {
            assert!(Instant::now() < until, "some thread never asked");
            std::thread::yield_now();
        }
        assert!(answers.recv_timeout(brief).is_err(), "every thread is stuck");
        // All of them have begun to ask by now, and have been at it for too long then.
        let later = Instant::now() + LOST_AFTER + Duration::from_secs(1);
        assert_eq!(resolver.look_up("n0.test", later, &waiter, Token(200)), Lookup::Pending);
        // The name whose question got lost has two who wait for it.
        let mut told: Vec<_> =
            (0..3).map(|_| answers.recv_timeout(patience).unwrap().0.0).collect();
        told.sort_unstable();
        assert_eq!(told, [0, 100, 200]);
        drop(gate);
        // The lost ones come back: each tells who still waits for it.
        for _ in 1..THREADS_MAX {
            assert!(answers.recv_timeout(patience).is_ok());
        }
        assert!(answers.recv_timeout(brief).is_err(), "an answer was told twice");
    }
}
