//! `sluice workspace`: the Log Analytics workspaces whose hosts are allowed.

use std::path::Path;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use crate::azure::catalog::Catalog;
use crate::azure::wanted::{Cloud, Region, Workspace, WorkspaceId};
use crate::config::edit::text::quoted;
use crate::config::schema::Config;

use super::allowed::shown;
use super::azure_list::{self, Entry, List};
use super::outcome::{self, Failure};

pub(in super::super) const EXAMPLE: &str = "\
Examples:
  sluice workspace add 01234567-89ab-cdef-0123-456789abcdef --region westeurope
  sluice workspace list
  sluice workspace remove 01234567-89ab-cdef-0123-456789abcdef";
const ADD_EXAMPLE: &str = "\
Examples:
  sluice workspace add 01234567-89ab-cdef-0123-456789abcdef
  sluice workspace add 01234567-89ab-cdef-0123-456789abcdef --cloud usgov --region usgovvirginia

Which hosts follow depends on azure.profiles; `sluice allowed-host list --effective` shows them. Regions
matter to the profiles monitor-agent and arc. A workspace that is on the list gets the cloud that is given
here, and the regions beside those it has; what is not given stays.";
const LIST_EXAMPLE: &str = "\
Example:
  sluice workspace list";
const REMOVE_EXAMPLE: &str = "\
Example:
  sluice workspace remove 01234567-89ab-cdef-0123-456789abcdef";

/// What to do with the workspaces.
#[derive(Debug, Subcommand)]
pub(in super::super) enum WorkspaceCommand {
    /// Shows the workspaces, each with its cloud and regions
    #[command(after_help = LIST_EXAMPLE)]
    List,
    /// Allows the hosts of workspaces
    #[command(after_help = ADD_EXAMPLE)]
    Add(AddFlags),
    /// Takes workspaces off the list, and with them their hosts
    #[command(after_help = REMOVE_EXAMPLE)]
    Remove {
        /// The id, a GUID
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

/// The words of `workspace add`.
#[derive(Args, Debug)]
pub(in super::super) struct AddFlags {
    /// The id, a GUID; the portal shows it in the overview of the workspace
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,

    /// Its cloud [default: azure.cloud]
    #[arg(long, value_parser = PossibleValuesParser::new(Cloud::ALL.map(Cloud::as_str)))]
    cloud: Option<String>,

    /// A region of its machines, as in westeurope; several times for several [default: azure.regions]
    #[arg(long = "region", value_name = "REGION")]
    regions: Vec<String>,
}

const WORKSPACES: List = List {
    key: "azure.workspaces",
    what: "workspace",
    read: |config, _| config.azure.workspaces.iter().map(|one| entry(one, config)).collect(),
};

pub(in super::super) fn run(file: Option<&Path>, command: &WorkspaceCommand) -> ExitCode {
    outcome::tell(match command {
        WorkspaceCommand::List => azure_list::list(file, &WORKSPACES),
        WorkspaceCommand::Add(flags) => {
            let has_options = flags.cloud.is_some() || !flags.regions.is_empty();
            let asked = |config: &Config, _: &Catalog| asked(flags, config);
            azure_list::add(file, &WORKSPACES, has_options, asked)
        }
        WorkspaceCommand::Remove { ids } => {
            let asked = |config: &Config, _: &Catalog| {
                let flags = AddFlags { ids: ids.clone(), cloud: None, regions: Vec::new() };
                asked(&flags, config)
            };
            azure_list::remove(file, &WORKSPACES, asked)
        }
    })
}

fn asked(flags: &AddFlags, config: &Config) -> Result<Vec<Entry>, Failure> {
    let mut wrong = Vec::new();
    let mut regions = Vec::new();
    for text in flags.regions.iter().flat_map(|regions| regions.split(',')) {
        match Region::parse(text) {
            Ok(region) if regions.contains(&region) => {}
            Ok(region) => regions.push(region),
            Err(why) => wrong.push(format!("\"{}\": {why}", shown(text))),
        }
    }
    let named = flags.cloud.as_deref();
    let cloud = Cloud::ALL.into_iter().find(|cloud| Some(cloud.as_str()) == named);
    let mut asked = Vec::new();
    for text in &flags.ids {
        match WorkspaceId::parse(text) {
            Ok(id) => {
                let there = config.azure.workspaces.iter().find(|one| one.id == id);
                let cloud = cloud.or_else(|| there?.cloud);
                let mut all = there.map(|there| there.regions.clone()).unwrap_or_default();
                let new = regions.iter().filter(|region| !all.contains(region)).cloned();
                let new: Vec<Region> = new.collect();
                all.extend(new);
                asked.push(entry(&Workspace { id, cloud, regions: all }, config));
            }
            Err(why) => wrong.push(format!("\"{}\": {why}", shown(text))),
        }
    }
    outcome::unless_wrong(asked, wrong)
}

fn entry(workspace: &Workspace, config: &Config) -> Entry {
    let id = workspace.id.as_str();
    let own: Vec<String> = workspace.regions.iter().map(|region| quoted(region.as_str())).collect();
    let cloud = workspace.cloud.map(|cloud| ("cloud", quoted(cloud.as_str())));
    let regions = (!own.is_empty()).then(|| ("regions", format!("[{}]", own.join(", "))));
    let parts = [Some(("id", quoted(id))), cloud, regions].into_iter().flatten().collect();
    let in_force = if own.is_empty() { &config.azure.regions } else { &workspace.regions };
    let names: Vec<&str> = in_force.iter().map(Region::as_str).collect();
    let regions = match names.len() {
        0 => String::new(),
        1 => format!(", region {}", names[0]),
        _ => format!(", regions {}", names.join(", ")),
    };
    let cloud = workspace.cloud.unwrap_or(config.azure.cloud).as_str();
    Entry {
        name: id.to_owned(),
        shown: id.to_owned(),
        options: format!("cloud {cloud}{regions}"),
        parts,
    }
}
