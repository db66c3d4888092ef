//! Host patterns for what is wanted, each with where it comes from.

use std::collections::HashMap;
use std::fmt;

use super::catalog::{Catalog, Endpoint, Per};
use super::wanted::{Cloud, Profile, Region, Registered, Wanted};
use crate::logic::hosts::HostPattern;

/// One host pattern that follows from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// The pattern.
    pub pattern: HostPattern,
    /// Why it is there; more than one where several entries come to the same name.
    pub origins: Vec<Origin>,
    /// What it is for.
    pub purpose: String,
    /// Where that is written, in short names of the data file.
    pub sources: Vec<String>,
    /// What it admits beside the operator's own.
    pub warning: Option<String>,
    /// What could not be confirmed.
    pub uncertain: Option<String>,
}

/// What a pattern follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A profile, for this workspace, region or cloud.
    Profile(Profile, String),
    /// A place of Hybrid Runbook Workers, by its name in the portal.
    HybridWorker(String, Registered),
}

impl Derived {
    /// Why it is there, in one line.
    pub fn origin(&self) -> String {
        let origins: Vec<String> = self.origins.iter().map(ToString::to_string).collect();
        origins.join("; ")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Profile(profile, whose) => write!(f, "{}, {whose}", profile.as_str()),
            Origin::HybridWorker(place, registered) => {
                write!(f, "hybrid worker in {place}, registered {}", registered.as_str())
            }
        }
    }
}

impl Catalog {
    /// All patterns for `wanted`, each once, in the order of the data file.
    pub fn expand(&self, wanted: &Wanted) -> Vec<Derived> {
        let mut found = Found::default();
        for endpoint in &self.endpoints {
            let profiles = wanted.profiles.iter().filter(|one| endpoint.profiles.contains(one));
            for profile in profiles {
                for (name, whose) in self.names(endpoint, wanted) {
                    found.add(
                        &name,
                        Origin::Profile(*profile, whose),
                        Notes::of_endpoint(endpoint),
                    );
                }
            }
        }
        for worker in &wanted.hybrid_workers {
            let Some(place) = self.locations.iter().find(|place| *place.code == *worker.code)
            else {
                continue;
            };
            let shown = place.names.first().unwrap_or(&place.code);
            let registration = match worker.registered {
                Registered::Automatic => &[][..],
                Registered::Cmdlet => &place.agent_service[..],
            };
            let runtime = place.job_runtime.iter().map(|name| (name, "job runtime data"));
            let registration = registration.iter().map(|name| (name, "agent service"));
            for (name, purpose) in runtime.chain(registration) {
                let origin = Origin::HybridWorker(shown.clone(), worker.registered);
                let is_broad = name.starts_with('*');
                found.add(
                    name,
                    origin,
                    Notes {
                        purpose,
                        sources: &place.sources,
                        warning: place.warning.as_ref().filter(|_| is_broad),
                        uncertain: place.uncertain.as_ref(),
                    },
                );
            }
        }
        found.all
    }

    /// The names of one endpoint, and whose they are.
    fn names(&self, endpoint: &Endpoint, wanted: &Wanted) -> Vec<(String, String)> {
        let mut names = Vec::new();
        let mut add = |cloud: Cloud, placeholder: &str, value: &str, whose: String| {
            for template in endpoint.templates(cloud) {
                names.push((template.replace(placeholder, value), whose.clone()));
            }
        };
        match endpoint.per {
            Per::Workspace => {
                for workspace in &wanted.workspaces {
                    let id = workspace.id.as_str();
                    add(wanted.cloud_of(workspace), "{workspace}", id, format!("workspace {id}"));
                }
            }
            Per::WorkspaceCloud => {
                for cloud in Cloud::ALL {
                    if wanted.workspaces.iter().any(|one| wanted.cloud_of(one) == cloud) {
                        add(cloud, "{}", "", format!("cloud {}", cloud.as_str()));
                    }
                }
            }
            Per::Cloud => {
                for cloud in wanted.clouds() {
                    add(cloud, "{}", "", format!("cloud {}", cloud.as_str()));
                }
            }
            Per::Region => {
                for (cloud, region) in self.regions_of(wanted) {
                    let name = region.as_str();
                    add(cloud, "{region}", name, format!("region {name}"));
                }
            }
        }
        names
    }

