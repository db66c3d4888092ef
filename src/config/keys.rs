//! The keys of a configuration as a command line names them: what kind of value each takes, how such
//! a value is written there, and what holds where the file is silent.

use super::edit::text::{Text, quoted};
use super::feed::without_query;

/// A key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// With its section, as in `limits.head_ms`.
    pub path: String,
    /// What it takes.
    pub kind: Kind,
}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Keys of its own.
    Section,
    /// A whole number.
    Number,
    /// A text.
    Text,
    /// true or false.
    Flag,
    /// Texts.
    List,
}

/// A value for a key, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// As TOML spells it.
    Scalar(String),
    /// The entries.
    List(Vec<String>),
}

/// How alike a key and a mistyped one must be to be taken for each other.
const LIKENESS: f64 = 0.75;
/// What nobody is shown.
const SECRETS: [&str; 1] = ["relay_proxy.password"];
/// Addresses whose query may hold a token.
const WITH_QUERIES: [&str; 1] = ["allow.feed.url"];
/// Lists whose entries may hold commas, as the names of certificates do.
const WITH_COMMAS: [&str; 1] = ["allow.client_certificates"];
/// Addresses with a port, of which the port alone may be given.
const WITH_PORTS: [&str; 2] = ["listen", "admin.listen"];

/// Every key with its default and what it is for.
pub const DEFAULTS: &str = include_str!("defaults.toml");

impl Key {
    /// The key at `path`.
    ///
    /// # Errors
    /// There is none; the sentence names the nearest.
    pub fn find(path: &str, keys: &[Key]) -> Result<Key, String> {
        if let Some(key) = keys.iter().find(|key| key.path == path) {
            return Ok(key.clone());
        }
        let lower = path.to_lowercase();
        let likeness = |key: &Key| {
            let (_, leaf) = key.path.rsplit_once('.').unwrap_or(("", &key.path));
            let whole = strsim::jaro_winkler(&lower, &key.path);
            whole.max(strsim::jaro_winkler(&lower, leaf))
        };
        let nearest = keys.iter().rev().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let meant = nearest
            .filter(|key| likeness(key) >= LIKENESS)
            .map(|key| format!("; did you mean \"{}\"?", key.path))
            .unwrap_or_default();
        Err(format!("unknown key \"{}\"{meant}", super::networks::shown(path)))
    }

    /// Whether its value must not be shown.
    pub fn is_secret(&self) -> bool {
        SECRETS.contains(&self.path.as_str())
    }

    /// What may be shown of its value in `text`, where that is less than all of it: an address without its
    /// query.
    pub fn open_part(&self, text: &Text) -> Option<String> {
        if !WITH_QUERIES.contains(&self.path.as_str()) {
            return None;
        }
        without_query(&text.string(&self.path)?)
    }

    /// Whether what `words` of a command line give it holds a query, which everyone on the machine could
    /// read there.
    pub fn has_query(&self, words: &[String]) -> bool {
        WITH_QUERIES.contains(&self.path.as_str()) && words.iter().any(|word| word.contains('?'))
    }

    /// The value that `words` of a command line give it. `text` is the configuration: a port alone
    /// keeps the hosts that stand there.
    ///
    /// # Errors
    /// The sentence that tells what the key takes. What the value must be beside is for the check of
    /// the whole to say.
    pub fn setting(&self, words: &[String], text: &Text) -> Result<Setting, String> {
        if let [word] = words
            && WITH_PORTS.contains(&self.path.as_str())
            && word.parse::<u16>().is_ok()
        {
            return self.with_port(word, text);
        }
        let path = &self.path;
        match (self.kind, words) {
            (Kind::List, _) => Ok(Setting::List(self.entries(words)?)),
            (Kind::Number, [word]) => {
                let digits = word.replace('_', "");
                match digits.parse::<i64>() {
                    Ok(number) => Ok(Setting::Scalar(number.to_string())),
                    Err(_) => Err(format!(
                        "{path} takes a whole number, not \"{}\"",
                        super::networks::shown(word)
                    )),
                }
            }
            (Kind::Flag, [word]) if word == "true" || word == "false" => {
                Ok(Setting::Scalar(word.clone()))
            }
            (Kind::Flag, [_]) => Err(format!("{path} takes true or false")),
            (Kind::Text, [word]) => Ok(Setting::Scalar(quoted(word))),
            _ => Err(format!("{path} takes one value, not {}", words.len())),
        }
    }

    fn entries(&self, words: &[String]) -> Result<Vec<String>, String> {
        // An IPv6 address begins with a bracket too.
        let is_array = |word: &str| {
            let inside = word.trim().strip_prefix('[').map(str::trim_start);
            inside.is_some_and(|inside| inside.starts_with(['"', '\'', ']']))
        };
        if let [word] = words
            && is_array(word)
        {
            return Text::new(format!("list = {word}"))
                .strings("list")
                .map(|entries| entries.into_iter().map(|(_, entry)| entry).collect())
                .map_err(|_| format!("{} takes texts, as in [\"a\", \"b\"]", self.path));
        }
        let keeps_commas = WITH_COMMAS.contains(&self.path.as_str());
        let split = |word: &String| -> Vec<String> {
            match keeps_commas {
                true => vec![word.clone()],
                false => word.split(',').map(str::to_owned).collect(),
            }
        };
        let entries = words.iter().flat_map(split).map(|entry| entry.trim().to_owned());
        Ok(entries.filter(|entry| !entry.is_empty()).collect())
    }

