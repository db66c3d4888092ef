//! Rules of the source that no compiler sees: who may import whom inside of one crate, what is called
//! only in its own place, how long a file may be, and which words are used.
//!
//! A checker takes text and gives breaches; the tests at the end plant one of each and expect it found.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

/// What each room may import of the others; a path admits all below it. Its own room always may.
const LAYERS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("logic", &["proto"]),
    ("sys", &[]),
    ("net", &["sys", "logic::bursts", "logic::flow", "proto::target"]),
    ("observe", &["logic", "proto::tls::Version", "sys::open_to_append", "sys::zeroed_counters"]),
    ("feed", &["proto", "logic", "config", "sys::is_writable_by_others", "sys::may_write_in"]),
    ("serve", &["proto", "logic", "sys", "net", "observe", "config", "feed"]),
    ("azure", &["logic"]),
    ("config", &["sys", "azure", "proto", "logic", "observe::settings", "observe::events::Level"]),
    ("cli", &["config", "azure", "feed", "serve", "observe", "logic", "net", "proto", "sys"]),
    ("main", &["cli"]),
    ("lib", &[]),
    ("corpus", &[]),
];

/// Libraries of the rooms that must stay free of sockets, clocks and files.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("proto", &["std", "httparse", "bytes", "idna", "der"]),
    ("logic", &["std", "ipnet", "idna", "parking_lot", "zeroize"]),
];

/// What is called nowhere but in these files, and what takes its place.
const CALLS: &[(&str, &[&str], &str)] = &[
    ("Instant::now", CLOCKS, "take `now` as an argument, or ask the kernel"),
    ("SystemTime::now", CLOCKS, "take the wall clock as an argument, or ask the kernel"),
    ("sync::Mutex", &[], "parking_lot::Mutex does not poison"),
    ("sync::RwLock", &[], "parking_lot::RwLock does not poison"),
    // The outlet's thread is nobody's turn, and neither is a command that watches or waits for a lock.
    (
        "thread::sleep",
        &[
            "src/config/edit/held.rs",
            "src/observe/stream.rs",
            "src/cli/inspect.rs",
            "src/serve/change.rs",
        ],
        "arm a deadline, or wait on a condition with a time",
    ),
    (
        ".reveal()",
        &[
            "src/cli/explain/relay.rs",
            "src/config/edit/secret.rs",
            "src/config/relay_proxy.rs",
            "src/feed/download.rs",
            "src/logic/relay_call.rs",
            "src/serve/asking.rs",
        ],
        "a secret is read where it is made and where it is sent",
    ),
    ("process::exit", &[], "return an ExitCode, so that everything is dropped"),
    (".unwrap()", &[], "tell what is wrong, or expect() with the reason why it cannot be"),
    ("dbg!", &[], "send an event"),
    ("todo!", &[], "finish it"),
    ("unimplemented!", &[], "finish it"),
    ("panic!", &[], "give an error, or an ending"),
];

/// Files that read a clock, each at a place that says why.
const CLOCKS: &[&str] = &[
    "src/main.rs",
    "src/cli/explain/dial.rs",
    "src/net/sockets.rs",
    "src/net/resolver.rs",
    "src/serve/acceptor.rs",
    "src/serve/change.rs",
    "src/serve/gateway.rs",
    "src/serve/inside.rs",
    "src/serve/supervisor.rs",
    "src/serve/worker.rs",
];

/// Paths that rooms without sockets, clocks and files do not name.
const IMPURE: &[&str] = &[
    "std::io",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "std::sync::mpsc",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::time::SystemTime",
];

/// Words that mean something that has a name already (the words of `src/lib.rs`).
const SYNONYMS: &[(&str, &str)] = &[
    ("upstream", "remote, target or relay proxy"),
    ("downstream", "client"),
    ("backend", "target or remote"),
    ("frontend", "client"),
    ("parent_proxy", "relay proxy"),
    ("close_reason", "ending"),
    ("end_reason", "ending"),
    ("whitelist", "allow list"),
    ("blacklist", "allow list"),
];

const FILE_NAMES: &[&str] =
    &["util", "utils", "common", "helper", "helpers", "misc", "types", "shared", "lib_util"];
