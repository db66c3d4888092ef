//! Reads a configuration: text to checked values, with every problem at its place.

#[cfg(any(test, fuzzing))]
pub mod fuzzed;

use std::net::SocketAddr;
use std::path::Path;

use toml_edit::{Document, Table};

use crate::logic::addresses::{Addresses, canonical, reaches};
use crate::logic::certificates::{SubjectRule, Subjects, UnseenAllowed};
use crate::logic::hosts::HostPattern;
use crate::logic::policy::AllowMode;
use crate::observe::events::Level;
use crate::observe::settings::{Destination, Format};
use crate::proto::target::Host;
use crate::proto::tls::Version;

use super::edit::text::Text;
use super::feed;
use super::keys::{Key, Kind};
use super::networks;
use super::place::{self, Place};
use super::problem::{Problem, Problems};
use super::relay_proxy::{self, Home};
use super::schema::{ADDRESSES_MAX, CarrierChoice, Config, LIMITS, WORKERS_MAX};
use super::section::Section;
use super::workspaces;

/// What [`read`] came back with.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// There is a file; without one, `config` is the defaults.
    pub is_from_file: bool,
}

/// The configuration at `place`; the defaults where nobody named a file and there is none.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn read(place: &Place) -> Result<Loaded, Vec<Problem>> {
    read_for(true, place)
}

/// As [`read`], for a program that is not the gateway.
///
/// # Errors
/// As [`read`], but for credentials that the service manager hands to the gateway alone.
pub fn read_aside(place: &Place) -> Result<Loaded, Vec<Problem>> {
    read_for(false, place)
}

fn read_for(is_gateway: bool, place: &Place) -> Result<Loaded, Vec<Problem>> {
    match place.read() {
        Ok(Some(bytes)) => {
            let config = parse_for(is_gateway, &bytes, &place.file)?;
            Ok(Loaded { config, is_from_file: true })
        }
        Ok(None) => Ok(Loaded { config: Config::default(), is_from_file: false }),
        Err(problem) => Err(vec![problem]),
    }
}

/// What a wrong configuration still says of the admin listener, as [`Config::admin_listen`]: the gateway
/// that runs by an older one is most probably asked there. `None` where that cannot be told.
pub fn admin_listen_despite(place: &Place) -> Option<Option<SocketAddr>> {
    let bytes = place.read().ok()??;
    let text = place::text(&bytes, &place.file).ok()?;
    let document = Document::parse(text).or_else(|error| {
        // What stands before the line that breaks off is whole.
        let until = error.span().map_or(0, |span| span.start).min(text.len());
        let line_at = text.get(..until).and_then(|before| before.rfind('\n')).unwrap_or(0);
        Document::parse(&text[..line_at])
    });
    let document = document.ok()?;
    let admin = document.as_table().get("admin")?.as_table_like()?.get("listen")?;
    networks::admin(admin.as_str()?).ok()
}

/// The text of the configuration at `place`, without a byte order mark; empty where nobody named a file
/// and there is none.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn text(place: &Place) -> Result<Text, Vec<Problem>> {
    let bytes = place.read().map_err(|problem| vec![problem])?.unwrap_or_default();
    parse_aside(&bytes, &place.file)?;
    let text = place::text(&bytes, &place.file).map_err(|problem| vec![problem])?;
    Ok(Text::new(text.trim_start_matches('\u{feff}')))
}

/// The configuration in `bytes`, which `file` is said to hold.
///
/// # Errors
/// Everything that is wrong with it; at least one problem, in the order of the file.
pub fn parse(bytes: &[u8], file: &Path) -> Result<Config, Vec<Problem>> {
    parse_for(true, bytes, file)
}

fn parse_for(is_gateway: bool, bytes: &[u8], file: &Path) -> Result<Config, Vec<Problem>> {
    parse_at(bytes, &home_of(is_gateway, file))
}

pub(super) fn home_of(is_gateway: bool, file: &Path) -> Home<'_> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(Into::into);
    Home { file, credentials, is_gateway }
}

