//! What would admit the targets that clients asked for: parts of `[azure]` where the names tell them, patterns
//! for the rest. What is proposed under `[azure]` is expanded as the gateway would, and only what comes of
//! that counts as covered.

use super::asked::Asked;
use super::grouping;
use crate::azure::catalog::Catalog;
use crate::azure::expansion::Derived;
use crate::azure::recognition::{Part, Recognised};
use crate::azure::wanted::{HybridWorker, Profile, Registered, Wanted, Workspace};
use crate::config::schema::Config;
use crate::logic::hosts::{HostPattern, HostVerdict, Hosts};
use crate::proto::target::{Host, Target};

/// Hosts in one command.
const HOSTS_A_COMMAND: usize = 20;
/// The narrowest first: it is proposed where several would do.
const PROFILES: [Profile; 4] =
    [Profile::MonitorAgent, Profile::LegacyAgent, Profile::HybridWorker, Profile::Arc];

/// A proposal to a person.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Proposal {
    /// For each target, what would admit it, or admits it by now.
    pub(super) covered_by: Vec<String>,
    /// Words behind `sluice`, ready for a shell.
    pub(super) commands: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// What to type for `asked`, beside what `config` allows already.
pub(super) fn propose(asked: &[Asked], config: &Config, catalog: &Catalog) -> Proposal {
    let mut proposal =
        Proposal { covered_by: vec![String::new(); asked.len()], ..Proposal::default() };
    let mut open: Vec<usize> = Vec::new();
    for (place, one) in asked.iter().enumerate() {
        match config.hosts.judge(&one.target) {
            HostVerdict::Allowed(by) => {
                proposal.covered_by[place] = format!("allowed by now, by {by}");
            }
            _ => open.push(place),
        }
    }
    let recognised: Vec<Vec<Recognised>> =
        open.iter().map(|place| recognise(&asked[*place].target, catalog)).collect();
    let wanted = widened(&recognised, config);
    let derived = catalog.expand(&wanted);
    let admitted = Hosts::new(derived.iter().map(|derived| derived.pattern.clone()));
    let mut rest = Vec::new();
    for (place, recognised) in open.into_iter().zip(&recognised) {
        match admitted.judge(&asked[place].target) {
            HostVerdict::Allowed(by) => proposal.covered_by[place] = origin(by, &derived),
            _ => rest.push((place, recognised)),
        }
    }
    if proposal.covered_by.iter().any(|by| by.starts_with("azure: ")) {
        proposal.commands = azure_commands(&config.azure, &wanted);
        proposal.warnings = azure_warnings(&derived, config);
    }
    let targets: Vec<&Asked> = rest.iter().map(|(place, _)| &asked[*place]).collect();
    let patterns = grouping::patterns(&targets, catalog);
    let mut hosts: Vec<&HostPattern> = Vec::new();
    for ((place, recognised), pattern) in rest.iter().zip(&patterns) {
        let note = note(&asked[*place].target, recognised, config);
        proposal.covered_by[*place] = format!("{pattern}{note}");
        if !hosts.contains(&pattern) {
            hosts.push(pattern);
        }
    }
    for wide in hosts.iter().filter(|pattern| pattern.is_wildcard()) {
        let names = patterns.iter().filter(|pattern| pattern == wide).count();
        proposal.warnings.push(format!(
            "{wide} admits every name below it, not only the {names} that were asked for: make sure that \
             all of it is yours"
        ));
    }
    for hosts in hosts.chunks(HOSTS_A_COMMAND) {
        let words: Vec<String> = hosts.iter().map(|host| quoted(&host.to_string())).collect();
        proposal.commands.push(format!("allowed-host add {}", words.join(" ")));
    }
    proposal
}

fn recognise(target: &Target, catalog: &Catalog) -> Vec<Recognised> {
    match &target.host {
        Host::Name(name) if target.port == 443 => catalog.recognise(name),
        _ => Vec::new(),
    }
}

/// The section `[azure]` with what the names tell. A name that only a pattern over everyone's names would
/// bring is no reason to open that.
fn widened(recognised: &[Vec<Recognised>], config: &Config) -> Wanted {
    let narrow = |one: &&Recognised| one.warning.is_none();
    let mut wanted = config.azure.clone();
    let is_in_use = !config.derived_hosts.is_empty();
    let mut profiles = if is_in_use { wanted.profiles.clone() } else { Vec::new() };
    add_profiles(&mut profiles, recognised);
    let brought = |one: &&Recognised| {
        narrow(one) && one.profiles.iter().any(|profile| profiles.contains(profile))
    };
    let parts: Vec<&Part> = recognised
        .iter()
        .filter_map(|all| {
            let is_worker = |one: &&Recognised| narrow(one) && one.profiles.is_empty();
            all.iter().find(brought).or_else(|| all.iter().find(is_worker))
        })
        .map(|one| &one.part)
        .collect();
    let cloud = parts.iter().find_map(|part| match part {
        Part::Workspace(_, cloud) | Part::Region(_, cloud) | Part::Cloud(cloud) => Some(*cloud),
        Part::HybridWorker(_) => None,
    });
    if !is_in_use && let Some(cloud) = cloud {
        wanted.cloud = cloud;
    }
    for part in parts {
        add_part(&mut wanted, part);
    }
    if !profiles.is_empty() {
        wanted.profiles = profiles;
    }
    wanted
}

