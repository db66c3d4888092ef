//! What to add to the section `[azure]` for the targets that clients asked for. A suggestion only ever adds:
//! each step is expanded as the gateway would, by itself and behind those before it, and one after which a
//! pattern does not follow any more is not proposed. So a name that a hostile client asks for cannot make
//! an operator take away what works.

use std::collections::HashSet;

use super::super::hint::quoted;
use super::proposal::Proposed;
use crate::azure::catalog::Catalog;
use crate::azure::expansion::Derived;
use crate::azure::recognition::{Part, Recognised};
use crate::azure::wanted::{
    Cloud, HybridWorker, Profile, Region, Registered, Wanted, Workspace, WorkspaceId,
};
use crate::config::schema::Config;
use crate::logic::hosts::{HostPattern, HostVerdict, Hosts};
use crate::proto::target::Target;

/// Entries in one command.
const ENTRIES_A_COMMAND: usize = 20;
/// The narrowest first: it is proposed where several would do.
const PROFILES: [Profile; 4] =
    [Profile::MonitorAgent, Profile::LegacyAgent, Profile::HybridWorker, Profile::Arc];

/// What the section is widened from.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    pub(super) config: &'a Config,
    pub(super) catalog: &'a Catalog,
    /// The file names profiles, so that those of the default are no accident.
    pub(super) has_profiles: bool,
}

/// The section as it could be.
#[derive(Debug, Default)]
pub(super) struct Widened {
    pub(super) commands: Vec<Proposed>,
    /// What would follow from it and is nobody else's.
    pub(super) narrow: Vec<Derived>,
    pub(super) admitted: Hosts,
}

/// A target that is not allowed, and what could bring it.
pub(super) type Open<'a> = (&'a Target, Vec<Recognised>);

/// One command, or several of a kind.
#[derive(Clone, Debug)]
enum Step {
    /// The whole list, with those that are there.
    Profiles(Vec<Profile>),
    /// The whole list, with those that are there.
    Regions(Vec<Region>),
    Workspaces(Option<Cloud>, Vec<WorkspaceId>),
    HybridWorkers(Registered, Vec<HybridWorker>),
}

