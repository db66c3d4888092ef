//! What an operator asks for: clouds, workspaces, regions, profiles, places of Hybrid Runbook Workers.

use std::fmt;

use serde::Deserialize;

/// One of Microsoft's clouds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cloud {
    /// The commercial one.
    #[default]
    Public,
    /// Azure Government.
    UsGov,
    /// Operated by 21Vianet.
    China,
}

impl Cloud {
    /// All of them.
    pub const ALL: [Cloud; 3] = [Cloud::Public, Cloud::UsGov, Cloud::China];

    /// As the configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Cloud::Public => "public",
            Cloud::UsGov => "usgov",
            Cloud::China => "china",
        }
    }
}

/// What kind of clients the names are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// The Log Analytics agents for Windows and Linux, and Operations Manager.
    LegacyAgent,
    /// The Azure Monitor Agent.
    MonitorAgent,
    /// Hybrid Runbook Workers of Azure Automation.
    HybridWorker,
    /// Azure Arc's Connected Machine agent.
    Arc,
}

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 4] =
        [Profile::LegacyAgent, Profile::MonitorAgent, Profile::HybridWorker, Profile::Arc];

    /// As the configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Profile::LegacyAgent => "legacy-agent",
            Profile::MonitorAgent => "monitor-agent",
            Profile::HybridWorker => "hybrid-worker",
            Profile::Arc => "arc",
        }
    }
}

/// How a Hybrid Runbook Worker came to be registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Registered {
    /// By Update Management: it needs the job runtime data service.
    #[default]
    Automatic,
    /// By the registration cmdlet: it needs the agent service too.
    Cmdlet,
}

impl Registered {
    /// Both.
    pub const ALL: [Registered; 2] = [Registered::Automatic, Registered::Cmdlet];

    /// As the configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Registered::Automatic => "automatic",
            Registered::Cmdlet => "cmdlet",
        }
    }
}

/// The id of a workspace: a GUID, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkspaceId(Box<str>);

impl WorkspaceId {
    /// Reads a GUID, in braces or without.
    ///
    /// # Errors
    /// What is not 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12.
    pub fn parse(text: &str) -> Result<WorkspaceId, String> {
        let text = text.trim();
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
        let groups: Vec<&str> = inner.split('-').collect();
        let lens: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        let is_hex = inner.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
        if lens != [8, 4, 4, 4, 12] || !is_hex {
            return Err("a workspace id is a GUID, as in 01234567-89ab-cdef-0123-456789abcdef; \
                        the portal shows it in the overview of the workspace"
                .to_owned());
        }
        Ok(WorkspaceId(inner.to_ascii_lowercase().into_boxed_str()))
    }

    /// In lower case, without braces.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A region by its programmatic name, as in `westeurope`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(Box<str>);

impl Region {
    /// Reads `westeurope`, or `West Europe` as the portal shows it.
    ///
    /// # Errors
    /// What has other characters than letters, digits, spaces and hyphens, or is none.
    pub fn parse(text: &str) -> Result<Region, String> {
        let name = folded(text);
        let is_name = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if name.is_empty() || name.len() > 40 || !is_name {
            return Err("a region is a name such as \"westeurope\" or \"West Europe\"".to_owned());
        }
        Ok(Region(name.into_boxed_str()))
    }

    /// The programmatic name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn told_cloud(&self) -> Option<Cloud> {
        let begins = |word: &str| self.0.starts_with(word);
        if begins("usgov") || begins("usdod") {
            return Some(Cloud::UsGov);
        }
        begins("china").then_some(Cloud::China)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A workspace, and where it is if that is not what holds for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// Its cloud; `None` = that of the section.
    pub cloud: Option<Cloud>,
    /// The regions of its machines; empty = those of the section.
    pub regions: Vec<Region>,
}

/// Where the Automation account of Hybrid Runbook Workers is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HybridWorker {
    /// The code of the place, as in `we`.
    pub code: Box<str>,
    /// How they came to be registered.
    pub registered: Registered,
}

/// All that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where nothing else is said.
    pub cloud: Cloud,
    /// The workspaces.
    pub workspaces: Vec<Workspace>,
    /// The regions of the machines.
    pub regions: Vec<Region>,
    /// The kinds of clients.
    pub profiles: Vec<Profile>,
    /// The places of Hybrid Runbook Workers.
    pub hybrid_workers: Vec<HybridWorker>,
}

impl Wanted {
    /// Where a workspace is.
    pub fn cloud_of(&self, workspace: &Workspace) -> Cloud {
        workspace.cloud.unwrap_or(self.cloud)
    }

    /// Those of the workspaces; without any, that of the section.
    pub fn clouds(&self) -> Vec<Cloud> {
        if self.workspaces.is_empty() {
            return vec![self.cloud];
        }
        let used = |cloud: &Cloud| self.workspaces.iter().any(|one| self.cloud_of(one) == *cloud);
        Cloud::ALL.into_iter().filter(used).collect()
    }

    /// Whether a region that is named for all can be meant where `cloud` is. The names of the other
    /// clouds' regions tell their cloud; any other is of the public one, or of that of the section.
    pub fn has_in(&self, region: &Region, cloud: Cloud) -> bool {
        match region.told_cloud() {
            Some(told) => told == cloud,
            None => cloud == Cloud::Public || cloud == self.cloud,
        }
    }
}

impl Default for Wanted {
    /// Nothing comes of it: the profile of the legacy agents has names of workspaces only.
    fn default() -> Wanted {
        Wanted {
            cloud: Cloud::Public,
            workspaces: Vec::new(),
            regions: Vec::new(),
            profiles: vec![Profile::LegacyAgent],
            hybrid_workers: Vec::new(),
        }
    }
}

/// A name as people write it, without what they write differently: case, spaces, hyphens.
pub(super) fn folded(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, ' ' | '-' | '_')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_id_is_a_guid() {
        let id = "01234567-89AB-cdef-0123-456789abcdef";
        for good in [id, "{01234567-89ab-cdef-0123-456789ABCDEF}", &format!(" {id} ")] {
            let read = WorkspaceId::parse(good).map(|id| id.to_string());
            assert_eq!(read.as_deref(), Ok("01234567-89ab-cdef-0123-456789abcdef"), "{good}");
        }
        for bad in [
            "",
            "0123456789abcdef0123456789abcdef",
            &id[1..],
            &format!("{id}0"),
            "a.b",
            "0123456g-89ab-cdef-0123-456789abcdef",
            "01234567-89ab-cdef-0123-456789abcdef}",
        ] {
            assert!(WorkspaceId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_region_is_read_as_the_portal_shows_it() {
        for (text, name) in [
            ("West Europe", "westeurope"),
            ("westus2", "westus2"),
            ("USGov Virginia", "usgovvirginia"),
        ] {
            assert_eq!(Region::parse(text).map(|region| region.to_string()).as_deref(), Ok(name));
        }
        for bad in ["", " ", "west.europe", "*", "a/b", "ü", &"x".repeat(41)] {
            assert!(Region::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spellings_are_those_of_the_data_file() {
        for cloud in Cloud::ALL {
            assert_eq!(
                toml_edit::de::from_str::<Named<Cloud>>(&format!("name = {:?}", cloud.as_str()))
                    .unwrap()
                    .name,
                cloud
            );
        }
        for profile in Profile::ALL {
            assert_eq!(
                toml_edit::de::from_str::<Named<Profile>>(&format!(
                    "name = {:?}",
                    profile.as_str()
                ))
                .unwrap()
                .name,
                profile
            );
        }
    }

    #[derive(Deserialize)]
    struct Named<T> {
        name: T,
    }
}
