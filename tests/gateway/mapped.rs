//! What is mapped of the program: what serves stays, what only a start or a reload needed does not.

use rustix::process::Signal;

use crate::support::deadline::{PATIENCE, until};
use crate::support::gateway::{Gateway, SPLICE, Setup};
use crate::support::process::code_bytes;

/// More than serving maps of a build for tests (2.4 MB), and less than it is with what reading a
/// configuration adds (4.8 MB).
const SERVING_BYTES: u64 = 3_500_000;

#[test]
fn what_a_start_or_a_reload_needed_is_let_go() {
    let gateway = Setup::new(SPLICE).start();
    is_let_go("the start is over", &gateway);
    gateway.rewrite(&Setup::new(SPLICE).host("other.example").text());
    gateway.signal(Signal::HUP);
    gateway.events().first("reloaded");
    is_let_go("the reload is over", &gateway);
    gateway.stop();
}

fn is_let_go(when: &str, gateway: &Gateway) {
    until(when, PATIENCE, || (code_bytes(gateway.pid()) < SERVING_BYTES).then_some(()));
}
