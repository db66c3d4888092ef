//! The section `[azure]`: what is wanted of Microsoft's services, and the hosts that follow from it.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use super::edit::text::Text;
use super::networks::shown;
use super::place::{beside, open_plain};
use super::problem::Problems;
use super::schema::Config;
use super::section::{Entry, Section};
use crate::azure::catalog::Catalog;
use crate::azure::wanted::{
    Cloud, HybridWorker, Profile, Region, Registered, Workspace, WorkspaceId,
};

/// Bytes of an operator's own list of names; the built-in one takes 21 KB.
const ENDPOINTS_BYTES_MAX: u64 = 1 << 20;

/// Reads the section into `config.azure`, and what follows from it into `config.derived_hosts`.
pub(super) fn read(
    azure: &mut Section<'_>,
    file: &Path,
    config: &mut Config,
    problems: &mut Problems,
) {
    let own = read_own_catalog(azure, file, problems);
    // The built-in list takes 0.6 MiB to read, which the allocator then keeps: only for those who use it.
    let catalog = || own.as_ref().unwrap_or_else(|| Catalog::built_in());
    let wanted = &mut config.azure;
    if let Some(cloud) = azure.choice("cloud", &clouds(), problems) {
        wanted.cloud = cloud;
    }
    let cloud = wanted.cloud;
    let workspace = |entry: Entry<'_>, problems: &mut Problems| {
        read_workspace(entry, cloud, &catalog, problems)
    };
    if let Some(found) = azure.entries("workspaces", "azure.workspaces", problems, workspace) {
        wanted.workspaces = found;
    }
    if let Some(regions) = azure.list("regions", Region::parse, problems) {
        wanted.regions = regions.value;
        // Workspaces with regions of their own have no part in these.
        let heirs = |one: &&Workspace| one.regions.is_empty();
        let mut clouds: Vec<Cloud> = { &wanted.workspaces }
            .iter()
            .filter(heirs)
            .map(|one| one.cloud.unwrap_or(cloud))
            .collect();
        clouds.sort();
        clouds.dedup();
        if clouds.is_empty() {
            clouds.push(cloud);
        }
        doubt_regions(azure, "azure.regions", &wanted.regions, &clouds, &catalog, problems);
    }
    if let Some(profiles) = azure.list("profiles", read_profile, problems) {
        wanted.profiles = profiles.value;
    }
    let clouds = wanted.clouds();
    let worker = |entry: Entry<'_>, problems: &mut Problems| {
        read_worker(entry, catalog(), &clouds, problems)
    };
    if let Some(found) = azure.entries("hybrid_workers", "azure.hybrid_workers", problems, worker) {
        wanted.hybrid_workers = found;
    }
    if let Some(allows) = azure.boolean("client_certificates", problems) {
        config.allows_workspace_certificates = allows.value;
        // An empty list would mean that certificates are not looked at.
        let allows_none =
            config.azure.workspaces.is_empty() && config.client_certificates.is_empty();
        let are_read = ["azure.workspaces", "allow.client_certificates"]
            .iter()
            .all(|key| !problems.is_of(key));
        if allows.value && allows_none && are_read {
            let why = "azure.client_certificates allows the certificates of workspaces, but \
                       azure.workspaces names none, and allow.client_certificates is empty";
            problems.add(allows.span, why);
        }
    }
    if let Some(span) = azure.span_of("profiles")
        && config.azure.profiles.is_empty()
        && !config.azure.workspaces.is_empty()
        && !problems.is_of("azure.profiles")
    {
        let why = "azure.profiles is empty, so that no host follows from the workspaces";
        problems.doubt(Some(span), why);
    }
    if !azure.is_absent() {
        config.derived_hosts = catalog().expand(&config.azure);
    }
}

/// The list of names that the configuration `text`, which `file` holds, goes by.
///
/// # Errors
/// The operator's own one cannot be read.
pub fn catalog(text: &Text, file: &Path) -> Result<Cow<'static, Catalog>, String> {
    open_catalog(&text.string("azure.endpoints_file").unwrap_or_default(), file)
}