const LINES: usize = 400;

/// A file, with comments and the insides of texts blanked in `code`, and without its tests.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        let blank = blank(text);
        // Other attributes may stand between the two.
        let tests = blank.find("\nmod tests {").unwrap_or(blank.len());
        let tests = blank[..tests].rfind("\n#[cfg(test)]").map_or(blank.len(), |at| at + 1);
        Source {
            path: path.replace('\\', "/"),
            text: text.get(..tests).unwrap_or(text).to_owned(),
            code: blank[..tests].to_owned(),
        }
    }

    fn room(&self) -> &str {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inner.split(['/', '.']).next().unwrap_or_default()
    }

    /// The module that the file is, from the crate on.
    fn module(&self) -> Vec<&str> {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let inner = inner.strip_suffix(".rs").unwrap_or(inner);
        let inner = inner.strip_suffix("/mod").unwrap_or(inner);
        if matches!(inner, "lib" | "main") { Vec::new() } else { inner.split('/').collect() }
    }

    fn breach(&self, at: usize, what: &str) -> String {
        let line = 1 + self.code[..at].matches('\n').count();
        format!("{}:{line}: {what}", self.path)
    }

    /// Where `word` stands in the code, not as part of a longer word.
    fn places(&self, word: &str) -> Vec<usize> {
        let part =
            |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        let bytes = self.code.as_bytes();
        let is_whole = |at: usize| {
            let (first, last) = (word.as_bytes()[0], word.as_bytes()[word.len() - 1]);
            let before = at > 0 && part(Some(&first)) && part(bytes.get(at - 1));
            let after = part(Some(&last)) && part(bytes.get(at + word.len()));
            !before && !after
        };
        self.code.match_indices(word).map(|(at, _)| at).filter(|&at| is_whole(at)).collect()
    }
}

