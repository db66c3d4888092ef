//! The loads as values: what each asks of the run that is the same for all.

use std::time::Duration;

use serde::Serialize;

use crate::agent::Tunnels;
use crate::exchange::{Job, PART_BYTES};
use crate::options::{
    AgentsOptions, Around, BulkOptions, CapacityOptions, ChurnOptions, DirectionChoice,
    IdleOptions, TlsChoice, TunnelChoice, name,
};
use crate::plan::Beat;
use crate::report::Settings;

/// How many tunnels a second `agents` opens ahead of its load, and `capacity`, which does so many times.
const OPENINGS_A_SECOND: u32 = 500;
const HASTY_OPENINGS_A_SECOND: u32 = 1_000;

/// How many round trips a second tell whether idle tunnels are alive, and what each carries.
const CHECKS_A_SECOND: u32 = 2_000;
const CHECK_BYTES: u64 = 64;

/// Which load it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Uploads on a timetable.
    Agents,
    /// Tunnels that stand open.
    Idle,
    /// Sessions opened and closed.
    Churn,
    /// Bytes flat out.
    Bulk,
}

impl Kind {
    /// What it counts.
    pub fn noun(self) -> &'static str {
        match self {
            Kind::Agents | Kind::Idle => "upload",
            Kind::Churn => "session",
            Kind::Bulk => "part",
        }
    }
}

/// One load.
#[derive(Clone)]
pub struct Load {
    /// Which it is.
    pub kind: Kind,
    /// How many agents.
    pub agents: u32,
    /// What they do with their tunnels.
    pub job: Job,
    /// What makes the times.
    pub beat: Beat,
    /// For how long uploads are intended.
    pub span: Duration,
    /// How tunnels are used.
    pub tunnels: Tunnels,
    /// How many tunnels a second are opened ahead of the load.
    pub pace: u32,
    /// How long the open tunnels are held before the first upload.
    pub hold: Option<Duration>,
    /// How often a failed upload is tried again.
    pub retries: u32,
    /// Which TLS.
    pub tls: TlsChoice,
    /// What it goes through and to.
    pub around: Around,
}

impl Load {
    /// Agents that upload on a timetable.
    pub fn agents(options: AgentsOptions) -> Load {
        Load {
            kind: Kind::Agents,
            agents: options.agents,
            job: Job::Upload(options.burst),
            beat: Beat::Each { every: options.every, agents: options.agents },
            span: options.span,
            tunnels: match options.tunnel {
                TunnelChoice::Kept => Tunnels::Kept,
                TunnelChoice::PerUpload => Tunnels::PerUpload,
            },
            pace: OPENINGS_A_SECOND,
            hold: None,
            retries: options.retries,
            tls: options.tls,
            around: options.around,
        }
    }

    /// Tunnels that stand open; the uploads are round trips at the end, one for each.
    pub fn idle(options: IdleOptions) -> Load {
        let checks = f64::from(options.agents) / f64::from(CHECKS_A_SECOND);
        let checking = Duration::from_secs_f64(checks.max(1.0));
        Load {
            kind: Kind::Idle,
            agents: options.agents,
            job: Job::Upload(CHECK_BYTES),
            beat: Beat::Each { every: checking, agents: options.agents },
            span: checking,
            tunnels: Tunnels::Held,
            pace: options.pace,
            hold: Some(options.span),
            retries: 0,
            tls: options.tls,
            around: options.around,
        }
    }

    /// Sessions that are opened, shake hands and close.
    pub fn churn(options: ChurnOptions) -> Load {
        Load {
            kind: Kind::Churn,
            agents: options.agents,
            job: Job::Session,
            beat: Beat::Line { every: Duration::from_secs_f64(1.0 / options.rate) },
            span: options.span,
            tunnels: Tunnels::PerUpload,
            pace: OPENINGS_A_SECOND,
            hold: None,
            retries: 0,
            tls: options.tls,
            around: options.around,
        }
    }

