//! Plays long tables against real gateways and settles the account of each gateway when it goes:
//! counters against what was played, counters against events, descriptors against those it began with.
//!
//! Beyond 20 like events a second a gateway tells only their number, so a table is dealt out to as many
//! gateways as it takes for every case to have an event of its own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::admin::Admin;
use crate::support::deadline::{PATIENCE, until};
use crate::support::events::Event;
use crate::support::gateway::{CARRIERS, Gateway, Kind, Setup, each};
use crate::support::peer::{CUTS, Cut};
use crate::support::server::Server;

/// Cases with one reason that a gateway may see in its life.
const LIKE_CASES: usize = 20;
/// Cases without a refusal that a gateway sees: enough that each table needs more than one.
const GOOD_CASES: usize = 40;
/// Gateways of one kind at a time. What a case waits for are mostly events, which come in batches.
const LANES: usize = 3;

/// One input of a table; one connection of a client each time it is played.
pub trait Vector: Sync {
    /// Event and reason of its refusal; `None` where it passes.
    fn refused(&self) -> Option<(u64, &'static str)>;

    /// Its row and what it is, for a message.
    fn shown(&self) -> String;
}

/// Where a case is played.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The gateway of this moment.
    pub gateway: &'a Gateway,
    /// Who listens behind it; nobody else's connections come here.
    pub server: &'a Server,
    /// How the gateway is run.
    pub kind: Kind,
}

/// Plays every vector in every cut on either carrier.
pub fn play<V: Vector>(
    vectors: &[V],
    setup: impl Fn(Kind, &Server) -> Setup + Sync,
    case: impl Fn(&Bench<'_>, &V, Cut) + Sync,
) {
    let cases = vectors.iter().flat_map(|vector| CUTS.map(|cut| (vector, cut)));
    let hands = deal(cases.collect());
    each(CARRIERS, |kind| {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let lanes: Vec<_> = (0..LANES.min(hands.len()))
                .map(|_| {
                    scope.spawn(|| {
                        let server = Server::start();
                        while let Some(hand) = hands.get(next.fetch_add(1, Ordering::Relaxed)) {
                            play_hand(kind, &server, hand, &setup, &case);
                        }
                    })
                })
                .collect();
            for lane in lanes {
                if let Err(panic) = lane.join() {
                    std::panic::resume_unwind(panic);
                }
            }
        });
    });
}

type Case<'a, V> = (&'a V, Cut);

