//! Whole sessions from a fuzzer's input: a list of steps that is played on the fake kernel, or a run
//! whose chance is the input. The invariants are those of the seeded runs.
//!
//! `SLUICE_INPUT=FILE cargo test --test simulation corpus -- --nocapture` replays one with its trace.

use crate::actors::Newcomer;
use crate::chance::Chance;
use crate::invariants::{Watcher, at_the_end};
use crate::lab::{ESTABLISHED, Lab};
use crate::ledger::Record;
use crate::link::{LinkId, State, Who};
use crate::peer::Heard;
use crate::script::{Deed, Epilogue, SESSIONS, Script, Step};
use crate::seeds::{describe, run_drawn};
use crate::trace::Trace;
use crate::world::{Act, World};

/// Turns in which a step must come to rest, and those of the whole end.
const TURNS_MAX: u64 = 20_000;
/// Without descriptors the gateway looks for one every 50 ms, for as long as clients wait.
const TURN_US_LEAST: u64 = 10_000;
/// Steps of the end: everybody reads until nothing more comes.
const ROUNDS_MAX: u64 = 100_000;

/// The body of the fuzz target: the first byte of `input` chooses between the two kinds of runs.
///
/// # Panics
/// Where an invariant is broken, with what was broken and how it came to it.
pub fn session(input: &[u8]) {
    if let Err(wrong) = run(input, Trace::default()).0 {
        let (_, report) = run(input, Trace::kept());
        panic!("{report}\n{wrong}");
    }
}

/// Runs `input`; the report says all that has happened where the trace is kept.
fn run(input: &[u8], trace: Trace) -> (Result<(), String>, String) {
    let Some((&kind, input)) = input.split_first() else { return (Ok(()), String::new()) };
    if kind & 7 == 7 {
        let (result, lab) = run_drawn(Chance::given(input), trace);
        return (result, report(&lab));
    }
    let script = Script::of(input);
    let steps: String = script.steps.iter().map(|step| format!("{step:?}\n")).collect();
    let mut play = Play::new(script, trace);
    let result = play.play();
    (result, format!("{steps}{}", report(&play.lab)))
}

fn report(lab: &Lab) -> String {
    let world = lab.world.borrow();
    if world.trace.lines().is_empty() {
        return String::new();
    }
    let plans = world.records.iter().enumerate();
    let plans: String = plans.map(|(number, record)| describe(number, &record.plan)).collect();
    format!(
        "{:#?}\n{:#?}\n{plans}{}\n",
        world.options,
        world.generations,
        world.trace.lines().join("\n")
    )
}

/// How far one side of a session has come.
#[derive(Clone, Copy, Default)]
struct Side {
    written: usize,
    heard: usize,
}

struct Play {
    script: Script,
    lab: Lab,
    watcher: Watcher,
    /// Client and remote of each session.
    sides: [[Side; 2]; SESSIONS],
    newcomers: Vec<usize>,
}

impl Play {
    fn new(mut script: Script, trace: Trace) -> Play {
        let mut world = World::new(script.options.clone(), script.seed, trace);
        world.generations = std::mem::take(&mut script.generations);
        let mut newcomers = Vec::new();
        for (session, plan) in script.plans.drain(..).enumerate() {
            world.names.insert(plan.name.clone(), plan.service.clone());
            for (address, dial) in &plan.dials {
                world.dials.push((address.parse().unwrap(), *dial));
            }
            world.records.push(Record::new(plan));
            newcomers.push(world.add_actor(Box::new(Newcomer { session })));
        }
        let rules = world.generations[0].rules.clone();
        let lab = Lab::with_world(world, &rules);
        Play { script, lab, watcher: Watcher::default(), sides: Default::default(), newcomers }
    }

    fn play(&mut self) -> Result<(), String> {
        self.take(0, Step::Arrive);
        self.pass(1)?;
        let steps = std::mem::take(&mut self.script.steps);
        for &(session, step, rests) in &steps {
            match step {
                Step::Pass(us) => self.pass(us)?,
                step => self.take(session, step),
            }
            if rests {
                self.pass(1)?;
            }
            if !self.lab.running {
                return at_the_end(&mut self.lab, true);
            }
        }
        self.end()
    }

