//! `sluice hybrid-worker`: the locations of Automation accounts whose Hybrid Runbook Workers are let through.

use std::path::Path;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use crate::azure::catalog::Catalog;
use crate::azure::wanted::{HybridWorker, Registered};
use crate::config::edit::text::quoted;
use crate::config::schema::Config;

use super::allowed::shown;
use super::azure_list::{self, Entry, List};
use super::outcome::{self, Failure};

pub(in super::super) const EXAMPLE: &str = "\
Examples:
  sluice hybrid-worker add \"West Europe\" --registered cmdlet
  sluice hybrid-worker list
  sluice hybrid-worker remove we";
const ADD_EXAMPLE: &str = "\
Examples:
  sluice hybrid-worker add \"West Europe\"
  sluice hybrid-worker add jpe --registered cmdlet

A location goes by its name in the portal, its older name, or its code. One that is on the list gets the way
of registration that is given here; without any it stays as it is.";
const LIST_EXAMPLE: &str = "\
Example:
  sluice hybrid-worker list";
const REMOVE_EXAMPLE: &str = "\
Example:
  sluice hybrid-worker remove \"West Europe\"";

/// What to do with the locations.
#[derive(Debug, Subcommand)]
pub(in super::super) enum HybridWorkerCommand {
    /// Shows the locations, each with how its workers were registered
    #[command(after_help = LIST_EXAMPLE)]
    List,
    /// Allows the hosts that the workers of locations need
    #[command(after_help = ADD_EXAMPLE)]
    Add(AddFlags),
    /// Takes locations off the list, and with them their hosts
    #[command(after_help = REMOVE_EXAMPLE)]
    Remove {
        /// The location of the Automation account, by any of its names or its code
        #[arg(required = true, value_name = "LOCATION")]
        locations: Vec<String>,
    },
}

/// The words of `hybrid-worker add`.
#[derive(Args, Debug)]
pub(in super::super) struct AddFlags {
    /// The location of the Automation account, by any of its names or its code
    #[arg(required = true, value_name = "LOCATION")]
    locations: Vec<String>,

    /// How the workers were registered: by Update Management, or by the registration cmdlet
    /// [default: automatic]
    #[arg(long, value_parser = PossibleValuesParser::new(Registered::ALL.map(Registered::as_str)))]
    registered: Option<String>,
}

const HYBRID_WORKERS: List = List {
    key: "azure.hybrid_workers",
    what: "location of hybrid workers",
    read: |config, catalog| {
        let workers = config.azure.hybrid_workers.iter();
        workers.map(|worker| entry(worker, catalog)).collect()
    },
};

pub(in super::super) fn run(file: Option<&Path>, command: &HybridWorkerCommand) -> ExitCode {
    outcome::tell(match command {
        HybridWorkerCommand::List => azure_list::list(file, &HYBRID_WORKERS),
        HybridWorkerCommand::Add(AddFlags { locations, registered }) => {
            let named = registered.as_deref();
            let way = Registered::ALL.into_iter().find(|way| Some(way.as_str()) == named);
            let asked =
                |_: &Config, catalog: &Catalog| asked(locations, way.unwrap_or_default(), catalog);
            azure_list::add(file, &HYBRID_WORKERS, way.is_some(), asked)
        }
        HybridWorkerCommand::Remove { locations } => {
            let asked =
                |_: &Config, catalog: &Catalog| asked(locations, Registered::default(), catalog);
            azure_list::remove(file, &HYBRID_WORKERS, asked)
        }
    })
}

fn asked(
    locations: &[String],
    registered: Registered,
    catalog: &Catalog,
) -> Result<Vec<Entry>, Failure> {
    let mut asked = Vec::new();
    let mut wrong = Vec::new();
    for text in locations {
        match catalog.location(text) {
            Ok(location) => {
                let code = location.code.as_str().into();
                asked.push(entry(&HybridWorker { code, registered }, catalog));
            }
            Err(why) => wrong.push(format!("\"{}\": {why}", shown(text))),
        }
    }
    outcome::unless_wrong(asked, wrong)
}

fn entry(worker: &HybridWorker, catalog: &Catalog) -> Entry {
    let name = catalog.shown(&worker.code);
    let way = worker.registered.as_str();
    let registered = match worker.registered {
        Registered::Automatic => None,
        Registered::Cmdlet => Some(("registered", quoted(way))),
    };
    let parts = [("location", quoted(name))].into_iter().chain(registered).collect();
    Entry {
        name: worker.code.to_string(),
        shown: name.to_owned(),
        options: format!("code {}, registered {way}", worker.code),
        parts,
    }
}
