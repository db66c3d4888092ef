//! Medians of the rounds as a Markdown table, as it stands in PERF.md.

use std::fmt;

use crate::contestants::Contestant;
use crate::loads::{Load, Measured};

/// All rounds of one load.
pub struct Table {
    /// Which.
    pub load: Load,
    rows: Vec<Row>,
}

struct Row {
    contestant: Contestant,
    /// With the round that each was of.
    runs: Vec<(usize, Measured)>,
    trouble: Option<String>,
}

impl Table {
    /// An empty one.
    pub fn new(load: Load) -> Table {
        Table { load, rows: Vec::new() }
    }

    /// Adds a run.
    pub fn add(&mut self, contestant: Contestant, round: usize, measured: Measured) {
        self.row(contestant).runs.push((round, measured));
    }

    /// Notes why there was none.
    pub fn skip(&mut self, contestant: Contestant, why: String) {
        self.row(contestant).trouble = Some(why);
    }

    /// The median of what `of` takes from the runs of `contestant`.
    pub fn median(
        &self,
        contestant: Contestant,
        of: impl Fn(&Measured) -> Option<f64>,
    ) -> Option<f64> {
        let runs = &self.rows.iter().find(|row| row.contestant == contestant)?.runs;
        median(runs.iter().filter_map(|(_, run)| of(run)).collect())
    }

    /// The median of what `of` makes of a run of `one` and the run of `other` in the same round: the machine
    /// was then the same for both.
    pub fn compared(
        &self,
        one: Contestant,
        other: Contestant,
        of: impl Fn(&Measured, &Measured) -> Option<f64>,
    ) -> Option<f64> {
        let runs = |whose| self.rows.iter().find(|row| row.contestant == whose);
        let others = &runs(other)?.runs;
        let with_other = |(round, run): &(usize, Measured)| {
            let (_, beside) = others.iter().find(|(beside, _)| beside == round)?;
            of(run, beside)
        };
        median(runs(one)?.runs.iter().filter_map(with_other).collect())
    }

    /// The median of the ratios of cost, round by round.
    pub fn ratio(&self, one: Contestant, other: Contestant) -> Option<f64> {
        self.compared(one, other, |one, other| Some(one.cost? / other.cost?))
    }

    fn row(&mut self, contestant: Contestant) -> &mut Row {
        let index = self.rows.iter().position(|row| row.contestant == contestant);
        let index = index.unwrap_or_else(|| {
            self.rows.push(Row { contestant, runs: Vec::new(), trouble: None });
            self.rows.len() - 1
        });
        &mut self.rows[index]
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.load.title())?;
        writeln!(
            f,
            "| | cost | rounds | / bare loop | sluice / it | p99 ms | PSS MiB | TCP MiB | pipes | pipe KiB | lost | load late ms |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|---|---|---|")?;
        for row in &self.rows {
            let (contestant, name) = (row.contestant, row.contestant.name());
            if let Some(why) = &row.trouble {
                let lines: Vec<&str> = why.split_whitespace().collect();
                let why = lines.join(" ").replace('|', " ");
                writeln!(f, "| {name} | {why} |||||||||||")?;
            }
            if row.runs.is_empty() {
                continue;
            }
            let costs: Vec<String> = row.runs.iter().map(|(_, run)| figure(run.cost)).collect();
            writeln!(
                f,
                "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                figure(self.median(contestant, |run| run.cost)),
                costs.join(" "),
                figure(self.ratio(contestant, Contestant::BareLoop)),
                figure(self.ratio(Contestant::Sluice, contestant)),
                figure(self.median(contestant, |run| run.p99_ms)),
                figure(self.median(contestant, |run| run.pss_mib)),
                figure(self.median(contestant, |run| run.tcp_mib)),
                figure(self.median(contestant, |run| run.pipes)),
                figure(self.median(contestant, |run| run.pipe_kib)),
                row.runs.iter().map(|(_, run)| run.lost).sum::<u64>(),
                figure(self.median(contestant, |run| Some(run.own_lag_ms))),
            )?;
        }
        Ok(())
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[odd / 2]),
        even => Some(f64::midpoint(values[even / 2 - 1], values[even / 2])),
    }
}

/// A number to three digits; `-` where it is not known.
pub fn figure(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}