/// The operator's own list of names, where one is set and can be read.
fn read_own_catalog(
    azure: &mut Section<'_>,
    file: &Path,
    problems: &mut Problems,
) -> Option<Catalog> {
    let named = azure.string("endpoints_file", problems)?;
    match open_catalog(named.value, file) {
        Ok(Cow::Owned(own)) => Some(own),
        Ok(Cow::Borrowed(_)) => None,
        Err(why) => {
            problems.add(named.span, format!("{}: {why}", named.path));
            None
        }
    }
}

fn open_catalog(named: &str, file: &Path) -> Result<Cow<'static, Catalog>, String> {
    if named.is_empty() {
        return Ok(Cow::Borrowed(Catalog::built_in()));
    }
    let path = beside(file, named);
    let mut text = String::new();
    let read = open_plain(&path)
        .and_then(|file| file.take(ENDPOINTS_BYTES_MAX + 1).read_to_string(&mut text));
    let catalog = match read {
        Err(error) => Err(error.to_string()),
        Ok(_) if text.len() as u64 > ENDPOINTS_BYTES_MAX => {
            Err(format!("larger than {ENDPOINTS_BYTES_MAX} bytes"))
        }
        Ok(_) => Catalog::parse(&text),
    };
    let name = shown(&path.to_string_lossy());
    catalog.map(Cow::Owned).map_err(|why| format!("\"{name}\": {why}"))
}

fn clouds() -> [(&'static str, Cloud); 3] {
    Cloud::ALL.map(|cloud| (cloud.as_str(), cloud))
}

fn read_profile(text: &str) -> Result<Profile, String> {
    Profile::ALL.into_iter().find(|profile| profile.as_str() == text).ok_or_else(|| {
        let all = Profile::ALL.map(|profile| format!("\"{}\"", profile.as_str()));
        format!("expected one of {}", all.join(", "))
    })
}

/// Tells regions that are not known, or not of the clouds that they are for.
fn doubt_regions<'a>(
    section: &Section<'_>,
    path: &str,
    regions: &[Region],
    clouds: &[Cloud],
    catalog: &impl Fn() -> &'a Catalog,
    problems: &mut Problems,
) {
    for (region, span) in regions.iter().zip(section.spans_in("regions")) {
        if let Some(why) = catalog().regions.doubt(region, clouds) {
            problems.doubt(span, format!("{path}: \"{}\": {why}", region.as_str()));
        }
    }
}

fn read_workspace<'a>(
    entry: Entry<'_>,
    of_section: Cloud,
    catalog: &impl Fn() -> &'a Catalog,
    problems: &mut Problems,
) -> Option<Workspace> {
    let (mut table, span) = match entry {
        Entry::Text(text, span) => {
            let id = id(text, span, problems)?;
            return Some(Workspace { id, cloud: None, regions: Vec::new() });
        }
        Entry::Table(table, span) => (table, span),
    };
    let named = table.string("id", problems);
    let cloud = table.choice("cloud", &clouds(), problems);
    let regions = table.list("regions", Region::parse, problems);
    if let Some(regions) = &regions {
        let clouds = [cloud.unwrap_or(of_section)];
        let path = "azure.workspaces: regions";
        doubt_regions(&table, path, &regions.value, &clouds, catalog, problems);
    }
    table.finish(&[], problems);
    let Some(named) = named else {
        problems.add(span, "azure.workspaces: a workspace needs an id, as in { id = \"...\" }");
        return None;
    };
    let id = id(named.value, named.span, problems)?;
    let regions = regions.map(|regions| regions.value).unwrap_or_default();
    Some(Workspace { id, cloud, regions })
}

fn id(
    text: &str,
    span: Option<std::ops::Range<usize>>,
    problems: &mut Problems,
) -> Option<WorkspaceId> {
    WorkspaceId::parse(text)
        .map_err(|why| problems.add(span, format!("azure.workspaces: \"{}\": {why}", shown(text))))
        .ok()
}

