//! `GET /report`: how long things took, as a table for people, as JSON, or as the percentile
//! distribution that HdrHistogram's plotters read.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::gauges::Gauges;
use super::histograms::{Distribution, Timing};

/// How finely the percentile distribution divides each halving of the distance to 100 %.
const TICKS_PER_HALF: u32 = 5;

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
    Hgrm,
}

impl Form {
    pub(super) const ALL: [(&str, Form); 3] =
        [("text", Form::Text), ("json", Form::Json), ("hgrm", Form::Hgrm)];

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Form::Json => "application/json",
            Form::Text | Form::Hgrm => "text/plain; charset=utf-8",
        }
    }
}

/// The report on one timing, or on all.
pub(super) fn report(form: Form, only: Option<Timing>, gauges: &Gauges) -> String {
    let wanted = |timing: &Timing| only.is_none_or(|only| only == *timing);
    let times: Vec<(Timing, Distribution)> = Timing::ALL
        .into_iter()
        .filter(wanted)
        .map(|timing| (timing, gauges.distribution(timing)))
        .collect();
    match form {
        Form::Text => text(&times),
        Form::Json => json(&times),
        Form::Hgrm => hgrm(&times),
    }
}

/// One timing in numbers. A quantile is known to 1.6 %, count and mean exactly.
#[derive(Serialize)]
struct Summary {
    count: u64,
    mean_us: u64,
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
}

impl Summary {
    fn of(times: &Distribution) -> Summary {
        let (count, quantiles) = (times.count(), times.quantiles());
        let sum_us = u64::try_from(times.sum().as_micros()).unwrap_or(u64::MAX);
        Summary {
            count,
            mean_us: sum_us.checked_div(count).unwrap_or(0),
            p50_us: quantiles.value_at_quantile(0.5),
            p90_us: quantiles.value_at_quantile(0.9),
            p99_us: quantiles.value_at_quantile(0.99),
            p999_us: quantiles.value_at_quantile(0.999),
            max_us: quantiles.max(),
        }
    }
}

fn text(times: &[(Timing, Distribution)]) -> String {
    let mut table = String::new();
    let mut row = |cells: [String; 8]| {
        let [name, numbers @ ..] = cells;
        let _ = write!(table, "{name:<10}");
        for number in numbers {
            let _ = write!(table, " {number:>10}");
        }
        table.push('\n');
    };
    row(["", "count", "mean", "50 %", "90 %", "99 %", "99.9 %", "most"].map(str::to_owned));
    for (timing, times) in times {
        let told = Summary::of(times);
        let times =
            [told.mean_us, told.p50_us, told.p90_us, told.p99_us, told.p999_us, told.max_us];
        let [mean, half, nine, two_nines, three_nines, most] =
            times.map(|us| if told.count == 0 { "-".to_owned() } else { shown(us) });
        let count = told.count.to_string();
        let name = timing.as_str().to_owned();
        row([name, count, mean, half, nine, two_nines, three_nines, most]);
    }
    table
}

fn json(times: &[(Timing, Distribution)]) -> String {
    let told: BTreeMap<&str, Summary> =
        times.iter().map(|(timing, times)| (timing.as_str(), Summary::of(times))).collect();
    // Texts and numbers have no way to fail.
    let mut json = serde_json::to_string(&told).unwrap_or_default();
    json.push('\n');
    json
}

/// One distribution after another; a plotter takes one of them, see `of`. Values in milliseconds.
fn hgrm(times: &[(Timing, Distribution)]) -> String {
    let mut told = String::new();
    for (timing, times) in times {
        let _ = writeln!(told, "#[{} in ms]", timing.as_str());
        distribution(&mut told, &times.quantiles());
    }
    told
}

