//! A report as files: JSON for programs, histograms for plotters.

use std::fs;
use std::io;
use std::path::Path;

use hdrhistogram::Histogram;

use crate::report::Report;
use crate::tally::Tally;

/// How finely a histogram's file divides each halving of the distance to 100 %.
const TICKS_PER_HALF: u32 = 5;

/// Writes `report.json` and the histograms into `folder`, which is made if it is not there.
pub fn write(folder: &Path, report: &Report, tally: &Tally) -> Result<(), String> {
    let failed = |file: &Path, why: io::Error| format!("{}: not written: {why}", file.display());
    fs::create_dir_all(folder).map_err(|why| failed(folder, why))?;
    let json = serde_json::to_vec_pretty(report).map_err(|why| why.to_string())?;
    let file = folder.join("report.json");
    fs::write(&file, json).map_err(|why| failed(&file, why))?;
    for (name, histogram) in [
        ("latency.hgrm", &tally.latency_us),
        ("setup.hgrm", &tally.setup_us),
        ("lateness.hgrm", &tally.lag_us),
    ] {
        let file = folder.join(name);
        fs::write(&file, hgrm(histogram)).map_err(|why| failed(&file, why))?;
    }
    Ok(())
}

/// The percentile distribution as HdrHistogram's plotters read it; values in milliseconds.
fn hgrm(histogram: &Histogram<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut line = |text: String| {
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
    };
    line(format!(
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    ));
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF) {
        total += step.count_since_last_iteration();
        let quantile = step.quantile_iterated_to();
        let value = step.value_iterated_to() as f64 / 1e3;
        if quantile < 1.0 {
            line(format!(
                "{value:>12.3} {quantile:>14.12} {total:>10} {:>14.2}",
                1.0 / (1.0 - quantile)
            ));
        } else {
            line(format!("{value:>12.3} {quantile:>14.12} {total:>10}"));
        }
    }
    let (mean, deviation) = (histogram.mean() / 1e3, histogram.stdev() / 1e3);
    line(format!("#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]"));
    let max = histogram.max() as f64 / 1e3;
    line(format!("#[Max     = {max:>12.3}, Total count    = {:>12}]", histogram.len()));
    line(format!("#[Buckets = {:>12}, SubBuckets     = {:>12}]", histogram.buckets(), 2048));
    out
}
