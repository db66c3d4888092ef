//! The verdict on a run. Pure: anything that is not as planned is a reason against it.

use serde::Serialize;

use crate::endpoint::ingest::Received;
use crate::loads::Kind;
use crate::plan::BEGIN_GRACE_MS;
use crate::quantity::{show_count, show_micros};
use crate::report::{Quantiles, Tunnels, Uploads};
use crate::sample::Usage;

/// How many descriptors beyond those at the start are no leak: what a gateway opens once, at its first
/// session, and keeps.
const KEPT_DESCRIPTORS: u64 = 8;

/// Passed or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether the exit code is 0.
    pub passed: bool,
    /// Why not; or, where it passed, nothing.
    pub reasons: Vec<String>,
    /// By how much loadgen itself was late: the gateway is not to be judged by that.
    pub own_lateness: Lateness,
}

/// How late this program itself was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lateness {
    /// Of a hundred beginnings, ninety-nine were at most so late, in microseconds.
    pub p99_us: u64,
    /// The latest beginning, in microseconds.
    pub max_us: u64,
    /// The agents' longest turn, in microseconds: nobody else had one meanwhile.
    pub agents_longest_turn_us: u64,
    /// The same of the endpoint, where it is ours.
    pub endpoint_longest_turn_us: Option<u64>,
}

/// What a verdict rests on.
pub struct Evidence<'a> {
    /// Which load.
    pub kind: Kind,
    /// The uploads; sessions and parts of streams are counted like them.
    pub uploads: &'a Uploads,
    /// The tunnels.
    pub tunnels: &'a Tunnels,
    /// Whether failed uploads were tried again, so that a lost tunnel is no loss.
    pub retries: bool,
    /// How late this program itself was.
    pub own_lag_us: &'a Quantiles,
    /// The agents' longest turn, in microseconds.
    pub longest_turn_us: u64,
    /// What the endpoint counted, where it is ours.
    pub endpoint: Option<&'a Received>,
    /// How many tunnels of `bulk` carried nothing.
    pub starved: u64,
    /// What a gateway that nobody else uses has used.
    pub usage: Option<&'a Usage>,
    /// What else went wrong.
    pub troubles: &'a [String],
}

/// Judges a run.
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let mut reasons = Vec::new();
    against_counts(evidence, &mut reasons);
    if let Some(endpoint) = evidence.endpoint {
        against_endpoint(evidence, endpoint, &mut reasons);
    }
    against_leftovers(evidence, &mut reasons);
    let lag = evidence.own_lag_us;
    if lag.max > BEGIN_GRACE_MS * 1000 {
        reasons.push(format!(
            "loadgen was behind its own schedule by up to {}: this machine is too small for the load, or busy",
            show_micros(lag.max)
        ));
    }
    reasons.extend(evidence.troubles.iter().cloned());
    let own_lateness = Lateness {
        p99_us: lag.p99,
        max_us: lag.max,
        agents_longest_turn_us: evidence.longest_turn_us,
        endpoint_longest_turn_us: evidence.endpoint.map(|endpoint| endpoint.longest_turn_us),
    };
    Verdict { passed: reasons.is_empty(), reasons, own_lateness }
}

fn against_counts(evidence: &Evidence<'_>, reasons: &mut Vec<String>) {
    let Evidence { kind, uploads, tunnels, .. } = evidence;
    let noun = kind.noun();
    let mut against = |count: u64, what: &str| {
        if count > 0 {
            reasons.push(format!("{} {what}", show_count(count)));
        }
    };
    let missing = uploads.planned.saturating_sub(uploads.arrived + uploads.failed);
    if !evidence.retries && *kind != Kind::Churn {
        against(tunnels.failed, "tunnel(s) could not be opened or were lost");
    }
    against(uploads.failed, &format!("{noun}(s) failed"));
    against(missing, &format!("{noun}(s) were planned and never made"));
    // Idle tunnels only have to be alive.
    if *kind != Kind::Idle {
        against(uploads.begun_late, &format!("{noun}(s) were begun over 1 s late"));
        against(uploads.done_late, &format!("{noun}(s) were not done before the next was due"));
    }
    against(evidence.starved, "tunnel(s) carried nothing");
    if uploads.planned == 0 && uploads.arrived == 0 {
        reasons.push(format!("no {noun} was made"));
    }
}

fn against_endpoint(evidence: &Evidence<'_>, endpoint: &Received, reasons: &mut Vec<String>) {
    let Evidence { kind, uploads, .. } = evidence;
    let noun = kind.noun();
    if endpoint.mismatched > 0 {
        let count = show_count(endpoint.mismatched);
        reasons.push(format!(
            "{count} {noun}(s) reached the endpoint with other bytes than were sent"
        ));
    }
    if *kind == Kind::Churn {
        return;
    }
    // One that failed here may have reached the endpoint all the same: its answer was lost.
    let distinct = endpoint.verified.saturating_sub(endpoint.duplicates);
    let explained = uploads.arrived..=uploads.arrived + uploads.failed;
    if !explained.contains(&distinct) {
        reasons.push(format!(
            "{} {noun}(s) are counted differently by agents and endpoint",
            show_count(uploads.arrived.abs_diff(distinct))
        ));
    }
}

