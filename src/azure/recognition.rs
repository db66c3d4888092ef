//! The way back from a name to what an operator would write for it under `[azure]`.

use super::catalog::{Catalog, Endpoint, Per};
use super::wanted::{Cloud, HybridWorker, Profile, Region, Registered, WorkspaceId};
use crate::logic::hosts::HostPattern;

/// What a name tells of whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognised {
    /// What to write.
    pub part: Part,
    /// The profiles that bring the name, one of which has to be on; none for a Hybrid Runbook Worker.
    pub profiles: Vec<Profile>,
    /// What the name is for.
    pub purpose: String,
    /// What the pattern that brings it admits beside the operator's own.
    pub warning: Option<String>,
}

/// A part of the section `[azure]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A workspace of this cloud.
    Workspace(WorkspaceId, Cloud),
    /// A region of this cloud.
    Region(Region, Cloud),
    /// The cloud, with some workspace in it or as that of the section.
    Cloud(Cloud),
    /// A place of Hybrid Runbook Workers.
    HybridWorker(HybridWorker),
}

impl Catalog {
    /// All that could bring `name`, a host in canonical form, in the order of the data file.
    pub fn recognise(&self, name: &str) -> Vec<Recognised> {
        let mut found = Vec::new();
        for endpoint in &self.endpoints {
            for cloud in Cloud::ALL {
                let templates = endpoint.templates(cloud).iter();
                let part =
                    templates.filter_map(|template| part(template, endpoint.per, cloud, name));
                found.extend(part.map(|part| of_endpoint(endpoint, part)));
            }
        }
        for location in &self.locations {
            let brings = |names: &[String]| names.iter().any(|template| admits(template, name));
            let registered = if brings(&location.job_runtime) {
                Registered::Automatic
            } else if brings(&location.agent_service) {
                Registered::Cmdlet
            } else {
                continue;
            };
            let code = location.code.clone().into_boxed_str();
            let mut names = location.job_runtime.iter().chain(&location.agent_service);
            let is_named = names.any(|one| one == name);
            found.push(Recognised {
                part: Part::HybridWorker(HybridWorker { code, registered }),
                profiles: Vec::new(),
                purpose: "hybrid runbook workers".to_owned(),
                warning: location.warning.clone().filter(|_| !is_named),
            });
        }
        found
    }

    /// Whether every name directly below `suffix` would be of somebody else as well: a pattern over it is
    /// in the data file with a warning.
    pub fn is_everyones(&self, suffix: &str) -> bool {
        let below = format!("x.{suffix}");
        self.recognise(&below).iter().any(|recognised| recognised.warning.is_some())
    }
    /// Whether `name` is no host but what names of everyone end with, as `core.windows.net` is: a pattern
    /// below it is in the data file with a warning.
    pub fn is_above_everyones(&self, name: &str) -> bool {
        let clouds = |endpoint| Cloud::ALL.map(|cloud| Endpoint::templates(endpoint, cloud));
        let endpoints = self.endpoints.iter().filter(|endpoint| endpoint.warning.is_some());
        let of_endpoints = endpoints.flat_map(clouds).flatten();
        let locations = self.locations.iter().filter(|location| location.warning.is_some());
        let of_locations = locations
            .flat_map(|location| location.job_runtime.iter().chain(&location.agent_service));
        of_endpoints.chain(of_locations).filter(|template| template.starts_with('*')).any(
            |template| {
                let fixed = template.rsplit(['*', '}']).next().unwrap_or_default();
                let below = fixed.strip_suffix(name).is_some_and(|above| above.ends_with('.'));
                below && !name.is_empty()
            },
        )
    }
}

fn of_endpoint(endpoint: &Endpoint, part: Part) -> Recognised {
    Recognised {
        part,
        profiles: endpoint.profiles.clone(),
        purpose: endpoint.purpose.clone(),
        warning: endpoint.warning.clone(),
    }
}

fn part(template: &str, per: Per, cloud: Cloud, name: &str) -> Option<Part> {
    let (part, filled) = match per {
        Per::Workspace => {
            let id = WorkspaceId::parse(filling(template, "{workspace}", name)?).ok()?;
            let filled = template.replace("{workspace}", id.as_str());
            (Part::Workspace(id, cloud), filled)
        }
        Per::Region => {
            let region = Region::parse(filling(template, "{region}", name)?).ok()?;
            let filled = template.replace("{region}", region.as_str());
            (Part::Region(region, cloud), filled)
        }
        Per::Cloud | Per::WorkspaceCloud => (Part::Cloud(cloud), template.to_owned()),
    };
    // What was read kindly may be spelled otherwise in the name.
    admits(&filled, name).then_some(part)
}