/// As [`parse`], for a program that is not the gateway.
///
/// # Errors
/// As [`parse`], but for credentials that the service manager hands to the gateway alone.
pub fn parse_aside(bytes: &[u8], file: &Path) -> Result<Config, Vec<Problem>> {
    parse_for(false, bytes, file)
}

pub(super) fn parse_at(bytes: &[u8], home: &Home<'_>) -> Result<Config, Vec<Problem>> {
    let file = home.file;
    let text = place::text(bytes, file).map_err(|problem| vec![problem])?;
    let (mut config, problems) = as_far_as_it_goes(text, home);
    if !problems.is_empty() {
        return Err(problems.locate(file, text));
    }
    config.doubts = problems.locate_doubts(file, text);
    Ok(config)
}

/// What could be read of `text`, beside all that is wrong with it. What could not has its default.
pub(super) fn as_far_as_it_goes(text: &str, home: &Home<'_>) -> (Config, Problems) {
    let mut problems = Problems::new();
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let span = error.span().or(Some(text.len()..text.len()));
            problems.add(span, one_line(error.message()));
            return (Config::default(), problems);
        }
    };
    let (mut config, _) = config(Section::top(document.as_table()), home, &mut problems);
    config.is_blank = document.as_table().is_empty();
    (config, problems)
}

/// Every key that a configuration may have, in the order of the sections.
pub fn keys() -> Vec<Key> {
    let home = Home { file: Path::new(""), credentials: None, is_gateway: false };
    let (_, keys) = config(Section::top(&Table::new()), &home, &mut Problems::new());
    keys.into_iter().filter(|key| key.kind != Kind::Section).collect()
}

/// The configuration, and the keys that were asked for.
fn config(mut top: Section<'_>, home: &Home<'_>, problems: &mut Problems) -> (Config, Vec<Key>) {
    let mut config = Config::default();
    if let Some(listen) = top.list("listen", networks::listen, problems) {
        config.listen = without_repeats(listen.value);
        config.listen_is_default = false;
        let named = config.listen.len();
        if named == 0 {
            problems.add(listen.span, "listen must name at least one address");
        } else if named > ADDRESSES_MAX {
            let why = format!("listen names {named} addresses; {ADDRESSES_MAX} is the most");
            problems.add(listen.span, why);
        }
    }
    if let Some(workers) = top.number("workers", 0..=WORKERS_MAX, problems) {
        config.workers = workers.value as usize;
    }
    if let Some(carrier) = top.choice("carrier", &CARRIERS, problems) {
        config.carrier = carrier;
    }
    let mut relay_proxy = top.section("relay_proxy", problems);
    let mut allow = top.section("allow", problems);
    let mut allow_feed = allow.subsection("feed", "allow.feed", problems);
    let mut azure = top.section("azure", problems);
    let mut dial = top.section("dial", problems);
    let mut proxy_protocol = top.section("proxy_protocol", problems);
    let mut tls = top.section("tls", problems);
    let mut limits = top.section("limits", problems);
    let mut events = top.section("events", problems);
    let mut admin = top.section("admin", problems);
    config.relay_proxy = relay_proxy::read(&mut relay_proxy, home, problems);
    judge_circle(&relay_proxy, &config, problems);
    read_allow(&mut allow, &mut config, problems);
    config.feed = feed::read(&mut allow_feed, home.file, problems);
    workspaces::read(&mut azure, home.file, &mut config, problems);
    config.take_feed(Vec::new());
    allow_workspace_certificates(&mut config);
    if let Some(sources) = dial.list("source_addresses", networks::source, problems) {
        config.source_addresses = sources.value;
    }
    if let Some(balancers) = proxy_protocol.list("from", networks::block, problems) {
        config.balancers = balancers.value;
    }
    if let Some(version) = tls.choice("min_version", &VERSIONS, problems) {
        config.min_version = version;
    }
    if let Some(is_matched) = tls.choice("server_name", &SERVER_NAMES, problems) {
        config.match_server_name = is_matched;
    }
    let mut unseen =
        tls.subsection("unseen_client_certificate", "tls.unseen_client_certificate", problems);
    config.unseen_client_certificate = read_unseen(&mut unseen, problems);
    for limit in LIMITS {
        if let Some(found) = limits.number(limit.key, limit.least..=limit.most, problems) {
            (limit.set)(&mut config.limits, found.value);
        }
    }
    read_events(&mut events, &mut config, problems);
    if let Some(listen) = admin.string("listen", problems) {
        match networks::admin(listen.value) {
            Ok(address) => config.admin_listen = address,
            Err(why) => problems.add(
                listen.span,
                format!("{}: \"{}\": {why}", listen.path, networks::shown(listen.value)),
            ),
        }
    }
    let sections = [
        top,
        relay_proxy,
        allow,
        allow_feed,
        azure,
        dial,
        proxy_protocol,
        tls,
        unseen,
        limits,
        events,
        admin,
    ];
    let keys: Vec<Key> = sections.iter().flat_map(Section::known).collect();
    for section in sections {
        section.finish(&keys, problems);
    }
    (config, keys)
}