    fn take(&mut self, session: usize, step: Step) {
        let world = &mut *self.lab.world.borrow_mut();
        let now_us = world.now_us;
        world.trace.note(now_us, || format!("step of session {session}: {step:?}"));
        match step {
            Step::Arrive => world.plan(0, Act::Wake(self.newcomers[session])),
            Step::Client(deed) => {
                if let Some(link) = world.records[session].client_link {
                    let side = &mut self.sides[session][0];
                    act(world, session, link, side, deed);
                }
            }
            Step::Remote(deed) => {
                if let Some(link) = remote_of(world, session) {
                    let side = &mut self.sides[session][1];
                    act(world, session, link, side, deed);
                }
            }
            Step::Answer => {
                let name = world.records[session].plan.name.clone();
                world.plan(0, Act::Answer(name));
            }
            Step::DialEnds(outcome) => {
                let attempts = world.records[session].attempts.clone();
                let connecting = |link: &LinkId| {
                    world.links[*link].look(Who::Gateway).state == State::Connecting
                };
                let under_way: Vec<LinkId> = attempts.into_iter().filter(connecting).collect();
                for link in under_way {
                    world.plan(0, Act::Outcome(link, outcome));
                }
            }
            Step::Splice(splicing) => world.options.splicing = splicing,
            Step::Descriptors(more) => {
                let most = more.map_or(1 << 20, |more| world.descriptors + more);
                world.options.descriptors_max = most;
            }
            Step::Spurious => world.plan(0, Act::Spurious),
            Step::Reload(number) => world.reload(number),
            Step::Drain => world.begin_drain(),
            Step::Stop => world.plan(0, Act::Stop),
            Step::Pass(_) => {}
        }
    }

    /// Lets time pass, and the gateway turn until it sleeps at the end of it.
    fn pass(&mut self, us: u64) -> Result<(), String> {
        {
            let mut world = self.lab.world.borrow_mut();
            world.horizon_us = world.now_us + us;
            // A poll that only ends here is no turn for nothing.
            world.performed += 1;
        }
        let turns_max = TURNS_MAX + us / TURN_US_LEAST;
        for _ in 0..turns_max {
            self.lab.world.borrow_mut().slept = false;
            self.turn()?;
            let world = self.lab.world.borrow();
            if !self.lab.running || (world.slept && world.now_us >= world.horizon_us) {
                return Ok(());
            }
        }
        Err(format!("no rest after {turns_max} turns"))
    }

    fn turn(&mut self) -> Result<(), String> {
        self.lab.turn();
        let broken = self.lab.world.borrow().broken.clone();
        broken.map_or(Ok(()), Err)?;
        self.watcher.after_turn(&mut self.lab)
    }

    fn end(&mut self) -> Result<(), String> {
        self.lab.world.borrow_mut().options.descriptors_max = 1 << 20;
        let deeds: &[Deed] = match self.script.epilogue {
            Epilogue::Finish => {
                self.read_all()?;
                self.judge_delivery()?;
                &[Deed::Shut]
            }
            Epilogue::Reset => &[Deed::Reset],
            Epilogue::Wait => &[],
            Epilogue::Stop => {
                self.lab.world.borrow_mut().plan(0, Act::Stop);
                &[]
            }
        };
        for &deed in deeds {
            for session in 0..SESSIONS {
                self.take(session, Step::Client(deed));
                self.take(session, Step::Remote(deed));
            }
        }
        if self.lab.running && self.script.epilogue == Epilogue::Finish {
            self.read_all()?;
        }
        self.lab.world.borrow_mut().horizon_us = u64::MAX;
        for _ in 0..TURNS_MAX {
            if !self.lab.running || self.lab.world.borrow().exhausted {
                return at_the_end(&mut self.lab, true);
            }
            self.turn()?;
        }
        Err(format!("no end after {TURNS_MAX} turns"))
    }

    /// Both sides of every session read until nothing comes any more.
    fn read_all(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS_MAX {
            // Longer than any latency of the network.
            self.pass(10_000)?;
            let before: usize = self.sides.as_flattened().iter().map(|side| side.heard).sum();
            for session in 0..SESSIONS {
                self.take(session, Step::Client(Deed::Read(usize::MAX)));
                self.take(session, Step::Remote(Deed::Read(usize::MAX)));
            }
            let after: usize = self.sides.as_flattened().iter().map(|side| side.heard).sum();
            if after == before || !self.lab.running {
                return Ok(());
            }
        }
        Err("bytes come for ever".to_owned())
    }

