//! `loadgen`: agents and an ingestion endpoint in one process, to prove what a gateway carries.
//!
//! `plan`, `retry`, `http`, `payload`, `exchange`, `secure`, `tunnel` and `endpoint::ingest` know no clock
//! and no socket; `agent` decides with the time as an argument; `engine` and `endpoint::serve` are the
//! loops; `scene` starts what a load needs, `run` sees it through, `report` tells and `verdict` judges.

mod agent;
mod alone;
mod busy;
mod capacity;
mod clock;
mod endpoint;
mod engine;
mod exchange;
mod failure;
mod files;
mod gateway;
mod http;
mod loads;
mod options;
mod payload;
mod plan;
mod platform;
mod progress;
mod quantity;
mod report;
mod retry;
mod run;
mod sample;
mod scene;
mod secure;
mod show;
mod tally;
mod tunnel;
mod verdict;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;

use crate::loads::Load;
use crate::options::{Cli, Command};
use crate::scene::Fault;

const FAILED: u8 = 1;
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    if let Err(why) = ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)) {
        eprintln!("loadgen: Ctrl-C cannot be handled: {why}");
        return ExitCode::from(FAILED);
    }
    let done = match cli.command {
        None => load(&Load::agents(cli.agents), &interrupted),
        Some(Command::Agents(options)) => load(&Load::agents(options), &interrupted),
        Some(Command::Idle(options)) => load(&Load::idle(options), &interrupted),
        Some(Command::Churn(options)) => load(&Load::churn(options), &interrupted),
        Some(Command::Bulk(options)) => load(&Load::bulk(options), &interrupted),
        Some(Command::Capacity(options)) => capacity::run(&options, &interrupted).map(exit),
        Some(Command::Endpoint(options)) => {
            alone::run(&options, &interrupted).map(|()| ExitCode::SUCCESS)
        }
    };
    match done {
        Ok(code) => code,
        Err(Fault::Usage(why)) => told(&why, USAGE),
        Err(Fault::Failed(why)) => told(&why, FAILED),
    }
}

fn load(load: &Load, interrupted: &AtomicBool) -> Result<ExitCode, Fault> {
    let (report, tally) = run::run(load, interrupted)?;
    if load.around.json {
        let json = serde_json::to_string_pretty(&report)
            .map_err(|why| Fault::Failed(format!("the report cannot be written as JSON: {why}")))?;
        show::print(&format!("{json}\n"));
    } else {
        show::print(&show::text(&report));
    }
    if let Some(folder) = &load.around.report {
        files::write(folder, &report, &tally).map_err(Fault::Failed)?;
    }
    Ok(exit(report.verdict.passed))
}

fn exit(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

fn told(why: &str, code: u8) -> ExitCode {
    eprintln!("loadgen: {why}");
    ExitCode::from(code)
}
