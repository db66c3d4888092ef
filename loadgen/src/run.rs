//! One run from the first socket to the report: the endpoint, the gateway, the engines, and the clock
//! that they go by. Whatever happens, it ends by itself, and what it started ends with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::Waker;

use crate::agent::{Ground, Tunnels};
use crate::endpoint::ingest::Received;
use crate::endpoint::serve::Endpoint;
use crate::engine::{Engine, Share, Signal};
use crate::gateway::Gateway;
use crate::loads::{Kind, Load};
use crate::payload::Block;
use crate::plan::{Beat, Schedule};
use crate::progress::Progress;
use crate::report::{Bulk, Cost, Quantiles, Report, Sessions, Tunnels as Opened, Uploads};
use crate::retry::Patience;
use crate::sample::{Sampler, Snapshot, Usage};
use crate::scene::{Fault, Scene};
use crate::tally::{Live, Tally};
use crate::tunnel::Desk;
use crate::verdict::{self, Evidence};
use crate::{busy, clock, http};

const SCRATCH_BYTES: usize = 64 << 10;
const TICK_MS: u64 = 100;
/// From the decision to begin to the first intended upload, so that all engines know in time.
const LEAD_MS: u64 = 50;
/// How long openings may go on after the last was due: longer than their own deadlines together.
const OPENING_GRACE_MS: u64 = 45_000;
/// How long a gateway may take to close what was left of the last sessions.
const SETTLE_MS: u64 = 3_000;
/// How long engines may take to end after the hard end of the load.
const ENGINE_GRACE_MS: u64 = 5_000;

/// Runs `load` until its end or until `interrupted`.
pub fn run(load: &Load, interrupted: &AtomicBool) -> Result<(Report, Tally), Fault> {
    let scene = Scene::set(load)?;
    let mut stage = Run {
        load,
        interrupted,
        sampler: Sampler::new(scene.gateway.pid()),
        progress: Progress::new(!load.around.json),
        live: Arc::default(),
        signal: Arc::default(),
        crews: Vec::new(),
        troubles: Vec::new(),
        scene,
    };
    stage.start_engines().map_err(Fault::Failed)?;
    let hold = stage.open_and_hold();
    let schedule = stage.go();
    stage.await_engines(&schedule);
    stage.conclude(&schedule, hold)
}

struct Crew {
    waker: Waker,
    thread: JoinHandle<std::io::Result<Engine>>,
}

struct Run<'a> {
    load: &'a Load,
    interrupted: &'a AtomicBool,
    scene: Scene,
    sampler: Sampler,
    progress: Progress,
    live: Arc<Live>,
    signal: Arc<Signal>,
    crews: Vec<Crew>,
    troubles: Vec<String>,
}

struct Hold {
    usage: Option<Usage>,
    from: Snapshot,
}

