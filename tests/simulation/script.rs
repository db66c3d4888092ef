//! A run as a fuzzer writes it: who will say what, and a list of what happens, one thing after the
//! other. Nothing is drawn but what no coverage could tell apart.

use std::io::ErrorKind;
use std::net::SocketAddr;

use crate::chance::Chance;
use crate::generations::Generation;
use crate::names::{Name, Service};
use crate::options::{Options, Splicing};
use crate::plan::{Leave, Pace, Part, Plan};
use crate::seeds::draw_options;
use crate::speech::{self, Gate, HeadKind, HelloKind, ServerKind};
use crate::world::DialPlan;

/// Sessions of a script.
pub const SESSIONS: usize = 3;
/// Configurations of a script, the first included.
const GENERATIONS: usize = 3;
/// Steps that are read; further input is of no use.
const STEPS_MAX: usize = 200;
/// The bytes that describe one session.
const PLAN_BYTES: usize = 3;
const HEADER_BYTES: usize = 3 + SESSIONS * PLAN_BYTES;

/// What one of a session's sides does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Writes so many bytes of what it has to say.
    Write(usize),
    /// Writes up to the next place where something must be judged.
    WriteOn,
    /// Reads so many bytes, which opens the window for as many.
    Read(usize),
    Shut,
    Close,
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client connects.
    Arrive,
    Client(Deed),
    Remote(Deed),
    /// The resolver answers for the session's name.
    Answer,
    /// Dials of the session that are under way end so.
    DialEnds(Result<(), ErrorKind>),
    /// Microseconds pass.
    Pass(u64),
    Splice(Splicing),
    /// So many descriptors more can be had; `None` = as many as anybody wants.
    Descriptors(Option<usize>),
    /// An event that says nothing true.
    Spurious,
    Reload(usize),
    Drain,
    Stop,
}

/// How a run goes on when its steps are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// All is read, and must have come; then everybody leaves in order.
    Finish,
    /// Everybody resets.
    Reset,
    /// Nobody does anything: the deadlines end it.
    Wait,
    /// The gateway stops.
    Stop,
}

#[derive(Debug)]
pub struct Script {
    pub options: Options,
    pub generations: Vec<Generation>,
    pub plans: Vec<Plan>,
    /// The session, the step, and whether the gateway gets its turn before the next one.
    pub steps: Vec<(usize, Step, bool)>,
    pub epilogue: Epilogue,
    /// Seeds what the world does by itself.
    pub seed: u64,
}

impl Script {
    /// Any input is a script; bytes that are missing are 0.
    pub fn of(input: &[u8]) -> Script {
        let mut header = [0; HEADER_BYTES];
        let given = input.len().min(HEADER_BYTES);
        header[..given].copy_from_slice(&input[..given]);
        let [how, low, high, plans @ ..] = header;
        let mut chance = Chance::new(u64::from(u16::from_le_bytes([low, high])));
        let harsh = how & 4 != 0;
        let mut options = draw_options(false, &mut chance);
        if how & 8 == 0 {
            // What is sent has come by the next step.
            options.latency_us = 0;
        }
        let generations = (0..GENERATIONS)
            .map(|number| Generation::draw(number, SESSIONS, harsh, &options, &mut chance))
            .collect();
        let plans = plans.chunks_exact(PLAN_BYTES).enumerate();
        let plans = plans.map(|(index, bytes)| plan(index, bytes, &mut chance)).collect();
        let steps = input[given..].chunks_exact(2).take(STEPS_MAX);
        Script {
            options,
            generations,
            plans,
            steps: steps.map(|pair| step(pair[0], pair[1])).collect(),
            epilogue: [Epilogue::Finish, Epilogue::Reset, Epilogue::Wait, Epilogue::Stop]
                [usize::from(how & 3)],
            seed: chance.number(),
        }
    }
}

