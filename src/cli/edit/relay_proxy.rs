//! `sluice relay-proxy`: the proxies that the gateway has to go through itself, and the credentials
//! for them. A password comes in by standard input and goes into a file of its own.

use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use crate::config::edit::change::Change;
use crate::config::edit::secret::Fate;
use crate::config::edit::text::{Text, quoted};
use crate::config::load;
use crate::config::place::beside;
use crate::logic::secret::Secret;

use super::outcome::{self, Failure, OrWrong, effect, place};

pub(in super::super) const EXAMPLE: &str = "\
Examples:
  sluice relay-proxy set http://proxy.example.com:8080
  sluice relay-proxy set http://proxy.example.com:8080 --username user1 --password-stdin < file
  sluice relay-proxy get
  sluice relay-proxy clear";
const SET_EXAMPLE: &str = "\
Examples:
  sluice relay-proxy set http://proxy.example.com:8080
  sluice relay-proxy set http://a.example.com:8080 http://b.example.com:8080
  systemd-ask-password | sluice relay-proxy set http://proxy.example.com:8080 --username user1 \
--password-stdin
  sluice relay-proxy set \"\"          the same as clear

The password goes into a file beside the configuration, which relay_proxy.password_file names, as in
sluice.toml.relay-password-1. It is for the owner of the configuration, and for its group where others cannot
read the configuration. Without --username the relay proxies get no credentials, and those that were set
before go. Files of that name go when the configuration names them no more; any other file stays.";
const GET_EXAMPLE: &str = "\
Example:
  sluice relay-proxy get";
const CLEAR_EXAMPLE: &str = "\
Example:
  sluice relay-proxy clear";

const ADDRESSES: &str = "relay_proxy.addresses";
const USERNAME: &str = "relay_proxy.username";
const PASSWORD_FILE: &str = "relay_proxy.password_file";
const PASSWORD: &str = "relay_proxy.password";
const KEYS: [&str; 4] = [ADDRESSES, USERNAME, PASSWORD_FILE, PASSWORD];
/// Bytes of a password. Longer ones are no passwords but files given by mistake.
const PASSWORD_BYTES_MAX: usize = 1024;

/// What to do with the relay proxy.
#[derive(Debug, Subcommand)]
pub(in super::super) enum RelayProxyCommand {
    /// Shows the relay proxies and the name used there; never the password
    #[command(after_help = GET_EXAMPLE)]
    Get,
    /// Sets the relay proxies, in order of preference, and the credentials for them
    #[command(after_help = SET_EXAMPLE)]
    Set(SetFlags),
    /// Has the gateway reach its targets directly
    #[command(after_help = CLEAR_EXAMPLE)]
    Clear,
}

/// The words of `relay-proxy set`.
#[derive(Args, Debug)]
pub(in super::super) struct SetFlags {
    /// Where it is, as in http://proxy.example.com:8080
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,

    /// The name for it
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    username: Option<String>,

    /// Reads the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
}

pub(in super::super) fn run(file: Option<&Path>, command: &RelayProxyCommand) -> ExitCode {
    outcome::tell(match command {
        RelayProxyCommand::Get => get(file),
        RelayProxyCommand::Set(flags) => set(file, flags),
        RelayProxyCommand::Clear => clear(file),
    })
}

fn get(file: Option<&Path>) -> Result<Vec<String>, Failure> {
    let place = place(file);
    let text = load::text(&place).map_err(Failure::Configuration)?;
    let addresses = addresses(&text);
    if addresses.is_empty() {
        return Ok(vec!["No relay proxy is set: targets are reached directly.".to_owned()]);
    }
    let mut told = addresses;
    if let Some(username) = text.string(USERNAME).filter(|username| !username.is_empty()) {
        told.push(format!("username: {username}"));
        told.push(match text.string(PASSWORD_FILE).filter(|name| !name.is_empty()) {
            Some(name) => format!("password: in {}", beside(&place.file, name).display()),
            None if text.has(PASSWORD) => format!("password: in {}", place.file.display()),
            None => {
                "password: from the service manager, as the credential relay-password".to_owned()
            }
        });
    }
    Ok(told)
}

