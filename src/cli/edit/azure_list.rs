//! Entries of the lists of `[azure]`, which are strings, or tables where an entry has options: added, changed
//! and removed by name, however the file spells them.

use std::collections::HashSet;
use std::path::Path;

use crate::azure::catalog::Catalog;
use crate::config::edit::change::Change;
use crate::config::edit::headers::Parts;
use crate::config::edit::text::Unfit;
use crate::config::load;
use crate::config::schema::Config;
use crate::config::workspaces;
use crate::logic::hosts::HostPattern;

use super::super::hint;
use super::outcome::{Failure, OrWrong, change, place};

/// Patterns that are named when they do not follow any more.
const LOST_SHOWN: usize = 20;

/// One of the lists.
pub(super) struct List {
    pub(super) key: &'static str,
    /// What an entry is, as in "workspace".
    pub(super) what: &'static str,
    /// The entries of a configuration, in the order of the file.
    pub(super) read: fn(&Config, &Catalog) -> Vec<Entry>,
}

/// An entry of the file or of the command line.
pub(super) struct Entry {
    /// By which entries are compared.
    pub(super) name: String,
    /// What people call it.
    pub(super) shown: String,
    /// Its options in words.
    pub(super) options: String,
    /// The whole, as TOML spells it.
    pub(super) parts: Parts,
}

/// The entries, a line for each.
pub(super) fn list(file: Option<&Path>, list: &List) -> Result<Vec<String>, Failure> {
    let place = place(file);
    let text = load::text(&place).map_err(Failure::Configuration)?;
    let config = load::read_aside(&place).map_err(Failure::Configuration)?.config;
    let catalog = workspaces::catalog(&text, &place.file).map_err(Failure::Failed)?;
    let entries = (list.read)(&config, &catalog);
    if entries.is_empty() {
        eprintln!("{} lists no {}.", place.file.display(), list.what);
    }
    let width = entries.iter().map(|entry| entry.shown.chars().count()).max().unwrap_or(0);
    let line = |entry: Entry| format!("{:<width$}  {}", entry.shown, entry.options);
    Ok(entries.into_iter().map(line).collect())
}

/// Adds what `asked` gives. An entry that is there already stays as it is, unless options are given and
/// are others: then it gets those.
pub(super) fn add(
    file: Option<&Path>,
    list: &List,
    has_options: bool,
    asked: impl FnOnce(&Config, &Catalog) -> Result<Vec<Entry>, Failure>,
) -> Result<Vec<String>, Failure> {
    change(&place(file), &[list.key], |change| {
        let (before, there, asked) = prepare(change, list, asked)?;
        let mut new: Vec<Entry> = Vec::new();
        let mut told = Vec::new();
        for entry in asked {
            let shown = &entry.shown;
            match there.iter().position(|one| one.name == entry.name) {
                Some(at) if has_options && there[at].parts != entry.parts => {
                    told.push(format!("{shown} has other options now: {}.", entry.options));
                    change.text.replace_entry(list.key, at, &entry.parts).or_wrong(change)?;
                }
                Some(at) => {
                    let origin = origin(change, list, at);
                    let options = &there[at].options;
                    told.push(format!("{shown} is on the list already ({origin}): {options}."));
                }
                None if new.iter().any(|other| other.name == entry.name) => {}
                None => {
                    told.push(format!("{shown} is on the list now: {}.", entry.options));
                    new.push(entry);
                }
            }
        }
        let new: Vec<Parts> = new.into_iter().map(|entry| entry.parts).collect();
        change.text.append_entries(list.key, &new).or_wrong(change)?;
        told.extend(consequences(change, &before));
        Ok(told)
    })
}

