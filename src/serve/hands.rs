//! The workers of a gateway, from outside: how they are started, and what they go by.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::listeners::Listeners;
use super::orders::{Rules, Tray};
use super::start::StartError;
use super::supervisor::wall;
use super::tools::Tools;
use super::worker::{Identity, Worker};
use crate::config::schema::{CarrierChoice, Config};
use crate::logic::certificates::CertificateRules;
use crate::logic::policy::{Policy, TlsRules};
use crate::logic::reason::Reason;
use crate::logic::relay_proxies::RelayRules;
use crate::logic::resumption::Resumable;
use crate::net::mailbox::Mailbox;
use crate::net::pools::Pools;
use crate::net::resolver::Resolver;
use crate::net::sockets::SocketKernel;
use crate::observe::counters::Counters;
use crate::observe::events::Event;
use crate::observe::gauges::WorkerGauges;
use crate::observe::outlets::Events;
use crate::sys;

/// Pipes of the whole process: half of what an ordinary user gets at full size (1,024 of 64 KiB).
const PIPES_MAX: usize = 512;
/// Descriptors for outlets, the admin listener and its clients, and whatever a library opens.
const DESCRIPTORS_RESERVED: u64 = 48;
/// Those of a worker besides what it listens on: its poll, what wakes it, and its alarm.
const DESCRIPTORS_PER_WORKER: u64 = 3;

/// One worker, from outside.
pub(super) struct Hand {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) tray: Arc<Tray>,
    pub(super) gauges: Arc<WorkerGauges>,
    pub(super) thread: JoinHandle<io::Result<()>>,
}

/// Starts `count` workers without listeners.
///
/// # Errors
/// Where the system gives no poll or no thread.
pub(super) fn start_workers(
    rules: &Rules,
    count: usize,
    sessions_max: usize,
    resolver: &Arc<Resolver>,
    events: &Events,
    counters: &Arc<Counters>,
) -> Result<Vec<Hand>, StartError> {
    let start_s = wall().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let mut workers = Vec::with_capacity(count);
    for index in 0..count {
        let kernel = SocketKernel::new(Arc::clone(resolver), rules.keepalive)
            .map_err(|error| StartError::System("poll", error))?;
        let mailbox = kernel.mailbox();
        let tray = Arc::new(Tray::default());
        let tools = Tools::new(
            kernel,
            Pools::new(rules.pipes_max),
            events.clone(),
            Arc::clone(counters),
            rules.sources.clone(),
            rules.own.clone(),
        );
        let gauges = Arc::clone(&tools.gauges);
        let identity = Identity { start_s, index, sessions_max };
        let worker = Worker::new(tools, identity, Arc::clone(&rules.policy), Arc::clone(&tray));
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                sys::work_in_batches();
                worker.run()
            })
            .map_err(|error| StartError::System("thread", error))?;
        workers.push(Hand { mailbox, tray, gauges, thread });
    }
    Ok(workers)
}

/// How many workers this configuration asks for.
pub(super) fn count(config: &Config) -> usize {
    match config.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}

/// What the workers go by in this configuration. The sessions that may be resumed outlive it.
pub(super) fn rules_of(
    config: &Config,
    listeners: &Listeners,
    workers: usize,
    relay: RelayRules,
    resumable: &Arc<Resumable>,
) -> Rules {
    let splices = sys::SPLICES && config.carrier != CarrierChoice::Copy;
    Rules {
        policy: Arc::new(policy_of(config, relay, resumable)),
        sources: config.source_addresses.clone(),
        own: listeners.addresses(),
        keepalive: keepalive(config),
        pipes_max: if splices { PIPES_MAX.div_ceil(workers) } else { 0 },
        cuts_open: config.cuts_open,
    }
}

/// The idle time before TCP probes a silent peer.
pub(super) fn keepalive(config: &Config) -> Option<Duration> {
    (config.limits.keepalive_s > 0).then(|| Duration::from_secs(config.limits.keepalive_s))
}

/// Raises the descriptor limit and tells how many sessions fit beside so many workers and sockets that
/// listen; 0 = no limit.
pub(super) fn told_limits(
    config: &Config,
    workers: usize,
    listening: usize,
    events: &Events,
) -> usize {
    let pipes = if config.carrier == CarrierChoice::Copy { 0 } else { PIPES_MAX as u64 };
    let own = workers as u64 * DESCRIPTORS_PER_WORKER + listening as u64;
    let descriptors = sys::raise_descriptor_limit();
    let fitting = descriptors.map(|limit| sessions_within(limit, own, pipes));
    let told = match (descriptors, fitting) {
        (Some(limit), Some(fitting)) => {
            format!(
                "{limit} descriptors hold {fitting} sessions; limits.sessions is {}",
                config.limits.sessions
            )
        }
        _ => format!("no limit of descriptors; limits.sessions is {}", config.limits.sessions),
    };
    events.send(Event::new(Reason::LimitsKnown, wall()).detail(told));
    fitting.map_or(0, |fitting| usize::try_from(fitting).unwrap_or(usize::MAX))
}

/// Sessions that so many descriptors hold beside the workers' own ones and so many pipes.
fn sessions_within(limit: u64, own: u64, pipes: u64) -> u64 {
    // A pipe has two ends. A limit too small for the reserve still serves one session.
    let pipes = 2 * pipes.min(limit / 8);
    limit.saturating_sub(DESCRIPTORS_RESERVED + own + pipes).div_ceil(2).max(1)
}

fn policy_of(config: &Config, relay: RelayRules, resumable: &Arc<Resumable>) -> Policy {
    let subjects = &config.client_certificates;
    let certificates = (!subjects.is_empty()).then(|| {
        Arc::new(CertificateRules {
            subjects: subjects.clone(),
            unseen: config.unseen_client_certificate,
            resumable: Arc::clone(resumable),
        })
    });
    Policy {
        certificates,
        hosts: config.hosts.clone(),
        mode: config.allow_mode,
        addresses: config.addresses.clone(),
        clients: config.clients.clone(),
        balancers: config.balancers.clone(),
        relay,
        tls: TlsRules {
            min_version: config.min_version,
            match_server_name: config.match_server_name,
        },
        limits: config.limits,
    }
}

#[cfg(test)]
mod tests {
    use super::sessions_within;

    #[test]
    fn sessions_get_what_workers_and_pipes_leave() {
        for (limit, own, pipes, sessions) in [
            (1_024, 10, 512, 355),
            (1_024, 10, 0, 483),
            (1_024, 160, 512, 280),
            (65_536, 10, 512, 32_227),
            (1_024, 1_280, 512, 1),
            (0, 10, 512, 1),
        ] {
            assert_eq!(sessions_within(limit, own, pipes), sessions, "{limit} {own} {pipes}");
        }
    }
}