/// The text with comments and the insides of texts as spaces; as long as before, line by line.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (open, end) = match rest {
            [b'/', b'/', ..] => (0, find(rest, b"\n").unwrap_or(rest.len())),
            [b'/', b'*', ..] => (0, comment_len(rest)),
            [b'"', ..] => (1, 1 + text_len(&rest[1..])),
            [b'r', b'"' | b'#', ..] if at == 0 || !is_word(bytes[at - 1]) => match raw_len(rest) {
                Some(len) => (1, len),
                None => (0, 0),
            },
            [b'\'', b'\\', ..] => (1, 3 + find(&rest[3..], b"'").unwrap_or(0)),
            [b'\'', _, b'\'', ..] => (1, 2),
            _ => (0, 0),
        };
        for byte in &mut out[at + open.min(end)..at + end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at += end.max(1) + usize::from(open == 1 && end > 0);
    }
    String::from_utf8(out).unwrap_or_default()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn comment_len(bytes: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn text_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

/// The bytes of a raw text before its last quote or hash.
fn raw_len(bytes: &[u8]) -> Option<usize> {
    let hashes = bytes[1..].iter().take_while(|&&byte| byte == b'#').count();
    if bytes.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let end = [&b"\""[..], &b"#".repeat(hashes)].concat();
    let begin = 2 + hashes;
    Some(begin + find(&bytes[begin..], &end).map_or(bytes.len() - begin, |at| at + hashes))
}

/// The paths that begin at `at`, with every branch of a `{...}` spelled out.
fn paths(code: &str, at: usize) -> Vec<Vec<String>> {
    let mut rest = &code[at..];
    let mut path = Vec::new();
    loop {
        let len = rest.bytes().take_while(|&byte| is_word(byte)).count();
        if len > 0 {
            path.push(rest[..len].to_owned());
        }
        rest = &rest[len..];
        match rest.strip_prefix("::").map(str::trim_start) {
            Some(more) if len > 0 => rest = more,
            _ => break,
        }
    }
    let Some(inner) = rest.strip_prefix('{') else { return vec![path] };
    let mut all = Vec::new();
    let (mut depth, mut begin) = (1, 0);
    for (place, c) in inner.char_indices() {
        let ends = matches!((c, depth), (',' | '}', 1));
        if ends && !inner[begin..place].trim().is_empty() {
            let branch = inner[begin..place].trim_start();
            for end in paths(branch, 0) {
                all.push(path.iter().cloned().chain(end).collect());
            }
        }
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if ends {
            begin = place + 1;
        }
        if depth == 0 {
            break;
        }
    }
    all
}

fn layers(source: &Source) -> Vec<String> {
    let room = source.room();
    let Some((_, admitted)) = LAYERS.iter().find(|(name, _)| *name == room) else {
        return vec![source.breach(0, "a room without a layer; name it in tests/tidy.rs")];
    };
    let mut found = Vec::new();
    for root in ["crate", "super", "sluice"] {
        for at in source.places(root) {
            if source.code[..at].ends_with("::")
                || !source.code[at + root.len()..].starts_with("::")
            {
                continue;
            }
            for path in paths(&source.code, at) {
                let mut module = if root == "super" { source.module() } else { Vec::new() };
                let ups = path.iter().take_while(|part| *part == "super").count();
                module.truncate(module.len().saturating_sub(ups));
                module.extend(path[ups.max(usize::from(root != "super"))..].iter().map(|p| &**p));
                let full = module.join("::");
                let within =
                    |admitted: &str| full == admitted || full.starts_with(&format!("{admitted}::"));
                if !full.is_empty() && !within(room) && !admitted.iter().any(|path| within(path)) {
                    found.push(source.breach(at, &format!("{room} must not import {full}")));
                }
            }
        }
    }
    found
}

fn libraries(source: &Source) -> Vec<String> {
    let Some((room, admitted)) = LIBRARIES.iter().find(|(name, _)| *name == source.room()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for at in source.places("use") {
        let begin = at + 3 + source.code[at + 3..].len() - source.code[at + 3..].trim_start().len();
        for path in paths(&source.code, begin) {
            let first = path.first().map_or("", |first| first);
            let is_library = first.starts_with(|c: char| c.is_ascii_lowercase())
                && !["crate", "super", "self"].contains(&first)
                && !source.code.contains(&format!("mod {first};"));
            if is_library && !admitted.contains(&first) {
                found.push(source.breach(at, &format!("{room} must not use the library {first}")));
            }
            let full = path.join("::");
            if IMPURE
                .iter()
                .any(|impure| full == *impure || full.starts_with(&format!("{impure}::")))
            {
                found.push(source.breach(at, &format!("{room} must not know {full}")));
            }
        }
    }
    found
}

fn calls(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (call, files, instead) in CALLS {
        if files.contains(&source.path.as_str()) {
            continue;
        }
        for at in source.places(call) {
            found.push(source.breach(at, &format!("{call}: {instead}")));
        }
    }
    found
}

/// `unsafe` and what depends on the system have one room.
fn platforms(source: &Source) -> Vec<String> {
    if source.room() == "sys" {
        return Vec::new();
    }
    let only = "only in src/sys";
    let unsafes = source.places("unsafe").into_iter().map(|at| (at, "unsafe"));
    let mut found: Vec<_> =
        unsafes.map(|(at, what)| source.breach(at, &format!("{what}: {only}"))).collect();
    for name in ["cfg", "cfg_attr"] {
        for at in source.places(name) {
            let condition = in_parentheses(&source.code[at..]);
            let systems = ["target_os", "target_family", "unix", "windows"];
            for system in systems.into_iter().filter(|system| condition.contains(system)) {
                found.push(source.breach(at, &format!("{name} of {system}: {only}")));
            }
        }
    }
    found
}

/// What stands in the first parentheses; empty where none follow at once.
fn in_parentheses(code: &str) -> &str {
    let Some(begin) = code.find('(') else { return "" };
    if code[..begin].chars().any(|c| !(c.is_alphanumeric() || "_!".contains(c))) {
        return "";
    }
    let mut depth = 0;
    for (at, c) in code[begin..].char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &code[begin + 1..begin + at];
        }
    }
    ""
}

fn reasons(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["allow", "expect"] {
        for at in source.places(name) {
            let is_attribute =
                source.code[..at].ends_with("#[") || source.code[..at].ends_with("#![");
            if is_attribute && !in_parentheses(&source.code[at..]).contains("reason =") {
                found.push(source.breach(at, &format!("{name} without a reason")));
            }
        }
    }
    found
}

