//! A wake that fails: somebody has mail for a worker and cannot tell it so, or no alarm can be had for the
//! worker's next deadline.

use std::time::Duration;

use crate::echo::Echo;
use rustix::process::Signal;

use crate::newcomers::{Met, visit};
use crate::strace::Strace;
use crate::support::deadline::Stopwatch;
use crate::support::gateway::{SPLICE, Setup};

/// Letters that came behind the one whose wake had failed woke nobody either, not even the last of all:
/// the worker never heard that it should stop.
#[test]
fn a_wake_that_fails_is_not_the_last() {
    let echo = Echo::start();
    let setup = Setup::new(SPLICE).host(&echo.named()).workers(1);
    let gateway = setup.set("limits.resolve_ms", 5_000).start();
    // The resolver's threads begin when they are needed.
    let strace = Strace::inject_everywhere(&gateway, "write", "error=EIO");
    let met = visit(gateway.address(), &echo.named());
    // The answer is there, but nobody has told of it; at the deadline it is found.
    assert_eq!(met, Met::Served);
    let noted = strace.end();
    assert!((1..50).contains(&noted.injected), "{noted:?}");
    let watch = Stopwatch::start();
    // Its events are lost as well meanwhile.
    let (status, _) = gateway.stop_by(Signal::TERM);
    assert!(status.success(), "{status}");
    assert!(watch.elapsed() < Duration::from_secs(15), "{:?}", watch.elapsed());
}

/// Where the system takes no alarm, the poll counts the time itself.
#[test]
fn a_deadline_is_met_without_an_alarm() {
    let gateway = Setup::new(SPLICE).workers(1).set("limits.head_ms", 2_500).start();
    let strace = Strace::inject(&gateway, "timerfd_settime", "error=EPERM");
    for clients in 1..=2 {
        let watch = Stopwatch::start();
        let reply = gateway.connect().read_to_end();
        let waited = watch.elapsed();
        assert!(reply.starts_with(b"HTTP/1.1 408 "), "client {clients}: {reply:?}");
        assert!(waited > Duration::from_millis(2_400), "client {clients}: {waited:?}");
    }
    let noted = strace.end();
    assert_eq!(noted.injected, 1, "once refused, it is not asked for again: {noted:?}");
    gateway.stop();
}
