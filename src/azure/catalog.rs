//! The data file: which names there are, for whom, in which cloud, and where that is written.

use std::collections::{BTreeMap, HashSet};
use std::sync::OnceLock;

use serde::Deserialize;

use super::wanted::{Cloud, Profile, Region, folded};
use crate::logic::hosts::HostPattern;

const BUILT_IN: &str = include_str!("endpoints.toml");
const ALIKE: f64 = 0.75;

/// All names that are known.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// Where facts come from, by the short name that entries use.
    pub sources: BTreeMap<String, String>,
    /// Names by profile.
    #[serde(rename = "endpoint", default)]
    pub endpoints: Vec<Endpoint>,
    /// Regions of Automation accounts.
    #[serde(rename = "location", default)]
    pub locations: Vec<Location>,
    /// The regions of each cloud.
    #[serde(default)]
    pub regions: Regions,
}

/// The programmatic names of regions, as far as they are known: new ones appear. Empty in a file that
/// does not tell any.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Regions {
    public: Vec<String>,
    usgov: Vec<String>,
    china: Vec<String>,
    /// Short names of where this is written.
    pub sources: Vec<String>,
}

/// Names for one purpose.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// What they are for.
    pub purpose: String,
    /// Who needs them.
    pub profiles: Vec<Profile>,
    /// How often they come.
    pub per: Per,
    #[serde(default)]
    public: Vec<String>,
    #[serde(default)]
    usgov: Vec<String>,
    #[serde(default)]
    china: Vec<String>,
    /// Short names of where this is written.
    pub sources: Vec<String>,
    /// What they admit beside the operator's own.
    pub warning: Option<String>,
    /// What could not be confirmed.
    pub uncertain: Option<String>,
}

/// What names are made for, each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// Each workspace.
    Workspace,
    /// Each cloud that has a workspace.
    WorkspaceCloud,
    /// Each cloud in use.
    Cloud,
    /// Each region.
    Region,
}

/// A region of Automation accounts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// The code that the names begin with or contain.
    pub code: String,
    /// What people call it; the portal's name first.
    pub names: Vec<String>,
    /// Its cloud.
    pub cloud: Cloud,
    /// What every worker needs.
    pub job_runtime: Vec<String>,
    /// What a worker that was registered by the cmdlet needs too.
    pub agent_service: Vec<String>,
    /// Short names of where this is written.
    pub sources: Vec<String>,
    /// What they admit beside the operator's own.
    pub warning: Option<String>,
    /// What could not be confirmed.
    pub uncertain: Option<String>,
}

impl Catalog {
    /// The one that the gateway brings. Read once, as every configuration asks for it.
    pub fn built_in() -> &'static Catalog {
        static READ: OnceLock<Catalog> = OnceLock::new();
        READ.get_or_init(|| {
            Catalog::parse(BUILT_IN).expect("the data file that a test reads at every build")
        })
    }

    /// Reads a data file and checks every name in it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line where it is known.
    pub fn parse(text: &str) -> Result<Catalog, String> {
        let catalog: Catalog =
            toml_edit::de::from_str(text).map_err(|error| one_line(&error.to_string()))?;
        for endpoint in &catalog.endpoints {
            let whose = format!("the endpoint \"{}\"", endpoint.purpose);
            for cloud in Cloud::ALL {
                check_templates(endpoint.templates(cloud), endpoint.per, &whose)?;
            }
            catalog.check_sources(&endpoint.sources, &whose)?;
        }
        let mut seen = HashSet::new();
        for location in &catalog.locations {
            let whose = format!("the location \"{}\"", location.code);
            for name in location.names.iter().chain([&location.code]) {
                if !seen.insert(folded(name)) {
                    return Err(format!("{whose}: \"{name}\" is the name of another, too"));
                }
            }
            let names: Vec<String> =
                location.job_runtime.iter().chain(&location.agent_service).cloned().collect();
            check_templates(&names, Per::Cloud, &whose)?;
            catalog.check_sources(&location.sources, &whose)?;
        }
        if Cloud::ALL.into_iter().any(|cloud| !catalog.regions.of(cloud).is_empty()) {
            catalog.check_sources(&catalog.regions.sources, "[regions]")?;
        }
        Ok(catalog)
    }

    /// What people call the location of this code; the code where there is none.
    pub fn shown<'a>(&'a self, code: &'a str) -> &'a str {
        let found = self.locations.iter().find(|location| location.code == code);
        found.and_then(|location| location.names.first()).map_or(code, String::as_str)
    }

    /// A location by any of its names or its code, however spaced and cased.
    ///
    /// # Errors
    /// There is none of this name; the likeliest one is told.
    pub fn location(&self, name: &str) -> Result<&Location, String> {
        let asked = folded(name);
        let named = |location: &&Location| location.is_called(&asked);
        if let Some(found) = self.locations.iter().find(named) {
            return Ok(found);
        }
        let names = self.locations.iter().flat_map(|location| &location.names);
        let likeness = |name: &String| strsim::jaro_winkler(&folded(name), &asked);
        let nearest = names
            .map(|name| (likeness(name), name))
            .filter(|(likeness, _)| *likeness >= ALIKE)
            .max_by(|one, other| one.0.total_cmp(&other.0));
        Err(match nearest {
            Some((_, name)) => format!("no such location; did you mean \"{name}\"?"),
            None => "no such location; write its name in the portal, as in \"West Europe\", \
                     or its code, as in \"we\""
                .to_owned(),
        })
    }

    fn check_sources(&self, sources: &[String], whose: &str) -> Result<(), String> {
        if sources.is_empty() {
            return Err(format!("{whose} names no source"));
        }
        match sources.iter().find(|source| !self.sources.contains_key(*source)) {
            Some(unknown) => Err(format!("{whose}: no source is called \"{unknown}\"")),
            None => Ok(()),
        }
    }
}