    /// Tunnels that move bytes as fast as they go.
    pub fn bulk(options: BulkOptions) -> Load {
        let (up_bytes, down_bytes) = match options.direction {
            DirectionChoice::Up => (PART_BYTES, 0),
            DirectionChoice::Down => (0, PART_BYTES),
            DirectionChoice::Both => (PART_BYTES, PART_BYTES),
        };
        Load {
            kind: Kind::Bulk,
            agents: options.tunnels,
            job: Job::Stream { up_bytes, down_bytes },
            beat: Beat::FlatOut,
            span: options.span,
            tunnels: Tunnels::Held,
            pace: OPENINGS_A_SECOND,
            hold: None,
            retries: 0,
            tls: options.tls,
            around: options.around,
        }
    }

    /// One step of the search for the most agents.
    pub fn step(options: &CapacityOptions, agents: u32) -> Load {
        let of_agents = AgentsOptions {
            agents,
            burst: options.burst,
            every: options.every,
            span: options.span,
            tunnel: options.tunnel,
            retries: 0,
            tls: options.tls,
            around: options.around.clone(),
        };
        Load { pace: HASTY_OPENINGS_A_SECOND, ..Load::agents(of_agents) }
    }

    /// How many descriptors it takes: a socket for each agent, one more where the endpoint is here, too.
    pub fn descriptors(&self) -> u64 {
        u64::from(self.agents) * self.descriptors_an_agent() + self.descriptors_besides()
    }

    /// How many agents so many descriptors are enough for.
    pub fn agents_within(&self, descriptors: u64) -> u64 {
        descriptors.saturating_sub(self.descriptors_besides()) / self.descriptors_an_agent()
    }

    fn descriptors_an_agent(&self) -> u64 {
        if self.around.target.is_none() { 2 } else { 1 }
    }

    fn descriptors_besides(&self) -> u64 {
        /// Polls, files, standard streams, and the closing ones of `per-upload`.
        const BESIDES: u64 = 128;
        8 * u64::from(self.around.threads) + BESIDES
    }

    /// The settings for the report.
    pub fn settings(&self, gateway: String, target: String) -> Settings {
        let direction = match self.job {
            Job::Stream { down_bytes: 0, .. } => Some(DirectionChoice::Up),
            Job::Stream { up_bytes: 0, .. } => Some(DirectionChoice::Down),
            Job::Stream { .. } => Some(DirectionChoice::Both),
            _ => None,
        };
        Settings {
            agents: self.agents,
            burst_bytes: match self.job {
                Job::Upload(bytes) => Some(bytes),
                _ => None,
            },
            every_s: match self.beat {
                Beat::Each { every, .. } => Some(every.as_secs_f64()),
                _ => None,
            },
            rate_per_s: match self.beat {
                Beat::Line { every } => Some(1.0 / every.as_secs_f64()),
                _ => None,
            },
            direction: direction.map(name),
            for_s: self.hold.unwrap_or(self.span).as_secs_f64(),
            tunnel: match self.tunnels {
                Tunnels::Kept | Tunnels::Held => name(TunnelChoice::Kept),
                Tunnels::PerUpload => name(TunnelChoice::PerUpload),
            },
            retries: self.retries,
            tls: name(self.tls),
            gateway,
            carrier: self.around.gateway.is_none().then(|| name(self.around.carrier)),
            target,
            threads: self.around.threads,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::Cli;

    #[test]
    fn descriptors_and_agents_are_each_others_inverse() {
        for line in [&["loadgen"][..], &["loadgen", "--target", "a:1", "--threads", "4"]] {
            let mut load = Load::agents(Cli::parse_from(line).agents);
            for agents in [1, 2, 9_000] {
                load.agents = agents;
                assert_eq!(load.agents_within(load.descriptors()), u64::from(agents), "{line:?}");
                assert_eq!(load.agents_within(load.descriptors() - 1), u64::from(agents) - 1);
            }
        }
    }
}
