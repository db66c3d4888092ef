//! The limit of descriptors sinks below what the running gateway has open, and rises again.

use std::collections::HashSet;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::newcomers::{Met, visit};
use crate::scene::Scene;
use crate::support::deadline::{PATIENCE, until};
use crate::support::gateway::{Gateway, KINDS, SPLICE, each};
use crate::support::process::processor_time;

/// How long the shortage lasts.
const SHORTAGE: Duration = Duration::from_millis(1_500);
/// Processor time that the shortage may take beside the tunnels and those who come. Two workers that spin
/// take more than three times as much of two processors.
const WORK: Duration = Duration::from_millis(500);

/// Sets the soft limit of a running gateway and returns the one before.
fn limit(gateway: &Gateway, descriptors: u64) -> u64 {
    let pid = Pid::from_raw(gateway.pid().cast_signed());
    let now = prlimit(pid, Resource::Nofile, limit_of(gateway, descriptors)).expect("it is ours");
    now.current.expect("there was a limit")
}

fn limit_of(gateway: &Gateway, descriptors: u64) -> Rlimit {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let hard = line.split_ascii_whitespace().nth(4).and_then(|text| text.parse().ok());
    Rlimit { current: Some(descriptors), maximum: hard }
}

/// The numbers of its open descriptors: the limit is one of numbers.
fn numbers(pid: u32) -> HashSet<u64> {
    let folder = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs");
    folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Who comes meanwhile waits, the tunnels go on, and when there are descriptors again all are served.
#[test]
fn a_limit_below_what_is_open_makes_newcomers_wait_and_is_told_once() {
    each(KINDS, |kind| {
        let busy = Scene::of(kind).begin();
        std::thread::sleep(Duration::from_millis(300));
        let gateway = &busy.scene.gateway;
        let work = || {
            let before = processor_time(gateway.pid());
            std::thread::sleep(SHORTAGE);
            processor_time(gateway.pid()) - before
        };
        let usual = work();
        let before = limit(gateway, 40);
        let moved = busy.steady.moved();
        let worked = work();
        println!("{kind}: {worked:?} of processor time, where {usual:?} is usual");
        assert!(worked < usual + WORK, "{kind}: {worked:?} of processor time, not {usual:?}");
        until("the tunnels go on", PATIENCE, || (busy.steady.moved() > moved).then_some(()));
        limit(gateway, before);
        let after = busy.recover(&[], &format!("{kind}"));
        assert!(after.lost().is_empty(), "{kind}: {:?}", after.lost());
        let unserved = after.unserved();
        let refused = unserved.keys().all(|met| met.contains("descriptors_exhausted"));
        assert!(refused, "{kind}: {unserved:?}");
        let refused: usize = unserved.values().sum();
        let told = after.loud();
        let lines = told.get("descriptors_exhausted").copied().unwrap_or_default();
        // One line of each thread that accepts, and one for each who was let in for nothing.
        assert!((1..=2 + refused).contains(&lines), "{kind}: {told:?}");
        // Pooled pipes make room for who comes, so that the tunnels copy.
        assert!(told.get("pipes_exhausted").is_none_or(|&lines| lines <= 2), "{kind}: {told:?}");
        let known = ["descriptors_exhausted", "pipes_exhausted"];
        assert!(told.keys().all(|reason| known.contains(reason)), "{kind}: {told:?}");
    });
}

/// A name that could not be looked up for lack of a descriptor was remembered as one without address
/// for five seconds after the shortage.
#[test]
fn a_name_is_looked_up_again_when_there_are_descriptors() {
    let scene = Scene::of(SPLICE);
    let gateway = &scene.gateway;
    // The client takes the only one that is free below it.
    let open = numbers(gateway.pid());
    let free: Vec<u64> = (0..).filter(|number| !open.contains(number)).take(2).collect();
    let before = limit(gateway, free[1]);
    let met = visit(gateway.address(), &scene.echo.named());
    assert!(matches!(&met, Met::Refused(reason) if reason.ends_with("_failed")), "{met:?}");
    limit(gateway, before);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(visit(gateway.address(), &scene.echo.named()), Met::Served);
    until("nobody is there", PATIENCE, || {
        (scene.admin.metrics()["sluice_active_client_connections"] == 0.0).then_some(())
    });
    scene.gateway.stop();
}