impl Regions {
    /// The cloud of a region; none where it is not known.
    pub fn cloud_of(&self, region: &Region) -> Option<Cloud> {
        let is_in = |cloud: &Cloud| self.of(*cloud).iter().any(|name| name == region.as_str());
        Cloud::ALL.into_iter().find(is_in)
    }

    /// Why a region is most probably not meant where only these clouds are in use.
    pub fn doubt(&self, region: &Region, clouds: &[Cloud]) -> Option<String> {
        let known = || Cloud::ALL.into_iter().flat_map(|cloud| self.of(cloud));
        known().next()?;
        if let Some(cloud) = self.cloud_of(region) {
            let own = cloud.as_str();
            let is_elsewhere = !clouds.contains(&cloud);
            return is_elsewhere.then(|| {
                let used: Vec<&str> = clouds.iter().map(|cloud| cloud.as_str()).collect();
                let used = used.join(", ");
                format!("is a region of the cloud {own}, not of {used}: no name follows from it")
            });
        }
        let likeness = |name: &&String| strsim::jaro_winkler(name, region.as_str());
        let nearest = known()
            .filter(|name| likeness(name) >= ALIKE)
            .max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
        Some(match nearest {
            Some(name) => format!("no region of this name is known; did you mean \"{name}\"?"),
            None => "no region of this name is known".to_owned(),
        })
    }

    fn of(&self, cloud: Cloud) -> &[String] {
        match cloud {
            Cloud::Public => &self.public,
            Cloud::UsGov => &self.usgov,
            Cloud::China => &self.china,
        }
    }
}

impl Endpoint {
    /// The names in one cloud, with `{workspace}` and `{region}` still to be filled in.
    pub fn templates(&self, cloud: Cloud) -> &[String] {
        match cloud {
            Cloud::Public => &self.public,
            Cloud::UsGov => &self.usgov,
            Cloud::China => &self.china,
        }
    }
}

impl Location {
    fn is_called(&self, asked: &str) -> bool {
        folded(&self.code) == asked || self.names.iter().any(|name| folded(name) == asked)
    }
}

/// What a template may leave open depends on what it is made for.
fn check_templates(templates: &[String], per: Per, whose: &str) -> Result<(), String> {
    for template in templates {
        let filled = match per {
            Per::Workspace => template.replace("{workspace}", "0"),
            Per::Region => template.replace("{region}", "r"),
            Per::WorkspaceCloud | Per::Cloud => template.clone(),
        };
        let must_vary = matches!(per, Per::Workspace | Per::Region);
        if must_vary && filled == *template {
            return Err(format!("{whose}: \"{template}\" is the same each time"));
        }
        HostPattern::parse(&filled).map_err(|error| format!("{whose}: \"{template}\": {error}"))?;
    }
    Ok(())
}

