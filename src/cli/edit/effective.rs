//! What follows from the section `[azure]`, and what the feed brings, as entries of the two lists: hosts and
//! subjects, each with its origin and what there is to know of it.

use std::path::Path;

use crate::azure::catalog::Catalog;
use crate::config::edit::text::Text;
use crate::config::load;
use crate::config::schema::Config;
use crate::config::workspaces;
use crate::logic::hosts::HostPattern;

use super::super::kept_feed;
use super::allowed::{Entry, List, canonical_subject};

/// Entries that follow from the configuration `text`, which `file` holds; none where it is wrong, which is
/// told when it is judged.
pub(super) fn entries(text: &Text, list: &List, file: &Path) -> Vec<Entry> {
    let config = load::parse_aside(text.as_str().as_bytes(), file);
    config.map(|config| (list.follows)(&config)).unwrap_or_default()
}

pub(super) fn hosts(config: &Config) -> Vec<Entry> {
    let entry = |derived: &crate::azure::expansion::Derived| {
        let sources = derived.sources.join(", ");
        let warning = derived.warning.iter().map(|warning| format!("warning: {warning}"));
        let uncertain = derived.uncertain.iter().map(|what| format!("uncertain: {what}"));
        Entry {
            text: derived.pattern.to_string(),
            canonical: derived.pattern.to_string(),
            origin: format!("{}: {} [{sources}]", derived.origin(), derived.purpose),
            notes: warning.chain(uncertain).collect(),
        }
    };
    let of_feed = |pattern: &HostPattern| Entry {
        text: pattern.to_string(),
        canonical: pattern.to_string(),
        origin: kept_feed::origin(config).unwrap_or_default(),
        notes: Vec::new(),
    };
    let kept = kept_feed::hosts(config);
    config.derived_hosts.iter().map(entry).chain(kept.iter().map(of_feed)).collect()
}

pub(super) fn subjects(config: &Config) -> Vec<Entry> {
    if !config.allows_workspace_certificates {
        return Vec::new();
    }
    let entry = |id: &str| Entry {
        text: id.to_owned(),
        canonical: canonical_subject(id).unwrap_or_default(),
        origin: format!("azure.client_certificates, workspace {id}"),
        notes: Vec::new(),
    };
    config.azure.workspaces.iter().map(|workspace| entry(workspace.id.as_str())).collect()
}

/// Lines of an effective list: each entry with its origins, its notes below it as comments, and at the end
/// what the short names of sources stand for.
pub(super) fn lines(
    listed: Vec<Entry>,
    following: Vec<Entry>,
    text: &Text,
    file: &Path,
) -> Vec<String> {
    let mut all = listed;
    for entry in following {
        match all.iter_mut().find(|known| known.canonical == entry.canonical) {
            Some(known) => {
                known.origin = format!("{}; {}", known.origin, entry.origin);
                known.notes.extend(entry.notes);
            }
            None => all.push(entry),
        }
    }
    let width = all.iter().map(|entry| entry.text.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for entry in &all {
        lines.push(format!("{:<width$}  {}", entry.text, entry.origin));
        lines.extend(entry.notes.iter().map(|note| format!("# {note}")));
    }
    // A list that cannot be read is a problem of the file, which was judged before.
    if let Ok(catalog) = workspaces::catalog(text, file) {
        lines.extend(legend(&catalog, &lines));
    }
    lines
}

fn legend(catalog: &Catalog, lines: &[String]) -> Vec<String> {
    let is_named = |name: &str| {
        let behind = lines.iter().filter_map(|line| line.split_once('[')).map(|(_, rest)| rest);
        behind.flat_map(|names| names.split([',', ']'])).any(|one| one.trim() == name)
    };
    let sources = catalog.sources.iter().filter(|(name, _)| is_named(name));
    sources.map(|(name, source)| format!("# {name}: {source}")).collect()
}