impl Run<'_> {
    fn start_engines(&mut self) -> Result<(), String> {
        let load = self.load;
        let block = Arc::new(Block::new());
        let step = u32::from(load.around.threads);
        let open = (load.tunnels != Tunnels::PerUpload).then(|| (clock::now(), load.pace));
        for first in 0..step {
            let share = Share { first, step, total: load.agents, open };
            let desk = Desk {
                offer: (self.scene.offer)()?,
                connect: self.connect_head(),
                block: block.clone(),
                scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            };
            let tally = Tally::new(self.live.clone());
            let (mut engine, waker) = Engine::new(&share, self.signal.clone(), |registry| Ground {
                gateway: self.scene.gateway.address(),
                target: self.scene.target.clone(),
                tunnels: load.tunnels,
                job: load.job,
                patience: Patience { retries: load.retries },
                schedule: None,
                line: (first, step),
                desk,
                tally,
                registry,
            })
            .map_err(|why| format!("the agents cannot be started: {why}"))?;
            let thread = std::thread::Builder::new()
                .name(format!("agents-{first}"))
                .spawn(move || engine.run().map(|()| engine))
                .map_err(|why| format!("the agents cannot be started: {why}"))?;
            self.crews.push(Crew { waker, thread });
        }
        Ok(())
    }

    fn connect_head(&self) -> Vec<u8> {
        let forwards = self.load.around.without_connect;
        if forwards { Vec::new() } else { http::connect_head(&self.scene.target) }
    }

    /// Waits until the tunnels that the load opens ahead are open or have failed; then holds them.
    fn open_and_hold(&mut self) -> Hold {
        let load = self.load;
        if load.tunnels != Tunnels::PerUpload {
            let agents = u64::from(load.agents);
            let opening = Duration::from_secs(agents / u64::from(load.pace) + 1);
            let deadline = clock::now() + opening + Duration::from_millis(OPENING_GRACE_MS);
            self.progress.phase("opening tunnels", agents);
            while self.goes_on(deadline) && self.live.settled() < agents {
                self.progress.tunnels(&self.live);
            }
        }
        let from = self.sampler.snapshot();
        self.sampler.watch_threads();
        let Some(hold) = load.hold else { return Hold { usage: None, from } };
        self.sampler.restart(&from);
        let start = clock::now();
        self.progress.phase("holding (s)", hold.as_secs());
        while self.goes_on(start + hold) {
            self.progress.seconds(clock::now().saturating_duration_since(start).as_secs());
        }
        let to = self.sampler.snapshot();
        self.sampler.watch_threads();
        Hold { usage: Some(self.sampler.usage(&from, &to)), from: to }
    }

    /// Begins the load.
    fn go(&mut self) -> Schedule {
        let start = clock::now() + Duration::from_millis(LEAD_MS);
        let load = self.load;
        let schedule = Schedule { start, span: load.span, beat: load.beat };
        self.signal.go(schedule);
        self.wake_engines();
        schedule
    }

    fn await_engines(&mut self, schedule: &Schedule) {
        let deadline = schedule.hard_end() + Duration::from_millis(ENGINE_GRACE_MS);
        let name = match self.load.kind {
            Kind::Agents => "uploads",
            Kind::Idle => "checking",
            Kind::Churn => "sessions",
            Kind::Bulk => "flat out (s)",
        };
        let is_flat_out = schedule.beat == Beat::FlatOut;
        let length = if is_flat_out { schedule.span.as_secs() } else { schedule.planned() };
        self.progress.phase(name, length);
        while self.goes_on(deadline) && !self.crews.iter().all(|crew| crew.thread.is_finished()) {
            if is_flat_out {
                let gone = clock::now().saturating_duration_since(schedule.start);
                self.progress.seconds(gone.min(schedule.span).as_secs());
            } else {
                self.progress.uploads(&self.live, self.sampler.peak_pss_bytes());
            }
        }
        self.signal.stop();
        self.wake_engines();
        self.progress.finish();
    }

    fn conclude(mut self, schedule: &Schedule, hold: Hold) -> Result<(Report, Tally), Fault> {
        let (load, live) = (self.load, self.live.clone());
        let engines = self.join();
        if load.kind == Kind::Churn {
            self.settle(&hold.from);
        }
        // Kept tunnels are still open here: the end is measured with them.
        let end = self.sampler.snapshot();
        let usage = self.sampler.usage(&hold.from, &end);
        let mut tally = Tally::new(live);
        engines.iter().for_each(|engine| tally.merge(engine.tally()));
        drop(engines);
        if self.interrupted.load(Ordering::Relaxed) {
            self.troubles.push("interrupted".to_owned());
        }
        self.troubles.extend(self.sampler.trouble().map(str::to_owned));
        let has_failed = !(tally.failures.is_empty() && tally.retried.is_empty());
        let words = if has_failed { self.scene.gateway.last_words() } else { String::new() };
        let is_ours = matches!(self.scene.gateway, Gateway::Child(_));
        let settings =
            load.settings(self.scene.gateway.address().to_string(), self.scene.target.clone());
        let endpoint = stop(self.scene, &mut self.troubles);
        let uploads = Uploads::of(&tally, schedule);
        let tunnels = Opened {
            opened: tally.opened,
            failed: tally.tunnels_failed,
            setup_us: Quantiles::of(&tally.setup_us),
        };
        let own_lag_us = Quantiles::of(&tally.lag_us);
        let is_bulk = load.kind == Kind::Bulk;
        let starved = tally.moved_bytes.iter().filter(|bytes| is_bulk && **bytes == 0).count();
        let verdict = verdict::judge(&Evidence {
            kind: load.kind,
            uploads: &uploads,
            tunnels: &tunnels,
            retries: load.retries > 0,
            own_lag_us: &own_lag_us,
            longest_turn_us: tally.longest_turn_us,
            endpoint: endpoint.as_ref(),
            starved: starved as u64,
            usage: is_ours.then_some(&usage),
            troubles: &self.troubles,
        });
        let mut examples = tally.examples.clone();
        examples.extend(words.lines().map(|line| line.trim().to_owned()).filter(|l| !l.is_empty()));
        let sessions = Sessions::of(&uploads, schedule, &tally);
        let report = Report {
            load: load.kind,
            held_back: busy::held_back(&usage, settings.cores),
            settings,
            cost: Cost::of(load.kind, &usage, &uploads),
            tunnels,
            sessions: (load.kind == Kind::Churn).then_some(sessions),
            bulk: is_bulk.then(|| Bulk::of(schedule, &tally)),
            uploads: matches!(load.kind, Kind::Agents | Kind::Idle).then_some(uploads),
            failures: tally.failures.clone(),
            retried: tally.retried.clone(),
            examples,
            endpoint,
            usage,
            hold: hold.usage,
            own_lag_us,
            troubles: self.troubles,
            verdict,
        };
        Ok((report, tally))
    }

    fn join(&mut self) -> Vec<Engine> {
        let mut engines = Vec::new();
        for crew in std::mem::take(&mut self.crews) {
            match crew.thread.join() {
                Ok(Ok(engine)) => engines.push(engine),
                Ok(Err(why)) => self.troubles.push(format!("the agents stopped: {why}")),
                Err(_) => self.troubles.push("the agents panicked".to_owned()),
            }
        }
        engines
    }

    /// Waits until the gateway has let go of all that it did not have before.
    fn settle(&mut self, before: &Snapshot) {
        let deadline = clock::now() + Duration::from_millis(SETTLE_MS);
        let has_more = |left: Option<(u64, u64)>| left.is_some_and(|(before, now)| now > before);
        while has_more(self.sampler.left_over(before)) && self.goes_on(deadline) {}
    }

    /// Lets a moment pass and looks at the gateway; `false` once there is no reason to wait any longer.
    fn goes_on(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(clock::now());
        std::thread::sleep(left.min(Duration::from_millis(TICK_MS)));
        self.sampler.tick();
        let gateway_ended = self.scene.gateway.ended().is_some();
        let interrupted = self.interrupted.load(Ordering::Relaxed);
        if gateway_ended || interrupted {
            self.signal.stop();
            self.wake_engines();
        }
        !(left.is_zero() || gateway_ended || interrupted)
    }

    fn wake_engines(&self) {
        // An engine that has ended needs no waking, and each looks by itself twice a second.
        self.crews.iter().for_each(|crew| drop(crew.waker.wake()));
    }
}

/// Stops what was started here; what goes wrong with it is a trouble, and what the endpoint counted is told.
fn stop(scene: Scene, troubles: &mut Vec<String>) -> Option<Received> {
    troubles.extend(scene.gateway.stop().err());
    match scene.endpoint.map(Endpoint::stop)? {
        Ok(received) => Some(received),
        Err(why) => {
            troubles.push(format!("the endpoint stopped: {why}"));
            None
        }
    }
}