fn one_line(message: &str) -> String {
    message
        .split('\n')
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_file_is_whole() {
        let catalog = Catalog::parse(BUILT_IN).unwrap();
        for profile in Profile::ALL {
            assert!(catalog.endpoints.iter().any(|endpoint| endpoint.profiles.contains(&profile)));
        }
        for source in catalog.sources.keys() {
            let of_endpoints = catalog.endpoints.iter().flat_map(|endpoint| &endpoint.sources);
            let of_locations = catalog.locations.iter().flat_map(|location| &location.sources);
            let all = of_endpoints.chain(of_locations).chain(&catalog.regions.sources);
            assert!({ all }.any(|used| used == source), "{source}");
        }
    }

    /// Every wildcard that is not below a name of the operator's own says what it admits.
    #[test]
    fn a_wildcard_over_everyones_storage_or_accounts_has_a_warning() {
        let catalog = Catalog::built_in();
        for endpoint in &catalog.endpoints {
            for cloud in Cloud::ALL {
                for name in endpoint.templates(cloud) {
                    let broad = name.starts_with("*.blob.") || name.contains(".ingest.monitor.");
                    assert!(!broad || endpoint.warning.is_some(), "{name}");
                }
            }
        }
        for location in &catalog.locations {
            let broad = location.job_runtime.iter().any(|name| name.starts_with('*'));
            assert_eq!(broad, location.warning.is_some(), "{}", location.code);
        }
    }

    /// The tables of the original's documentation: location, code.
    const TABLES: [(&str, &str); 10] = [
        ("North Central US", "ncus"),
        ("West Europe", "we"),
        ("South Central US", "scus"),
        ("East US 2", "eus2"),
        ("Central Canada", "cc"),
        ("North Europe", "ne"),
        ("South East Asia", "sea"),
        ("Central India", "cid"),
        ("Japan", "jpe"),
        ("Australia", "ase"),
    ];

    #[test]
    fn the_tables_of_the_original_are_in_it() {
        let catalog = Catalog::built_in();
        for (name, code) in TABLES {
            let found = catalog.location(name).unwrap();
            assert_eq!(found.code, code, "{name}");
            let runtime = format!("{code}-jobruntimedata-prod-su1.azure-automation.net");
            let agents = format!("{code}-agentservice-prod-1.azure-automation.net");
            assert_eq!((&found.job_runtime[0], &found.agent_service[0]), (&runtime, &agents));
            assert!(found.sources.iter().any(|source| source == "SEED"));
        }
    }

    #[test]
    fn locations_go_by_name_and_code() {
        let catalog = Catalog::built_in();
        for (asked, code) in [
            ("we", "we"),
            ("WE", "we"),
            ("westeurope", "we"),
            ("Canada Central", "cc"),
            ("US Gov Virginia", "usge"),
            ("china-north-3", "cnn3"),
        ] {
            assert_eq!(catalog.location(asked).unwrap().code, code, "{asked}");
        }
        let mistyped = catalog.location("West Erope").unwrap_err();
        assert_eq!(mistyped, "no such location; did you mean \"West Europe\"?");
        assert!(catalog.location("Atlantis").unwrap_err().contains("portal"));
    }

    #[test]
    fn regions_are_known_with_their_cloud() {
        let regions = &Catalog::built_in().regions;
        for cloud in Cloud::ALL {
            assert!(!regions.of(cloud).is_empty());
            for name in regions.of(cloud) {
                let region = Region::parse(name).unwrap();
                assert_eq!((region.as_str(), regions.cloud_of(&region)), (&**name, Some(cloud)));
            }
        }
        for location in &Catalog::built_in().locations {
            let region = Region::parse(&location.names[0]).unwrap();
            assert_eq!(regions.cloud_of(&region), Some(location.cloud), "{}", region.as_str());
        }
        for (name, clouds, told) in [
            ("West Europe", &[Cloud::Public][..], None),
            ("westeurope", &[Cloud::UsGov, Cloud::Public], None),
            ("mordor", &[Cloud::Public], Some("no region of this name is known")),
            ("westeurpoe", &[Cloud::Public], Some("did you mean \"westeurope\"?")),
            (
                "usgovarizona",
                &[Cloud::Public],
                Some("is a region of the cloud usgov, not of public"),
            ),
        ] {
            let doubt = regions.doubt(&Region::parse(name).unwrap(), clouds);
            assert_eq!(doubt.is_some(), told.is_some(), "{doubt:?}");
            assert!(doubt.unwrap_or_default().contains(told.unwrap_or_default()), "{name}");
        }
        let ours = Catalog::parse("[sources]\nA = \"a\"\n").unwrap();
        assert_eq!(ours.regions.doubt(&Region::parse("mordor").unwrap(), &[Cloud::Public]), None);
    }

    #[test]
    fn bad_files_are_told() {
        let sources = "[sources]\nA = \"a\"\n";
        let endpoint = "[[endpoint]]\npurpose = \"p\"\nprofiles = [\"arc\"]\nsources = [\"A\"]\n";
        let location = "[[location]]\ncode = \"x\"\nnames = [\"X y\"]\ncloud = \"public\"\nagent_service = []\nsources = [\"A\"]\n";
        for (text, told) in [
            ("".to_owned(), "sources"),
            (format!("{sources}x = {{"), "line 3"),
            (format!("{sources}{endpoint}per = \"day\""), "day"),
            (format!("{sources}{endpoint}per = \"cloud\"\nmoon = [\"a.b\"]"), "moon"),
            (format!("{sources}{endpoint}per = \"cloud\"\npublic = [\"*.com\"]"), "too broad"),
            (
                format!("{sources}{endpoint}per = \"region\"\npublic = [\"a.b.c\"]"),
                "the same each time",
            ),
            (
                format!("{sources}{endpoint}per = \"cloud\"\npublic = [\"{{region}}.b.c\"]"),
                "{region}",
            ),
            (
                format!("{endpoint}per = \"cloud\"\n[sources]\nB = \"b\""),
                "no source is called \"A\"",
            ),
            (format!("{sources}{location}job_runtime = [\"a..b\"]"), "\"a..b\""),
            (format!("{sources}{location}job_runtime = []\n{location}job_runtime = []"), "another"),
        ] {
            let error = Catalog::parse(&text).unwrap_err();
            assert!(error.contains(told) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
