//! Runs drawn from a seed. `SLUICE_SEED=n` replays one with its trace, `SLUICE_SEEDS=a..b` runs a range.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::actors::Newcomer;
use crate::chance::Chance;
use crate::generations::Generation;
use crate::invariants::{Watcher, at_the_end};
use crate::lab::Lab;
use crate::ledger::Record;
use crate::operator::Drainer;
use crate::options::{Options, PollModel, Splicing};
use crate::plan::Plan;
use crate::trace::Trace;
use crate::world::{Act, World};

/// Seeds of the ordinary test run.
const SEEDS: std::ops::Range<u64> = 0..5_000;
/// A run stops at so many failed seeds.
const FAILURES_MAX: usize = 20;
const TURNS_MAX: u64 = 200_000;
/// Lines of a trace that are shown; the file that SLUICE_TRACE names gets them all.
const LINES_SHOWN: usize = 400;

#[test]
fn seeds_keep_the_invariants() {
    if let Some(seed) = number("SLUICE_SEED") {
        let (result, report) = look_at(seed);
        println!("{report}");
        if let Ok(path) = std::env::var("SLUICE_TRACE") {
            std::fs::write(path, &report).unwrap();
        }
        assert_eq!(result, Ok(()), "seed {seed}");
        return;
    }
    let reached = run_all(range("SLUICE_SEEDS").unwrap_or(SEEDS));
    let lines: Vec<String> =
        reached.iter().map(|(what, times)| format!("{times:>9} {what}")).collect();
    println!("{}", lines.join("\n"));
    if range("SLUICE_SEEDS").is_none() {
        let missed: Vec<_> =
            MUST_REACH.iter().filter(|what| !reached.contains_key(**what)).collect();
        assert!(missed.is_empty(), "never reached: {missed:?}");
    }
}

/// How often a reason was told or an ending met.
type Reached = BTreeMap<String, u64>;

/// What the ordinary run must have met, so that it cannot pass by doing nothing.
const MUST_REACH: &[&str] = &[
    "malformed_head",
    "malformed_target",
    "not_connect",
    "head_timeout",
    "head_too_large",
    "host_not_allowed",
    "port_not_allowed",
    "address_not_allowed",
    "resolve_failed",
    "resolve_timeout",
    "resolver_busy",
    "dial_failed",
    "dial_timeout",
    "no_source_port",
    "too_many_sessions",
    "too_many_sessions_of_client",
    "ssl_version",
    "tls_version_too_low",
    "not_tls",
    "server_spoke_first",
    "handshake_unreadable",
    "hello_too_large",
    "server_name_mismatch",
    "server_name_missing",
    "tls_verified",
    "descriptors_exhausted",
    "pipes_exhausted",
    "await_address.client.reset",
    "await_dial.client.reset",
    "await_hello.client.closed",
    "await_hello.client.hello_timeout",
    "await_hello.remote.reset",
    "await_server_hello.client.reset",
    "await_server_hello.remote.finished",
    "await_server_hello.remote.hello_timeout",
    "tunnel.client.finished",
    "tunnel.gateway.cut",
    "await_address.gateway.cut",
    "await_dial.gateway.cut",
    "await_hello.gateway.cut",
    "await_server_hello.gateway.cut",
    "draining",
    "a reload over an open tunnel",
    "a host that is only reported",
    "a port that is only reported",
    "a quiet drain",
    "a drain that ran out",
    "tunnel.client.reset",
    "tunnel.gateway.half_closed",
    "tunnel.gateway.idle",
    "tunnel.gateway.stopping",
    "tunnel.gateway.too_old",
    "tunnel.remote.finished",
    "tunnel.remote.reset",
];