/// A relay proxy that is this gateway would be told at the start, and only then, where its address is
/// not spelled as that of a listener.
fn judge_circle(relay_proxy: &Section<'_>, config: &Config, problems: &mut Problems) {
    // The default is not what was meant where `listen` cannot be read.
    let listen = if problems.is_of("listen") { &[][..] } else { &config.listen[..] };
    for address in &config.relay_proxy.addresses {
        let Host::Address(ip) = address.host else { continue };
        let address = SocketAddr::new(canonical(ip), address.port);
        let is_here = |own: &SocketAddr| {
            reaches(address, *own) && (own.ip() == address.ip() || address.ip().is_loopback())
        };
        if listen.iter().any(is_here) {
            let span = relay_proxy.span_of("addresses");
            problems.add(span, format!("relay_proxy.addresses: {address} is this gateway itself"));
        }
    }
}

fn read_allow(allow: &mut Section<'_>, config: &mut Config, problems: &mut Problems) {
    let modes = AllowMode::ALL.map(|mode| (mode.as_str(), mode));
    if let Some(mode) = allow.choice("mode", &modes, problems) {
        config.allow_mode = mode;
    }
    let pattern = |text: &str| HostPattern::parse(text).map_err(|error| error.to_string());
    if let Some(hosts) = allow.list("hosts", pattern, problems) {
        config.listed_hosts = hosts.value;
    }
    if let Some(addresses) = allow.list("addresses", networks::block, problems) {
        config.addresses = Addresses::new(addresses.value);
    }
    if let Some(clients) = allow.list("clients", networks::block, problems) {
        config.clients = clients.value;
    }
    let subject = |text: &str| SubjectRule::parse(text).map_err(|error| error.to_string());
    if let Some(subjects) = allow.list("client_certificates", subject, problems) {
        config.client_certificates = Subjects::new(subjects.value);
    }
    if let Some(cuts_open) = allow.boolean("cut_open", problems) {
        config.cuts_open = cuts_open.value;
    }
}

/// Each id joins the listed subjects, as a common name.
fn allow_workspace_certificates(config: &mut Config) {
    if !config.allows_workspace_certificates {
        return;
    }
    let workspaces = config.azure.workspaces.iter();
    // An id is hexadecimal digits and hyphens, which every rule takes.
    let ids = workspaces.filter_map(|workspace| SubjectRule::parse(workspace.id.as_str()).ok());
    let listed = config.client_certificates.iter().cloned();
    config.client_certificates = Subjects::new(listed.chain(ids).collect());
}

fn read_unseen(unseen: &mut Section<'_>, problems: &mut Problems) -> UnseenAllowed {
    let mut allows = |key| unseen.choice(key, &UNSEEN, problems).unwrap_or_default();
    UnseenAllowed { tls13: allows("tls13"), resumed: allows("resumed"), none: allows("none") }
}