/// Adds the profiles that most names ask for, one after the other. One name that every machine may ask for
/// is not enough for a whole profile.
fn add_profiles(profiles: &mut Vec<Profile>, recognised: &[Vec<Recognised>]) {
    let motives = |all: &[Recognised], profile: Profile| -> Option<bool> {
        let narrow = all.iter().filter(|one| one.warning.is_none());
        let mut motive = narrow.filter(|one| one.profiles.contains(&profile));
        motive.next().map(|one| !matches!(one.part, Part::Cloud(_)))
    };
    let mut left: Vec<&Vec<Recognised>> = recognised
        .iter()
        .filter(|all| !profiles.iter().any(|profile| motives(all, *profile).is_some()))
        .collect();
    loop {
        let mut best: Option<(usize, Profile)> = None;
        for profile in PROFILES {
            let found: Vec<bool> = left.iter().filter_map(|all| motives(all, profile)).collect();
            let is_enough = found.len() > 1 || found.contains(&true);
            if is_enough && best.is_none_or(|(names, _)| found.len() > names) {
                best = Some((found.len(), profile));
            }
        }
        let Some((_, profile)) = best else { return };
        profiles.push(profile);
        left.retain(|all| motives(all, profile).is_none());
    }
}

fn add_part(wanted: &mut Wanted, part: &Part) {
    match part {
        Part::Workspace(id, cloud) => {
            if wanted.workspaces.iter().all(|known| known.id != *id) {
                let cloud = (*cloud != wanted.cloud).then_some(*cloud);
                let workspace = Workspace { id: id.clone(), cloud, regions: Vec::new() };
                wanted.workspaces.push(workspace);
            }
        }
        Part::Region(region, _) => {
            if !wanted.regions.contains(region) {
                wanted.regions.push(region.clone());
            }
        }
        Part::Cloud(_) => {}
        Part::HybridWorker(worker) => {
            match wanted.hybrid_workers.iter_mut().find(|known| known.code == worker.code) {
                Some(known) if worker.registered == Registered::Cmdlet => {
                    known.registered = Registered::Cmdlet;
                }
                Some(_) => {}
                None => wanted.hybrid_workers.push(worker.clone()),
            }
        }
    }
}

fn azure_commands(before: &Wanted, after: &Wanted) -> Vec<String> {
    let mut commands = Vec::new();
    if before.cloud != after.cloud {
        commands.push(format!("config set azure.cloud {}", after.cloud.as_str()));
    }
    if before.profiles != after.profiles {
        let profiles: Vec<&str> = after.profiles.iter().map(|profile| profile.as_str()).collect();
        commands.push(format!("config set azure.profiles {}", profiles.join(",")));
    }
    if before.regions != after.regions {
        let regions: Vec<&str> = after.regions.iter().map(|region| region.as_str()).collect();
        commands.push(format!("config set azure.regions {}", regions.join(",")));
    }
    for workspace in after.workspaces.iter().filter(|one| !before.workspaces.contains(one)) {
        let cloud = workspace.cloud.map(|cloud| format!(" --cloud {}", cloud.as_str()));
        commands.push(format!("workspace add {}{}", workspace.id, cloud.unwrap_or_default()));
    }
    for worker in after.hybrid_workers.iter().filter(|one| !before.hybrid_workers.contains(one)) {
        let HybridWorker { code, registered } = worker;
        let code = quoted(code);
        commands.push(format!("hybrid-worker add {code} --registered {}", registered.as_str()));
    }
    commands
}

fn azure_warnings(derived: &[Derived], config: &Config) -> Vec<String> {
    let is_new =
        |one: &&Derived| config.derived_hosts.iter().all(|known| known.pattern != one.pattern);
    let warning = |one: &Derived| Some(format!("{} {}", one.pattern, one.warning.as_ref()?));
    derived.iter().filter(is_new).filter_map(warning).collect()
}

fn origin(by: &HostPattern, derived: &[Derived]) -> String {
    let found = derived.iter().find(|one| one.pattern == *by);
    found.map_or_else(String::new, |one| format!("azure: {}: {}", one.origin(), one.purpose))
}

/// What is to be known of a target that is proposed as it is.
fn note(target: &Target, recognised: &[Recognised], config: &Config) -> String {
    if let Host::Address(address) = &target.host
        && let Err(kind) = config.addresses.judge(*address)
    {
        return format!(" (the address is {kind}: refused unless allow.addresses names it too)");
    }
    let warned = recognised.iter().find_map(|one| Some((one, one.warning.as_ref()?)));
    match warned {
        Some((one, warning)) if one.profiles.is_empty() => {
            format!(" ({}: a whole location {warning})", one.purpose)
        }
        Some((one, warning)) => {
            let profiles: Vec<&str> = one.profiles.iter().map(|profile| profile.as_str()).collect();
            format!(" ({}: the profile {} {warning})", one.purpose, profiles.join(" or "))
        }
        None => String::new(),
    }
}