fn read_worker(
    entry: Entry<'_>,
    catalog: &Catalog,
    clouds: &[Cloud],
    problems: &mut Problems,
) -> Option<HybridWorker> {
    let (text, span, registered) = match entry {
        Entry::Text(text, span) => (text, span, Registered::default()),
        Entry::Table(mut table, span) => {
            let named = table.string("location", problems);
            let ways = Registered::ALL.map(|way| (way.as_str(), way));
            let registered = table.choice("registered", &ways, problems).unwrap_or_default();
            table.finish(&[], problems);
            let Some(named) = named else {
                let needs = "azure.hybrid_workers: a location is needed, as in { location = \"West Europe\" }";
                problems.add(span, needs);
                return None;
            };
            (named.value, named.span, registered)
        }
    };
    match catalog.location(text) {
        Ok(location) => {
            if !clouds.contains(&location.cloud) {
                let used: Vec<&str> = clouds.iter().map(|cloud| cloud.as_str()).collect();
                let why = format!(
                    "azure.hybrid_workers: \"{}\" is in the cloud {}, and all else here in {}",
                    shown(text),
                    location.cloud.as_str(),
                    used.join(", ")
                );
                problems.doubt(span, why);
            }
            Some(HybridWorker { code: location.code.as_str().into(), registered })
        }
        Err(why) => {
            problems.add(span, format!("azure.hybrid_workers: \"{}\": {why}", shown(text)));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::parse;
    use super::*;
    use crate::logic::certificates::SubjectRule;

    const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    fn hosts(text: &str) -> Vec<String> {
        let config = parse(text.as_bytes(), Path::new("f.toml")).unwrap();
        config.hosts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn listed_and_derived_hosts_are_one_list() {
        let text = format!("allow.hosts = [\"a.b\"]\nazure.workspaces = [\"{ID}\"]");
        let hosts = hosts(&text);
        assert_eq!(hosts[..2], ["a.b".to_owned(), format!("{ID}.ods.opinsights.azure.com")]);
    }

    #[test]
    fn workspaces_are_subjects_where_the_file_says_so() {
        let subjects = |more: &str| {
            let text = format!(
                "allow.client_certificates = [\"mycert\"]\nazure.workspaces = [\"{ID}\"]\n{more}"
            );
            let config = parse(text.as_bytes(), Path::new("f.toml")).unwrap();
            config.client_certificates.iter().cloned().collect::<Vec<_>>()
        };
        let rule = |text: &str| SubjectRule::parse(text).unwrap();
        assert_eq!(subjects(""), [rule("mycert")]);
        let both = subjects("azure.client_certificates = true");
        assert_eq!(both, [rule("mycert"), rule(ID)]);
    }

    #[test]
    fn every_key_is_read() {
        let text = format!(
            "[azure]\ncloud = \"china\"\nworkspaces = [\"{ID}\", {{ id = \"{{{ID}}}\", cloud = \"usgov\", \
             regions = [\"USGov Virginia\"] }}]\nregions = [\"chinaeast2\"]\n\
             profiles = [\"monitor-agent\", \"arc\"]\n\
             hybrid_workers = [\"we\", {{ location = \"Japan\", registered = \"cmdlet\" }}]\n\
             client_certificates = true\nendpoints_file = \"\""
        );
        let config = parse(text.as_bytes(), Path::new("f.toml")).unwrap();
        let wanted = &config.azure;
        assert_eq!(wanted.cloud, Cloud::China);
        assert_eq!(wanted.workspaces[1].cloud, Some(Cloud::UsGov));
        assert_eq!(wanted.workspaces[1].regions[0].as_str(), "usgovvirginia");
        assert_eq!(wanted.profiles, [Profile::MonitorAgent, Profile::Arc]);
        assert_eq!(&*wanted.hybrid_workers[1].code, "jpe");
        assert_eq!(wanted.hybrid_workers[1].registered, Registered::Cmdlet);
        assert!(config.allows_workspace_certificates && !config.derived_hosts.is_empty());
    }

    #[test]
    fn a_header_for_each_entry_is_the_same_list() {
        let file = Path::new("f.toml");
        let of = |text: String| parse(text.as_bytes(), file).unwrap().azure;
        let headers = of(format!(
            "[[azure.workspaces]]\nid = \"{ID}\"\nregions = [\"westeurope\"]\n\
             [[azure.hybrid_workers]]\nlocation = \"Japan\"\nregistered = \"cmdlet\"\n"
        ));
        let braces = of(format!(
            "[azure]\nworkspaces = [{{ id = \"{ID}\", regions = [\"westeurope\"] }}]\n\
             hybrid_workers = [{{ location = \"Japan\", registered = \"cmdlet\" }}]\n"
        ));
        assert_eq!(format!("{headers:?}"), format!("{braces:?}"));
        for (text, told) in [
            (
                "[[azure.workspaces]]\ncloud = \"usgov\"",
                "f.toml:1:1: azure.workspaces: a workspace",
            ),
            ("[[azure.workspaces]]\nidd = \"x\"", "f.toml:1:1: azure.workspaces: a workspace"),
            ("[[allow.hosts]]\na = 1", "f.toml:1:1: allow.hosts must be a list of strings"),
        ] {
            let problems = parse(text.as_bytes(), file).unwrap_err();
            assert!(problems[0].to_string().starts_with(told), "{}", problems[0]);
        }
    }

    #[test]
    fn problems_are_told_at_their_place() {
        for (text, start) in [
            ("cloud = \"mars\"", "2:9: azure.cloud must be one of \"public\""),
            ("workspaces = [\"x\"]", "2:15: azure.workspaces: \"x\": a workspace id is a GUID"),
            (
                "workspaces = [1]",
                "2:15: azure.workspaces must be a list of strings or tables, but this",
            ),
            (
                "workspaces = [{ cloud = \"usgov\" }]",
                "2:15: azure.workspaces: a workspace needs an id",
            ),
            ("workspaces = [{ id = \"x\" }]", "2:22: azure.workspaces: \"x\": a workspace id is"),
            ("workspaces = [{ ID = \"x\" }]", "2:15: azure.workspaces: a workspace needs an id"),
            ("regions = [\"a.b\"]", "2:12: azure.regions: \"a.b\": a region is a name"),
            (
                "profiles = [\"ama\"]",
                "2:13: azure.profiles: \"ama\": expected one of \"legacy-agent\"",
            ),
            (
                "hybrid_workers = [\"West Erope\"]",
                "2:19: azure.hybrid_workers: \"West Erope\": no such location; did you mean",
            ),
            ("hybrid_workers = [{}]", "2:19: azure.hybrid_workers: a location is needed"),
            (
                "client_certificates = true",
                "2:23: azure.client_certificates allows the certificates",
            ),
            ("client_certificates = 1", "2:23: azure.client_certificates must be true or false"),
            ("endpoints_file = \"none.toml\"", "2:18: azure.endpoints_file: \"none.toml\": "),
            (
                "workspace = []",
                "2:1: unknown key \"azure.workspace\"; did you mean \"azure.workspaces\"?",
            ),
        ] {
            let problems = parse(format!("[azure]\n{text}").as_bytes(), Path::new("f.toml"));
            let told = problems.unwrap_err()[0].to_string();
            assert!(told.starts_with(&format!("f.toml:{start}")), "{text}: {told}");
        }
    }

    #[test]
    fn the_operator_may_bring_other_names() {
        let folder = std::env::temp_dir().join(format!("sluice-endpoints-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let names = "[sources]\nA = \"ours\"\n[[endpoint]]\npurpose = \"p\"\nprofiles = [\"arc\"]\n\
                     per = \"cloud\"\npublic = [\"arc.example.com\"]\nsources = [\"A\"]\n";
        std::fs::write(folder.join("names.toml"), names).unwrap();
        let text = "azure.profiles = [\"arc\"]\nazure.endpoints_file = \"names.toml\"";
        let config = parse(text.as_bytes(), &folder.join("f.toml"));
        std::fs::remove_dir_all(&folder).unwrap();
        let hosts: Vec<String> = config.unwrap().hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["arc.example.com"]);
    }
}