fn read_events(events: &mut Section<'_>, config: &mut Config, problems: &mut Problems) {
    if let Some(to) = events.string("to", problems) {
        match Destination::parse(to.value) {
            Ok(destination) => config.events.to = destination,
            Err(why) => problems.add(to.span, format!("{}: {why}", to.path)),
        }
    }
    let formats = Format::ALL.map(|format| (format.as_str(), format));
    if let Some(format) = events.choice("format", &formats, problems) {
        config.events.format = format;
    }
    if let Some(language) = events.string("language", problems)
        && !LANGUAGES.contains(&language.value)
    {
        let message = format!(
            "{}: \"{}\": messages are in English; write \"\" or \"en\"",
            language.path,
            networks::shown(language.value)
        );
        problems.add(language.span, message);
    }
    let levels = Level::ALL.map(|level| (level.as_str(), level));
    if let Some(level) = events.choice("level", &levels, problems) {
        config.events.level = level;
    }
}

const CARRIERS: [(&str, CarrierChoice); 3] = [
    ("auto", CarrierChoice::Auto),
    ("splice", CarrierChoice::Splice),
    ("copy", CarrierChoice::Copy),
];

const VERSIONS: [(&str, Version); 4] = [
    ("1.0", Version::TLS10),
    ("1.1", Version::TLS11),
    ("1.2", Version::TLS12),
    ("1.3", Version::TLS13),
];

/// None named is English too.
const LANGUAGES: [&str; 2] = ["", "en"];

const SERVER_NAMES: [(&str, bool); 2] = [("match", true), ("off", false)];

const UNSEEN: [(&str, bool); 2] = [("refuse", false), ("allow", true)];

/// An address twice would refuse itself when it is bound; port 0 is another port each time.
fn without_repeats(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut kept: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        if address.port() == 0 || !kept.contains(&address) {
            kept.push(address);
        }
    }
    kept
}