/// The section with what the names of `open` tell.
pub(super) fn widened(open: &[Open<'_>], ground: &Ground<'_>) -> Widened {
    let mut steps: Vec<Step> = Vec::new();
    for step in candidates(open, ground) {
        steps.push(step);
        if !only_adds(&steps, ground) {
            steps.pop();
        }
    }
    // What covers nothing of what was asked for has no place among the commands.
    if covered(&steps, open, ground) == 0 {
        steps.clear();
    }
    for place in (0..steps.len()).rev() {
        // Profiles in the place of the default are narrower than that.
        if steps[place].replaces(&ground.config.azure) {
            continue;
        }
        let mut fewer = steps.clone();
        fewer.remove(place);
        if covered(&fewer, open, ground) == covered(&steps, open, ground)
            && only_adds(&fewer, ground)
        {
            steps = fewer;
        }
    }
    let narrow = narrow(&steps, ground);
    let admitted = Hosts::new(narrow.iter().map(|derived| derived.pattern.clone()));
    Widened { commands: commands(&steps, ground), narrow, admitted }
}

/// Every step that the names tell, in the order in which it would be typed. A name that only a pattern over
/// everyone's names would bring is no reason to open that. The default cloud stays what it is: all that
/// follows hangs on it.
fn candidates(open: &[Open<'_>], ground: &Ground<'_>) -> Vec<Step> {
    let before = &ground.config.azure;
    let narrow = |one: &&Recognised| one.warning.is_none();
    let is_in_use = ground.has_profiles || !ground.config.derived_hosts.is_empty();
    let mut profiles = if is_in_use { before.profiles.clone() } else { Vec::new() };
    add_profiles(&mut profiles, open);
    let brought = |one: &&Recognised| {
        narrow(one) && one.profiles.iter().any(|profile| profiles.contains(profile))
    };
    let parts = open.iter().filter_map(|(_, all)| {
        let is_worker = |one: &&Recognised| narrow(one) && one.profiles.is_empty();
        all.iter().find(brought).or_else(|| all.iter().find(is_worker)).map(|one| &one.part)
    });
    let mut regions = before.regions.clone();
    let mut known: HashSet<&WorkspaceId> = before.workspaces.iter().map(|one| &one.id).collect();
    let mut workspaces = Cloud::ALL.map(|cloud| (cloud, Vec::new()));
    let mut workers = Registered::ALL.map(|way| (way, Vec::new()));
    let clouds = before.clouds();
    for part in parts {
        match part {
            Part::Workspace(id, cloud) if known.insert(id) => {
                let of_cloud = workspaces.iter_mut().find(|(one, _)| one == cloud);
                of_cloud.into_iter().for_each(|(_, ids)| ids.push(id.clone()));
            }
            Part::Region(region, cloud)
                if clouds.contains(cloud)
                    && before.has_in(region, *cloud)
                    && !regions.contains(region) =>
            {
                regions.push(region.clone());
            }
            Part::HybridWorker(worker) => {
                let of_way = workers.iter_mut().find(|(way, _)| *way == worker.registered);
                of_way.into_iter().for_each(|(_, all)| all.push(worker.clone()));
            }
            _ => {}
        }
    }
    let mut steps = Vec::new();
    if !profiles.is_empty() && profiles != before.profiles {
        steps.push(Step::Profiles(profiles));
    }
    if regions != before.regions {
        steps.push(Step::Regions(regions));
    }
    for (cloud, ids) in workspaces.into_iter().filter(|(_, ids)| !ids.is_empty()) {
        steps.push(Step::Workspaces((cloud != before.cloud).then_some(cloud), ids));
    }
    for (way, mut all) in workers.into_iter().rev() {
        // One that needs the agent service has the other's names, too.
        all.retain(|worker| {
            let has = |steps: &[Step]| {
                steps.iter().any(|step| match step {
                    Step::HybridWorkers(_, all) => all.iter().any(|one| one.code == worker.code),
                    _ => false,
                })
            };
            !has(&steps) && is_more(worker, before)
        });
        all.sort_by(|a, b| a.code.cmp(&b.code));
        all.dedup();
        if !all.is_empty() {
            steps.push(Step::HybridWorkers(way, all));
        }
    }
    steps
}

/// Whether the worker is none that is there, or needs more than that.
fn is_more(worker: &HybridWorker, before: &Wanted) -> bool {
    let known = before.hybrid_workers.iter().find(|known| known.code == worker.code);
    known.is_none_or(|known| {
        known.registered == Registered::Automatic && worker.registered == Registered::Cmdlet
    })
}

/// Adds the profiles that most names ask for, one after the other. One name that every machine may ask for
/// is not enough for a whole profile.
fn add_profiles(profiles: &mut Vec<Profile>, open: &[Open<'_>]) {
    let motives = |all: &[Recognised], profile: Profile| -> Option<bool> {
        let narrow = all.iter().filter(|one| one.warning.is_none());
        let mut motive = narrow.filter(|one| one.profiles.contains(&profile));
        motive.next().map(|one| !matches!(one.part, Part::Cloud(_)))
    };
    let mut left: Vec<&Vec<Recognised>> = open
        .iter()
        .map(|(_, all)| all)
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

/// Whether no pattern is lost: by any of the steps alone, nor by any behind those before it.
fn only_adds(steps: &[Step], ground: &Ground<'_>) -> bool {
    let base = &ground.config.azure;
    let keeps = |before: &Wanted, step: &Step| {
        let after: HashSet<HostPattern> = patterns(&step.on(before), ground).collect();
        patterns(before, ground).all(|pattern| after.contains(&pattern))
    };
    let mut wanted = base.clone();
    steps.iter().all(|step| {
        let is_kept = keeps(base, step) && keeps(&wanted, step);
        wanted = step.on(&wanted);
        is_kept
    })
}

fn patterns(wanted: &Wanted, ground: &Ground<'_>) -> impl Iterator<Item = HostPattern> {
    ground.catalog.expand(wanted).into_iter().map(|derived| derived.pattern)
}

/// What follows after all steps without a warning: a name below what is everyone's stays a single name.
fn narrow(steps: &[Step], ground: &Ground<'_>) -> Vec<Derived> {
    let wanted = steps.iter().fold(ground.config.azure.clone(), |wanted, step| step.on(&wanted));
    let mut derived = ground.catalog.expand(&wanted);
    derived.retain(|one| one.warning.is_none());
    derived
}

fn covered(steps: &[Step], open: &[Open<'_>], ground: &Ground<'_>) -> usize {
    let narrow = narrow(steps, ground);
    let hosts = Hosts::new(narrow.into_iter().map(|derived| derived.pattern));
    let is_covered = |target: &Target| matches!(hosts.judge(target), HostVerdict::Allowed(_));
    open.iter().filter(|(target, _)| is_covered(target)).count()
}

/// The steps as words to type, each with what it would admit beside the operator's own.
fn commands(steps: &[Step], ground: &Ground<'_>) -> Vec<Proposed> {
    let mut wanted = ground.config.azure.clone();
    let mut commands = Vec::new();
    for step in steps {
        let known: HashSet<HostPattern> = patterns(&wanted, ground).collect();
        wanted = step.on(&wanted);
        let new = ground.catalog.expand(&wanted).into_iter();
        let new = new.filter(|derived| !known.contains(&derived.pattern));
        let warnings: Vec<String> = new
            .filter_map(|derived| Some(format!("{} {}", derived.pattern, derived.warning?)))
            .collect();
        let proposed = |words| Proposed { words, warnings: warnings.clone() };
        commands.extend(step.words().into_iter().map(proposed));
    }
    commands
}

impl Step {
    /// The section with this step done.
    fn on(&self, wanted: &Wanted) -> Wanted {
        let mut wanted = wanted.clone();
        match self {
            Step::Profiles(profiles) => wanted.profiles.clone_from(profiles),
            Step::Regions(regions) => wanted.regions.clone_from(regions),
            Step::Workspaces(cloud, ids) => {
                wanted.workspaces.extend(ids.iter().map(|id| Workspace {
                    id: id.clone(),
                    cloud: *cloud,
                    regions: Vec::new(),
                }))
            }
            Step::HybridWorkers(_, workers) => {
                let is_new =
                    |known: &HybridWorker| workers.iter().all(|one| one.code != known.code);
                wanted.hybrid_workers.retain(is_new);
                wanted.hybrid_workers.extend(workers.iter().cloned());
            }
        }
        wanted
    }

    fn replaces(&self, before: &Wanted) -> bool {
        let Step::Profiles(profiles) = self else { return false };
        before.profiles.iter().any(|profile| !profiles.contains(profile))
    }

    fn words(&self) -> Vec<String> {
        let in_pieces = |all: Vec<String>, before: &str, behind: &str| -> Vec<String> {
            let pieces = all.chunks(ENTRIES_A_COMMAND);
            pieces.map(|piece| format!("{before} {}{behind}", piece.join(" "))).collect()
        };
        match self {
            Step::Profiles(profiles) => {
                let names: Vec<&str> = profiles.iter().map(|profile| profile.as_str()).collect();
                vec![format!("config set azure.profiles {}", names.join(","))]
            }
            Step::Regions(regions) => {
                let names: Vec<&str> = regions.iter().map(|region| region.as_str()).collect();
                vec![format!("config set azure.regions {}", names.join(","))]
            }
            Step::Workspaces(cloud, ids) => {
                let cloud = cloud.map(|cloud| format!(" --cloud {}", cloud.as_str()));
                let ids = ids.iter().map(ToString::to_string).collect();
                in_pieces(ids, "workspace add", &cloud.unwrap_or_default())
            }
            Step::HybridWorkers(way, workers) => {
                let codes = workers.iter().map(|worker| quoted(&worker.code)).collect();
                let way = format!(" --registered {}", way.as_str());
                in_pieces(codes, "hybrid-worker add", &way)
            }
        }
    }
}