/// Splits cases so that no hand has more like ones than a gateway tells one by one.
fn deal<V: Vector>(cases: Vec<Case<'_, V>>) -> Vec<Vec<Case<'_, V>>> {
    let mut hands: Vec<Vec<Case<'_, V>>> = Vec::new();
    let mut dealt: HashMap<&str, usize> = HashMap::new();
    for (vector, cut) in cases {
        let (reason, room) = match vector.refused() {
            Some((_, reason)) => (reason, LIKE_CASES),
            None => ("", GOOD_CASES),
        };
        let like = dealt.entry(reason).or_default();
        let hand = *like / room;
        *like += 1;
        if hands.len() <= hand {
            hands.push(Vec::new());
        }
        hands[hand].push((vector, cut));
    }
    hands
}

fn play_hand<V: Vector>(
    kind: Kind,
    server: &Server,
    hand: &[Case<'_, V>],
    setup: &impl Fn(Kind, &Server) -> Setup,
    case: &impl Fn(&Bench<'_>, &V, Cut),
) {
    let gateway = setup(kind, server).admin().start();
    let account = Account::open(&gateway);
    let bench = Bench { gateway: &gateway, server, kind };
    for (vector, cut) in hand {
        case(&bench, vector, *cut);
    }
    server.expect_nobody("what was to come has come");
    let mut played = Played::default();
    hand.iter().for_each(|(vector, _)| played.add(vector.refused()));
    account.settle(gateway, &played);
}

/// What a gateway was given.
#[derive(Debug, Default)]
pub struct Played {
    sessions: u64,
    refusals: HashMap<&'static str, u64>,
    errors: u64,
    rejections: u64,
}

impl Played {
    /// Adds a connection, and event and reason of its refusal.
    pub fn add(&mut self, refused: Option<(u64, &'static str)>) {
        self.sessions += 1;
        let Some((event, reason)) = refused else { return };
        *self.refusals.entry(reason).or_default() += 1;
        self.errors += u64::from(matches!(event, 400 | 402 | 403));
        self.rejections +=
            u64::from(matches!(event, 106 | 402) || reason.starts_with("server_name_"));
    }
}

/// A gateway's counters and descriptors, watched from its start to its end.
#[derive(Debug)]
pub struct Account {
    admin: Admin,
    descriptors: usize,
}

impl Account {
    /// Notes what a gateway has before the first client comes.
    pub fn open(gateway: &Gateway) -> Account {
        Account { admin: Admin::of(gateway), descriptors: descriptors(gateway.pid()) }
    }

    /// The admin listener of the gateway.
    #[cfg(target_os = "linux")]
    pub fn admin(&self) -> Admin {
        self.admin
    }

    /// Waits until nothing is open any more, compares counters, descriptors and events with what was
    /// played, and stops the gateway.
    ///
    /// # Panics
    /// Where one of them differs.
    pub fn settle(self, gateway: Gateway, played: &Played) {
        let mut last = String::new();
        let told = until("counters and descriptors are what they should be", PATIENCE, || {
            // Before the question for the rest: its own connection may be open for a moment after it.
            let open = descriptors(gateway.pid());
            let told = self.admin.metrics();
            match self.first_difference(&told, open, played) {
                None => Some(told),
                Some(difference) => {
                    if difference != last {
                        eprintln!("not yet: {difference}");
                    }
                    last = difference;
                    None
                }
            }
        });
        let events = gateway.stop();
        for (reason, count) in refusals(&told) {
            let lines = events.iter().filter(|event| event.reason() == reason);
            // A line may stand for many of one second.
            let told: u64 =
                lines.map(|line| if line.has("count") { line.number("count") } else { 1 }).sum();
            assert_eq!(told, count, "events of {reason} against their counter");
        }
        let faults =
            |event: &&Event| event.id() >= 400 && !event.has("session") && !event.has("count");
        assert_eq!(events.iter().filter(faults).count(), 0, "errors that belong to no session");
    }

    fn first_difference(
        &self,
        told: &HashMap<String, f64>,
        open: usize,
        played: &Played,
    ) -> Option<String> {
        let expected = [
            ("sluice_sessions_total", played.sessions),
            ("sluice_errors_total", played.errors),
            ("sluice_rejections_total", played.rejections),
            ("sluice_events_lost_total", 0),
            ("sluice_active_client_connections", 0),
            ("sluice_connected_clients", 0),
            ("sluice_pipes_out", 0),
            ("sluice_buffers_out", 0),
        ];
        for (name, value) in expected {
            if told.get(name) != Some(&(value as f64)) {
                return Some(format!("{name} is {:?}, not {value}", told.get(name)));
            }
        }
        let counted: HashMap<&str, u64> =
            refusals(told).into_iter().filter(|(_, count)| *count > 0).collect();
        if counted != played.refusals {
            return Some(format!("refusals are {counted:?}, not {:?}", played.refusals));
        }
        // A pooled pipe is two descriptors.
        let expected = self.descriptors + 2 * told["sluice_pipes_pooled"] as usize;
        (open != expected).then(|| format!("{open} descriptors are open, not {expected}"))
    }
}

/// The counters of refusals by their reason.
fn refusals(told: &HashMap<String, f64>) -> Vec<(&str, u64)> {
    let labelled = told.iter().filter_map(|(name, count)| {
        let reason = name.strip_prefix("sluice_refusals_total{reason=\"")?.strip_suffix("\"}")?;
        Some((reason, *count as u64))
    });
    labelled.collect()
}

#[cfg(target_os = "linux")]
fn descriptors(pid: u32) -> usize {
    crate::support::process::descriptors(pid).len()
}

/// Only Linux tells.
#[cfg(not(target_os = "linux"))]
fn descriptors(_pid: u32) -> usize {
    0
}
