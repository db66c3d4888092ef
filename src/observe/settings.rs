//! What can be set of the events: where they go, in which form, from which level on.
//!
//! The types live here and not in `config`, because an outlet is made from them and `observe`
//! imports nothing that reads files; `config` fills them in.

use std::path::PathBuf;

use super::events::Level;

/// The `[events]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSettings {
    /// Where lines go. stderr: what a service manager collects.
    pub to: Destination,
    /// The form of a line, and of a message for a journal or a syslog. Text: for people; programs
    /// ask for JSON.
    pub format: Format,
    /// The lowest level that is written. Info.
    pub level: Level,
}

impl Default for EventSettings {
    fn default() -> EventSettings {
        EventSettings { to: Destination::Stderr, format: Format::Text, level: Level::Info }
    }
}

/// Where journald listens, on every system with systemd.
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";
/// Where the syslog of a Linux listens.
const SYSLOG_SOCKET: &str = "/dev/log";
/// The longest path of a socket that every Unix takes: `sun_path` of the BSDs, without its NUL.
const SOCKET_PATH_BYTES: usize = 103;

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The standard error stream.
    Stderr,
    /// A file that is appended to, and created where it is missing.
    File(PathBuf),
    /// The journal of systemd, by the datagram socket at this path.
    Journal(PathBuf),
    /// A syslog of this machine, by the socket at this path.
    Syslog(PathBuf),
}

impl Destination {
    /// Reads `stderr`, `file:PATH`, `journal` or `syslog`. The latter two also take the path of their
    /// socket, as in `syslog:/run/host/log`: in a container it may be mounted anywhere.
    ///
    /// # Errors
    /// The sentence that tells what is wrong, also where this system has no journal or syslog.
    pub fn parse(text: &str) -> Result<Destination, String> {
        Destination::parse_on(text, std::env::consts::OS)
    }

    fn parse_on(text: &str, system: &str) -> Result<Destination, String> {
        let (kind, path) = match text.split_once(':') {
            Some((kind, path)) => (kind, Some(path)),
            None => (text, None),
        };
        match (kind, path) {
            ("stderr", None) => Ok(Destination::Stderr),
            ("file", Some(path)) => named(kind, path, usize::MAX).map(Destination::File),
            ("journal", path) if system == "linux" => {
                let path = path.unwrap_or(JOURNAL_SOCKET);
                named(kind, path, SOCKET_PATH_BYTES).map(Destination::Journal)
            }
            ("syslog", path) if system != "windows" => {
                let path = path.unwrap_or(SYSLOG_SOCKET);
                named(kind, path, SOCKET_PATH_BYTES).map(Destination::Syslog)
            }
            ("journal" | "syslog", _) => {
                Err(format!("there is no {kind} on {system}: write {}", choices(system)))
            }
            _ => Err(format!("expected {}", choices(system))),
        }
    }
}

fn named(kind: &str, path: &str, bytes_max: usize) -> Result<PathBuf, String> {
    if path.is_empty() {
        return Err(format!("\"{kind}:\" names no file: write \"{kind}:PATH\""));
    }
    if path.contains('\0') {
        return Err("a path cannot hold a NUL".to_owned());
    }
    if path.len() > bytes_max {
        return Err(format!(
            "longer than the {bytes_max} bytes that the path of a socket may have"
        ));
    }
    Ok(PathBuf::from(path))
}

fn choices(system: &str) -> &'static str {
    match system {
        "linux" => "\"stderr\", \"journal\", \"syslog\" or \"file:PATH\"",
        "windows" => "\"stderr\" or \"file:PATH\"",
        _ => "\"stderr\", \"syslog\" or \"file:PATH\"",
    }
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Time, level, id, reason, message, then `key=value`.
    Text,
    /// One object.
    Json,
}

impl Format {
    /// All forms.
    pub const ALL: [Format; 2] = [Format::Text, Format::Json];

    /// The spelling in `events.format` and `--log-format`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_or_explained() {
        let path = PathBuf::from;
        for (text, system, destination) in [
            ("stderr", "windows", Destination::Stderr),
            ("file:/var/log/sluice.log", "linux", Destination::File(path("/var/log/sluice.log"))),
            (r"file:C:\Logs\a.log", "windows", Destination::File(path(r"C:\Logs\a.log"))),
            ("journal", "linux", Destination::Journal(path("/run/systemd/journal/socket"))),
            ("journal:/j", "linux", Destination::Journal(path("/j"))),
            ("syslog", "linux", Destination::Syslog(path("/dev/log"))),
            ("syslog:/var/run/log", "freebsd", Destination::Syslog(path("/var/run/log"))),
        ] {
            assert_eq!(Destination::parse_on(text, system), Ok(destination), "{text}");
        }
        assert_eq!(Destination::parse("stderr"), Ok(Destination::Stderr));
        let long = format!("syslog:/{}", "x".repeat(103));
        for (text, system, why) in [
            ("", "linux", "expected \"stderr\", \"journal\", \"syslog\" or \"file:PATH\""),
            ("stdout", "windows", "expected \"stderr\" or \"file:PATH\""),
            ("stderr:/x", "linux", "expected"),
            ("file", "linux", "expected"),
            ("file:", "linux", "\"file:\" names no file"),
            ("syslog:", "linux", "\"syslog:\" names no file"),
            ("file:a\0b", "linux", "NUL"),
            ("journal:a\0b", "linux", "NUL"),
            (&long, "linux", "103 bytes"),
            ("journal", "windows", "no journal on windows: write \"stderr\" or \"file:PATH\""),
            ("syslog:/x", "windows", "no syslog on windows"),
            ("journal", "macos", "no journal on macos: write \"stderr\", \"syslog\" or \"file:"),
        ] {
            let error = Destination::parse_on(text, system).expect_err(text);
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}