/// What stands in `name` where the template has the placeholder.
fn filling<'a>(template: &str, placeholder: &str, name: &'a str) -> Option<&'a str> {
    let (before, after) = template.split_once(placeholder)?;
    let rest = name.strip_suffix(after)?;
    match before.strip_prefix('*') {
        Some(between) => rest.rsplit_once(between).map(|(_, filling)| filling),
        None => rest.strip_prefix(before),
    }
}

fn admits(template: &str, name: &str) -> bool {
    // Most end otherwise, which is told faster than they are read.
    let end = template.rsplit('*').next().unwrap_or_default();
    let is_plain =
        end.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'0'..=b'9' | b'.' | b'-'));
    if is_plain && !name.ends_with(end) {
        return false;
    }
    HostPattern::parse(template).is_ok_and(|pattern| pattern.admits(name))
}

#[cfg(test)]
mod tests {
    use super::super::wanted::{Wanted, Workspace};
    use super::*;

    const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    fn parts(name: &str) -> Vec<Part> {
        Catalog::built_in().recognise(name).into_iter().map(|found| found.part).collect()
    }

    #[test]
    fn a_name_tells_its_workspace_region_cloud_or_place() {
        let workspace = |cloud| Part::Workspace(WorkspaceId::parse(ID).unwrap(), cloud);
        let region = |name, cloud| Part::Region(Region::parse(name).unwrap(), cloud);
        let worker = |code: &str, registered| {
            Part::HybridWorker(HybridWorker { code: code.into(), registered })
        };
        for (name, part) in [
            (format!("{ID}.ods.opinsights.azure.com"), workspace(Cloud::Public)),
            (format!("{ID}.oms.opinsights.azure.us"), workspace(Cloud::UsGov)),
            ("global.handler.control.monitor.azure.com".to_owned(), Part::Cloud(Cloud::Public)),
            (
                "westeurope.handler.control.monitor.azure.cn".to_owned(),
                region("westeurope", Cloud::China),
            ),
            (
                "my-dce-1.eastus.ingest.monitor.azure.com".to_owned(),
                region("eastus", Cloud::Public),
            ),
            ("san-af-eastus-prod.azurewebsites.net".to_owned(), region("eastus", Cloud::Public)),
            ("azgn7.servicebus.windows.net".to_owned(), Part::Cloud(Cloud::Public)),
            (
                "we-jobruntimedata-prod-su1.azure-automation.net".to_owned(),
                worker("we", Registered::Automatic),
            ),
            (
                "we-agentservice-prod-1.azure-automation.net".to_owned(),
                worker("we", Registered::Cmdlet),
            ),
        ] {
            assert!(parts(&name).contains(&part), "{name}: {:?}", parts(&name));
        }
        for name in [
            "www.test.com",
            "evil.opinsights.azure.com",
            "west-europe.handler.control.monitor.azure.com",
            &format!("x{ID}.ods.opinsights.azure.com"),
            &format!("{ID}.ods.opinsights.azure.com.evil.test"),
            "opinsights.azure.com",
        ] {
            assert_eq!(parts(name), [], "{name}");
        }
    }

    #[test]
    fn what_is_recognised_is_what_expands_to_the_name() {
        let catalog = Catalog::built_in();
        let id = WorkspaceId::parse(ID).unwrap();
        for cloud in Cloud::ALL {
            let workspace = Workspace { id: id.clone(), cloud: Some(cloud), regions: Vec::new() };
            let wanted = Wanted {
                workspaces: vec![workspace],
                regions: vec![Region::parse("westeurope").unwrap()],
                profiles: Profile::ALL.to_vec(),
                ..Wanted::default()
            };
            for derived in catalog.expand(&wanted) {
                let name = derived.pattern.to_string().replace('*', "x");
                assert!(!catalog.recognise(&name).is_empty(), "{name}");
            }
        }
    }

    #[test]
    fn storage_is_everyones_and_a_company_is_not() {
        let catalog = Catalog::built_in();
        for (suffix, everyones) in [
            ("blob.core.windows.net", true),
            ("eastus.ingest.monitor.azure.com", true),
            ("jrds.we.azure-automation.net", true),
            ("his.arc.azure.com", false),
            ("logs.example.com", false),
        ] {
            assert_eq!(catalog.is_everyones(suffix), everyones, "{suffix}");
        }
        for (name, above) in [
            ("blob.core.windows.net", true),
            ("core.windows.net", true),
            ("ingest.monitor.azure.com", true),
            ("acc.blob.core.windows.net", false),
            ("ore.windows.net", false),
            ("management.azure.com", false),
            ("example.com", false),
            ("", false),
        ] {
            assert_eq!(catalog.is_above_everyones(name), above, "{name}");
        }
    }
}
