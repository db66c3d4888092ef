//! A gateway at work, and what must hold when a fault is over.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::echo::Echo;
use crate::newcomers::{Met, Newcomers, Visit};
use crate::steady::{Lane, Steady};
use crate::support::admin::Admin;
use crate::support::deadline::{PATIENCE, until};
use crate::support::events::Event;
use crate::support::gateway::{Gateway, Kind, Setup};
use crate::support::process::count_descriptors;
use crate::support::server::Server;

/// Steady tunnels of a scene.
pub const TUNNELS: usize = 48;
/// After a fault service is as before within this.
const RECOVERY: Duration = Duration::from_secs(1);
/// How long newcomers go on after that.
const AFTERWARDS: Duration = Duration::from_millis(400);
/// Lines of one reason that a second may bring: 20, and one that counts the others.
const LINES_PER_SECOND: usize = 21;

/// A gateway with steady tunnels and newcomers.
#[derive(Debug)]
pub struct Scene {
    /// The gateway.
    pub gateway: Gateway,
    /// Its admin listener.
    pub admin: Admin,
    /// The target of the steady tunnels.
    pub server: Server,
    /// That of newcomers.
    pub echo: Echo,
    sockets: usize,
}

/// A scene with people in it.
#[derive(Debug)]
pub struct Busy {
    /// Where it plays.
    pub scene: Scene,
    /// The tunnels.
    pub steady: Steady,
    /// Those who come.
    pub newcomers: Newcomers,
}

/// What is left of a scene.
#[derive(Debug)]
pub struct Aftermath {
    /// The steady tunnels.
    pub lanes: Vec<Lane>,
    /// Those who came before the fault was over.
    pub visits: Vec<Visit>,
    /// All that the gateway told.
    pub events: Vec<Event>,
}

impl Scene {
    /// A gateway alone. What is stuck for good is let go soon.
    pub fn of(kind: Kind) -> Scene {
        Scene::with(Setup::new(kind), 8_000)
    }

    /// A gateway alone that lets nothing go for so long.
    pub fn patient(kind: Kind, limit_ms: u64) -> Scene {
        Scene::with(Setup::new(kind), limit_ms)
    }

    /// The gateway of this setup, alone; `limit_ms` is for heads, hellos and silence.
    pub fn with(setup: Setup, limit_ms: u64) -> Scene {
        let (server, echo) = (Server::start(), Echo::start());
        let setup = setup.reach(&server).host(&echo.authority()).host(&echo.named()).admin();
        let gateway = ["head_ms", "hello_ms", "half_closed_ms", "idle_ms"]
            .into_iter()
            .fold(setup, |setup, limit| setup.set(&format!("limits.{limit}"), limit_ms))
            .start();
        let sockets = count_descriptors(gateway.pid(), "socket:");
        Scene { admin: Admin::of(&gateway), gateway, server, echo, sockets }
    }

    /// Opens the steady tunnels and lets newcomers come.
    pub fn begin(self) -> Busy {
        let steady = Steady::start(&self.gateway, &self.server, TUNNELS);
        let targets = vec![self.echo.authority(), self.echo.named()];
        let newcomers = Newcomers::come(self.gateway.address(), targets);
        Busy { scene: self, steady, newcomers }
    }
}

impl Busy {
    /// The fault is over: service is normal within a second, the tunnels have all their bytes, nothing
    /// is left behind, and the log is in order but for `faults`.
    ///
    /// # Panics
    /// Where one of these is not so.
    pub fn recover(self, faults: &[&str], what: &str) -> Aftermath {
        let Busy { scene, steady, newcomers } = self;
        let over = newcomers.now();
        std::thread::sleep(RECOVERY + AFTERWARDS);
        let (late, visits): (Vec<_>, _) =
            newcomers.stop().into_iter().partition(|visit| visit.began > over + RECOVERY);
        assert!(!late.is_empty(), "{what}: newcomers came to the end");
        let unserved: Vec<_> = late.iter().filter(|visit| visit.met != Met::Served).collect();
        assert!(unserved.is_empty(), "{what}: not served a second after the fault: {unserved:?}");
        let lanes = steady.stop();
        let metrics = scene.expect_quiet(what);
        let events = scene.gateway.stop_despite(faults);
        expect_exact(&metrics, &events, what);
        for (reason, lines) in loud(&events) {
            let seconds = 2 + newest(&events).saturating_sub(oldest(&events));
            let most = LINES_PER_SECOND * seconds as usize;
            assert!(lines <= most, "{what}: {lines} lines of {reason} in {seconds} s");
        }
        Aftermath { lanes, visits, events }
    }
}