    fn with_port(&self, port: &str, text: &Text) -> Result<Setting, String> {
        let moved = |address: String| match address.rsplit_once(':') {
            Some((host, _)) => format!("{host}:{port}"),
            None => address,
        };
        let defaults = Text::new(DEFAULTS);
        let source = if text.has(&self.path) { text } else { &defaults };
        let wrong = |_| format!("{} holds something else than texts", self.path);
        if self.kind == Kind::List {
            let mut addresses: Vec<String> = Vec::new();
            for (_, address) in source.strings(&self.path).map_err(wrong)? {
                let address = moved(address);
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            return Ok(Setting::List(addresses));
        }
        let address = source.string(&self.path).filter(|address| !address.is_empty());
        let address = address.or_else(|| defaults.string(&self.path)).unwrap_or_default();
        Ok(Setting::Scalar(quoted(&moved(address))))
    }
}

impl Kind {
    /// What a file is told that has something else there.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Kind::Section => "a section, as in [SECTION]",
            Kind::Number => "a whole number",
            Kind::Text => "a string",
            Kind::Flag => "true or false",
            Kind::List => "a list of strings",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::load::{keys, parse};
    use crate::config::schema::Config;

    #[test]
    fn every_key_has_its_default_and_the_defaults_are_those_of_the_program() {
        let parsed = parse(DEFAULTS.as_bytes(), Path::new("defaults.toml")).unwrap();
        let parsed = Config { is_blank: true, listen_is_default: true, ..parsed };
        assert_eq!(format!("{parsed:?}"), format!("{:?}", Config::default()));
        let defaults = Text::new(DEFAULTS).values().unwrap();
        for key in keys() {
            assert!(defaults.contains_key(&key.path) || key.is_secret(), "{}", key.path);
        }
        assert!(keys().len() > 25);
        let readme = include_str!("../../README.md");
        assert!(readme.contains(&format!("```toml\n{DEFAULTS}```")), "as the README shows them");
    }

    #[test]
    fn a_mistyped_key_is_told_with_the_nearest() {
        for (path, meant) in [
            ("wrokers", "workers"),
            ("ListenPort", "listen"),
            ("idle_ms", "limits.idle_ms"),
            ("allow.host", "allow.hosts"),
            ("tls.version", "tls.min_version"),
        ] {
            let told = Key::find(path, &keys()).unwrap_err();
            assert!(told.contains(&format!("did you mean \"{meant}\"?")), "{told}");
        }
        assert!(!Key::find("zzz", &keys()).unwrap_err().contains("mean"));
        assert_eq!(Key::find("listen", &keys()).map(|key| key.kind), Ok(Kind::List));
    }

    fn setting(path: &str, words: &[&str], text: &str) -> Result<Setting, String> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Key::find(path, &keys()).unwrap().setting(&words, &Text::new(text))
    }

    #[test]
    fn words_become_what_the_key_takes() {
        let list = |entries: &[&str]| {
            Ok(Setting::List(entries.iter().map(|&entry| entry.to_owned()).collect()))
        };
        let scalar = |text: &str| Ok(Setting::Scalar(text.to_owned()));
        assert_eq!(setting("workers", &["5"], ""), scalar("5"));
        assert_eq!(setting("limits.idle_ms", &["1_000"], ""), scalar("1000"));
        assert_eq!(setting("workers", &["-1"], ""), scalar("-1"));
        assert_eq!(setting("allow.cut_open", &["true"], ""), scalar("true"));
        assert_eq!(setting("tls.min_version", &["1.3"], ""), scalar("\"1.3\""));
        assert_eq!(setting("events.to", &["file:C:\\a \"b\""], ""), scalar("'file:C:\\a \"b\"'"));
        assert_eq!(setting("allow.hosts", &["a.b,c.d", " e.f "], ""), list(&["a.b", "c.d", "e.f"]));
        assert_eq!(setting("allow.hosts", &["[\"a.b\", 'c.d']"], ""), list(&["a.b", "c.d"]));
        assert_eq!(setting("allow.hosts", &["[]"], ""), list(&[]));
        assert_eq!(setting("allow.hosts", &[""], ""), list(&[]));
        assert_eq!(setting("listen", &["[::1]:80"], ""), list(&["[::1]:80"]));
        assert_eq!(setting("listen", &["9"], ""), list(&["0.0.0.0:9", "[::]:9"]));
        assert_eq!(
            setting("listen", &["9"], "listen = [\"10.0.0.1:1\", \"[::1]:2\", \"10.0.0.1:3\"]"),
            list(&["10.0.0.1:9", "[::1]:9"])
        );
        assert_eq!(setting("admin.listen", &["9"], ""), scalar("\"127.0.0.1:9\""));
        assert_eq!(
            setting("admin.listen", &["9"], "admin.listen = \"\""),
            scalar("\"127.0.0.1:9\"")
        );
        assert_eq!(
            setting("admin.listen", &["9"], "admin.listen = \"[::]:1\""),
            scalar("\"[::]:9\"")
        );
        for (path, words, why) in [
            ("workers", &["many"][..], "takes a whole number, not \"many\""),
            ("workers", &["1", "2"], "takes one value, not 2"),
            ("allow.cut_open", &["yes"], "takes true or false"),
            ("allow.hosts", &["[\"a\""], "takes texts"),
            ("allow.hosts", &["[1]"], ""),
        ] {
            let told = setting(path, words, "");
            assert!(
                why.is_empty() || told.as_ref().is_err_and(|told| told.contains(why)),
                "{told:?}"
            );
        }
    }
}
