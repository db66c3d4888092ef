//! What a run has found, as values that also are the JSON. Pure.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::endpoint::ingest::Received;
use crate::loads::Kind;
use crate::plan::Schedule;
use crate::sample::Usage;
use crate::tally::Tally;
use crate::verdict::Verdict;

/// Everything about a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which load.
    pub load: Kind,
    /// What was asked for.
    pub settings: Settings,
    /// The tunnels.
    pub tunnels: Tunnels,
    /// The uploads of `agents`; of `idle`, the round trips at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploads: Option<Uploads>,
    /// The sessions of `churn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Sessions>,
    /// The bytes of `bulk`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bulk: Option<Bulk>,
    /// Failures by kind.
    pub failures: BTreeMap<String, u64>,
    /// Failures that were followed by another attempt, by kind.
    pub retried: BTreeMap<String, u64>,
    /// The first failures in full.
    pub examples: Vec<String>,
    /// What the endpoint counted, where it is ours.
    pub endpoint: Option<Received>,
    /// What the gateway used while it carried uploads.
    pub usage: Usage,
    /// What it used while it held idle tunnels.
    pub hold: Option<Usage>,
    /// What was derived from `usage`: the gateway's processor time per unit of work.
    pub cost: Cost,
    /// How late this program itself was, by which the gateway is not to be judged.
    pub own_lag_us: Quantiles,
    /// What had nothing left to give: loadgen's own threads, the gateway's, the machine.
    pub held_back: Vec<String>,
    /// What else went wrong: the gateway ended, was not watchable, the run was interrupted.
    pub troubles: Vec<String>,
    /// Passed or not, and why not.
    pub verdict: Verdict,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// How many agents.
    pub agents: u32,
    /// Bytes of each upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst_bytes: Option<u64>,
    /// Seconds from one upload of an agent to its next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_s: Option<f64>,
    /// Sessions a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_s: Option<f64>,
    /// `up`, `down` or `both`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// For how many seconds.
    pub for_s: f64,
    /// `kept` or `per-upload`.
    pub tunnel: String,
    /// How often a failed upload is tried again.
    pub retries: u32,
    /// `1.2`, `1.3` or `replay`.
    pub tls: String,
    /// Where the gateway listens.
    pub gateway: String,
    /// The carrier that a gateway started here was told to use.
    pub carrier: Option<String>,
    /// What the tunnels lead to.
    pub target: String,
    /// Threads of the agents.
    pub threads: u16,
    /// Processors of this machine.
    pub cores: usize,
}

/// The tunnels.
#[derive(Clone, Debug, Serialize)]
pub struct Tunnels {
    /// Opened.
    pub opened: u64,
    /// Not opened ahead of the load, or lost at rest.
    pub failed: u64,
    /// From dialling to the end of the TLS handshake.
    pub setup_us: Quantiles,
}

/// The uploads.
#[derive(Clone, Debug, Serialize)]
pub struct Uploads {
    /// As the timetable has it.
    pub planned: u64,
    /// Answered with success.
    pub arrived: u64,
    /// Of those, on time.
    pub on_time: u64,
    /// Of those, begun too late.
    pub begun_late: u64,
    /// Of those, done too late.
    pub done_late: u64,
    /// Failed, after all attempts.
    pub failed: u64,
    /// How often one that had failed was tried again.
    pub retries: u64,
    /// Arrived, but not at the first attempt.
    pub arrived_after_retries: u64,
    /// Body bytes that arrived.
    pub bytes: u64,
    /// Of those in a second, until the end of the load or, where that came later, the last of them.
    pub bytes_per_s: f64,
    /// From the intended time to the answer.
    pub latency_us: Quantiles,
}

/// The sessions of `churn`.
#[derive(Clone, Debug, Serialize)]
pub struct Sessions {
    /// As the rate has it.
    pub planned: u64,
    /// Opened and closed again.
    pub done: u64,
    /// Of those, begun too late.
    pub begun_late: u64,
    /// Failed.
    pub failed: u64,
    /// How many a second were done.
    pub reached_per_s: f64,
    /// From the intended time to the end of the TLS handshake.
    pub setup_us: Quantiles,
}

/// The bytes of `bulk`.
#[derive(Clone, Debug, Serialize)]
pub struct Bulk {
    /// Bytes that came through and were verified, both directions together.
    pub bytes: u64,
    /// From the start to the last verified byte, in seconds.
    pub seconds: f64,
    /// Bytes a second.
    pub bytes_per_s: f64,
    /// Parts that failed.
    pub failed: u64,
    /// Bytes of each tunnel.
    pub per_tunnel: Spread,
}

/// How evenly tunnels were served: bytes of the least, the middle and the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: u64,
    /// The middle; of an even number the lower one.
    pub median: u64,
    /// The most.
    pub max: u64,
}

/// The gateway's processor time per unit of work.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Cost {
    /// Microseconds for each upload that arrived.
    pub per_upload_us: Option<f64>,
    /// Microseconds for each session of `churn`.
    pub per_session_us: Option<f64>,
    /// Seconds for each GiB that arrived.
    pub per_gib_s: Option<f64>,
}