    /// The regions of each workspace, else those of the section: each once in each cloud, and none with a
    /// cloud that it is known not to be of.
    fn regions_of(&self, wanted: &Wanted) -> Vec<(Cloud, Region)> {
        let mut found: Vec<(Cloud, Region)> = Vec::new();
        let mut add = |cloud: Cloud, regions: &[Region]| {
            for region in regions {
                if self.regions.cloud_of(region).is_some_and(|own| own != cloud) {
                    continue;
                }
                if !found.iter().any(|(other, known)| (*other, known) == (cloud, region)) {
                    found.push((cloud, region.clone()));
                }
            }
        };
        for workspace in &wanted.workspaces {
            let cloud = wanted.cloud_of(workspace);
            if workspace.regions.is_empty() {
                let of_cloud = wanted.regions.iter().filter(|region| wanted.has_in(region, cloud));
                add(cloud, &of_cloud.cloned().collect::<Vec<_>>());
            } else {
                add(cloud, &workspace.regions);
            }
        }
        if wanted.workspaces.is_empty() {
            add(wanted.cloud, &wanted.regions);
        }
        found
    }
}

/// What the data file says beside a name.
struct Notes<'a> {
    purpose: &'a str,
    sources: &'a [String],
    warning: Option<&'a String>,
    uncertain: Option<&'a String>,
}

