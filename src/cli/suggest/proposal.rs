//! What would admit the targets that clients asked for: parts of `[azure]` where the names tell them, single
//! names for the rest.

use std::collections::HashMap;
use std::net::IpAddr;

use super::asked::Asked;
use super::grouping;
use super::widening::{Ground, Open, widened};
use crate::azure::catalog::Catalog;
use crate::azure::recognition::Recognised;
use crate::config::schema::Config;
use crate::logic::hosts::{HostPattern, HostVerdict};
use crate::proto::target::{Host, Target};

use super::super::hint::quoted;
use super::super::kept_feed;

/// Hosts in one command.
const HOSTS_A_COMMAND: usize = 20;

/// A proposal to a person.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Proposal {
    /// For each target, what would admit it, or admits it by now.
    pub(super) covered_by: Vec<String>,
    pub(super) commands: Vec<Proposed>,
    /// What could be typed instead by who knows more.
    pub(super) remarks: Vec<String>,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proposed {
    /// Words behind `sluice`, ready for a shell.
    pub(super) words: String,
    /// What it would admit beside the operator's own.
    pub(super) warnings: Vec<String>,
}

/// What to type for `asked`, beside what is allowed already. No command takes anything away.
pub(super) fn propose(asked: &[Asked], ground: &Ground<'_>) -> Proposal {
    let config = ground.config;
    let mut covered_by = vec![String::new(); asked.len()];
    let (mut open, mut places): (Vec<Open<'_>>, Vec<usize>) = (Vec::new(), Vec::new());
    for (place, one) in asked.iter().enumerate() {
        match config.hosts.judge(&one.target) {
            HostVerdict::Allowed(by) => covered_by[place] = allowed(by, &one.target, config),
            _ => {
                open.push((&one.target, recognise(&one.target, ground.catalog)));
                places.push(place);
            }
        }
    }
    let widened = widened(&open, ground);
    let origins: HashMap<&HostPattern, _> =
        widened.narrow.iter().map(|derived| (&derived.pattern, derived)).collect();
    let (mut hosts, mut targets): (Vec<String>, Vec<&Target>) = (Vec::new(), Vec::new());
    for (place, (target, recognised)) in places.into_iter().zip(&open) {
        if let HostVerdict::Allowed(by) = widened.admitted.judge(target) {
            let origin = origins.get(by).map(|one| format!("{}: {}", one.origin(), one.purpose));
            covered_by[place] = format!("azure: {}", origin.unwrap_or_default());
        } else if let Some(why) = oddity(target, ground) {
            covered_by[place] = format!("not suggested: {why}");
        } else {
            let host = pattern_of(target);
            covered_by[place] = format!("{host}{}", note(recognised));
            hosts.push(quoted(&host));
            targets.push(target);
        }
    }
    let mut commands = widened.commands;
    commands.extend(hosts.chunks(HOSTS_A_COMMAND).map(|hosts| Proposed {
        words: format!("allowed-host add {}", hosts.join(" ")),
        warnings: Vec::new(),
    }));
    let remarks = grouping::shared(&targets, ground.catalog).into_iter().map(|shared| {
        let wildcard = quoted(&shared.wildcard.to_string());
        let (suffix, names) = (shared.suffix, shared.names);
        format!(
            "if all of {suffix} is yours, which its {names} names do not tell: allowed-host add {wildcard}"
        )
    });
    Proposal { covered_by, commands, remarks: remarks.collect() }
}

fn allowed(by: &HostPattern, target: &Target, config: &Config) -> String {
    let is_fed = config.feed.is_some() && config.feed_hosts.contains(by);
    let feed = kept_feed::origin(config).filter(|_| is_fed);
    let feed = feed.map(|feed| format!(" ({feed})")).unwrap_or_default();
    let but = refused_address(target, config).map(|why| format!(", but {why}"));
    format!("allowed by now, by {by}{feed}{}", but.unwrap_or_default())
}

fn recognise(target: &Target, catalog: &Catalog) -> Vec<Recognised> {
    match &target.host {
        Host::Name(name) if target.port == 443 => catalog.recognise(name),
        _ => Vec::new(),
    }
}

/// Why hardly anyone should allow this target.
fn oddity(target: &Target, ground: &Ground<'_>) -> Option<String> {
    match &target.host {
        Host::Address(_) => refused_address(target, ground.config),
        Host::Name(name) => {
            let why = match name.split('.').collect::<Vec<_>>()[..] {
                [_] => "a name of one label is another host in each network",
                [second, country] if country.len() == 2 && SECOND_LEVELS.contains(&second) => {
                    "a suffix of many owners, and no host"
                }
                _ if ground.catalog.is_above_everyones(name) => {
                    "a suffix of everyone's names, and no host"
                }
                _ => return None,
            };
            Some(why.to_owned())
        }
    }
}

/// Labels below which a country registers names, as `co.uk` is one.
const SECOND_LEVELS: [&str; 8] = ["ac", "co", "com", "edu", "gov", "net", "or", "org"];

fn refused_address(target: &Target, config: &Config) -> Option<String> {
    let judge = |address: IpAddr| config.addresses.judge(address).err();
    let Host::Address(address) = target.host else { return None };
    let kind = judge(address)?;
    Some(format!("the address is {kind}: refused unless allow.addresses names it too"))
}

/// The target as `allow.hosts` spells it.
fn pattern_of(target: &Target) -> String {
    let text = target.to_string();
    // A target is a pattern without a star.
    HostPattern::parse(&text).map_or(text, |pattern| pattern.to_string())
}

/// What is to be known of a target that is proposed as it is.
fn note(recognised: &[Recognised]) -> String {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::load::parse_aside;

    const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    fn proposal(text: &str, targets: &[&str]) -> Proposal {
        let config = parse_aside(text.as_bytes(), Path::new("f.toml")).unwrap();
        let asked: Vec<Asked> = targets
            .iter()
            .map(|text| {
                let text = text.replace("ID", ID);
                let authority = if text.contains(':') { text } else { format!("{text}:443") };
                Asked {
                    target: Target::parse(authority.as_bytes()).unwrap(),
                    count: 1,
                    let_through: 0,
                    clients: Vec::new(),
                    more_clients: false,
                }
            })
            .collect();
        let has_profiles = text.contains("azure.profiles");
        propose(&asked, &Ground { config: &config, catalog: Catalog::built_in(), has_profiles })
    }

    fn words(proposal: &Proposal) -> Vec<&str> {
        proposal.commands.iter().map(|command| command.words.as_str()).collect()
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
                    "global.handler.control.monitor.azure.com",
                    "westeurope.handler.control.monitor.azure.com",
                    "ID.ods.opinsights.azure.com",
                    "www.test.com",
                ],
                &[
                    "config set azure.profiles monitor-agent",
                    "config set azure.regions westeurope",
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
            assert_eq!(words(&proposal(config, targets)), commands, "{targets:?}");
        }
    }

    #[test]
    fn a_suggestion_never_takes_anything_away() {
        let monitors = "azure.profiles = [\"monitor-agent\"]\nazure.regions = [\"westeurope\"]\n";
        let arc = "azure.profiles = [\"monitor-agent\", \"arc\"]\n";
        let worker = "azure.profiles = [\"hybrid-worker\"]\n";
        let us = "11111111-89ab-cdef-0123-456789abcdef";
        let rows: [(&str, &[&str], &[&str]); 7] = [
            // Clouds would follow the first workspace, and everything of the public one would go.
            (
                monitors,
                &["ID.ods.opinsights.azure.us"],
                &["allowed-host add ID.ods.opinsights.azure.us"],
            ),
            (
                arc,
                &["ID.ods.opinsights.azure.cn"],
                &["allowed-host add ID.ods.opinsights.azure.cn"],
            ),
            (
                monitors,
                &["ID.ods.opinsights.azure.com", &format!("{us}.ods.opinsights.azure.us")],
                &["workspace add ID", &format!("allowed-host add {us}.ods.opinsights.azure.us")],
            ),
            // The default cloud stays.
            (
                "",
                &[
                    "global.handler.control.monitor.azure.us",
                    "usgovvirginia.handler.control.monitor.azure.us",
                ],
                &["allowed-host add global.handler.control.monitor.azure.us \
                   usgovvirginia.handler.control.monitor.azure.us"],
            ),
            // Lists are merged.
            (
                worker,
                &["global.handler.control.monitor.azure.com", "global.prod.microsoftmetrics.com"],
                &["config set azure.profiles hybrid-worker,monitor-agent"],
            ),
            (
                monitors,
                &["eastus.handler.control.monitor.azure.com"],
                &["config set azure.regions westeurope,eastus"],
            ),
            // No region of one cloud in another.
            (
                monitors,
                &["usgovvirginia.handler.control.monitor.azure.com"],
                &["allowed-host add usgovvirginia.handler.control.monitor.azure.com"],
            ),
        ];
        for (config, targets, commands) in rows {
            let commands: Vec<String> =
                commands.iter().map(|text| text.replace("ID", ID)).collect();
            assert_eq!(words(&proposal(config, targets)), commands, "{config} {targets:?}");
        }
    }

    #[test]
    fn what_is_wide_is_warned_of_beside_the_command() {
        let names = ["ID.oms.opinsights.azure.com", "acc.blob.core.windows.net"];
        let legacy = proposal("", &names);
        let [workspace, storage] = &legacy.commands[..] else { panic!("{legacy:?}") };
        assert!(workspace.words.starts_with("workspace add"), "{legacy:?}");
        assert!(workspace.warnings[0].starts_with("*.blob.core.windows.net admits"), "{legacy:?}");
        let single = ("allowed-host add acc.blob.core.windows.net", 0);
        assert_eq!((storage.words.as_str(), storage.warnings.len()), single);
        let told = &legacy.covered_by[1];
        assert!(told.contains("admits the storage accounts of everyone"), "{told}");
        let monitor = proposal("", &["ID.ods.opinsights.azure.com"]);
        assert!(monitor.commands.iter().all(|one| one.warnings.is_empty()), "{monitor:?}");
    }

    #[test]
    fn what_shares_a_suffix_is_only_remarked_on() {
        for suffix in ["s3.amazonaws.com", "vault.azure.net", "logs.test.com"] {
            let names = ["a", "b", "c"].map(|name| format!("{name}.{suffix}"));
            let told = proposal("", &names.each_ref().map(String::as_str));
            let single = format!("allowed-host add a.{suffix} b.{suffix} c.{suffix}");
            let has_remark = told.remarks.iter().any(|remark| {
                remark.starts_with(&format!("if all of {suffix} is yours"))
                    && remark.ends_with(&format!("'*.{suffix}'"))
            });
            // Three labels make a suffix; below two nothing is said at all.
            assert_eq!((words(&told), has_remark), (vec![single.as_str()], true), "{told:?}");
        }
    }

    #[test]
    fn what_hardly_anyone_should_type_is_marked() {
        let names = [
            "com",
            "intranet",
            "co.uk",
            "core.windows.net",
            "blob.core.windows.net",
            "169.254.169.254",
        ];
        let told = proposal("", &names);
        assert_eq!(words(&told), [""; 0]);
        assert!(told.covered_by.iter().all(|by| by.starts_with("not suggested: ")), "{told:?}");
        let admits = "allow.addresses = [\"10.0.0.0/8\"]";
        assert_eq!(words(&proposal(admits, &["10.1.2.3"])), ["allowed-host add 10.1.2.3"]);
    }

    #[test]
    fn what_the_addresses_would_refuse_is_told() {
        let told = proposal("", &["169.254.169.254", "[::1]:8443", "93.184.216.34"]).covered_by;
        assert!(told[0].contains("allow.addresses"), "{told:?}");
        assert!(told[1].contains("the address is"), "{told:?}");
        assert_eq!(told[2], "93.184.216.34");
        let told = proposal("allow.hosts = [\"10.1.2.3\"]", &["10.1.2.3"]).covered_by;
        let but = "allowed by now, by 10.1.2.3, but the address is";
        assert!(told[0].starts_with(but) && told[0].contains("refused unless"), "{told:?}");
    }

    #[test]
    fn many_thousand_targets_take_no_long_time() {
        let names: Vec<String> = (0..4_000)
            .map(|number| match number % 2 {
                0 => format!("{number:08x}-89ab-cdef-0123-456789abcdef.ods.opinsights.azure.com"),
                _ => format!("t{number}.test.com"),
            })
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let told = proposal("", &names);
        assert_eq!(told.commands.len(), 1 + 100 + 100, "{:?}", told.commands.first());
    }

    #[test]
    fn each_command_is_a_few_words_for_a_shell() {
        let names: Vec<String> = (0..45).map(|number| format!("t{number}.test")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(proposal("", &names).commands.len(), 3);
    }
}
