//! Medians of the rounds as a Markdown table, as it stands in PERF.md.

use std::fmt;

use crate::contestants::Contestant;
use crate::loads::{Load, Measured};

/// All rounds of one load.
pub struct Table {
    load: Load,
    rounds: usize,
    seconds: u32,
    rows: Vec<Row>,
}

struct Row {
    contestant: Contestant,
    runs: Vec<Measured>,
    trouble: Option<String>,
}

impl Table {
    /// An empty one.
    pub fn new(load: Load, rounds: usize, seconds: u32) -> Table {
        Table { load, rounds, seconds, rows: Vec::new() }
    }

    /// Adds a run.
    pub fn add(&mut self, contestant: Contestant, measured: Measured) {
        self.row(contestant).runs.push(measured);
    }

    /// Notes why there was none.
    pub fn skip(&mut self, contestant: Contestant, why: String) {
        self.row(contestant).trouble = Some(why);
    }

    fn row(&mut self, contestant: Contestant) -> &mut Row {
        let index = self.rows.iter().position(|row| row.contestant == contestant);
        let index = index.unwrap_or_else(|| {
            self.rows.push(Row { contestant, runs: Vec::new(), trouble: None });
            self.rows.len() - 1
        });
        &mut self.rows[index]
    }

    fn cost_of(&self, contestant: Contestant) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.contestant == contestant)?;
        row.median(|run| run.cost)
    }
}

impl Row {
    fn median(&self, of: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        let mut values: Vec<f64> = self.runs.iter().filter_map(of).collect();
        values.sort_by(f64::total_cmp);
        match values.len() {
            0 => None,
            odd if odd % 2 == 1 => Some(values[odd / 2]),
            even => Some(f64::midpoint(values[even / 2 - 1], values[even / 2])),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Table { load, rounds, seconds, .. } = self;
        writeln!(f, "### {}", load.title())?;
        writeln!(f, "{rounds} rounds of {seconds} s, medians.\n")?;
        writeln!(
            f,
            "| | cost | rounds | / bare loop | sluice / it | p99 ms | PSS MiB | TCP MiB | pipes | lost | load late ms |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|---|---|")?;
        let bare = self.cost_of(Contestant::BareLoop);
        let sluice = self.cost_of(Contestant::Sluice);
        for row in &self.rows {
            let name = row.contestant.name();
            if row.runs.is_empty() {
                let why = row.trouble.as_deref().unwrap_or("no run").replace(['|', '\n'], " ");
                writeln!(f, "| {name} | {why} |||||||||")?;
                continue;
            }
            let cost = row.median(|run| run.cost);
            let costs: Vec<String> = row.runs.iter().map(|run| figure(run.cost)).collect();
            let ratio = |of: Option<f64>, to: Option<f64>| figure(of.zip(to).map(|(a, b)| a / b));
            writeln!(
                f,
                "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                figure(cost),
                costs.join(" "),
                ratio(cost, bare),
                ratio(sluice, cost),
                figure(row.median(|run| run.p99_ms)),
                figure(row.median(|run| run.pss_mib)),
                figure(row.median(|run| run.tcp_mib)),
                figure(row.median(|run| run.pipes)),
                row.runs.iter().map(|run| run.lost).sum::<u64>(),
                figure(row.median(|run| Some(run.own_lag_ms))),
            )?;
        }
        Ok(())
    }
}

fn figure(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}