/// Takes out what `asked` gives.
pub(super) fn remove(
    file: Option<&Path>,
    list: &List,
    asked: impl FnOnce(&Config, &Catalog) -> Result<Vec<Entry>, Failure>,
) -> Result<Vec<String>, Failure> {
    change(&place(file), &[list.key], |change| {
        let (before, there, asked) = prepare(change, list, asked)?;
        let is_there = |entry: &&Entry| there.iter().any(|one| one.name == entry.name);
        let missing: Vec<String> = asked
            .iter()
            .filter(|entry| !is_there(entry))
            .map(|entry| {
                format!("{} is not on the list in {}", entry.shown, change.named().display())
            })
            .collect();
        if !missing.is_empty() {
            return Err(Failure::Failed(format!("{}\nNothing was changed", missing.join("\n"))));
        }
        let goes = |place: &usize| asked.iter().any(|entry| entry.name == there[*place].name);
        let places: Vec<usize> = (0..there.len()).filter(goes).collect();
        change.text.take_out(list.key, &places).or_wrong(change)?;
        let mut told: Vec<String> =
            asked.iter().map(|entry| format!("{} is off the list.", entry.shown)).collect();
        if places.len() == there.len() {
            told.push(format!("No {} is on it now.", list.what));
        }
        told.extend(consequences(change, &before));
        Ok(told)
    })
}

/// The configuration before the change, its entries, and those that are asked for.
fn prepare(
    change: &Change,
    list: &List,
    asked: impl FnOnce(&Config, &Catalog) -> Result<Vec<Entry>, Failure>,
) -> Result<(Config, Vec<Entry>, Vec<Entry>), Failure> {
    let wrong = || Failure::Change(change.unfit(Unfit));
    let config = configured(change).ok_or_else(wrong)?;
    let catalog = workspaces::catalog(&change.text, change.named()).map_err(|_| wrong())?;
    let there = (list.read)(&config, &catalog);
    // Places are those of the file, so that none may have been passed over.
    if there.len() != change.text.offsets(list.key).len() {
        return Err(wrong());
    }
    let asked = asked(&config, &catalog)?;
    Ok((config, there, asked))
}

/// The configuration as it would be; none where it is wrong, which is told when the change is finished.
pub(super) fn configured(change: &Change) -> Option<Config> {
    load::parse_aside(change.text.as_str().as_bytes(), change.named()).ok()
}

/// How many hosts follow now, which do not any more, and what is to be known of those that did not before.
pub(super) fn consequences(change: &Change, before: &Config) -> Vec<String> {
    let Some(after) = configured(change).filter(|_| change.text != *change.before()) else {
        return Vec::new();
    };
    let count = after.derived_hosts.len();
    let mut told = vec![format!(
        "From the section azure {} now; {} shows them all.",
        match count {
            0 => "no host pattern follows".to_owned(),
            1 => "1 host pattern follows".to_owned(),
            many => format!("{many} host patterns follow"),
        },
        hint::command("allowed-host list --effective", change.place())
    )];
    let known = |config: &Config| -> HashSet<HostPattern> {
        config.derived_hosts.iter().map(|derived| derived.pattern.clone()).collect()
    };
    let (old, new) = (known(before), known(&after));
    let lost = before.derived_hosts.iter().filter(|one| !new.contains(&one.pattern));
    told.extend(no_longer(lost.map(|derived| derived.pattern.to_string()).collect()));
    for derived in after.derived_hosts.iter().filter(|one| !old.contains(&one.pattern)) {
        if let Some(warning) = &derived.warning {
            told.push(format!("Warning: {} {warning}.", derived.pattern));
        }
    }
    told
}

fn no_longer(lost: Vec<String>) -> Option<String> {
    let more = lost.len().saturating_sub(LOST_SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    let shown = lost.iter().take(LOST_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    (!lost.is_empty()).then(|| format!("No longer follow: {shown}{rest}."))
}

fn origin(change: &Change, list: &List, place: usize) -> String {
    let offset = change.before().offsets(list.key).get(place).copied().unwrap_or_default();
    let (line, column) = change.before().position(offset);
    format!("{}:{line}:{column}", change.named().display())
}