fn run_all(seeds: std::ops::Range<u64>) -> Reached {
    let next = AtomicU64::new(seeds.start);
    let failed: Mutex<Vec<u64>> = Mutex::default();
    let reached: Mutex<Reached> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = Reached::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().len() >= FAILURES_MAX {
                        break;
                    }
                    let passed = catch_unwind(AssertUnwindSafe(|| {
                        let (result, lab) = run(seed, Trace::default());
                        count(&lab, &mut own);
                        result.is_ok()
                    }));
                    if !passed.unwrap_or(false) {
                        failed.lock().push(seed);
                    }
                }
                let mut reached = reached.lock();
                for (what, times) in own {
                    *reached.entry(what).or_default() += times;
                }
            });
        }
    });
    let mut failed = failed.into_inner();
    failed.sort_unstable();
    if let Some(&first) = failed.first() {
        let reasons: Vec<String> = failed
            .iter()
            .map(|&seed| {
                let result = catch_unwind(|| run(seed, Trace::default()).0);
                format!(
                    "seed {seed}: {}",
                    match result {
                        Ok(Err(wrong)) => wrong,
                        Ok(Ok(())) => "passes when run again".to_owned(),
                        Err(_) => "panicked".to_owned(),
                    }
                )
            })
            .collect();
        let (_, report) = look_at(first);
        panic!("{report}\n{}\nreplay with SLUICE_SEED={first}", reasons.join("\n"));
    }
    reached.into_inner()
}

fn count(lab: &Lab, reached: &mut Reached) {
    for what in &lab.world.borrow().met {
        *reached.entry((*what).to_owned()).or_default() += 1;
    }
    for event in &lab.events {
        let ending = event.ended.as_ref().map(|ended| ended.ending.to_string());
        let what = ending.unwrap_or_else(|| event.reason.to_string());
        *reached.entry(what).or_default() += 1;
    }
}

/// Runs a seed with a trace; the report says all that was drawn.
fn look_at(seed: u64) -> (Result<(), String>, String) {
    let (result, lab) = run(seed, Trace::kept());
    let world = lab.world.borrow();
    let mut report = format!("seed {seed}\n{:#?}\n", world.options);
    for (number, generation) in world.generations.iter().enumerate() {
        report.push_str(&format!("generation {number}: {generation:?}\n"));
    }
    for (number, record) in world.records.iter().enumerate() {
        report.push_str(&describe(number, &record.plan));
    }
    let lines = world.trace.lines();
    let hidden = lines.len().saturating_sub(if std::env::var("SLUICE_TRACE").is_ok() {
        usize::MAX
    } else {
        LINES_SHOWN
    });
    report.push_str(&format!("... {hidden} lines before\n{}\n", lines[hidden..].join("\n")));
    report.push_str(&format!("seed {seed}: {result:?}\n"));
    (result, report)
}

pub fn describe(number: usize, plan: &Plan) -> String {
    let part = |part: &crate::plan::Part| {
        format!(
            "{} bytes, {:?}, {:?}, waits {:?}, closes_on_end {}",
            part.stream.len(),
            part.leave,
            part.pace,
            part.waits,
            part.closes_on_end
        )
    };
    format!(
        "session {number}: tame {} refusals {:?} head {:?} ({} bytes) hello {:?} server {:?}\n  client {}\n  \
         remote {}\n  gates up {:?} down {:?} released at {}\n  name {:?} {:?} stale {:?}\n  dials {:?}\n",
        plan.tame,
        plan.refusals,
        plan.head,
        plan.head_bytes,
        plan.hello,
        plan.server,
        part(&plan.client),
        part(&plan.remote),
        plan.up_gates,
        plan.down_gates,
        plan.released_at,
        plan.service.service,
        plan.service.answer,
        plan.service.stale,
        plan.dials,
    )
}

fn run(seed: u64, trace: Trace) -> (Result<(), String>, Lab) {
    run_drawn(Chance::new(seed), trace)
}