/// A distribution, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// How many values.
    pub count: u64,
    /// Half are at most this.
    pub p50: u64,
    /// Of ten, nine.
    pub p90: u64,
    /// Of a hundred, ninety-nine.
    pub p99: u64,
    /// Of a thousand, all but one.
    pub p999: u64,
    /// The highest.
    pub max: u64,
}

impl Quantiles {
    /// The quantiles of a histogram.
    pub fn of(histogram: &Histogram<u64>) -> Quantiles {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Quantiles {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        }
    }
}

impl Uploads {
    /// What the agents counted, against what was planned.
    pub fn of(tally: &Tally, schedule: &Schedule) -> Uploads {
        Uploads {
            planned: schedule.planned(),
            arrived: tally.arrived,
            on_time: tally.arrived - tally.begun_late - tally.done_late,
            begun_late: tally.begun_late,
            done_late: tally.done_late,
            failed: tally.failed,
            retries: tally.retries,
            arrived_after_retries: tally.arrived_after_retries,
            bytes: tally.bytes,
            bytes_per_s: tally.bytes as f64 / at_least_span(schedule, tally),
            latency_us: Quantiles::of(&tally.latency_us),
        }
    }
}

impl Sessions {
    /// Sessions, which are counted as uploads.
    pub fn of(uploads: &Uploads, schedule: &Schedule, tally: &Tally) -> Sessions {
        Sessions {
            planned: uploads.planned,
            done: uploads.arrived,
            begun_late: uploads.begun_late,
            failed: uploads.failed,
            reached_per_s: uploads.arrived as f64 / at_least_span(schedule, tally),
            setup_us: uploads.latency_us,
        }
    }
}

impl Bulk {
    /// What the agents moved since the load began.
    pub fn of(schedule: &Schedule, tally: &Tally) -> Bulk {
        let seconds = lasted(schedule, tally);
        Bulk {
            bytes: tally.bytes,
            seconds,
            bytes_per_s: tally.bytes as f64 / seconds.max(0.001),
            failed: tally.failed,
            per_tunnel: Spread::of(&tally.moved_bytes),
        }
    }
}

/// The seconds that a rate is over: a load that is done early was not meant to be faster.
fn at_least_span(schedule: &Schedule, tally: &Tally) -> f64 {
    schedule.span.as_secs_f64().max(lasted(schedule, tally)).max(0.001)
}

fn lasted(schedule: &Schedule, tally: &Tally) -> f64 {
    tally.last_done.map_or(0.0, |done| done.saturating_duration_since(schedule.start).as_secs_f64())
}

impl Spread {
    fn of(values: &[u64]) -> Spread {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else {
            return Spread::default();
        };
        Spread { min: *min, median: sorted[(sorted.len() - 1) / 2], max: *max }
    }
}

impl Cost {
    /// What `usage` means for each of `uploads`.
    pub fn of(kind: Kind, usage: &Usage, uploads: &Uploads) -> Cost {
        let per = |units: f64, factor: f64| {
            usage.cpu_s.filter(|_| units > 0.0).map(|seconds| seconds * factor / units)
        };
        let each = per(uploads.arrived as f64, 1e6);
        let per_gib_s = per(uploads.bytes as f64 / f64::from(1 << 30), 1.0);
        match kind {
            Kind::Agents | Kind::Idle => Cost { per_upload_us: each, per_gib_s, ..Cost::default() },
            Kind::Churn => Cost { per_session_us: each, ..Cost::default() },
            Kind::Bulk => Cost { per_gib_s, ..Cost::default() },
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn quantiles(max: u64) -> Quantiles {
        Quantiles { count: 1, p50: max, p90: max, p99: max, p999: max, max }
    }

    pub fn uploads(planned: u64, arrived: u64, failed: u64) -> Uploads {
        Uploads {
            planned,
            arrived,
            on_time: arrived,
            begun_late: 0,
            done_late: 0,
            failed,
            retries: 0,
            arrived_after_retries: 0,
            bytes: arrived * 200_000,
            bytes_per_s: 1.0,
            latency_us: quantiles(5_000),
        }
    }

    #[test]
    fn cost_is_per_unit_of_work_or_unknown() {
        let usage = |cpu_s| Usage { seconds: 1.0, cpu_s, ..Usage::default() };
        let (two, many) = (usage(Some(2.0)), uploads(5_000, 5_000, 0));
        let cost = Cost::of(Kind::Agents, &two, &many);
        assert!((cost.per_upload_us.expect("known") - 400.0).abs() < 1e-6);
        assert!((cost.per_gib_s.expect("known") - 2.0 / (1e9 / f64::from(1 << 30))).abs() < 1e-6);
        let cost = Cost::of(Kind::Churn, &two, &many);
        assert!(cost.per_session_us.is_some() && cost.per_gib_s.is_none());
        let cost = Cost::of(Kind::Bulk, &usage(None), &many);
        assert!(cost.per_gib_s.is_none());
        let cost = Cost::of(Kind::Agents, &two, &uploads(1, 0, 1));
        assert!(cost.per_upload_us.is_none());
    }

    #[test]
    fn a_spread_has_its_middle_among_its_values() {
        assert_eq!(Spread::of(&[]), Spread::default());
        assert_eq!(Spread::of(&[5]), Spread { min: 5, median: 5, max: 5 });
        assert_eq!(Spread::of(&[9, 1, 4, 2]), Spread { min: 1, median: 2, max: 9 });
    }
}