fn plan(index: usize, bytes: &[u8], chance: &mut Chance) -> Plan {
    let [first, second, third] = [0, 1, 2].map(|at| usize::from(bytes[at]));
    let name = format!("t{index}.example.com");
    let head = HeadKind::ALL[(first & 15) % HeadKind::ALL.len()];
    let hello = HelloKind::ALL[(second & 15) % HelloKind::ALL.len()];
    let server = ServerKind::ALL[(second >> 4) % ServerKind::ALL.len()];
    let said = speech::draw(&name, head, hello, server, chance);
    let dial = match third & 3 {
        0 => DialPlan::Connect(0),
        1 => DialPlan::Silence,
        2 => DialPlan::Fail(1_000, ErrorKind::ConnectionRefused),
        _ => DialPlan::Connect(100_000),
    };
    let mut dials = vec![(format!("93.184.{index}.0"), dial)];
    if third & 4 != 0 {
        dials.push((format!("93.184.{index}.1"), DialPlan::Connect(1_000)));
    }
    if third & 8 != 0 {
        dials.insert(0, (format!("10.184.{index}.9"), DialPlan::Connect(0)));
    }
    let addresses: Vec<&str> = dials.iter().map(|(address, _)| address.as_str()).collect();
    let service = [Service::Known, Service::Dead, Service::After(50_000), Service::Busy]
        [third >> 4 & 3]
        .clone();
    let mut service = Name::new(service, &addresses);
    if third & 64 != 0 {
        service.answer = Name::failing("no such name").answer;
    }
    if first & 16 != 0 {
        service.stale = service.answer.as_ref().ok().cloned();
    }
    service.answers_the_gone = third & 128 != 0;
    Plan {
        address: SocketAddr::from(([198, 51, 100, index as u8 / 2 + 1], 40_000 + index as u16)),
        arrive_us: 0,
        head,
        head_bytes: said.head_bytes,
        hello,
        hello_bytes: said.hello_bytes,
        server,
        chosen: said.chosen,
        client: passive(said.client, &[]),
        remote: passive(said.remote, &said.remote_waits),
        up_gates: said.up_gates,
        down_gates: said.down_gates,
        released_at: said.released_at,
        service,
        dials,
        tame: false,
        refusals: [head.refusal(), hello.refusal(), server.refusal()],
        reported: None,
        name,
    }
}

/// A side that does nothing by itself. It may speak before its time, but no server has a second hello
/// for a client whose second one it has not heard: who forges one could as well let the client say
/// anything behind the first.
fn passive(stream: Vec<u8>, waits: &[Gate]) -> Part {
    let of_second = waits.iter().copied().filter(|wait| wait.from > 0);
    Part {
        stream,
        waits: [Gate { from: 0, needs: usize::MAX }].into_iter().chain(of_second).collect(),
        leave: Leave::Stay,
        pace: Pace { piece_max: 1, pause_us: 0, bite: 1, bite_pause_us: 0, deaf_after: 0 },
        closes_on_end: false,
    }
}

/// Two bytes: what (5 bits), whether more comes before the gateway's turn, whose (2 bits); how much.
fn step(what: u8, how: u8) -> (usize, Step, bool) {
    let how_many = (usize::from(how & 15) + 1) << (how >> 4);
    let step = match what & 31 {
        0 => Step::Arrive,
        1 | 2 => Step::Client(Deed::WriteOn),
        3 | 4 => Step::Remote(Deed::WriteOn),
        5 => Step::Client(Deed::Write(how_many)),
        6 => Step::Remote(Deed::Write(how_many)),
        7 | 8 => Step::Client(Deed::Read(how_many)),
        9 | 10 => Step::Remote(Deed::Read(how_many)),
        11 => Step::Client(Deed::Shut),
        12 => Step::Remote(Deed::Shut),
        13 => Step::Client(Deed::Close),
        14 => Step::Remote(Deed::Close),
        15 => Step::Client(Deed::Reset),
        16 => Step::Remote(Deed::Reset),
        17 => Step::Answer,
        18 => Step::DialEnds(Ok(())),
        19 => Step::DialEnds(Err(ErrorKind::ConnectionRefused)),
        // Up to 18 minutes, which is beyond every limit.
        20 | 21 => Step::Pass(1 << (how & 31).min(30)),
        22 => Step::Splice(match how & 3 {
            0 => Splicing::Works,
            1 => Splicing::RefusedAfter(0),
            _ => Splicing::PipesAtMost(usize::from(how >> 2)),
        }),
        23 => Step::Descriptors((how < 128).then_some(usize::from(how & 7))),
        24 => Step::Spurious,
        25 => Step::Reload(usize::from(how) % GENERATIONS),
        26 if how < 16 => Step::Drain,
        27 if how < 16 => Step::Stop,
        _ => Step::Pass(u64::from(how)),
    };
    (usize::from(what >> 6) % SESSIONS, step, what & 32 == 0)
}
