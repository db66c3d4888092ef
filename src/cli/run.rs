//! `sluice run`: from flags and file to a gateway that can be started.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;

use crate::config::load::{self, Loaded};
use crate::config::networks;
use crate::config::place::{self, Place};
use crate::config::problem::Problem;
use crate::config::schema::{Config, Overrides};
use crate::logic::reason::Reason;
use crate::observe::events::{Event, Level};
use crate::observe::outlets;
use crate::observe::settings::{Destination, Format};
use crate::serve::acceptor::Accepting;
use crate::serve::gateway;
use crate::serve::start::{self, Fault, Start, StartError};

use super::command::USAGE;

pub(super) const EXAMPLE: &str = "\
Example:
  sluice run --config ./sluice.toml --listen 127.0.0.1:8080 --log-format json";

/// The flags of `sluice run`.
#[derive(Args, Debug)]
pub(super) struct RunFlags {
    /// Listens here instead of where the file says; may be given more than once
    #[arg(long, value_name = "ADDR:PORT", value_parser = networks::listen)]
    pub(super) listen: Vec<SocketAddr>,

    /// The form of events, instead of what the file says
    #[arg(long, value_name = "text|json", value_parser = format)]
    pub(super) log_format: Option<Format>,

    /// Who takes connections: every worker, or one thread for all
    #[arg(long, value_name = "workers|one", value_parser = accepting, hide = true)]
    pub(super) accepting: Option<Accepting>,
}

/// All that a start needs, and what a reload needs again.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The configuration, with the flags in it.
    pub config: Config,
    /// The flags, which beat the file also on reload.
    pub overrides: Overrides,
    /// Where the configuration is read from again.
    pub place: Place,
    /// There is a file at that place; else the configuration is the defaults.
    pub is_from_file: bool,
    /// What is to be said of a configuration that allows nothing, or everything.
    pub of_hosts: Option<Event>,
}

pub(super) fn run(file: Option<&Path>, flags: &RunFlags, now: SystemTime) -> ExitCode {
    let overrides = Overrides { listen: flags.listen.clone(), log_format: flags.log_format };
    match prepare(file, std::env::var_os("SLUICE_CONFIG"), overrides, now) {
        Ok(prepared) => serve(prepared, flags.accepting, now),
        Err(problems) => {
            tell(&problems, flags.log_format.unwrap_or(Format::Text), now);
            ExitCode::from(USAGE)
        }
    }
}

fn serve(prepared: Prepared, accepting: Option<Accepting>, now: SystemTime) -> ExitCode {
    let Prepared { config, overrides, place, is_from_file, of_hosts } = prepared;
    let (on_stderr, format) = (config.events.to == Destination::Stderr, config.events.format);
    // Who starts a gateway that lets all hosts through must see it, wherever events go.
    if !on_stderr || config.events.level > Level::Warning {
        outlets::print(start::of_mode(&config, now).as_slice(), format);
    }
    let start = Start {
        config,
        accepting: accepting.unwrap_or_else(Accepting::best),
        notices: of_hosts.into_iter().collect(),
        file: place.file.clone(),
        is_from_file,
        overrides: overrides.keys(),
        reread: Box::new(move || reread(&place, &overrides)),
    };
    match gateway::run(start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (reason, code) = match error {
                StartError::System(..) => (Reason::Internal, ExitCode::FAILURE),
                _ => (Reason::ConfigurationInvalid, ExitCode::from(USAGE)),
            };
            // Where events go to stderr, it has been told there; elsewhere nobody may look at first.
            if !on_stderr || matches!(error, StartError::Outlet(_)) {
                outlets::print(&[Event::new(reason, now).detail(error.to_string())], format);
            }
            code
        }
    }
}

/// The configuration as it is now. A file that is empty or gone is a mistake, not a wish to allow
/// nothing: what was in force stays.
fn reread(place: &Place, overrides: &Overrides) -> Result<Config, Vec<Fault>> {
    let Loaded { mut config, is_from_file } =
        load::read(place).map_err(|problems| problems.iter().map(fault).collect::<Vec<_>>())?;
    let file = place.file.display();
    if !is_from_file {
        return Err(vec![Fault::of(&format_args!("{file}: the file is gone"))]);
    }
    if config.is_blank {
        return Err(vec![Fault::of(&format_args!("{file}: the file sets nothing"))]);
    }
    config.apply(overrides);
    Ok(config)
}