fn against_leftovers(evidence: &Evidence<'_>, reasons: &mut Vec<String>) {
    let course = evidence.usage.and_then(|usage| usage.other_descriptors);
    if let (Kind::Churn, Some(course)) = (evidence.kind, course) {
        let left = course.end.saturating_sub(course.start);
        if left > KEPT_DESCRIPTORS {
            let count = show_count(left);
            reasons.push(format!(
                "{count} descriptors of the gateway stayed open after the last session"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{quantiles, uploads};
    use crate::sample::Course;

    fn received(verified: u64, mismatched: u64, duplicates: u64) -> Received {
        Received {
            connections: 1,
            received: verified + mismatched,
            verified,
            mismatched,
            duplicates,
            bytes: 1,
            failed: 0,
            longest_turn_us: 1,
        }
    }

    struct Row {
        kind: Kind,
        uploads: Uploads,
        lost: u64,
        retries: bool,
        lag_us: u64,
        endpoint: Option<Received>,
        starved: u64,
        left: u64,
        trouble: Option<&'static str>,
        reason: Option<&'static str>,
    }

    fn good() -> Row {
        Row {
            kind: Kind::Agents,
            uploads: uploads(10, 10, 0),
            lost: 0,
            retries: false,
            lag_us: 900,
            endpoint: Some(received(10, 0, 0)),
            starved: 0,
            left: 0,
            trouble: None,
            reason: None,
        }
    }

    fn table() -> Vec<Row> {
        let late = |begun_late, done_late| Uploads { begun_late, done_late, ..uploads(10, 10, 0) };
        let alone = || Row { endpoint: None, ..good() };
        let churn = || Row { kind: Kind::Churn, endpoint: Some(received(0, 0, 0)), ..good() };
        vec![
            good(),
            alone(),
            Row { uploads: uploads(10, 8, 2), reason: Some("2 upload(s) failed"), ..alone() },
            Row { uploads: uploads(10, 9, 0), reason: Some("1 upload(s) were planned"), ..alone() },
            Row { uploads: uploads(0, 0, 0), reason: Some("no upload"), ..alone() },
            Row { uploads: late(3, 0), reason: Some("3 upload(s) were begun"), ..good() },
            Row { uploads: late(0, 4), reason: Some("4 upload(s) were not done"), ..good() },
            Row { uploads: late(3, 4), kind: Kind::Idle, ..good() },
            Row { lost: 1, reason: Some("1 tunnel(s)"), ..good() },
            Row { lost: 1, retries: true, ..good() },
            Row { lag_us: 1_500_000, reason: Some("loadgen was behind"), ..good() },
            Row {
                endpoint: Some(received(9, 0, 0)),
                reason: Some("counted differently"),
                ..good()
            },
            Row { endpoint: Some(received(11, 0, 0)), reason: Some("counted"), ..good() },
            Row { endpoint: Some(received(11, 0, 1)), ..good() },
            Row { endpoint: Some(received(10, 0, 1)), reason: Some("counted"), ..good() },
            Row { endpoint: Some(received(10, 1, 0)), reason: Some("other bytes"), ..good() },
            Row { trouble: Some("it ended"), reason: Some("it ended"), ..good() },
            churn(),
            Row { left: KEPT_DESCRIPTORS, ..churn() },
            Row { left: KEPT_DESCRIPTORS + 1, reason: Some("9 descriptors"), ..churn() },
            Row { uploads: uploads(10, 9, 1), reason: Some("1 session(s) failed"), ..churn() },
            Row { kind: Kind::Bulk, uploads: uploads(0, 10, 0), ..good() },
            Row { kind: Kind::Bulk, starved: 2, reason: Some("2 tunnel(s) carried"), ..good() },
        ]
    }

    #[test]
    fn every_departure_from_the_plan_is_a_reason() {
        for (number, row) in table().iter().enumerate() {
            let troubles: Vec<String> = row.trouble.iter().map(|&text| text.to_owned()).collect();
            let course = Course { start: 20, peak: 90, end: 20 + row.left };
            let usage = Usage { other_descriptors: Some(course), ..Usage::default() };
            let verdict = judge(&Evidence {
                kind: row.kind,
                uploads: &row.uploads,
                tunnels: &Tunnels { opened: 10, failed: row.lost, setup_us: quantiles(1) },
                retries: row.retries,
                own_lag_us: &quantiles(row.lag_us),
                longest_turn_us: 7,
                endpoint: row.endpoint.as_ref(),
                starved: row.starved,
                usage: Some(&usage),
                troubles: &troubles,
            });
            assert_eq!(verdict.passed, row.reason.is_none(), "row {number}: {verdict:?}");
            if let Some(reason) = row.reason {
                assert!(verdict.reasons[0].contains(reason), "row {number}: {verdict:?}");
            }
            let late = verdict.own_lateness;
            assert_eq!((late.max_us, late.agents_longest_turn_us), (row.lag_us, 7), "row {number}");
        }
    }
}