fn set(file: Option<&Path>, flags: &SetFlags) -> Result<Vec<String>, Failure> {
    let urls: Vec<String> = flags
        .urls
        .iter()
        .flat_map(|urls| urls.split(','))
        .map(|url| url.trim().to_owned())
        .filter(|url| !url.is_empty())
        .collect();
    // Before anything else can show it.
    if urls.iter().any(|url| url.contains('@')) {
        return Err(Failure::Usage(
            "An address must not hold credentials, which a command line shows to everyone on this \
             machine. Nothing was changed. Write http://HOST:PORT, and use --username NAME \
             --password-stdin"
                .to_owned(),
        ));
    }
    if urls.is_empty() {
        return match flags.username {
            None => clear(file),
            Some(_) => Err(Failure::Usage("Credentials need an address to go to".to_owned())),
        };
    }
    let credentials = match &flags.username {
        Some(username) => Some((username.as_str(), password()?)),
        None => None,
    };
    let place = place(file);
    let mut change = Change::begin(&place)?;
    let dropped = if credentials.is_none() { dropped(&change.text) } else { None };
    let secret = match &credentials {
        Some((_, password)) => Some(change.write_secret(password)?),
        None => None,
    };
    let done = rewrite(&mut change, &urls, credentials.as_ref().map(|(name, _)| *name), &secret)
        .and_then(|()| Ok(change.finish_with_secret(&KEYS)?));
    let (outcome, fates) = done?;
    let mut told = vec![format!("Targets are reached through {}.", urls.join(", else "))];
    if let (Some((username, _)), Some(secret)) = (&credentials, &secret) {
        let file = beside(&place.file, secret);
        told.push(format!(
            "It is told that this is {username}; the password is in {}.",
            file.display()
        ));
    }
    told.extend(dropped);
    told.extend(fates.iter().map(fate));
    told.extend(effect(&outcome, &place, &KEYS));
    Ok(told)
}

/// Credentials that were set are not for another relay proxy: whoever names one anew names them anew.
fn dropped(text: &Text) -> Option<String> {
    let username = text.string(USERNAME).filter(|username| !username.is_empty())?;
    Some(format!(
        "The credentials of {username} are dropped: relay proxies that are set anew get none unasked. \
         To give them, use --username NAME --password-stdin."
    ))
}

fn rewrite(
    change: &mut Change,
    urls: &[String],
    username: Option<&str>,
    secret: &Option<String>,
) -> Result<(), Failure> {
    let text = &mut change.text;
    let mut rewrite = || {
        text.set_list(ADDRESSES, urls)?;
        text.remove(PASSWORD)?;
        match (username, secret) {
            (Some(username), Some(secret)) => {
                text.set(USERNAME, &quoted(username))?;
                text.set(PASSWORD_FILE, &quoted(secret))
            }
            _ => text.remove(USERNAME).and_then(|()| text.remove(PASSWORD_FILE)),
        }
    };
    rewrite().or_wrong(change)
}

/// The addresses become an empty list rather than nothing, so that the place for them stays, with the
/// comments there.
fn clear(file: Option<&Path>) -> Result<Vec<String>, Failure> {
    let place = place(file);
    let mut change = Change::begin(&place)?;
    if KEYS.iter().all(|key| !change.text.has(key)) {
        let mut told = vec!["No relay proxy is set; nothing was changed.".to_owned()];
        told.extend(change.sweep(None).iter().map(fate));
        return Ok(told);
    }
    rewrite(&mut change, &[], None, &None)?;
    let (outcome, fates) = change.finish_with_secret(&KEYS)?;
    let mut told = vec!["Targets are reached directly.".to_owned()];
    told.extend(fates.iter().map(fate));
    told.extend(effect(&outcome, &place, &KEYS));
    Ok(told)
}

fn fate(fate: &Fate) -> String {
    match fate {
        Fate::Removed(file) => format!("The old password file {} is removed.", file.display()),
        Fate::NotOurs(file) => format!(
            "{} stays: this command did not make it. Remove it yourself if nobody needs it.",
            file.display()
        ),
        Fate::Shared(file, other) => {
            format!("The password file {} stays: {} names it.", file.display(), other.display())
        }
        Fate::Stuck(file, error) => format!(
            "The old password file {} cannot be removed ({error}); remove it yourself.",
            file.display()
        ),
    }
}

fn addresses(text: &Text) -> Vec<String> {
    let found = text.strings(ADDRESSES).unwrap_or_default();
    found.into_iter().map(|(_, address)| address).collect()
}

/// The first line of standard input, which must be all of it.
fn password() -> Result<Secret, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::Usage(
            "Standard input is a terminal, which would show the password. Send it through a pipe, as \
             in: systemd-ask-password | sluice relay-proxy set ... --password-stdin"
                .to_owned(),
        ));
    }
    // One more than a password and its line end may have; never grown, so that nothing stays behind.
    let limit = PASSWORD_BYTES_MAX + 3;
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    stdin
        .lock()
        .take(limit as u64)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::Failed(format!("Standard input cannot be read: {error}")))?;
    let wrong = |why: &str| Failure::Usage(format!("The password on standard input {why}"));
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.len() > PASSWORD_BYTES_MAX {
        return Err(wrong(&format!("is longer than {PASSWORD_BYTES_MAX} bytes")));
    }
    if text.is_empty() {
        return Err(wrong("is empty"));
    }
    if text.chars().any(char::is_control) {
        return Err(wrong("holds a line end or another control character"));
    }
    Ok(Secret::new(text.to_owned()))
}
