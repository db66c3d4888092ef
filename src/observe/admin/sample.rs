//! A panel for tests: two workers, a clock that stands until it is told to pass, and no reload.

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use parking_lot::Mutex;

use super::super::counters::Counters;
use super::super::gauges::{Gauges, Generation, Given, WorkerGauges};
use super::super::status::{Descriptors, Inside};
use super::routes::{Panel, Reload};
use crate::logic::limits::Limits;
use crate::logic::policy::AllowMode;

/// The parts of a panel.
pub(crate) struct Sample {
    pub(crate) counters: Arc<Counters>,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) inside: Arc<Fixed>,
    pub(crate) reload: Option<Arc<dyn Reload>>,
}

/// A process that does nothing.
pub(crate) struct Fixed(Mutex<(Instant, usize)>);

/// A reload that tells this.
pub(crate) struct Told(pub(crate) Result<String, String>);

/// A gateway that started now, a million seconds after the epoch.
pub(crate) fn panel(now: Instant) -> Sample {
    let wall = UNIX_EPOCH + Duration::from_secs(1_000_000);
    let workers = (0..2).map(|_| Arc::new(WorkerGauges::new(now))).collect();
    let generation = Generation {
        number: 1,
        loaded: wall,
        by: "the start".to_owned(),
        changes: Vec::new(),
        needs_restart: Vec::new(),
        file: Some("/etc/sluice/sluice.toml".to_owned()),
        listeners: vec![([127, 0, 0, 1], 8080).into()],
        allow_mode: AllowMode::Enforce,
        limits: Limits::default(),
    };
    let given = Given::new(vec!["events.format"], false);
    Sample {
        counters: Arc::new(Counters::new()),
        gauges: Arc::new(Gauges::new(now, wall, workers, given, generation)),
        inside: Arc::new(Fixed(Mutex::new((now, 0)))),
        reload: None,
    }
}

impl Sample {
    pub(crate) fn panel(&self) -> Panel {
        Panel {
            counters: Arc::clone(&self.counters),
            gauges: Arc::clone(&self.gauges),
            inside: Arc::<Fixed>::clone(&self.inside),
            reload: self.reload.clone(),
        }
    }
}

impl Fixed {
    pub(crate) fn pass(&self, time: Duration) {
        self.0.lock().0 += time;
    }

    pub(crate) fn knocks(&self) -> usize {
        self.0.lock().1
    }
}

impl Inside for Fixed {
    fn now(&self) -> Instant {
        self.0.lock().0
    }

    fn knock(&self) {
        self.0.lock().1 += 1;
    }

    fn descriptors(&self) -> Descriptors {
        Descriptors { open: Some(12), limit: Some(1024) }
    }

    fn resolver_queued(&self) -> usize {
        3
    }
}

impl Reload for Told {
    fn reload(&self) -> Result<String, String> {
        self.0.clone()
    }
}