impl Scene {
    /// Waits until nothing is open any more that was not open before anybody came.
    fn expect_quiet(&self, what: &str) -> HashMap<String, f64> {
        let gauges = ["active_client_connections", "connected_clients", "pipes_out", "buffers_out"];
        until(&format!("{what}: all is as before"), PATIENCE, || {
            let metrics = self.admin.metrics();
            let is_idle = gauges.iter().all(|gauge| metrics[&format!("sluice_{gauge}")] == 0.0);
            let sockets = count_descriptors(self.gateway.pid(), "socket:");
            (is_idle && sockets == self.sockets).then_some(metrics)
        })
    }
}

/// Each refusal and each error is counted as often as it is told, those in summaries among them.
fn expect_exact(metrics: &HashMap<String, f64>, events: &[Event], what: &str) {
    let told = |fits: &dyn Fn(&Event) -> bool| -> f64 {
        let fitting = events.iter().filter(|event| fits(event));
        fitting.map(|event| if event.has("count") { event.number("count") } else { 1 } as f64).sum()
    };
    for (name, &counted) in metrics {
        if let Some(reason) = name.strip_prefix("sluice_refusals_total{reason=\"") {
            let reason = reason.trim_end_matches("\"}");
            let told = told(&|event| event.reason() == reason);
            assert!(told == counted || counted == 0.0, "{what}: {told} told, {counted} {name}");
        }
    }
    let (told, counted) =
        (told(&|event| event.text("level") == "error"), metrics["sluice_errors_total"]);
    assert_eq!(told, counted, "{what}: errors");
}

impl Aftermath {
    /// Tunnels that did not get through, with the ending that the gateway told for each.
    pub fn lost(&self) -> Vec<(&str, &str)> {
        let ending = |lane: &Lane| {
            let client = lane.address.to_string();
            let ended = self
                .events
                .iter()
                .find(|event| event.reason() == "session_ended" && event.text("client") == client);
            ended.map_or("none", |ended| ended.text("ending"))
        };
        let lost = self.lanes.iter().filter_map(|lane| Some((lane, lane.lost.as_deref()?)));
        lost.map(|(lane, how)| (how, ending(lane))).collect()
    }

    /// Newcomers by what they met, those who were served left out.
    pub fn unserved(&self) -> BTreeMap<String, usize> {
        let mut unserved = BTreeMap::new();
        for visit in self.visits.iter().filter(|visit| visit.met != Met::Served) {
            *unserved.entry(format!("{:?}", visit.met)).or_default() += 1;
        }
        unserved
    }

    /// Lines of warnings and errors, by reason.
    pub fn loud(&self) -> BTreeMap<&str, usize> {
        loud(&self.events)
    }
}

fn loud(events: &[Event]) -> BTreeMap<&str, usize> {
    let mut lines = BTreeMap::new();
    for event in events.iter().filter(|event| !matches!(event.text("level"), "debug" | "info")) {
        *lines.entry(event.reason()).or_default() += 1;
    }
    lines
}

fn oldest(events: &[Event]) -> u64 {
    events.first().map_or(0, second)
}

fn newest(events: &[Event]) -> u64 {
    events.last().map_or(0, second)
}

/// The second within its day; a test at midnight has time enough by the other end.
fn second(event: &Event) -> u64 {
    let time = event.text("time");
    let part = |from: usize| time.get(from..from + 2).and_then(|text| text.parse::<u64>().ok());
    let [hours, minutes, seconds] = [11, 14, 17].map(|at| part(at).unwrap_or_default());
    (hours * 60 + minutes) * 60 + seconds
}
