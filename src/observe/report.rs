//! `GET /report`: how long things took and how much they moved, as a table for people, as JSON, or as
//! the percentile distribution that HdrHistogram's plotters read.

use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value};

use super::gauges::Gauges;
use super::histograms::{Distribution, Measure, Unit};

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

/// The report on one measure, or on all.
pub(super) fn report(form: Form, only: Option<Measure>, gauges: &Gauges) -> String {
    let wanted = |measure: &Measure| only.is_none_or(|only| only == *measure);
    let measured: Vec<(Measure, Distribution)> = Measure::ALL
        .into_iter()
        .filter(wanted)
        .map(|measure| (measure, gauges.distribution(measure)))
        .collect();
    match form {
        Form::Text => text(&measured),
        Form::Json => json(&measured),
        Form::Hgrm => hgrm(&measured),
    }
}

/// What is told of a measure: in the table, in JSON.
const COLUMNS: [(&str, &str); 7] = [
    ("min", "min"),
    ("mean", "mean"),
    ("50 %", "p50"),
    ("90 %", "p90"),
    ("99 %", "p99"),
    ("99.9 %", "p999"),
    ("max", "max"),
];

/// One measure in numbers, in the order of [`COLUMNS`]. A quantile is known to 1 %, the others
/// exactly. None where nothing was recorded.
fn numbers(measured: &Distribution) -> Option<[u64; COLUMNS.len()]> {
    let (least, most) = measured.ends()?;
    let mean = measured.sum().checked_div(measured.count())?;
    let quantiles = measured.quantiles();
    // The middle of the bucket that holds the least or greatest value may lie beyond that.
    let at = |quantile| quantiles.value_at_quantile(quantile).clamp(least, most);
    Some([least, mean, at(0.5), at(0.9), at(0.99), at(0.999), most])
}

fn text(measured: &[(Measure, Distribution)]) -> String {
    let mut table = format!("{:<12} {:>10}", "", "count");
    for (heading, _) in COLUMNS {
        let _ = write!(table, " {heading:>10}");
    }
    for (measure, measured) in measured {
        let name = measure.as_str();
        let _ = write!(table, "\n{name:<12} {:>10}", measured.count());
        let numbers = numbers(measured);
        for column in 0..COLUMNS.len() {
            let number = numbers.map(|numbers| shown(measure.unit(), numbers[column]));
            let _ = write!(table, " {:>10}", number.as_deref().unwrap_or("-"));
        }
    }
    table.push('\n');
    table
}

/// The mean, exact; none where nothing was recorded.
fn mean(measured: &Distribution) -> Option<f64> {
    let count = measured.count();
    (count > 0).then(|| measured.sum() as f64 / count as f64)
}

/// An object for each measure; the name of a number ends in its unit. Where nothing was recorded there
/// is but a count.
fn json(measured: &[(Measure, Distribution)]) -> String {
    let mut told = Map::new();
    for (measure, measured) in measured {
        let unit = match measure.unit() {
            Unit::Microseconds => "us",
            Unit::Bytes => "bytes",
            Unit::Events => "events",
        };
        let mut object = Map::from_iter([("count".to_owned(), measured.count().into())]);
        for ((_, name), number) in COLUMNS.into_iter().zip(numbers(measured).into_iter().flatten())
        {
            object.insert(format!("{name}_{unit}"), number.into());
        }
        if let Some(mean) = mean(measured) {
            object.insert(format!("mean_{unit}"), mean.into());
        }
        told.insert(measure.as_str().to_owned(), object.into());
    }
    format!("{}\n", Value::Object(told))
}

/// One distribution after another; a plotter takes one of them, see `of`. Times in milliseconds.
fn hgrm(measured: &[(Measure, Distribution)]) -> String {
    let mut told = String::new();
    for (measure, measured) in measured {
        let (unit, scale) = match measure.unit() {
            Unit::Microseconds => ("ms", 1e3),
            Unit::Bytes => ("bytes", 1.0),
            Unit::Events => ("events", 1.0),
        };
        let _ = writeln!(told, "#[{} in {unit}]", measure.as_str());
        distribution(&mut told, measured, scale);
    }
    told
}