    /// What was said in a tunnel that stands has come, to the last byte.
    fn judge_delivery(&self) -> Result<(), String> {
        let world = self.lab.world.borrow();
        for (session, [client_side, remote_side]) in self.sides.iter().enumerate() {
            let record = &world.records[session];
            let (Some(client), Some(remote)) = (record.client_link, record.remote_link) else {
                continue;
            };
            let stands = |link: LinkId| {
                [Who::Gateway, Who::Actor].into_iter().all(|who| {
                    let end = world.links[link].look(who);
                    end.state == State::Open && !end.closed
                })
            };
            if !world.is_released(session) || record.refused || !stands(client) || !stands(remote) {
                continue;
            }
            let up = (client_side.written - record.plan.head_bytes, remote_side.heard);
            let down = (ESTABLISHED.len() + remote_side.written, client_side.heard);
            if up.0 != up.1 || down.0 != down.1 {
                return Err(format!(
                    "session {session}: of {up:?} up and {down:?} down not all came"
                ));
            }
        }
        Ok(())
    }
}

/// Where a session's target, or whoever may become it, can act.
fn remote_of(world: &World, session: usize) -> Option<LinkId> {
    let record = &world.records[session];
    let link = record.remote_link.or(record.attempts.last().copied())?;
    (world.links[link].look(Who::Actor).state != State::Connecting).then_some(link)
}

fn act(world: &mut World, session: usize, link: LinkId, side: &mut Side, deed: Deed) {
    match deed {
        Deed::Write(most) => write(world, session, link, side, most),
        Deed::WriteOn => {
            let most = next_place(world, session, link).saturating_sub(side.written);
            write(world, session, link, side, most);
        }
        Deed::Read(most) => {
            if let Heard::Bytes(bytes) = world.actor_reads(link, most) {
                side.heard += bytes.len();
            }
        }
        Deed::Shut => world.actor_shuts(link),
        Deed::Close => world.actor_closes(link),
        Deed::Reset => world.actor_resets(link),
    }
}

fn write(world: &mut World, session: usize, link: LinkId, side: &mut Side, most: usize) {
    let plan = world.records[session].plan.clone();
    let is_client = world.roles[link] == Some((session, true));
    let part = if is_client { &plan.client } else { &plan.remote };
    let waits = part.waits.iter().filter(|wait| wait.from > 0 && side.heard < wait.needs);
    let end = waits.map(|wait| wait.from).min().unwrap_or(part.stream.len());
    let end = side.written.saturating_add(most).min(end);
    side.written += world.actor_writes(link, &part.stream[side.written.min(end)..end]);
}

/// The next place in the stream of one side where something must be judged; at last, its end.
fn next_place(world: &World, session: usize, link: LinkId) -> usize {
    let plan = &world.records[session].plan;
    let written = world.links[link].look(Who::Actor).written_bytes as usize;
    let (stream, begin, gates) = if world.roles[link] == Some((session, true)) {
        (&plan.client.stream, plan.head_bytes, &plan.up_gates)
    } else {
        (&plan.remote.stream, 0, &plan.down_gates)
    };
    let needs = gates.iter().map(|gate| begin.saturating_add(gate.needs));
    let places = needs.chain([begin, begin + plan.hello_bytes, stream.len()]);
    places.filter(|&place| place > written && place <= stream.len()).min().unwrap_or(written)
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_corpus_keeps_the_invariants() {
        if let Ok(file) = std::env::var("SLUICE_INPUT") {
            let (result, report) = run(&std::fs::read(&file).unwrap(), Trace::kept());
            println!("{report}{result:?}");
            return assert_eq!(result, Ok(()), "{file}");
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/session");
        let mut inputs = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let file = entry.unwrap().path();
            let input = std::fs::read(&file).unwrap();
            assert!(catch_unwind(|| session(&input)).is_ok(), "SLUICE_INPUT={}", file.display());
            inputs += 1;
        }
        assert!(inputs > 0, "{} is empty", folder.display());
    }

    /// Rooms that hold tests and nothing else.
    const TESTS: [&str; 2] = ["mod model;", "mod scenarios;"];

    /// The target is built where these tests are not: a room that it lacks would be missed late.
    #[test]
    fn the_fuzz_target_takes_in_every_room() {
        let rooms = include_str!("main.rs").lines().filter(|line| line.starts_with("mod "));
        let target = include_str!("../../fuzz/fuzz_targets/session.rs");
        let missed: Vec<&str> =
            rooms.filter(|room| !TESTS.contains(room) && !target.contains(room)).collect();
        assert!(missed.is_empty(), "fuzz/fuzz_targets/session.rs lacks {missed:?}");
    }
}
