//! The most agents that still pass: the load of `agents` again and again, by halving.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::loads::Load;
use crate::options::{CapacityOptions, name};
use crate::quantity::{show_count, show_micros, show_size};
use crate::report::Report;
use crate::scene::Fault;
use crate::show::print;
use crate::verdict::Lateness;
use crate::{files, platform, run};

/// Where nothing is said, the answer is this part of the most agents near.
const PARTS: u32 = 20;

/// Searches, and tells each step as it ends. `Ok(false)` when no number of agents passes.
pub fn run(options: &CapacityOptions, interrupted: &AtomicBool) -> Result<bool, Fault> {
    let most = within_descriptors(options)?;
    let within = options.within.unwrap_or(options.most / PARTS).max(1);
    let json = options.around.json;
    if !json {
        print(&heading(options, most, within));
    }
    let mut search = Search { passed: 0, failed: None, most, within };
    let mut steps = Vec::new();
    while let Some(agents) = search.next() {
        if interrupted.load(Ordering::Relaxed) {
            return Err(Fault::Failed("interrupted".to_owned()));
        }
        let (report, tally) = run::run(&Load::step(options, agents), interrupted)?;
        if let Some(folder) = &options.around.report {
            files::write(&folder.join(format!("{agents}-agents")), &report, &tally)
                .map_err(Fault::Failed)?;
        }
        let step = Step::of(agents, &report);
        search.note(agents, step.passed);
        if !json {
            print(&step.text());
        }
        steps.push(step);
    }
    let found = Found { most_passed: search.passed, least_failed: search.failed, within, steps };
    if json {
        let text = serde_json::to_string_pretty(&found)
            .map_err(|why| Fault::Failed(format!("the report cannot be written as JSON: {why}")))?;
        print(&format!("{text}\n"));
    } else {
        print(&found.text());
    }
    Ok(found.most_passed > 0)
}

/// What was found, also as JSON.
#[derive(Serialize)]
struct Found {
    /// The most agents that passed; 0 where none did.
    most_passed: u32,
    /// The fewest that failed; none where all that may be tried passed.
    least_failed: Option<u32>,
    /// How near to each other they had to come.
    within: u32,
    /// Each run, in its order.
    steps: Vec<Step>,
}

/// One run.
#[derive(Serialize)]
struct Step {
    agents: u32,
    passed: bool,
    reasons: Vec<String>,
    held_back: Vec<String>,
    own_lateness: Lateness,
    bytes_per_s: f64,
    latency_p99_us: u64,
    gateway_cpu_s: Option<f64>,
    loadgen_cpu_s: Option<f64>,
    seconds: f64,
}

impl Step {
    fn of(agents: u32, report: &Report) -> Step {
        let (bytes_per_s, latency_p99_us) =
            report.uploads.as_ref().map_or((0.0, 0), |of| (of.bytes_per_s, of.latency_us.p99));
        Step {
            agents,
            passed: report.verdict.passed,
            reasons: report.verdict.reasons.clone(),
            held_back: report.held_back.clone(),
            own_lateness: report.verdict.own_lateness,
            bytes_per_s,
            latency_p99_us,
            gateway_cpu_s: report.usage.cpu_s,
            loadgen_cpu_s: report.usage.loadgen_cpu_s,
            seconds: report.usage.seconds,
        }
    }

    fn text(&self) -> String {
        let cores = |spent: Option<f64>| {
            spent
                .map_or("?".to_owned(), |s| format!("{:.0} %", 100.0 * s / self.seconds.max(0.001)))
        };
        let mut text = format!(
            "{:>8} agents  {}  {:>10}/s  latency p99 {:>8}  gateway CPU {:>5}, loadgen {:>5}, late by {} at most\n",
            show_count(u64::from(self.agents)),
            if self.passed { "PASSED" } else { "FAILED" },
            show_size(self.bytes_per_s as u64),
            show_micros(self.latency_p99_us),
            cores(self.gateway_cpu_s),
            cores(self.loadgen_cpu_s),
            show_micros(self.own_lateness.max_us)
        );
        let held_back = if self.passed { &[][..] } else { &self.held_back };
        for reason in self.reasons.iter().chain(held_back) {
            text.push_str(&format!("{:17}{reason}\n", ""));
        }
        text
    }
}

