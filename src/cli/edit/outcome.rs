//! What a command tells of a change, and its exit code.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use crate::config::edit::change::{Change, ChangeError, Done, Outcome};
use crate::config::edit::text::Unfit;
use crate::config::load;
use crate::config::place::{self, Place};
use crate::config::problem::Problem;
use crate::observe::status::{ConfigurationStatus, Status};

use super::super::ask::{AskError, Running};
use super::super::command::USAGE;
use super::super::hint;
use super::super::overridden;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(in super::super) enum Failure {
    /// What was asked for cannot be meant.
    Usage(String),
    /// It cannot be done.
    Failed(String),
    /// The configuration is wrong.
    Configuration(Vec<Problem>),
    /// The file was not changed.
    Change(ChangeError),
}

impl Failure {
    /// Tells it on stderr.
    pub(in super::super) fn tell(&self) -> ExitCode {
        eprintln!("{self}");
        match self {
            Failure::Usage(_)
            | Failure::Configuration(_)
            | Failure::Change(
                ChangeError::Missing(_)
                | ChangeError::AlreadyWrong(_)
                | ChangeError::WouldBeWrong(..),
            ) => ExitCode::from(USAGE),
            Failure::Failed(_) | Failure::Change(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(why) | Failure::Failed(why) => f.write_str(why),
            Failure::Configuration(problems) => {
                let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            Failure::Change(error) => error.fmt(f),
        }
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Failure {
        Failure::Change(error)
    }
}

/// The configuration that a command is about.
pub(in super::super) fn place(file: Option<&Path>) -> Place {
    place::find(file, std::env::var_os("SLUICE_CONFIG"))
}

/// Changes the file of `place` by `edit`, which may touch `keys` and gives the lines to tell.
///
/// # Errors
/// The file stays as it was.
pub(super) fn change(
    place: &Place,
    keys: &[&str],
    edit: impl FnOnce(&mut Change) -> Result<Vec<String>, Failure>,
) -> Result<Vec<String>, Failure> {
    let mut change = Change::begin(place)?;
    let known = doubts(place);
    let mut told = edit(&mut change)?;
    let outcome = change.finish(keys)?;
    let concerns = |doubt: &&Problem| {
        keys.iter().any(|key| doubt.message.starts_with(key))
            || known.iter().all(|known| known.message != doubt.message)
    };
    told.extend(doubts(place).iter().filter(concerns).map(Problem::as_warning));
    told.extend(effect(&outcome, place, keys));
    Ok(told)
}

/// What is most probably not meant. Of a change those are told that are about its keys, and those that it
/// has brought about elsewhere: a region may be of another cloud now.
fn doubts(place: &Place) -> Vec<Problem> {
    load::read_aside(place).map(|loaded| loaded.config.doubts).unwrap_or_default()
}

/// What was read of a command line, unless some of it is wrong: then every mistake.
///
/// # Errors
/// Where there is one.
pub(super) fn unless_wrong<T>(read: T, mut wrong: Vec<String>) -> Result<T, Failure> {
    if wrong.is_empty() {
        return Ok(read);
    }
    wrong.push("Nothing was changed".to_owned());
    Err(Failure::Usage(wrong.join("\n")))
}

/// When a change takes effect, as far as that is known; nothing where nothing was changed.
pub(super) fn effect(outcome: &Outcome, place: &Place, keys: &[&str]) -> Option<String> {
    let file = outcome.file.display();
    let created = match outcome.done {
        Done::Nothing => return None,
        Done::Changed => String::new(),
        Done::Created => format!("{file} was not there; it is now. "),
    };
    let reload = hint::command("reload", place);
    let flag = keys.iter().find_map(|key| overridden::flag(key));
    let unflagged =
        flag.map(|flag| format!(" and was started without `{flag}`")).unwrap_or_default();
    let when = match gateway_of(&outcome.file, place) {
        Known::Other(other) => format!(
            "is made, but the gateway that answers at its admin.listen runs with {other} and takes \
             nothing from it"
        ),
        _ if keys.contains(&"workers") => {
            "takes effect when a gateway starts with it: workers need a restart".to_owned()
        }
        // Whoever asks by this file asks where the gateway does not listen yet, or never will.
        Known::Off => format!(
            "is taken within 3 s by a gateway that runs with it{unflagged}, on SIGHUP at once; with \
             the admin listener off `sluice reload` cannot ask it"
        ),
        _ if keys.contains(&"admin.listen") => {
            "is taken within 3 s by a gateway that runs with it, on SIGHUP at once".to_owned()
        }
        Known::Draining => {
            "is made, but the gateway that runs with it is stopping and takes no change".to_owned()
        }
        Known::Same(configuration) => match beaten(&configuration, keys) {
            Some(told) => told,
            None => format!("takes effect within 3 s; {reload} does it at once"),
        },
        Known::Nothing => format!(
            "is taken within 3 s by a gateway that runs with it{unflagged}; {reload} does it at once"
        ),
    };
    Some(format!("{created}The change in {file} {when}."))
}

/// Why a change of `keys` has no effect on a gateway that runs with their file.
fn beaten(configuration: &ConfigurationStatus, keys: &[&str]) -> Option<String> {
    let told = |key: &&str| {
        let by = overridden::by(configuration, key)?;
        Some(format!(
            "is made, but the gateway that runs with it was started with {by}: `{key}` counts only \
             after a start without"
        ))
    };
    keys.iter().find_map(told)
}

/// What is known of the gateway that a change is meant for.
enum Known {
    /// It runs with this file; this is in force there.
    Same(Box<ConfigurationStatus>),
    /// It runs with this file, and is about to stop.
    Draining,
    /// The configuration has no admin listener at which it could be asked.
    Off,
    /// It runs with another one.
    Other(String),
    /// None answers, or it does not say.
    Nothing,
}

fn gateway_of(file: &Path, place: &Place) -> Known {
    let body = match Running::of(place).and_then(|running| running.get("/status")) {
        Ok(body) => body,
        Err(AskError::Off(_)) => return Known::Off,
        Err(_) => return Known::Nothing,
    };
    let Ok(status) = serde_json::from_str::<Status>(&body) else { return Known::Nothing };
    let Some(runs_with) = status.configuration.file.clone() else { return Known::Nothing };
    match (std::fs::canonicalize(&runs_with), std::fs::canonicalize(file)) {
        (Ok(one), Ok(other)) if one == other && status.draining => Known::Draining,
        (Ok(one), Ok(other)) if one == other => Known::Same(Box::new(status.configuration)),
        (Ok(_), Ok(_)) => Known::Other(runs_with),
        // A relative name, or one of another root, as in a container.
        _ => Known::Nothing,
    }
}

/// Prints what there is to tell, or why there is nothing.
pub(in super::super) fn tell(told: Result<Vec<String>, Failure>) -> ExitCode {
    match told {
        Ok(lines) => {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            super::super::inspect::exit_code(super::super::inspect::write(&text))
        }
        Err(failure) => failure.tell(),
    }
}

/// Turns "cannot be done in this text" into what is wrong with the text.
pub(super) trait OrWrong<T> {
    fn or_wrong(self, change: &Change) -> Result<T, Failure>;
}

impl<T> OrWrong<T> for Result<T, Unfit> {
    fn or_wrong(self, change: &Change) -> Result<T, Failure> {
        self.map_err(|unfit| Failure::Change(change.unfit(unfit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_the_usual_place_comes_with_the_first_change_and_that_is_said() {
        let folder = std::env::temp_dir().join(format!("sluice-outcome-{}", std::process::id()));
        let place = Place { file: folder.join("sluice.toml"), is_named: false };
        // With the listener off nobody is asked, who might run on this machine.
        let off = |change: &mut Change| {
            change.text.set("admin.listen", "\"\"").or_wrong(change)?;
            Ok(Vec::new())
        };
        let told: Vec<String> =
            (0..2).flat_map(|_| change(&place, &["admin.listen"], off).unwrap()).collect();
        std::fs::remove_dir_all(&folder).unwrap();
        let file = place.file.display();
        let made = format!("{file} was not there; it is now. The change in {file} is taken within");
        assert!(told.len() == 1 && told[0].starts_with(&made), "{told:?}");
    }
}