fn distribution(told: &mut String, times: &Histogram<u64>) {
    let heading = ("Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let (value, percentile, total, distance) = heading;
    let _ = writeln!(told, "{value:>14} {percentile:>16} {total:>10} {distance:>18}\n");
    let mut count = 0;
    for step in times.iter_quantiles(TICKS_PER_HALF) {
        count += step.count_since_last_iteration();
        let quantile = step.quantile_iterated_to();
        let ms = step.value_iterated_to() as f64 / 1e3;
        let _ = write!(told, "{ms:>14.3} {quantile:>16.12} {count:>10}");
        let _ = match quantile {
            quantile if quantile < 1.0 => writeln!(told, " {:>18.2}", 1.0 / (1.0 - quantile)),
            _ => writeln!(told),
        };
    }
    let (mean, deviation) = (times.mean() / 1e3, times.stdev() / 1e3);
    let _ = writeln!(told, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]");
    let max = times.max() as f64 / 1e3;
    let _ = writeln!(told, "#[Max     = {max:>12.3}, Total count    = {:>12}]", times.len());
    let (buckets, steps) = (times.buckets(), times.distinct_values());
    let _ = writeln!(told, "#[Buckets = {buckets:>12}, SubBuckets     = {steps:>12}]");
}

/// A time in the unit in which people say it.
fn shown(us: u64) -> String {
    let time = Duration::from_micros(us);
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.2} ms", us as f64 / 1e3),
        1_000_000..600_000_000 => format!("{:.2} s", time.as_secs_f64()),
        _ => format!("{} min", time.as_secs() / 60),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use std::time::Instant;

    use super::super::admin::sample;
    use super::*;

    fn told(form: Form, only: Option<Timing>) -> String {
        let sample = sample::panel(Instant::now());
        for number in 1..=1_000 {
            let worker = &sample.gauges.workers()[number % 2];
            worker.timings.record(Timing::SetUp, Duration::from_micros(number as u64 * 10));
        }
        report(form, only, &sample.gauges)
    }

    #[test]
    fn text_is_a_table_with_a_row_for_each_timing() {
        let table = told(Form::Text, None);
        let rows: Vec<Vec<&str>> =
            table.lines().map(|line| line.split_ascii_whitespace().collect()).collect();
        assert_eq!(rows.len(), 1 + Timing::ALL.len(), "{table}");
        assert_eq!(rows[1], ["resolve", "0", "-", "-", "-", "-", "-", "-"]);
        assert_eq!(rows[3][..4], ["setup", "1000", "5.00", "ms"]);
        let columns: Vec<usize> = table.lines().map(str::len).collect();
        assert!(columns.iter().all(|len| *len == columns[0]), "{table}");
    }

    #[test]
    fn json_has_numbers_under_the_names_of_the_timings() {
        let json: serde_json::Value = serde_json::from_str(&told(Form::Json, None)).unwrap();
        assert_eq!(json["setup"]["count"], 1_000);
        assert_eq!(json["setup"]["mean_us"], 5_005);
        let median = json["setup"]["p50_us"].as_u64().unwrap();
        assert!(median.abs_diff(5_000) < 150, "{median}");
        assert_eq!(json["loop_turn"]["count"], 0);
    }

    #[test]
    fn hgrm_ends_at_everything_and_may_be_of_one() {
        let one = told(Form::Hgrm, Some(Timing::SetUp));
        assert_eq!(one.matches("TotalCount").count(), 1);
        let last = one.lines().rfind(|line| !line.starts_with('#')).unwrap();
        let cells: Vec<&str> = last.split_ascii_whitespace().collect();
        assert_eq!(cells[1..], ["1.000000000000", "1000"], "{one}");
        assert_eq!(told(Form::Hgrm, None).matches("TotalCount").count(), Timing::ALL.len());
    }

    #[test]
    fn times_are_shown_as_people_say_them() {
        for (us, text) in [
            (0, "0 us"),
            (999, "999 us"),
            (1_000, "1.00 ms"),
            (2_500_000, "2.50 s"),
            (7_200_000_000, "120 min"),
        ] {
            assert_eq!(shown(us), text);
        }
    }
}