fn one_line(message: &str) -> String {
    message.split('\n').map(str::trim).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::hosts::HostVerdict;
    use crate::proto::target::Target;

    const EVERYTHING: &str = r#"
        listen = ["127.0.0.1:0", "[::1]:8080", "[::1]:8080"]
        workers = 3
        carrier = "copy"
        [relay_proxy]
        addresses = ["http://proxy.example.com:8080", "http://[::1]"]
        direct = ["*.near.example.com"]
        username = "user1"
        password = "open sesame"
        [allow]
        hosts = ["www.test.com", "*.ods.example.com", "intranet.example.com:8443"]
        addresses = ["127.0.0.0/8", "fd00::1"]
        clients = ["10.0.0.0/8", "::ffff:192.0.2.0/120"]
        client_certificates = ["Gateway", "CN=agent, O=Example"]
        cut_open = true
        [dial]
        source_addresses = ["127.0.0.2"]
        [proxy_protocol]
        from = ["10.0.0.4", "fd00::/8"]
        [tls]
        min_version = "1.3"
        server_name = "off"
        unseen_client_certificate = { tls13 = "allow", none = "allow" }
        [limits]
        sessions = 0
        sessions_per_client = 7
        head_bytes = 64
        head_ms = 1
        resolve_ms = 2
        dial_ms = 3
        relay_proxy_ms = 9
        hello_bytes = 1_048_576
        hello_ms = 4
        idle_ms = 2073600000
        half_closed_ms = 0
        session_ms = 5
        keepalive_s = 32767
        drain_ms = 0
        drain_notice_ms = 6
        [events]
        to = "file:/var/log/sluice.log"
        format = "json"
        level = "debug"
        [admin]
        listen = "[::1]:9180"
    "#;

    #[test]
    fn messages_are_in_english_and_in_nothing_else() {
        for language in LANGUAGES {
            let text = format!("events.language = \"{language}\"");
            assert_eq!(problems(text.as_bytes()), [""; 0]);
        }
        let told =
            "f.toml:1:19: events.language: \"de\": messages are in English; write \"\" or \"en\"";
        assert_eq!(problems(b"events.language = \"de\""), [told]);
    }

    fn problems(text: &[u8]) -> Vec<String> {
        match parse(text, Path::new("f.toml")) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(Problem::to_string).collect(),
        }
    }

    #[test]
    fn a_file_with_every_key_sets_every_value() {
        let config = parse(EVERYTHING.as_bytes(), Path::new("f.toml")).unwrap();
        let listen: Vec<String> = config.listen.iter().map(SocketAddr::to_string).collect();
        assert_eq!(listen, ["127.0.0.1:0", "[::1]:8080"]);
        assert!(!config.listen_is_default && !config.match_server_name);
        assert_eq!((config.workers, config.carrier), (3, CarrierChoice::Copy));
        let relay_proxies: Vec<String> =
            config.relay_proxy.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(relay_proxies, ["proxy.example.com:8080", "[::1]:80"]);
        assert_eq!(config.relay_proxy.direct.len(), 1);
        assert_eq!(config.relay_proxy.username.as_deref(), Some("user1"));
        assert!(config.relay_proxy.authorization.is_some());
        assert_eq!(config.hosts.len(), 3);
        let target = Target::parse(b"a.ods.example.com:443").unwrap();
        assert!(matches!(config.hosts.judge(&target), HostVerdict::Allowed(_)));
        assert!(config.addresses.judge("127.9.9.9".parse().unwrap()).is_ok());
        assert!(config.addresses.judge("10.0.0.1".parse().unwrap()).is_err());
        let clients: Vec<String> = config.clients.iter().map(ToString::to_string).collect();
        assert_eq!(clients, ["10.0.0.0/8", "192.0.2.0/24"]);
        assert_eq!(config.source_addresses.len(), 1);
        let balancers: Vec<String> = config.balancers.iter().map(ToString::to_string).collect();
        assert_eq!(balancers, ["10.0.0.4/32", "fd00::/8"]);
        assert_eq!(config.min_version, Version::TLS13);
        let subjects: Vec<String> =
            config.client_certificates.iter().map(ToString::to_string).collect();
        assert_eq!(subjects, ["Gateway", "CN=agent, O=Example"]);
        let unseen = UnseenAllowed { tls13: true, resumed: false, none: true };
        assert_eq!(config.unseen_client_certificate, unseen);
        let limits = format!("{:?}", config.limits);
        assert_eq!(
            limits,
            "Limits { sessions: 0, sessions_per_client: 7, head_bytes: 64, head_ms: 1, \
             resolve_ms: 2, dial_ms: 3, relay_proxy_ms: 9, hello_bytes: 1048576, hello_ms: 4, idle_ms: 2073600000, \
             half_closed_ms: 0, session_ms: 5, keepalive_s: 32767, drain_ms: 0, \
             drain_notice_ms: 6 }"
        );
        assert!(config.cuts_open && !config.is_blank);
        assert_eq!(config.events.to, Destination::File("/var/log/sluice.log".into()));
        assert_eq!((config.events.format, config.events.level), (Format::Json, Level::Debug));
        assert_eq!(config.admin_listen, Some("[::1]:9180".parse().unwrap()));
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        for text in ["", "\n", "# nothing\r\n", "\u{feff}", "\u{feff}workers = 0\n", "[allow]"] {
            let config = parse(text.as_bytes(), Path::new("f.toml")).unwrap();
            assert!(config.listen_is_default && config.hosts.is_empty(), "{text:?}");
            assert_eq!(config.listen.len(), 2);
            assert!(config.match_server_name && config.min_version == Version::TLS12);
            assert_eq!(config.admin_listen, Some("127.0.0.1:9180".parse().unwrap()));
        }
    }

    #[test]
    fn as_many_addresses_as_a_reload_can_exchange_may_be_listened_on() {
        let listening = |addresses: usize| {
            let all: Vec<String> =
                (1..=addresses).map(|port| format!("127.0.0.1:{port}")).collect();
            parse(format!("listen = {all:?}").as_bytes(), Path::new("f.toml"))
        };
        assert_eq!(listening(ADDRESSES_MAX).unwrap().listen.len(), ADDRESSES_MAX);
        let told: Vec<String> =
            listening(ADDRESSES_MAX + 1).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(told, ["f.toml:1:10: listen names 129 addresses; 128 is the most"]);
    }

    #[test]
    fn an_empty_admin_address_is_no_admin_listener() {
        let config = parse(b"admin.listen = \"\"", Path::new("f.toml")).unwrap();
        assert_eq!(config.admin_listen, None);
    }

    #[test]
    fn other_spellings_of_a_section_are_the_same_section() {
        for text in ["limits.head_ms = 5", "limits = { head_ms = 5 }", "[\"limits\"]\nhead_ms = 5"]
        {
            let config = parse(text.as_bytes(), Path::new("f.toml")).unwrap();
            assert_eq!(config.limits.head_ms, 5, "{text}");
        }
    }

    /// Bad text and how its problems start, all of them, in order.
    const BAD: &[(&str, &[&str])] = &[
        ("listen = 8080", &["1:10: listen must be a list of strings, not an integer"]),
        ("listen = \"x\"", &["1:10: listen must be a list of strings, not a string"]),
        ("listen = []", &["1:10: listen must name at least one address"]),
        ("listen = [8080]", &["1:11: listen must be a list of strings, but this is an integer"]),
        ("listen = [\"8080\"]", &["1:11: listen: \"8080\": a port alone: write \"0.0.0.0:8080\""]),
        (
            "listen = [\n  \"[::]:1\",\n  \"a:1\"]",
            &["3:3: listen: \"a:1\": expected an IP address"],
        ),
        ("listen = [\"0.0.0.0:65536\"]", &["1:11: listen: \"0.0.0.0:65536\": the port must be 1"]),
        ("workers = \"text\"", &["1:11: workers must be a whole number, not a string"]),
        ("workers = 257", &["1:11: workers must be 0 to 256, not 257"]),
        ("workers = -1", &["1:11: workers must be 0 to 256, not -1"]),
        ("workers = 1.5", &["1:11: workers must be a whole number, not a float"]),
        (
            "carrier = \"Copy\"",
            &["1:11: carrier must be one of \"auto\", \"splice\", \"copy\", not"],
        ),
        ("wrokers = 1", &["1:1: unknown key \"wrokers\"; did you mean \"workers\"?"]),
        ("zzz = 1", &["1:1: unknown key \"zzz\""]),
        ("hosts = []", &["1:1: unknown key \"hosts\"; did you mean \"allow.hosts\"?"]),
        ("[Limits]\nhead_ms = 1", &["1:2: unknown section \"Limits\"; did you mean \"limits\"?"]),
        ("[limit]", &["1:2: unknown section \"limit\"; did you mean \"limits\"?"]),
        ("limits = 5", &["1:10: limits must be a section, as in [SECTION], not an integer"]),
        ("[[limits]]", &["1:1: limits must be a section, as in [SECTION], not an array of tables"]),
        ("[limits]\nhead = 1", &["2:1: unknown key \"limits.head\"; did you mean \"limits.head_"]),
        ("[limits]\nhead_bytes = 63", &["2:14: limits.head_bytes must be 64 to 1048576, not 63"]),
        ("[limits]\nhead_ms = 0", &["2:11: limits.head_ms must be 1 to 2073600000, not 0"]),
        ("[limits]\nidle_ms = 2073600001", &["2:11: limits.idle_ms must be 0 to 2073600000, not"]),
        (
            "[limits]\nworkers = 1",
            &["2:1: unknown key \"limits.workers\"; did you mean \"workers\""],
        ),
        ("[limits]\nidle_ms = true", &["2:11: limits.idle_ms must be a whole number, not a bool"]),
        ("[limits.head_ms]", &["1:1: limits.head_ms must be a whole number, not a table"]),
        ("[allow]\nhosts = [\"*\"]", &["2:10: allow.hosts: \"*\": too broad"]),
        ("[allow]\nhosts = [\"*.com\"]", &["2:10: allow.hosts: \"*.com\": too broad"]),
        ("[allow]\nhosts = \"a.b\"", &["2:9: allow.hosts must be a list of strings, not a string"]),
        ("[allow]\nhosts = [\"a..b\"]", &["2:10: allow.hosts: \"a..b\": "]),
        ("[allow]\nclients = [\"10.1.2.3/8\"]", &["2:12: allow.clients: \"10.1.2.3/8\": has bits"]),
        ("[allow]\naddresses = [\"x\"]", &["2:14: allow.addresses: \"x\": expected an address"]),
        (
            "proxy_protocol.from = [\"lb.example.com\"]",
            &["1:24: proxy_protocol.from: \"lb.example.com\": expected an address"],
        ),
        ("dial.source_addresses = [\"::\"]", &["1:26: dial.source_addresses: \"::\": not an"]),
        (
            "tls.min_version = \"1.4\"",
            &["1:19: tls.min_version must be one of \"1.0\", \"1.1\", \""],
        ),
        ("tls.min_version = 1.2", &["1:19: tls.min_version must be a string, not a float"]),
        ("tls.server_name = true", &["1:19: tls.server_name must be a string, not a boolean"]),
        ("events.to = \"stdout\"", &["1:13: events.to: expected \"stderr\""]),
        ("events.level = \"warn\"", &["1:16: events.level must be one of \"debug\", \"info\", \""]),
        ("admin.listen = 9180", &["1:16: admin.listen must be a string, not an integer"]),
        ("[admin]\nlisten = \"9180\"", &["2:10: admin.listen: \"9180\": a port alone: write"]),
        ("a = \n", &["1:5: "]),
        ("workers = 1\nworkers = 2", &["2:1: duplicate key"]),
        ("[allow]\n[allow]", &["2:2: duplicate key"]),
        ("listen = [", &["1:11: "]),
        ("\u{fc} = 1", &["1:1: "]),
        ("\u{feff}wrokers = 1", &["1:1: unknown key"]),
        ("# \u{fc}\u{fc}\nlimits = { \"\u{fc}\" = 1, x = 2 }", &["2:12: unknown", "2:21: unknown"]),
        (
            "workers = 999\nx = 1\nlisten = [\"a\", \"b\"]\n[limits]\nhead_ms = 0\nhead_mss = 1\n",
            &[
                "1:11: workers must be",
                "2:1: unknown key \"x\"",
                "3:11: listen: \"a\"",
                "3:16: listen: \"b\"",
                "5:11: limits.head_ms must be",
                "6:1: unknown key \"limits.head_mss\"; did you mean \"limits.head_ms\"?",
            ],
        ),
    ];

    #[test]
    fn every_problem_is_told_at_its_place() {
        for (text, starts) in BAD {
            let told = problems(text.as_bytes());
            assert_eq!(told.len(), starts.len(), "{text}: {told:#?}");
            for (told, start) in told.iter().zip(*starts) {
                assert!(told.starts_with(&format!("f.toml:{start}")), "{text}: {told}");
                assert!(!told.contains('\n'), "{told}");
            }
        }
    }

    #[test]
    fn a_file_cut_at_any_byte_is_a_configuration_or_problems() {
        let mut good = 0;
        for end in 0..EVERYTHING.len() {
            match parse(&EVERYTHING.as_bytes()[..end], Path::new("f.toml")) {
                Ok(_) => good += 1,
                Err(problems) => assert!(!problems.is_empty()),
            }
        }
        assert!(good > 0 && good < EVERYTHING.len());
    }

    #[test]
    fn damaged_files_are_told_and_never_half_read() {
        for (bytes, start) in [
            (vec![0; 4_096], "f.toml:1:1: a NUL byte"),
            (b"workers = 1\n\xff".to_vec(), "f.toml:2:1: not UTF-8"),
            (vec![b'['; 100_000], "f.toml:1:"),
            (b"a = ".iter().copied().chain([b'['; 100_000]).collect(), "f.toml:1:"),
            (vec![b'#'; (1 << 20) + 1], "f.toml: larger than"),
        ] {
            let told = problems(&bytes);
            assert!(told[0].starts_with(start), "{start}: {}", told[0]);
        }
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_shown() {
        for text in ["password = \"hunter2\"", "password = hunter2", "[x]\npassword = \"hunter2"] {
            let told = problems(text.as_bytes()).join("\n");
            assert!(!told.is_empty() && !told.contains("hunter2"), "{told}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_gives_a_configuration_or_problems(text in "[\\[\\]a-z_.={}\"\\n, 0-9\u{fc}]{0,80}") {
            if let Err(problems) = parse(text.as_bytes(), Path::new("f.toml")) {
                proptest::prop_assert!(!problems.is_empty());
            }
        }
    }
}
