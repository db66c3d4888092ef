//! `sluice config get` and `config set`: any key of the configuration.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::edit::text::{Text, quoted};
use crate::config::keys::{DEFAULTS, Key, Setting};
use crate::config::load;
use crate::config::place::Place;
use crate::logic::policy::AllowMode;

use super::super::hint;
use super::azure_list;
use super::outcome::{self, Failure, OrWrong, change, place};

pub(in super::super) const EXAMPLE: &str = "\
Examples:
  sluice config get
  sluice config get limits.idle_ms
  sluice config set listen 8080";

const GET_EXAMPLE: &str = "\
Examples:
  sluice config get
  sluice config get limits
  sluice config get limits.idle_ms";

const SET_EXAMPLE: &str = "\
Examples:
  sluice config set listen 8080                     the port alone; the addresses stay
  sluice config set listen 10.0.0.1:8080 [::1]:8080
  sluice config set tls.min_version 1.3
  sluice config set allow.clients 10.0.0.0/8,192.168.0.0/16
  sluice config set allow.clients \"\"                an empty list";

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(in super::super) enum ConfigCommand {
    /// Shows what the configuration says, and the defaults of what it does not say
    #[command(after_help = GET_EXAMPLE)]
    Get {
        /// Only this key, as a plain value; or all keys of this section
        key: Option<String>,
    },
    /// Sets a key in the configuration file, and leaves everything else in it as it is
    #[command(after_help = SET_EXAMPLE)]
    Set(SetFlags),
}

/// The words of `config set`.
#[derive(Args, Debug)]
pub(in super::super) struct SetFlags {
    /// The key with its section, as `sluice config get` shows it
    key: String,

    /// The value. A list takes several, or one with commas; what a list held before goes
    #[arg(required = true, allow_negative_numbers = true, value_name = "VALUE")]
    values: Vec<String>,
}

pub(in super::super) fn run(file: Option<&Path>, command: &ConfigCommand) -> ExitCode {
    match command {
        ConfigCommand::Get { key: None } => outcome::tell(get_all(file, "")),
        ConfigCommand::Get { key: Some(key) } => get(file, key),
        ConfigCommand::Set(flags) => outcome::tell(set(file, flags)),
    }
}

/// One value, for a script: a text without quotes, a list with an entry on each line.
fn get(file: Option<&Path>, path: &str) -> ExitCode {
    let keys = load::keys();
    if keys.iter().any(|key| key.path.starts_with(&format!("{path}."))) {
        return outcome::tell(get_all(file, path));
    }
    let told = Key::find(path, &keys).map_err(Failure::Usage).and_then(|key| {
        let (text, file) = read(file)?;
        if key.is_secret() {
            let state = if text.has(path) { "set, and not shown" } else { "not set" };
            eprintln!("{path} is {state}.");
            return Ok(Vec::new());
        }
        let defaults = Text::new(DEFAULTS);
        let source = if text.has(path) { &text } else { &defaults };
        if !text.has(path) {
            eprintln!("This is the default; {file} does not say.");
        }
        Ok(match key.open_part(source) {
            Some(part) => {
                eprintln!("The query of {path} may be a token, and is not shown.");
                vec![part]
            }
            None => plain(source, path),
        })
    });
    outcome::tell(told)
}

/// Every key below `section`, as lines of TOML.
fn get_all(file: Option<&Path>, section: &str) -> Result<Vec<String>, Failure> {
    let (text, _) = read(file)?;
    let values = text.values().unwrap_or_default();
    let defaults = Text::new(DEFAULTS).values().unwrap_or_default();
    let within = |key: &Key| section.is_empty() || key.path.starts_with(&format!("{section}."));
    let line = |key: Key| {
        let path = &key.path;
        if let Some(part) = key.open_part(&text) {
            return format!("{path} = {}  # its query is not shown", quoted(&part));
        }
        match (values.get(path), defaults.get(path)) {
            (Some(_), _) if key.is_secret() => format!("# {path} is set, and not shown"),
            (Some(value), _) => format!("{path} = {value}"),
            (None, Some(default)) => format!("{path} = {default}  # default"),
            (None, None) => format!("# {path} is not set"),
        }
    };
    Ok(load::keys().into_iter().filter(within).map(line).collect())
}

fn plain(source: &Text, path: &str) -> Vec<String> {
    if let Some(text) = source.string(path) {
        return vec![text];
    }
    match source.strings(path) {
        Ok(entries) => entries.into_iter().map(|(_, entry)| entry).collect(),
        Err(_) => source.values().and_then(|mut values| values.remove(path)).into_iter().collect(),
    }
}

/// The text of a configuration that is right, and the name of its file.
fn read(file: Option<&Path>) -> Result<(Text, String), Failure> {
    let place = place(file);
    let text = load::text(&place).map_err(Failure::Configuration)?;
    Ok((text, place.file.display().to_string()))
}

fn set(file: Option<&Path>, flags: &SetFlags) -> Result<Vec<String>, Failure> {
    let key = Key::find(&flags.key, &load::keys()).map_err(Failure::Usage)?;
    let path = key.path.as_str();
    let place = place(file);
    if key.is_secret() {
        return Err(Failure::Usage(format!(
            "{path} is a secret, which a command line would show to everyone on this machine. Use {}",
            hint::command("relay-proxy set URL --username NAME --password-stdin", &place)
        )));
    }
    if key.has_query(&flags.values) {
        return Err(Failure::Usage(format!(
            "the query of {path} may hold a token, which a command line would show to everyone on \
             this machine. Write it into {} with an editor",
            place.file.display()
        )));
    }
    change(&place, &[path], |change| {
        let before = azure_list::configured(change);
        let setting = key.setting(&flags.values, &change.text).map_err(Failure::Usage)?;
        match setting {
            Setting::Scalar(value) => change.text.set(path, &value),
            Setting::List(entries) => change.text.set_list(path, &entries),
        }
        .or_wrong(change)?;
        let value = change.text.values().and_then(|mut values| values.remove(path));
        let value = value.unwrap_or_default();
        if change.text == *change.before() {
            return Ok(vec![format!("{path} is {value} already.")]);
        }
        let mut told = vec![format!("{path} = {value}")];
        if path == "allow.mode" {
            let after = azure_list::configured(change);
            told.extend(after.map(|after| of_mode(after.allow_mode, &place)));
        }
        if path.starts_with("azure.") {
            told.extend(before.iter().flat_map(|old| azure_list::consequences(change, old)));
        }
        Ok(told)
    })
}

fn of_mode(mode: AllowMode, place: &Place) -> String {
    match mode {
        AllowMode::Enforce => "Hosts that are not allowed are refused from now on.".to_owned(),
        AllowMode::Report => format!(
            "Hosts that are not allowed are LET THROUGH from now on, and only told of; {} lists them.",
            hint::command("allowed-host suggest", place)
        ),
    }
}