/// A run of which `chance` decides everything.
pub fn run_drawn(mut chance: Chance, trace: Trace) -> (Result<(), String>, Lab) {
    let harsh = chance.once_in(3);
    let options = draw_options(harsh, &mut chance);
    let by_mail = options.by_mail;
    let sessions = 1 + chance.below(6);
    let reloads = if chance.once_in(2) { 1 + chance.below(4) } else { 0 };
    let generations = (0..=reloads)
        .map(|number| Generation::draw(number, sessions, harsh, &options, &mut chance));
    let generations: Vec<Generation> = generations.collect();
    let first = Arc::clone(&generations[0].rules);
    let mut world = World::new(options, chance.number(), trace);
    world.generations = generations;
    for number in 1..=reloads {
        let at_us = soon_or_late(&mut chance);
        world.plan(at_us, Act::Reload(number));
    }
    for index in 0..sessions {
        let plan = Plan::draw(index, &mut chance);
        world.names.insert(plan.name.clone(), plan.service.clone());
        for (address, dial) in &plan.dials {
            world.dials.push((address.parse().unwrap(), *dial));
        }
        let arrive_us = plan.arrive_us;
        world.records.push(Record::new(plan));
        let actor = world.add_actor(Box::new(Newcomer { session: index }));
        world.plan(arrive_us, Act::Wake(actor));
    }
    if harsh && chance.once_in(3) {
        world.plan(chance.moment(26), Act::Stop);
    }
    if !by_mail && chance.once_in(8) {
        // Best while somebody is at the door.
        let coming = &world.records[chance.below(sessions)].plan;
        let at_us = if chance.once_in(2) { coming.arrive_us } else { soon_or_late(&mut chance) };
        world.plan(at_us, Act::Unlisten);
    }
    if chance.once_in(4) {
        let [notice_us, longest_us] = [
            chance.pick(&[0, 50_000, 1_000_000]),
            chance.pick(&[0, 100_000, 5_000_000, 30_000_000]),
        ];
        let drainer = world.add_actor(Box::new(Drainer { notice_us, longest_us, since_us: None }));
        let at_us = soon_or_late(&mut chance);
        world.plan(at_us, Act::Wake(drainer));
    }
    for _ in 0..chance.below(10) {
        world.plan(chance.between(0, 400_000), Act::Spurious);
    }
    let mut lab = Lab::with_world(world, &first);
    let result = drive(&mut lab, harsh);
    (result, lab)
}

/// While the clients come, or at any time of a run.
fn soon_or_late(chance: &mut Chance) -> u64 {
    if chance.once_in(2) { chance.between(0, 300_000) } else { chance.moment(26) }
}

fn drive(lab: &mut Lab, harsh: bool) -> Result<(), String> {
    let mut watcher = Watcher::default();
    for _ in 0..TURNS_MAX {
        let turned = catch_unwind(AssertUnwindSafe(|| lab.turn()));
        if turned.is_err() {
            return Err("the worker panicked".to_owned());
        }
        let broken = lab.world.borrow().broken.clone();
        broken.map_or(Ok(()), Err)?;
        if let Err(wrong) = watcher.after_turn(lab) {
            lab.world.borrow_mut().accuse(|| wrong.clone());
            return Err(wrong);
        }
        if !lab.running || lab.world.borrow().exhausted {
            return at_the_end(lab, harsh);
        }
    }
    Err(format!("no end after {TURNS_MAX} turns"))
}

pub fn draw_options(harsh: bool, chance: &mut Chance) -> Options {
    let model = chance.pick(&[PollModel::Epoll, PollModel::Narrow, PollModel::Windows]);
    let splicing = match chance.below(8) {
        0 => Splicing::RefusedAfter(chance.size(200) as u64),
        1 => Splicing::PipesAtMost(chance.below(3)),
        _ => Splicing::Works,
    };
    let kind = Options::of_model(model);
    let pipes_max = if kind.pipes_max == 0 { 0 } else { chance.pick(&[0, 1, 2, 64, 64]) };
    Options {
        splicing,
        pipes_max,
        pipe_slots: chance.pick(&[1, 2, 16]),
        page_bytes: chance.pick(&[100, 4096, 32_768]),
        queues_max: std::array::from_fn(|_| chance.pick(&[64, 300, 2_048, 16_384, 65_536])),
        piece_bytes: chance.pick(&[40, 536, 1460, 65_536]),
        uneven_pieces: chance.once_in(2),
        latency_us: chance.pick(&[0, 0, 100, 3_000]),
        acknowledge_us: chance.pick(&[0, 500, 40_000]),
        descriptors_max: if harsh && chance.once_in(2) { 1 + chance.below(12) } else { 1 << 20 },
        events_per_poll: chance.pick(&[1, 2, 1024]),
        short_once_in: chance.pick(&[0, 0, 2, 10]),
        jostle_once_in: chance.pick(&[0, 2, 10]),
        jump_once_in: if harsh { chance.pick(&[0, 0, 50, 1_000]) } else { 0 },
        actor_loses_unread_once_in: chance.pick(&[0, 1, 2]),
        stray_once_in: chance.pick(&[0, 0, 20]),
        shuffled: chance.once_in(2),
        ..kind
    }
}

pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

pub fn range(variable: &str) -> Option<std::ops::Range<u64>> {
    let text = std::env::var(variable).ok()?;
    let (start, end) = text.split_once("..")?;
    Some(start.parse().ok()?..end.parse().ok()?)
}
