//! The commands, their flags, and what each exits with.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{CommandFactory, Parser, Subcommand};

use super::check;
use super::edit::{allowed, hybrid_worker, relay_proxy, settings, workspace};
use super::explain::tell::{self as explain, ExplainFlags};
use super::inspect::{self, CountersFlags, ReportFlags};
use super::manual::{self, CompletionsFlags, ManFlags};
use super::run::{self, RunFlags};

/// Exit code for a wrong command line or configuration.
pub(super) const USAGE: u8 = 2;

/// A lean gateway that lets machines without internet access send their logs: clients tunnel
/// through it by HTTP CONNECT to the hosts that its configuration allows.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, arg_required_else_help = true, after_help = EXAMPLE)]
struct CommandLine {
    /// The configuration [default: $SLUICE_CONFIG, else /etc/sluice/sluice.toml, on Windows
    /// %ProgramData%\Sluice\sluice.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the gateway in the foreground until it is told to stop
    #[command(after_help = run::EXAMPLE)]
    Run(RunFlags),
    /// Tells everything that is wrong with the configuration
    #[command(after_help = check::EXAMPLE)]
    Check,
    /// Tells what a CONNECT to a target would get, and why
    #[command(after_help = explain::EXAMPLE)]
    Explain(ExplainFlags),
    /// Shows or sets any key of the configuration
    #[command(subcommand, after_help = settings::EXAMPLE)]
    Config(settings::ConfigCommand),
    /// Shows or sets the proxy that the gateway itself has to go through
    #[command(subcommand, after_help = relay_proxy::EXAMPLE)]
    RelayProxy(relay_proxy::RelayProxyCommand),
    /// Shows or changes the hosts that clients may reach
    #[command(subcommand, after_help = allowed::HOST_EXAMPLE)]
    AllowedHost(allowed::HostCommand),
    /// Shows or changes the subjects of client certificates that are let through
    #[command(subcommand, after_help = allowed::CERTIFICATE_EXAMPLE)]
    AllowedClientCertificate(allowed::CertificateCommand),
    /// Shows or changes the Log Analytics workspaces whose hosts are allowed
    #[command(subcommand, after_help = workspace::EXAMPLE)]
    Workspace(workspace::WorkspaceCommand),
    /// Shows or changes the locations whose Hybrid Runbook Workers are let through
    #[command(subcommand, after_help = hybrid_worker::EXAMPLE)]
    HybridWorker(hybrid_worker::HybridWorkerCommand),
    /// Shows how the running gateway stands
    #[command(after_help = inspect::STATUS_EXAMPLE)]
    Status,
    /// Has the running gateway read its configuration again, and tells the outcome
    #[command(after_help = inspect::RELOAD_EXAMPLE)]
    Reload,
    /// Shows the counters of the running gateway
    #[command(after_help = inspect::COUNTERS_EXAMPLE)]
    Counters(CountersFlags),
    /// Shows how long things take in the running gateway
    #[command(after_help = inspect::REPORT_EXAMPLE)]
    Report(ReportFlags),
    /// Writes what a shell needs to complete these commands
    #[command(after_help = manual::COMPLETIONS_EXAMPLE)]
    Completions(CompletionsFlags),
    /// Writes the manual pages
    #[command(after_help = manual::MAN_EXAMPLE)]
    Man(ManFlags),
}

const EXAMPLE: &str = "Example:\n  sluice run --config /etc/sluice/sluice.toml";

/// Does what `arguments`, the program's name first, ask for. `now` is the wall clock.
pub fn main(arguments: impl IntoIterator<Item = OsString>, now: SystemTime) -> ExitCode {
    let CommandLine { config, command } = match CommandLine::try_parse_from(arguments) {
        Ok(command_line) => command_line,
        Err(told) => {
            // Help and version come this way too, with their own stream and exit code. A closed
            // stream leaves nobody to tell.
            drop(told.print());
            return ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(USAGE));
        }
    };
    match command {
        Command::Run(flags) => run::run(config.as_deref(), &flags, now),
        Command::Check => check::run(config.as_deref()),
        Command::Explain(flags) => explain::run(config.as_deref(), &flags),
        Command::Config(command) => settings::run(config.as_deref(), &command),
        Command::RelayProxy(command) => relay_proxy::run(config.as_deref(), &command),
        Command::AllowedHost(command) => allowed::hosts(config.as_deref(), &command),
        Command::AllowedClientCertificate(command) => {
            allowed::certificates(config.as_deref(), &command)
        }
        Command::Workspace(command) => workspace::run(config.as_deref(), &command),
        Command::HybridWorker(command) => hybrid_worker::run(config.as_deref(), &command),
        Command::Status => inspect::status(config.as_deref()),
        Command::Reload => inspect::reload(config.as_deref()),
        Command::Counters(flags) => inspect::counters(config.as_deref(), &flags),
        Command::Report(flags) => inspect::report(config.as_deref(), &flags),
        Command::Completions(flags) => manual::completions(CommandLine::command(), &flags),
        Command::Man(flags) => manual::man(CommandLine::command(), &flags),
    }
}

#[cfg(test)]
mod documented;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::settings::Format;

    fn parse(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_sound_and_each_command_has_an_example() {
        CommandLine::command().debug_assert();
        let commands: Vec<clap::Command> =
            CommandLine::command().get_subcommands().cloned().collect();
        let deeper = commands.iter().flat_map(clap::Command::get_subcommands);
        for command in commands.iter().chain(deeper) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Example"), "{}", command.get_name());
        }
    }

    #[test]
    fn run_takes_its_flags_and_config_stands_anywhere() {
        for line in [
            "sluice run --config c --listen 127.0.0.1:0 --listen [::1]:0 --log-format json",
            "sluice --config c run --listen=127.0.0.1:0 --listen=[::1]:0 --log-format=json",
        ] {
            let CommandLine { config, command } = parse(line).unwrap();
            let Command::Run(flags) = command else { panic!("{line}") };
            assert_eq!(config, Some(PathBuf::from("c")));
            assert_eq!((flags.listen.len(), flags.log_format), (2, Some(Format::Json)));
        }
    }

    #[test]
    fn mistakes_exit_with_2_and_say_what_to_write() {
        for (line, words) in [
            ("sluice", "Usage"),
            ("sluice rnu", "unrecognized"),
            ("sluice run --listen 8080", "0.0.0.0:8080"),
            ("sluice run --listen localhost:1", "expected an IP address"),
            ("sluice run --log-format yaml", "text or json"),
            ("sluice run --cofnig x", "--config"),
            ("sluice report --format xml", "text, json, hgrm"),
            ("sluice report --of lunch", "resolve, dial, setup"),
            ("sluice counters --wach", "--watch"),
        ] {
            let told = parse(line).expect_err(line);
            assert_eq!(told.exit_code(), 2, "{line}");
            assert!(told.to_string().contains(words), "{line}: {told}");
        }
        for line in ["sluice --version", "sluice --help", "sluice run --help"] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 0);
        }
    }
}