fn distribution(told: &mut String, exact: &Distribution, scale: f64) {
    let measured: Histogram<u64> = exact.quantiles();
    let (least, most) = exact.ends().unwrap_or_default();
    let heading = ("Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let (value, percentile, total, distance) = heading;
    let _ = writeln!(told, "{value:>14} {percentile:>16} {total:>10} {distance:>18}\n");
    let mut count = 0;
    for step in measured.iter_quantiles(TICKS_PER_HALF) {
        count += step.count_since_last_iteration();
        let quantile = step.quantile_iterated_to();
        // The last step is the greatest value, of which the histogram knows but the bucket.
        let is_last = count == measured.len();
        let value = if is_last { most } else { step.value_iterated_to().clamp(least, most) };
        let value = value as f64 / scale;
        let _ = write!(told, "{value:>14.3} {quantile:>16.12} {count:>10}");
        let _ = match quantile {
            quantile if quantile < 1.0 => writeln!(told, " {:>18.2}", 1.0 / (1.0 - quantile)),
            _ => writeln!(told),
        };
    }
    let mean = mean(exact).unwrap_or_default() / scale;
    let deviation = measured.stdev() / scale;
    let _ = writeln!(told, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]");
    let max = most as f64 / scale;
    let _ = writeln!(told, "#[Max     = {max:>12.3}, Total count    = {:>12}]", measured.len());
    let (buckets, steps) = (measured.buckets(), measured.distinct_values());
    let _ = writeln!(told, "#[Buckets = {buckets:>12}, SubBuckets     = {steps:>12}]");
}

/// A value in the unit in which people say it.
fn shown(unit: Unit, value: u64) -> String {
    match unit {
        Unit::Microseconds => time(value),
        Unit::Bytes => amount(value),
        Unit::Events => value.to_string(),
    }
}

fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.2} ms", us as f64 / 1e3),
        1_000_000..600_000_000 => format!("{:.2} s", us as f64 / 1e6),
        _ => format!("{} min", Duration::from_micros(us).as_secs() / 60),
    }
}

fn amount(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use std::time::Instant;

    use super::super::admin::sample;
    use super::*;

    fn told(form: Form, only: Option<Measure>) -> String {
        let sample = sample::panel(Instant::now());
        for number in 1..=1_000 {
            let worker = &sample.gauges.workers()[number % 2];
            worker.histograms.record(Measure::SetUp, number as u64 * 10);
            worker.histograms.record(Measure::Upload, 200_000);
        }
        report(form, only, &sample.gauges)
    }

    #[test]
    fn text_is_a_table_with_a_row_for_each_measure() {
        let table = told(Form::Text, None);
        let rows: Vec<Vec<&str>> =
            table.lines().map(|line| line.split_ascii_whitespace().collect()).collect();
        assert_eq!(rows.len(), 1 + Measure::ALL.len(), "{table}");
        assert_eq!(rows[1], ["resolve", "0", "-", "-", "-", "-", "-", "-", "-"]);
        assert_eq!(rows[3][..6], ["setup", "1000", "10", "us", "5.00", "ms"], "{table}");
        assert_eq!(rows[3][rows[3].len() - 2..], ["10.00", "ms"], "{table}");
        let same = ["upload", "1000"].into_iter().chain(["200.0", "KB"].repeat(7));
        assert_eq!(rows[6], same.collect::<Vec<_>>());
        assert_eq!(rows[9][..2], ["ready", "0"]);
        let columns: Vec<usize> = table.lines().map(str::len).collect();
        assert!(columns.iter().all(|len| *len == columns[0]), "{table}");
    }

    #[test]
    fn json_has_numbers_under_names_that_end_in_their_unit() {
        let json: Value = serde_json::from_str(&told(Form::Json, None)).unwrap();
        assert_eq!(json["setup"]["count"], 1_000);
        assert_eq!(json["setup"]["mean_us"], 5_005.0);
        assert_eq!(
            (&json["setup"]["min_us"], &json["setup"]["max_us"]),
            (&10.into(), &10_000.into())
        );
        let median = json["setup"]["p50_us"].as_u64().unwrap();
        assert!(median.abs_diff(5_000) <= 50, "{median}");
        assert_eq!(json["upload"]["p999_bytes"], 200_000);
        assert_eq!(json["loop_turn"], serde_json::json!({ "count": 0 }));
    }

    #[test]
    fn hgrm_ends_at_everything_and_may_be_of_one() {
        let one = told(Form::Hgrm, Some(Measure::SetUp));
        assert_eq!(one.matches("TotalCount").count(), 1);
        let last = one.lines().rfind(|line| !line.starts_with('#')).unwrap();
        let cells: Vec<&str> = last.split_ascii_whitespace().collect();
        assert_eq!(cells, ["10.000", "1.000000000000", "1000"], "{one}");
        assert!(
            one.contains("#[Mean    =        5.005,") && one.contains("#[Max     =       10.000,"),
            "{one}"
        );
        let all = told(Form::Hgrm, None);
        assert_eq!(all.matches("TotalCount").count(), Measure::ALL.len());
        assert!(all.contains("#[setup in ms]") && all.contains("#[upload in bytes]"), "{all}");
    }

    #[test]
    fn values_are_shown_as_people_say_them() {
        for (unit, value, text) in [
            (Unit::Microseconds, 0, "0 us"),
            (Unit::Microseconds, 999, "999 us"),
            (Unit::Microseconds, 1_000, "1.00 ms"),
            (Unit::Microseconds, 2_500_000, "2.50 s"),
            (Unit::Microseconds, 7_200_000_000, "120 min"),
            (Unit::Bytes, 999, "999 B"),
            (Unit::Bytes, 65_536, "65.5 KB"),
            (Unit::Bytes, 1 << 30, "1.1 GB"),
            (Unit::Events, 1_024, "1024"),
        ] {
            assert_eq!(shown(unit, value), text);
        }
    }
}