impl Found {
    fn text(&self) -> String {
        let most = show_count(u64::from(self.most_passed));
        match self.least_failed {
            None => format!("\nPASSED: {most} agents, the most that were to be tried\n"),
            Some(fewest) if self.most_passed == 0 => {
                format!("\nFAILED: not even {} agents pass\n", show_count(u64::from(fewest)))
            }
            Some(fewest) => {
                let fewest = show_count(u64::from(fewest));
                format!("\nPASSED: {most} agents; {fewest} fail\n")
            }
        }
    }
}

/// The numbers still in question: all up to `passed` are taken to pass, from `failed` on to fail.
struct Search {
    passed: u32,
    failed: Option<u32>,
    most: u32,
    within: u32,
}

impl Search {
    /// The number to be tried next: the most first, for it may pass, and then the middle.
    fn next(&self) -> Option<u32> {
        match self.failed {
            None if self.passed < self.most => Some(self.most),
            None => None,
            Some(failed) => {
                let distance = failed - self.passed;
                (distance > self.within && distance > 1).then(|| self.passed + distance / 2)
            }
        }
    }

    fn note(&mut self, agents: u32, passed: bool) {
        if passed {
            self.passed = agents;
        } else {
            self.failed = Some(agents);
        }
    }
}

/// The most agents that this process has descriptors for.
fn within_descriptors(options: &CapacityOptions) -> Result<u32, Fault> {
    let limit = platform::raise_descriptor_limit()
        .map_err(|why| Fault::Failed(format!("the limit of descriptors is unknown: {why}")))?;
    let Some(limit) = limit else { return Ok(options.most) };
    let fit = Load::step(options, 1).agents_within(limit);
    match u32::try_from(fit).unwrap_or(u32::MAX).min(options.most) {
        0 => Err(Fault::Usage(format!(
            "{limit} descriptors are not enough for a single agent: raise the hard limit (ulimit -Hn)"
        ))),
        most => Ok(most),
    }
}

fn heading(options: &CapacityOptions, most: u32, within: u32) -> String {
    let cut = match most < options.most {
        true => " (this process has no descriptors for more: see ulimit -Hn)",
        false => "",
    };
    format!(
        "the most agents that pass, {} every {} s for {} s, tunnel {}, TLS {}\n\
         tried up to {}{cut}, to within {}\n",
        show_size(options.burst),
        options.every.as_secs_f64(),
        options.span.as_secs_f64(),
        name(options.tunnel),
        name(options.tls),
        show_count(u64::from(most)),
        show_count(u64::from(within))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(truth: u32, most: u32, within: u32) -> (u32, Option<u32>, usize) {
        let mut search = Search { passed: 0, failed: None, most, within };
        let mut steps = 0;
        while let Some(agents) = search.next() {
            assert!((1..=most).contains(&agents), "{agents}");
            search.note(agents, agents <= truth);
            steps += 1;
        }
        (search.passed, search.failed, steps)
    }

    #[test]
    fn the_truth_is_found_to_within_what_was_asked_in_few_steps() {
        for most in [1, 2, 7, 1_000, 20_000] {
            for within in [1, 10, most / PARTS + 1] {
                for truth in [0, 1, 5, most / 3, most.saturating_sub(1), most, most + 5] {
                    let (passed, failed, steps) = found(truth, most, within);
                    let label = format!("{truth} of {most} within {within}");
                    assert!(passed <= truth && steps <= 17, "{label}: {passed}, {steps} steps");
                    match failed {
                        None => assert_eq!(passed, most, "{label}"),
                        Some(failed) => {
                            assert!(failed > truth && failed - passed <= within.max(1), "{label}");
                        }
                    }
                }
            }
        }
    }
}