impl<'a> Notes<'a> {
    fn of_endpoint(endpoint: &'a Endpoint) -> Notes<'a> {
        Notes {
            purpose: &endpoint.purpose,
            sources: &endpoint.sources,
            warning: endpoint.warning.as_ref(),
            uncertain: endpoint.uncertain.as_ref(),
        }
    }
}

#[derive(Default)]
struct Found {
    all: Vec<Derived>,
    places: HashMap<HostPattern, usize>,
}

impl Found {
    fn add(&mut self, name: &str, origin: Origin, notes: Notes<'_>) {
        // The catalogue was checked with other workspaces and regions; these were checked by themselves.
        let Ok(pattern) = HostPattern::parse(name) else { return };
        if let Some(&place) = self.places.get(&pattern) {
            let known = &mut self.all[place];
            if !known.origins.contains(&origin) {
                known.origins.push(origin);
            }
            return;
        }
        self.places.insert(pattern.clone(), self.all.len());
        self.all.push(Derived {
            pattern,
            origins: vec![origin],
            purpose: notes.purpose.to_owned(),
            sources: notes.sources.to_vec(),
            warning: notes.warning.cloned(),
            uncertain: notes.uncertain.cloned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::wanted::{HybridWorker, Workspace, WorkspaceId};
    use super::*;

    const A: &str = "aaaaaaaa-0000-0000-0000-00000000000a";
    const B: &str = "bbbbbbbb-0000-0000-0000-00000000000b";

    fn workspace(id: &str, cloud: Option<Cloud>, regions: &[&str]) -> Workspace {
        let regions = regions.iter().map(|name| Region::parse(name).unwrap()).collect();
        Workspace { id: WorkspaceId::parse(id).unwrap(), cloud, regions }
    }

    fn hosts(wanted: &Wanted) -> Vec<String> {
        let derived = Catalog::built_in().expand(wanted);
        derived.iter().map(|derived| derived.pattern.to_string()).collect()
    }

    #[test]
    fn nothing_is_asked_for_by_default() {
        assert_eq!(hosts(&Wanted::default()), [] as [&str; 0]);
    }

    #[test]
    fn a_workspace_of_legacy_agents() {
        let wanted = Wanted { workspaces: vec![workspace(A, None, &[])], ..Wanted::default() };
        assert_eq!(
            hosts(&wanted),
            [
                format!("{A}.ods.opinsights.azure.com"),
                format!("{A}.oms.opinsights.azure.com"),
                format!("{A}.agentsvc.azure-automation.net"),
                "*.blob.core.windows.net".to_owned(),
            ]
        );
        let derived = Catalog::built_in().expand(&wanted);
        assert_eq!(derived[0].origins[0].to_string(), format!("legacy-agent, workspace {A}"));
        assert!(derived[3].warning.as_ref().unwrap().contains("everyone"));
    }

    #[test]
    fn workspaces_of_two_clouds_bring_no_names_of_a_third() {
        let wanted = Wanted {
            workspaces: vec![
                workspace(A, Some(Cloud::UsGov), &["USGov Virginia"]),
                workspace(B, Some(Cloud::China), &[]),
            ],
            regions: vec![Region::parse("chinaeast2").unwrap()],
            profiles: vec![Profile::MonitorAgent],
            ..Wanted::default()
        };
        assert_eq!(
            hosts(&wanted),
            [
                format!("{A}.ods.opinsights.azure.us"),
                format!("{B}.ods.opinsights.azure.cn"),
                "global.handler.control.monitor.azure.us".to_owned(),
                "global.handler.control.monitor.azure.cn".to_owned(),
                "usgovvirginia.handler.control.monitor.azure.us".to_owned(),
                "chinaeast2.handler.control.monitor.azure.cn".to_owned(),
                "*.usgovvirginia.ingest.monitor.azure.us".to_owned(),
                "*.usgovvirginia-1.ingest.monitor.azure.us".to_owned(),
                "*.usgovvirginia-1.metrics.ingest.monitor.azure.us".to_owned(),
                "*.chinaeast2.ingest.monitor.azure.cn".to_owned(),
                "*.chinaeast2-1.ingest.monitor.azure.cn".to_owned(),
                "*.chinaeast2-1.metrics.ingest.monitor.azure.cn".to_owned(),
                "*.usgovvirginia-1.handler.control.monitor.azure.us".to_owned(),
                "*.chinaeast2-1.handler.control.monitor.azure.cn".to_owned(),
            ]
        );
    }

    #[test]
    fn regions_of_the_section_are_not_looked_for_in_another_cloud() {
        let regions = ["northeurope", "usgovtexas", "chinaeast2"];
        let wanted = |cloud, workspaces| Wanted {
            cloud,
            workspaces,
            regions: regions.map(|name| Region::parse(name).unwrap()).to_vec(),
            profiles: vec![Profile::MonitorAgent],
            ..Wanted::default()
        };
        let ingest = |wanted: &Wanted| -> Vec<String> {
            let names = hosts(wanted).into_iter();
            names.filter(|name| name.contains("-1.ingest.")).collect()
        };
        let both =
            vec![workspace(A, Some(Cloud::Public), &[]), workspace(B, Some(Cloud::UsGov), &[])];
        for cloud in [Cloud::Public, Cloud::China] {
            assert_eq!(
                ingest(&wanted(cloud, both.clone())),
                [
                    "*.northeurope-1.ingest.monitor.azure.com",
                    "*.usgovtexas-1.ingest.monitor.azure.us"
                ]
            );
        }
        // Nor is one that is known to be of another cloud; one that nobody knows is taken as it is written.
        let own = wanted(Cloud::UsGov, vec![workspace(B, None, &[])]);
        assert_eq!(ingest(&own), ["*.usgovtexas-1.ingest.monitor.azure.us"]);
        let regions = &["northeurope", "northpole"];
        let own = wanted(Cloud::Public, vec![workspace(B, Some(Cloud::UsGov), regions)]);
        assert_eq!(ingest(&own), ["*.northpole-1.ingest.monitor.azure.us"]);
    }

    #[test]
    fn the_two_ways_of_registration_differ_by_the_agent_service() {
        let of = |registered| {
            let worker = HybridWorker { code: "we".into(), registered };
            hosts(&Wanted { hybrid_workers: vec![worker], ..Wanted::default() })
        };
        let automatic = of(Registered::Automatic);
        assert_eq!(
            automatic,
            ["we-jobruntimedata-prod-su1.azure-automation.net", "*.jrds.we.azure-automation.net"]
        );
        let cmdlet = of(Registered::Cmdlet);
        assert_eq!(cmdlet[..2], automatic);
        assert_eq!(
            cmdlet[2..],
            ["we-agentservice-prod-1.azure-automation.net", "*.agentsvc.we.azure-automation.net"]
        );
    }

    #[test]
    fn a_name_that_comes_twice_is_there_once_with_both_origins() {
        let wanted = Wanted {
            workspaces: vec![workspace(A, None, &[]), workspace(A, None, &[])],
            profiles: vec![Profile::LegacyAgent, Profile::MonitorAgent],
            ..Wanted::default()
        };
        let derived = Catalog::built_in().expand(&wanted);
        assert_eq!(derived[0].pattern.to_string(), format!("{A}.ods.opinsights.azure.com"));
        assert_eq!(derived[0].origins.len(), 2, "{derived:#?}");
    }

    #[test]
    fn fifty_workspaces_are_fifty_times_the_names() {
        let ids = (0..50).map(|n| format!("{n:08}-0000-0000-0000-00000000000a"));
        let workspaces = ids.map(|id| workspace(&id, None, &[])).collect();
        let wanted = Wanted { workspaces, ..Wanted::default() };
        assert_eq!(hosts(&wanted).len(), 50 * 3 + 1);
    }
}
