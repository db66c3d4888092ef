//! All that is wrong with a configuration file: what `run` would refuse, and what only tests may write.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;

use toml_edit::{Document, Item, Value};

use crate::observe::settings::Destination;

use super::load;
use super::place;
use super::problem::{Problem, Problems};
use super::schema::Config;

/// Everything that is wrong with `bytes`, which `file` is said to hold, in the order of the file.
pub fn problems(bytes: &[u8], file: &Path) -> Vec<Problem> {
    let text = match place::text(bytes, file) {
        Ok(text) => text,
        Err(problem) => return vec![problem],
    };
    let (config, mut problems) = load::as_far_as_it_goes(text, &load::home_of(false, file));
    beyond_each_value(text, &config, &mut problems);
    problems.locate(file, text)
}

/// What shows only beside other values, or beside this machine, and would end the start.
fn beyond_each_value(text: &str, config: &Config, problems: &mut Problems) {
    let Ok(document) = Document::parse(text) else { return };
    let listen = document.get("listen").and_then(Item::as_array);
    let admin = document.get("admin").and_then(|admin| admin.get("listen"));
    let listen = listen.into_iter().flatten().map(|value| ("listen", value));
    let admin = admin.and_then(Item::as_value).map(|value| ("admin.listen", value));
    // A list that cannot be read is not the default either.
    let mut taken = match document.contains_key("listen") {
        true => Vec::new(),
        false => config.listen.clone(),
    };
    for (path, value) in listen.chain(admin) {
        let address = value.as_str().and_then(|text| text.parse::<SocketAddr>().ok());
        let Some(address) = address else { continue };
        // The same one twice in `listen` counts once.
        let is_again = |other: &&SocketAddr| **other == address && path == "listen";
        let clash = taken.iter().find(|other| !is_again(other) && clash(address, **other));
        let why = match (address.port(), clash) {
            // Another port at each start: good for tests, where somebody reads what is printed.
            (0, _) => "the port must be 1 to 65535, not 0".to_owned(),
            (_, Some(other)) => format!("clients are listened for at {other}, which takes it"),
            _ => {
                taken.push(address);
                continue;
            }
        };
        problems.add(Value::span(value), format!("{path}: \"{address}\": {why}"));
    }
    if let Destination::File(events) = &config.events.to
        && let Some(why) = unfit_for_events(events)
    {
        let to = document.get("events").and_then(|events| events.get("to"));
        problems.add(to.and_then(Item::span), format!("events.to: {why}"));
    }
}

/// Whether a socket bound to one keeps the other from being bound.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let all = |address: SocketAddr| address.ip().is_unspecified();
    one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || all(one) || all(other))
}

/// Why no events can be appended to a file. What a relative name means is for the folder to say in which
/// the gateway is started; what may be written, for its user.
fn unfit_for_events(file: &Path) -> Option<String> {
    if file.is_relative() {
        return None;
    }
    if file.is_dir() {
        return Some(format!("{} is a folder; name a file in it", file.display()));
    }
    let folder = file.parent()?;
    match std::fs::metadata(folder) {
        Ok(found) if !found.is_dir() => Some(format!("{} is no folder", folder.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Some(format!("there is no folder {}; make it first", folder.display()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_tests_may_write_is_a_problem_at_its_place() {
        let file = Path::new("f.toml");
        let text =
            "\u{feff}listen = [\"127.0.0.1:0\", \"[::1]:8080\"]\n[admin]\nlisten = \"[::1]:0\"\n";
        let told: Vec<String> =
            problems(text.as_bytes(), file).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "f.toml:1:11: listen: \"127.0.0.1:0\": the port must be 1 to 65535, not 0",
                "f.toml:3:10: admin.listen: \"[::1]:0\": the port must be 1 to 65535, not 0",
            ]
        );
        let text = "listen = [\"0.0.0.0:1\", \"127.0.0.1:1\", \"[::]:1\", \"0.0.0.0:1\"]\n\
                    events.to = \"file:/no/such/folder/x\"\nadmin.listen = \"[::1]:1\"\n";
        let told: Vec<String> =
            problems(text.as_bytes(), file).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "f.toml:1:24: listen: \"127.0.0.1:1\": clients are listened for at 0.0.0.0:1, which takes it",
                "f.toml:2:13: events.to: there is no folder /no/such/folder; make it first",
                "f.toml:3:16: admin.listen: \"[::1]:1\": clients are listened for at [::]:1, which takes it",
            ]
        );
        let told = problems(b"admin.listen = \"127.0.0.1:8080\"", file);
        assert_eq!(told.len(), 1, "it is where clients are listened for by default: {told:?}");
        assert_eq!(problems(b"events.to = \"file:/\"", file).len(), 1);
        assert_eq!(problems(b"events.to = \"file:no/such/folder/x\"", file), []);
        assert_eq!(problems(b"workers = 1\nadmin.listen = \"\"", file), []);
        assert_eq!(problems(b"workers = 1000", file).len(), 1);
    }
}