fn fault(problem: &Problem) -> Fault {
    Fault { reason: problem.reason, text: problem.to_string() }
}

/// Finds and reads the configuration, and lets the flags beat it. `variable` is `$SLUICE_CONFIG`.
///
/// # Errors
/// Everything that is wrong with the configuration.
pub fn prepare(
    file: Option<&Path>,
    variable: Option<OsString>,
    overrides: Overrides,
    now: SystemTime,
) -> Result<Prepared, Vec<Problem>> {
    let place = place::find(file, variable);
    let Loaded { mut config, is_from_file } = load::read(&place)?;
    config.apply(&overrides);
    let allows_nothing = config.hosts.is_empty() && config.feed.is_none();
    let nothing_allowed = || {
        let file = place.file.display();
        let why =
            if is_from_file { format!("{file} lists none") } else { format!("there is no {file}") };
        Event::new(Reason::NothingAllowed, now).detail(why)
    };
    let of_hosts = start::of_mode(&config, now).or_else(|| allows_nothing.then(nothing_allowed));
    Ok(Prepared { config, overrides, place, is_from_file, of_hosts })
}

/// Each problem as one event 401 on stderr: the outlet of a wrong configuration cannot be known.
fn tell(problems: &[Problem], format: Format, now: SystemTime) {
    let event = |problem: &Problem| Event::new(problem.reason, now).detail(problem.to_string());
    outlets::print(&problems.iter().map(event).collect::<Vec<_>>(), format);
}

fn accepting(text: &str) -> Result<Accepting, &'static str> {
    match text {
        "workers" => Ok(Accepting::ByWorkers),
        "one" => Ok(Accepting::ByOne),
        _ => Err("expected workers or one"),
    }
}

fn format(text: &str) -> Result<Format, &'static str> {
    let known = Format::ALL.into_iter().find(|format| format.as_str() == text);
    known.ok_or("expected text or json")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::observe::messages::message;

    /// A file with this text, in a folder of its own that goes when the test ends.
    struct Saved(PathBuf);

    impl Saved {
        fn new(name: &str, text: &str) -> Saved {
            let folder = std::env::temp_dir().join(format!("sluice-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let file = folder.join("sluice.toml");
            std::fs::write(&file, text).unwrap();
            Saved(file)
        }
    }

    impl Drop for Saved {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(self.0.parent().unwrap()));
        }
    }

    fn prepared(file: &Path, overrides: Overrides) -> Result<Prepared, Vec<Problem>> {
        prepare(Some(file), None, overrides, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn flags_beat_the_file_and_stay_for_the_reload() {
        let saved = Saved::new("flags", "listen = [\"127.0.0.1:1\"]\nallow.hosts = [\"a.b\"]\n");
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], 2))];
        let overrides = Overrides { listen: listen.clone(), log_format: Some(Format::Json) };
        let prepared = prepared(&saved.0, overrides.clone()).unwrap();
        assert_eq!(prepared.config.listen, listen);
        assert_eq!(prepared.config.events.format, Format::Json);
        assert_eq!((prepared.overrides, prepared.place.file.clone()), (overrides, saved.0.clone()));
        assert_eq!(prepared.of_hosts, None);
    }

    #[test]
    fn a_file_that_allows_nothing_is_told_with_what_to_do() {
        let saved = Saved::new("nothing", "workers = 1\n");
        let event = prepared(&saved.0, Overrides::default()).unwrap().of_hosts.unwrap();
        let message = message(&event);
        assert!(
            message.contains("sluice.toml lists none. List the hosts under [allow]"),
            "{message}"
        );
    }

    #[test]
    fn a_named_file_that_is_missing_or_wrong_is_a_problem() {
        let missing = std::env::temp_dir().join("sluice-no-such-folder").join("f.toml");
        assert_eq!(prepared(&missing, Overrides::default()).unwrap_err().len(), 1);
        let saved = Saved::new("wrong", "workers = 1000\nx = 1\n");
        assert_eq!(prepared(&saved.0, Overrides::default()).unwrap_err().len(), 2);
        let variable = Some(saved.0.clone().into_os_string());
        let by_variable = prepare(None, variable, Overrides::default(), SystemTime::UNIX_EPOCH);
        assert_eq!(by_variable.unwrap_err()[0].file, saved.0);
    }
}