fn words(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let lower = source.text.to_lowercase();
    for (word, instead) in SYNONYMS {
        for (at, _) in lower.match_indices(word) {
            let line = 1 + lower[..at].matches('\n').count();
            found.push(format!("{}:{line}: {word}: say {instead}", source.path));
        }
    }
    for mark in ["TODO", "FIXME", "XXX"] {
        for (at, _) in source.text.match_indices(mark) {
            let line = 1 + source.text[..at].matches('\n').count();
            found.push(format!("{}:{line}: {mark}: finish it", source.path));
        }
    }
    found
}

fn shape(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let lines = source.code.lines().count();
    if lines > LINES {
        found.push(format!("{}: {lines} lines without tests, {LINES} at most", source.path));
    }
    let banned = |part: &&str| FILE_NAMES.contains(&part.trim_end_matches(".rs"));
    if let Some(name) = source.path.split('/').find(banned) {
        found.push(format!("{}: {name} says nothing about what is in it", source.path));
    }
    if source.path.ends_with("/mod.rs") {
        for (index, line) in source.code.lines().enumerate() {
            let starts =
                ["mod ", "pub mod ", "pub(crate) mod ", "pub use ", "pub(crate) use ", "#["];
            let line = line.trim();
            if !line.is_empty() && !starts.iter().any(|start| line.starts_with(start)) {
                let what = "a mod.rs is its rule and its modules";
                found.push(format!("{}:{}: {what}", source.path, index + 1));
                break;
            }
        }
    }
    found
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path: PathBuf = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                files.push(Source::new(&name, &std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

fn expect_none(found: impl Iterator<Item = Vec<String>>) {
    let found: Vec<String> = found.flatten().collect();
    assert!(found.is_empty(), "{} breaches:\n{}", found.len(), found.join("\n"));
}

#[test]
fn rooms_import_only_what_is_below_them() {
    let sources = sources("src");
    assert!(sources.len() > 40, "the source is where it was");
    expect_none(sources.iter().map(layers));
    expect_none(sources.iter().map(libraries));
}

#[test]
fn what_has_one_place_is_only_there() {
    let sources = sources("src");
    expect_none(sources.iter().map(calls));
    expect_none(sources.iter().map(platforms));
}

#[test]
fn files_are_short_and_named_for_what_they_hold() {
    expect_none(sources("src").iter().map(shape));
}

#[test]
fn every_exception_has_its_reason() {
    for folder in ["src", "tests", "loadgen", "benches", "fuzz"] {
        expect_none(sources(folder).iter().map(reasons));
    }
}

#[test]
fn one_thing_has_one_word_and_nothing_is_left_for_later() {
    expect_none(sources("src").iter().map(words));
}

/// Each planted breach is found, and what only looks like one is not.
#[test]
fn planted_breaches_are_found() {
    type Checker = fn(&Source) -> Vec<String>;
    let rows: &[(Checker, &str, &str, usize)] = &[
        (layers, "src/proto/x.rs", "use crate::logic::hosts::Hosts;", 1),
        (layers, "src/proto/x.rs", "fn f() { crate::serve::worker::run() }", 1),
        (layers, "src/proto/tls/x.rs", "use super::super::super::logic::Y;", 1),
        (layers, "src/proto/mod.rs", "use super::logic;", 1),
        (layers, "src/logic/x.rs", "use crate::{proto::head, net::kernel};", 1),
        (layers, "src/net/x.rs", "use crate::logic::{flow::Flow, session::Session};", 1),
        (layers, "src/net/x.rs", "use crate::logic::{flow::{Flow, Step}, flow};", 0),
        (layers, "src/net/x.rs", "use crate::logic::flowers;", 1),
        (layers, "src/config/x.rs", "use crate::observe::events::{Event, Level};", 1),
        (layers, "src/observe/x.rs", "use crate::proto::tls::{self, Version};", 1),
        (layers, "src/main.rs", "fn main() { sluice::serve::gateway::run() }", 1),
        (layers, "src/other/x.rs", "", 1),
        (layers, "src/proto/x.rs", "use super::target::Host; use crate::proto::tls;", 0),
        (layers, "src/proto/tls/x.rs", "use super::super::target::Host;", 0),
        (
            layers,
            "src/proto/x.rs",
            "// crate::logic::x\n/* crate::net */ const A: &str = \"crate::net::y\";",
            0,
        ),
        (
            layers,
            "src/proto/x.rs",
            "const A: &str = r#\"\"crate::net::y\"#; const B: char = '\"';\nuse crate::net::z;",
            1,
        ),
        (
            layers,
            "src/proto/x.rs",
            "\n#[cfg(test)]\n#[allow(x)]\nmod tests {\nuse crate::net::z;\n}",
            0,
        ),
        (libraries, "src/proto/x.rs", "use mio::Poll;", 1),
        (libraries, "src/logic/x.rs", "use std::net::{IpAddr, TcpStream};", 1),
        (libraries, "src/logic/x.rs", "use std::io;", 1),
        (libraries, "src/logic/x.rs", "use std::net::IpAddr; use ipnet::IpNet;", 0),
        (libraries, "src/net/x.rs", "use mio::Poll;", 0),
        (calls, "src/logic/x.rs", "fn f() { let now = Instant::now(); }", 1),
        (calls, "src/net/sockets.rs", "fn f() { let now = Instant::now(); }", 0),
        (calls, "src/net/x.rs", "use std::sync::Mutex;", 1),
        (calls, "src/net/x.rs", "let a = b.unwrap();", 1),
        (calls, "src/net/x.rs", "let a = b.unwrap_or_default();", 0),
        (calls, "src/observe/x.rs", "event.detail(secret.reveal())", 1),
        (calls, "src/serve/asking.rs", "write(secret.reveal())", 0),
        (calls, "src/net/x.rs", "debug_panic!()", 0),
        (platforms, "src/net/x.rs", "unsafe { f() }", 1),
        (platforms, "src/net/x.rs", "#![deny(unsafe_code)]", 0),
        (platforms, "src/net/x.rs", "#[cfg(target_os = \"linux\")] fn f() {}", 1),
        (platforms, "src/net/x.rs", "if cfg!(windows) {}", 1),
        (platforms, "src/net/x.rs", "#[cfg_attr(all(unix, test), allow(x))]", 1),
        (platforms, "src/sys/x.rs", "#[cfg(unix)] fn f() { unsafe {} }", 0),
        (platforms, "src/net/x.rs", "#[cfg(test)] fn f() { windows() }", 0),
        (reasons, "src/net/x.rs", "#[allow(clippy::x)]", 1),
        (reasons, "src/net/x.rs", "#![expect(\n clippy::x\n)]", 1),
        (reasons, "src/net/x.rs", "#[allow(clippy::x, reason = \"why (not)\")]", 0),
        (reasons, "src/net/x.rs", "a.expect(\"b\")", 0),
        (words, "src/net/x.rs", "// the Upstream", 1),
        (words, "src/net/x.rs", "// TODO: x", 1),
        (shape, "src/net/util.rs", "", 1),
        (shape, "src/misc/x.rs", "", 1),
        (shape, "src/net/mod.rs", "//! Doc.\n\npub mod x;\npub use x::Y;\n", 0),
        (shape, "src/net/mod.rs", "//! Doc.\nfn f() {}\n", 1),
    ];
    for (checker, path, text, breaches) in rows {
        let found = checker(&Source::new(path, text));
        assert_eq!(found.len(), *breaches, "{path}: {text}: {found:?}");
    }
    let long = "let a = 1;\n".repeat(LINES + 1);
    assert_eq!(shape(&Source::new("src/net/x.rs", &long)).len(), 1);
    let with_tests = format!("let a;\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
    assert_eq!(shape(&Source::new("src/net/x.rs", &with_tests)).len(), 0);
}

#[test]
fn a_breach_is_told_at_its_line() {
    let source = Source::new("src/net/x.rs", "// unsafe\n\nunsafe { f() }\n");
    assert_eq!(platforms(&source), ["src/net/x.rs:3: unsafe: only in src/sys"]);
}