/// As one word of a shell.
pub(super) fn quoted(text: &str) -> String {
    let is_plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'/');
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::load::parse_aside;

    const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    fn proposal(config: &str, targets: &[&str]) -> Proposal {
        let config = parse_aside(config.as_bytes(), Path::new("f.toml")).unwrap();
        let asked: Vec<Asked> = targets
            .iter()
            .map(|text| {
                let text = text.replace("ID", ID);
                let authority = if text.contains(':') { text } else { format!("{text}:443") };
                Asked {
                    target: Target::parse(authority.as_bytes()).unwrap(),
                    count: 1,
                    clients: Vec::new(),
                    more_clients: false,
                }
            })
            .collect();
        propose(&asked, &config, Catalog::built_in())
    }

    #[test]
    fn names_become_the_shortest_thing_to_type() {
        let rows: [(&str, &[&str], &[&str]); 10] = [
            ("", &["www.test.com", "b.test:8443"], &["allowed-host add www.test.com b.test:8443"]),
            (
                "",
                &["ID.ods.opinsights.azure.com"],
                &["config set azure.profiles monitor-agent", "workspace add ID"],
            ),
            (
                "",
                &["ID.ods.opinsights.azure.com", "ID.oms.opinsights.azure.com"],
                &["workspace add ID"],
            ),
            (
                "",
                &[
                    "global.handler.control.monitor.azure.us",
                    "usgovvirginia.handler.control.monitor.azure.us",
                    "ID.ods.opinsights.azure.us",
                    "www.test.com",
                ],
                &[
                    "config set azure.cloud usgov",
                    "config set azure.profiles monitor-agent",
                    "config set azure.regions usgovvirginia",
                    "workspace add ID",
                    "allowed-host add www.test.com",
                ],
            ),
            (
                "azure.workspaces = [\"11111111-89ab-cdef-0123-456789abcdef\"]",
                &["ID.ods.opinsights.azure.cn", "westeurope.handler.control.monitor.azure.com"],
                &[
                    "config set azure.profiles legacy-agent,monitor-agent",
                    "config set azure.regions westeurope",
                    "workspace add ID --cloud china",
                ],
            ),
            (
                "",
                &["we-agentservice-prod-1.azure-automation.net"],
                &["hybrid-worker add we --registered cmdlet"],
            ),
            // One name of many services, and names that only a pattern over everyone's would bring.
            ("", &["login.microsoftonline.com"], &["allowed-host add login.microsoftonline.com"]),
            ("", &["acc.blob.core.windows.net"], &["allowed-host add acc.blob.core.windows.net"]),
            (
                "",
                &["a.jrds.we.azure-automation.net"],
                &["allowed-host add a.jrds.we.azure-automation.net"],
            ),
            ("allow.hosts = [\"*.test.com\"]", &["www.test.com"], &[]),
        ];
        for (config, targets, commands) in rows {
            let commands: Vec<String> =
                commands.iter().map(|text| text.replace("ID", ID)).collect();
            assert_eq!(proposal(config, targets).commands, commands, "{targets:?}");
        }
    }

    #[test]
    fn what_is_wide_is_warned_of() {
        let legacy = proposal("", &["ID.oms.opinsights.azure.com"]);
        assert!(legacy.warnings[0].starts_with("*.blob.core.windows.net admits"), "{legacy:?}");
        let monitor = proposal("", &["ID.ods.opinsights.azure.com"]);
        assert!(monitor.warnings.is_empty(), "{monitor:?}");
        let group = proposal("", &["a.logs.test.com", "b.logs.test.com", "c.logs.test.com"]);
        assert_eq!(group.commands, ["allowed-host add '*.logs.test.com'"]);
        assert!(group.warnings[0].contains("not only the 3"), "{group:?}");
        let storage = proposal("", &["acc.blob.core.windows.net"]);
        assert!(
            storage.covered_by[0].contains("admits the storage accounts of everyone"),
            "{storage:?}"
        );
    }

    #[test]
    fn what_the_addresses_would_refuse_is_told() {
        let told = proposal("", &["169.254.169.254", "[::1]:8443", "93.184.216.34"]).covered_by;
        assert!(told[0].contains("allow.addresses"), "{told:?}");
        assert!(told[1].starts_with("[::1]:8443 (the address is"), "{told:?}");
        assert_eq!(told[2], "93.184.216.34");
    }

    #[test]
    fn each_command_is_a_few_words_for_a_shell() {
        let names: Vec<String> = (0..45).map(|number| format!("t{number}.test")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(proposal("", &names).commands.len(), 3);
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted("*.test.com"), "'*.test.com'");
    }
}
