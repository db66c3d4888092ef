//! Host patterns and the list of them. A request costs one look-up for the exact name, one or two for
//! each suffix of it that could be listed, and a few more where patterns have a star within the label,
//! however long the list is. It allocates nothing.

mod index;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use self::index::{Ports, StarredLabels, look_up};
use super::addresses::canonical;
use crate::proto::target::{
    Host, LABEL_BYTES, NAME_BYTES, Target, TargetError, parse_port, split_port,
};

/// One entry of a list of hosts. Shown in its canonical spelling, without the port where that is 443.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern {
    form: Form,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// This name or address.
    Exact(Host),
    /// One or more whole labels before this suffix.
    Below(Box<str>),
    /// One label with stars in it, and what follows it.
    Within { label: Box<str>, suffix: Box<str> },
}

/// What is wrong with a host pattern, and what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PatternError {
    /// `*`, `*.com`, `a*.com`: a star needs two labels after it.
    TooBroad,
    /// A star after the first dot.
    StarNotLeftmost,
    /// Two stars in a row.
    TwoStars,
    /// A star and letters outside ASCII in one label.
    StarInUnicode,
    /// A star before an address.
    StarBeforeAddress,
    /// Letters outside ASCII that make no domain name.
    Unicode,
    /// What remains is no host, or the port is none.
    Host(TargetError),
}

/// The port that a pattern without one means, and the only one the original gateway knows.
pub const DEFAULT_PORT: u16 = 443;

impl HostPattern {
    /// Reads a name, an address (IPv6 in brackets where a port follows), `*.suffix`, or a name with stars
    /// in its leftmost label, each with an optional `:port`. Names outside ASCII are turned into A-labels.
    pub fn parse(text: &str) -> Result<HostPattern, PatternError> {
        let text = text.trim();
        if text.contains('/') {
            return Err(TargetError::Slash.into());
        }
        if let Ok(host @ Host::Address(_)) = Host::parse(text.as_bytes()) {
            return Ok(HostPattern { form: Form::Exact(host), port: DEFAULT_PORT });
        }
        let (host, port) = split_port(text.as_bytes())?;
        let port = port.map_or(Ok(DEFAULT_PORT), parse_port)?;
        Ok(HostPattern { form: Form::parse(&text[..host.len()])?, port })
    }

    /// The port it admits.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it admits `name`, which is in canonical form, on its port.
    pub fn admits(&self, name: &str) -> bool {
        match &self.form {
            Form::Exact(Host::Name(exact)) => **exact == *name,
            Form::Exact(Host::Address(_)) => false,
            Form::Below(suffix) => name
                .strip_suffix(&**suffix)
                .is_some_and(|above| above.len() > 1 && above.ends_with('.')),
            Form::Within { label: stars, suffix } => {
                name.split_once('.').is_some_and(|(label, rest)| {
                    *rest == **suffix && StarredLabels::fits(stars, label)
                })
            }
        }
    }

    /// Whether it admits more than one host.
    pub fn is_wildcard(&self) -> bool {
        !matches!(self.form, Form::Exact(_))
    }
}

impl Form {
    fn parse(text: &str) -> Result<Form, PatternError> {
        if !text.contains('*') {
            return Ok(Form::Exact(Host::parse(ascii(text)?.as_bytes())?));
        }
        let (label, suffix) = text.split_once('.').ok_or(PatternError::TooBroad)?;
        if suffix.contains('*') {
            return Err(PatternError::StarNotLeftmost);
        }
        let suffix = match Host::parse(ascii(suffix)?.as_bytes())? {
            Host::Name(name) => name,
            Host::Address(_) => return Err(PatternError::StarBeforeAddress),
        };
        if !suffix.contains('.') {
            return Err(PatternError::TooBroad);
        }
        if label == "*" {
            return Ok(Form::Below(suffix));
        }
        let label = starred_label(label)?;
        if label.len() - label.matches('*').count() + 1 + suffix.len() > NAME_BYTES {
            return Err(TargetError::LongName.into());
        }
        Ok(Form::Within { label, suffix })
    }
}

fn starred_label(label: &str) -> Result<Box<str>, PatternError> {
    if !label.is_ascii() {
        return Err(PatternError::StarInUnicode);
    }
    if label.contains("**") {
        return Err(PatternError::TwoStars);
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(TargetError::Hyphen.into());
    }
    if label.len() - label.matches('*').count() > LABEL_BYTES {
        return Err(TargetError::LongLabel.into());
    }
    match label.bytes().find(|&b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'*'))) {
        Some(b'/') => Err(TargetError::Slash.into()),
        Some(b) => Err(TargetError::Byte(b).into()),
        None => Ok(label.to_ascii_lowercase().into_boxed_str()),
    }
}

/// The A-labels of a name outside ASCII (UTS 46); ASCII passes as it is, to be judged strictly.
fn ascii(name: &str) -> Result<std::borrow::Cow<'_, str>, PatternError> {
    if name.is_ascii() {
        return Ok(name.into());
    }
    idna::domain_to_ascii_cow(name.as_bytes(), idna::AsciiDenyList::EMPTY)
        .map_err(|_| PatternError::Unicode)
}

/// A list of host patterns.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    patterns: Vec<HostPattern>,
    names: HashMap<Box<str>, Ports>,
    addresses: HashMap<IpAddr, Ports>,
    suffixes: HashMap<Box<str>, Branch>,
    /// The most labels that a suffix in the list has: longer ones need no look-up.
    suffix_labels: usize,
}

/// The patterns with one suffix.
#[derive(Clone, Debug, Default)]
struct Branch {
    below: Ports,
    within: StarredLabels,
}

/// What a list of hosts says of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostVerdict<'a> {
    /// By this pattern: the most specific of those that admit host and port.
    Allowed(&'a HostPattern),
    /// The host is listed, but not with this port.
    PortNotAllowed,
    /// No pattern admits the host.
    HostNotAllowed,
}

impl Hosts {
    /// The list of `patterns`; those that come twice count once.
    pub fn new(patterns: impl IntoIterator<Item = HostPattern>) -> Hosts {
        let mut hosts = Hosts::default();
        let mut seen = std::collections::HashSet::new();
        for pattern in patterns {
            if seen.insert(pattern.clone()) {
                hosts.insert(pattern);
            }
        }
        hosts
    }

    /// How many different patterns there are.
    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Whether nothing is admitted.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The patterns, in the order they were given.
    pub fn iter(&self) -> impl Iterator<Item = &HostPattern> {
        self.patterns.iter()
    }

    /// Looks for a pattern: the exact one first, then stars within the first label, then the longest suffix.
    pub fn judge(&self, target: &Target) -> HostVerdict<'_> {
        let mut search = Search { patterns: &self.patterns, port: target.port, host_listed: false };
        let found = match &target.host {
            Host::Address(address) => {
                look_up(&self.addresses, &canonical(*address)).and_then(|found| search.pick(found))
            }
            Host::Name(name) => self.find_name(name, &mut search),
        };
        match found {
            Some(pattern) => HostVerdict::Allowed(pattern),
            None if search.host_listed => HostVerdict::PortNotAllowed,
            None => HostVerdict::HostNotAllowed,
        }
    }

    fn find_name<'a>(&'a self, name: &str, search: &mut Search<'a>) -> Option<&'a HostPattern> {
        if let Some(pattern) = look_up(&self.names, name).and_then(|ports| search.pick(ports)) {
            return Some(pattern);
        }
        let (label, mut suffix) = name.split_once('.')?;
        let mut label = Some(label);
        let mut labels = suffix.split('.').count();
        // Suffixes of one label are refused at load.
        while labels >= 2 {
            if labels <= self.suffix_labels
                && let Some(branch) = look_up(&self.suffixes, suffix)
            {
                let within =
                    label.and_then(|label| branch.within.find(label, |ports| search.pick(ports)));
                if let Some(pattern) = within.or_else(|| search.pick(&branch.below)) {
                    return Some(pattern);
                }
            }
            label = None;
            suffix = suffix.split_once('.')?.1;
            labels -= 1;
        }
        None
    }

    fn insert(&mut self, pattern: HostPattern) {
        let place = self.patterns.len();
        let ports = match &pattern.form {
            Form::Exact(Host::Name(name)) => self.names.entry(name.clone()).or_default(),
            Form::Exact(Host::Address(address)) => {
                self.addresses.entry(canonical(*address)).or_default()
            }
            Form::Below(suffix) => &mut self.branch(suffix).below,
            Form::Within { label, suffix } => self.branch(suffix).within.ports(label),
        };
        ports.add(pattern.port, place);
        self.patterns.push(pattern);
    }

    fn branch(&mut self, suffix: &str) -> &mut Branch {
        self.suffix_labels = self.suffix_labels.max(suffix.split('.').count());
        self.suffixes.entry(suffix.into()).or_default()
    }
}

/// The search for one target's pattern.
struct Search<'a> {
    patterns: &'a [HostPattern],
    port: u16,
    /// A pattern with another port was met.
    host_listed: bool,
}

impl<'a> Search<'a> {
    fn pick(&mut self, ports: &Ports) -> Option<&'a HostPattern> {
        self.host_listed |= !ports.is_empty();
        ports.at(self.port).map(|place| &self.patterns[place])
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            Form::Exact(host) if self.port != DEFAULT_PORT => {
                return Target { host: host.clone(), port: self.port }.fmt(f);
            }
            Form::Exact(host) => return host.fmt(f),
            Form::Below(suffix) => write!(f, "*.{suffix}")?,
            Form::Within { label, suffix } => write!(f, "{label}.{suffix}")?,
        }
        if self.port == DEFAULT_PORT { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PatternError::TooBroad => "too broad; a star needs at least two labels after it, as in *.example.com",
            PatternError::StarNotLeftmost => "a star may only be in the leftmost label, as in *.example.com or agent*.example.com",
            PatternError::TwoStars => "two stars in a row; write one",
            PatternError::StarInUnicode => "a label with a star must be ASCII; write the xn-- form of the name",
            PatternError::StarBeforeAddress => "a star cannot stand before an address; name each address",
            PatternError::Unicode => "not a domain name; write its xn-- form if it has one",
            PatternError::Host(error) => return error.fmt(f),
        })
    }
}

impl std::error::Error for PatternError {}

impl From<TargetError> for PatternError {
    fn from(error: TargetError) -> PatternError {
        PatternError::Host(error)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> HostPattern {
        HostPattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn hosts(list: &[&str]) -> Hosts {
        Hosts::new(list.iter().map(|text| pattern(text)))
    }

    fn target(text: &str) -> Target {
        Target::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn patterns_are_shown_in_their_canonical_spelling() {
        let rows = [
            ("www.test.com", "www.test.com"),
            (" WWW.Test.com. ", "www.test.com"),
            ("www.test.com:443", "www.test.com"),
            ("intranet.example.com:8443", "intranet.example.com:8443"),
            ("intranet", "intranet"),
            ("*.ODS.opinsights.azure.com", "*.ods.opinsights.azure.com"),
            ("*.example.com.:8080", "*.example.com:8080"),
            ("azgn*.servicebus.windows.net", "azgn*.servicebus.windows.net"),
            ("*-Agent-*.example.com:80", "*-agent-*.example.com:80"),
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1:8443", "10.0.0.1:8443"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]:8443", "[2001:db8::1]:8443"),
            ("b\u{fc}cher.example", "xn--bcher-kva.example"),
            ("B\u{dc}CHER.example:8443", "xn--bcher-kva.example:8443"),
            ("*.b\u{fc}cher.example", "*.xn--bcher-kva.example"),
            ("\u{ff57}\u{ff57}\u{ff57}\u{3002}example\u{3002}com", "www.example.com"),
            ("\u{65e5}\u{672c}\u{8a9e}.example", "xn--wgv71a119e.example"),
        ];
        for (written, canonical) in rows {
            assert_eq!(pattern(written).to_string(), canonical);
            assert_eq!(pattern(canonical), pattern(written));
        }
    }

    #[test]
    fn patterns_that_admit_too_much_or_nothing_are_refused() {
        use PatternError::*;
        let long = format!("{}*.example.com", "a".repeat(64));
        let rows = [
            ("*", TooBroad),
            ("*.com", TooBroad),
            ("a*.com", TooBroad),
            ("*.com.", TooBroad),
            ("a*", TooBroad),
            ("*:443", TooBroad),
            ("*.*.com", StarNotLeftmost),
            ("www.*.com", StarNotLeftmost),
            ("www.test.*", StarNotLeftmost),
            ("**.example.com", TwoStars),
            ("a**b.example.com", TwoStars),
            ("*.10.0.0.1", StarBeforeAddress),
            ("1*.0.0.1", Host(TargetError::Number)),
            ("b\u{fc}*.example.com", StarInUnicode),
            ("*\u{3002}b\u{fc}cher.example", TooBroad),
            ("*\u{3002}b\u{fc}cher.example.com", StarInUnicode),
            ("\u{fffd}.example", Unicode),
            ("", Host(TargetError::NoHost)),
            (":443", Host(TargetError::NoHost)),
            ("www.test.com:", Host(TargetError::NoPort)),
            ("www.test.com:0", Host(TargetError::PortOutOfRange)),
            ("www.test.com:0443", Host(TargetError::PortLeadingZero)),
            ("www.test.com:https", Host(TargetError::PortNotNumber)),
            ("https://www.test.com", Host(TargetError::Slash)),
            ("www.test.com/path", Host(TargetError::Slash)),
            ("10.0.0.0/8", Host(TargetError::Slash)),
            ("user@www.test.com", Host(TargetError::UserInformation)),
            (".test.com", Host(TargetError::EmptyLabel)),
            ("*..test.com", Host(TargetError::EmptyLabel)),
            ("www test.com", Host(TargetError::Byte(b' '))),
            ("a?*.test.com", Host(TargetError::Byte(b'?'))),
            ("-*.test.com", Host(TargetError::Hyphen)),
            ("127.1", Host(TargetError::Number)),
            ("2001:db8::zz", Host(TargetError::Colons)),
            (long.as_str(), Host(TargetError::LongLabel)),
        ];
        for (written, error) in rows {
            assert_eq!(HostPattern::parse(written), Err(error), "{written}");
            assert!(!error.to_string().is_empty());
        }
    }

    /// B13 and the examples of the contract, each target with its port.
    #[test]
    fn a_list_judges_host_and_port() {
        let list = hosts(&[
            "www.test.com",
            "*.ods.x.com",
            "azgn*.servicebus.windows.net",
            "*-jobruntimedata-prod-*.azure-automation.net",
            "intranet.example.com:8443",
            "*.example.org:8080",
            "10.0.0.1",
            "[2001:db8::1]:8443",
            "b\u{fc}cher.example",
        ]);
        let rows = [
            ("www.test.com:443", Ok("www.test.com")),
            ("WWW.TEST.COM.:443", Ok("www.test.com")),
            ("www.test.com:80", Err(HostVerdict::PortNotAllowed)),
            ("test.com:443", Err(HostVerdict::HostNotAllowed)),
            ("a.www.test.com:443", Err(HostVerdict::HostNotAllowed)),
            ("a.ods.x.com:443", Ok("*.ods.x.com")),
            ("c.b.a.ods.x.com:443", Ok("*.ods.x.com")),
            ("a.ods.x.com:8443", Err(HostVerdict::PortNotAllowed)),
            ("ods.x.com:443", Err(HostVerdict::HostNotAllowed)),
            ("evilods.x.com:443", Err(HostVerdict::HostNotAllowed)),
            ("a.ods.x.com.evil.com:443", Err(HostVerdict::HostNotAllowed)),
            ("azgn1.servicebus.windows.net:443", Ok("azgn*.servicebus.windows.net")),
            ("azgn.servicebus.windows.net:443", Ok("azgn*.servicebus.windows.net")),
            ("azgn1.servicebus.windows.net:1", Err(HostVerdict::PortNotAllowed)),
            ("azg.servicebus.windows.net:443", Err(HostVerdict::HostNotAllowed)),
            ("xazgn1.servicebus.windows.net:443", Err(HostVerdict::HostNotAllowed)),
            ("azgn1.a.servicebus.windows.net:443", Err(HostVerdict::HostNotAllowed)),
            ("azgn.a.servicebus.windows.net:1", Err(HostVerdict::HostNotAllowed)),
            ("servicebus.windows.net:443", Err(HostVerdict::HostNotAllowed)),
            (
                "we-jobruntimedata-prod-su1.azure-automation.net:443",
                Ok("*-jobruntimedata-prod-*.azure-automation.net"),
            ),
            ("we-jobruntimedata-prod.azure-automation.net:443", Err(HostVerdict::HostNotAllowed)),
            ("intranet.example.com:8443", Ok("intranet.example.com:8443")),
            ("intranet.example.com:443", Err(HostVerdict::PortNotAllowed)),
            ("a.example.org:8080", Ok("*.example.org:8080")),
            ("a.example.org:443", Err(HostVerdict::PortNotAllowed)),
            ("10.0.0.1:443", Ok("10.0.0.1")),
            ("[::ffff:10.0.0.1]:443", Ok("10.0.0.1")),
            ("10.0.0.2:443", Err(HostVerdict::HostNotAllowed)),
            ("[2001:db8::1]:8443", Ok("[2001:db8::1]:8443")),
            ("[2001:db8::1]:443", Err(HostVerdict::PortNotAllowed)),
            ("xn--bcher-kva.example:443", Ok("xn--bcher-kva.example")),
            ("localhost:443", Err(HostVerdict::HostNotAllowed)),
        ];
        for (text, expected) in rows {
            match (list.judge(&target(text)), expected) {
                (HostVerdict::Allowed(found), Ok(name)) => {
                    assert_eq!(found.to_string(), name, "{text}")
                }
                (verdict, Err(expected)) => assert_eq!(verdict, expected, "{text}"),
                (verdict, Ok(name)) => panic!("{text}: {verdict:?}, not {name}"),
            }
        }
    }

    #[test]
    fn the_most_specific_pattern_of_the_port_is_named() {
        let list = hosts(&[
            "*.x.com",
            "*.b.x.com",
            "a*.b.x.com",
            "ab*.b.x.com:8443",
            "abc.b.x.com:99",
            "*c.b.x.com:7",
            "*.x.com:99",
        ]);
        let rows = [
            ("abc.b.x.com:99", "abc.b.x.com:99"),
            ("abd.b.x.com:99", "*.x.com:99"),
            ("abc.b.x.com:443", "a*.b.x.com"),
            ("abc.b.x.com:8443", "ab*.b.x.com:8443"),
            ("abc.b.x.com:7", "*c.b.x.com:7"),
            ("z.b.x.com:443", "*.b.x.com"),
            ("z.c.x.com:443", "*.x.com"),
        ];
        for (text, name) in rows {
            assert_eq!(list.judge(&target(text)), HostVerdict::Allowed(&pattern(name)), "{text}");
        }
    }

    #[test]
    fn an_empty_list_admits_nothing_and_duplicates_count_once() {
        let none = Hosts::default();
        assert!(none.is_empty());
        for text in ["a.b.c:443", "localhost:443", "10.0.0.1:443"] {
            assert_eq!(none.judge(&target(text)), HostVerdict::HostNotAllowed);
        }
        let list = hosts(&["a.b.c", "A.B.C.:443", "a.b.c:80", "*.b.c", "*.b.c"]);
        assert_eq!(list.len(), 3);
        let shown: Vec<String> = list.iter().map(HostPattern::to_string).collect();
        assert_eq!(shown, ["a.b.c", "a.b.c:80", "*.b.c"]);
    }

    /// What a request costs does not grow with the list: map look-ups and comparisons, counted. The
    /// names of the longer list have more lengths, and its ports are halved oftener.
    #[test]
    fn ten_thousand_patterns_are_asked_like_ten() {
        let rows: &[(&str, &str, &str, usize)] = &[
            ("agent#.x.com", "agent7.x.com:443", "other.x.com:443", 2),
            ("*.z#.x.com", "agent.z7.x.com:443", "agent.y.x.com:443", 4),
            ("agent.x.com:1#", "agent.x.com:17", "agent.x.com:9", 20),
            ("*.x.com:1#", "agent.x.com:17", "agent.x.com:9", 20),
            ("10.0.0.1:1#", "10.0.0.1:17", "10.0.0.1:9", 20),
            ("azgn#*.x.com", "azgn7-a.x.com:443", "azgm7-a.x.com:443", 15),
            ("*-azgn#.x.com", "a-azgn7.x.com:443", "a-azgm7.x.com:443", 15),
            ("a*-#.x.com", "azgn-7.x.com:443", "azgn-x.x.com:443", 15),
            ("*-#-*.x.com", "a-7-b.x.com:443", "a-x-b.x.com:443", 15),
            ("a*#*b.x.com:8", "a-7-b.x.com:8", "a-7-b.x.com:9", 25),
            ("#*.x.com", "7.x.com:443", "x.x.com:443", 15),
        ];
        for (form, hit, miss, most) in rows {
            for (count, host) in [(10, hit), (10_000, hit), (10, miss), (10_000, miss)] {
                let list =
                    (0..count).map(|number| pattern(&form.replace('#', &number.to_string())));
                let hosts = Hosts::new(list);
                let asked = target(host);
                let (verdict, looks) = index::tests::looks(|| hosts.judge(&asked));
                let is_allowed = matches!(verdict, HostVerdict::Allowed(_));
                assert_eq!(is_allowed, host == hit, "{count} of {form}: {host}");
                assert!(looks <= *most, "{count} of {form}: {looks} looks for {host}");
            }
        }
    }

    /// The rule, slowly: what the look-ups of [`Hosts::judge`] must agree with.
    fn admits(pattern: &HostPattern, host: &Host) -> bool {
        fn fits_slowly(stars: &[u8], label: &[u8]) -> bool {
            match (stars, label) {
                ([], []) => true,
                ([b'*', rest @ ..], _) => {
                    (0..=label.len()).any(|at| fits_slowly(rest, &label[at..]))
                }
                ([a, stars @ ..], [b, label @ ..]) => a == b && fits_slowly(stars, label),
                _ => false,
            }
        }
        match (&pattern.form, host) {
            (Form::Exact(listed), host) => listed == host,
            (Form::Below(suffix), Host::Name(name)) => name.ends_with(&format!(".{suffix}")),
            (Form::Within { label, suffix }, Host::Name(name)) => {
                name.split_once('.').is_some_and(|(first, rest)| {
                    rest == &**suffix && fits_slowly(label.as_bytes(), first.as_bytes())
                })
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn look_ups_agree_with_the_rule(
            list in proptest::collection::vec("(\\*|[ab]{1,2}|[ab]?\\*[ab]?|[ab]\\*[ab]\\*)\\.[ab]{1,2}(\\.[ab]){1,2}(:8)?", 0..12),
            names in proptest::collection::vec("[ab]{1,4}(\\.[ab]{1,2}){0,4}", 1..12),
        ) {
            let patterns: Vec<HostPattern> = list.iter().map(|text| pattern(text)).collect();
            let hosts = Hosts::new(patterns.clone());
            for (name, port) in names.iter().flat_map(|name| [(name, 443), (name, 8), (name, 9)]) {
                let target = target(&format!("{name}:{port}"));
                let admitting: Vec<&HostPattern> = patterns.iter().filter(|p| admits(p, &target.host)).collect();
                match hosts.judge(&target) {
                    HostVerdict::Allowed(found) => prop_assert!(found.port == port && admitting.contains(&found)),
                    HostVerdict::PortNotAllowed => {
                        prop_assert!(!admitting.is_empty() && admitting.iter().all(|p| p.port != port));
                    }
                    HostVerdict::HostNotAllowed => prop_assert!(admitting.is_empty()),
                }
            }
        }

        #[test]
        fn a_pattern_reads_back_as_itself(text in "[a-c*\u{fc}.:0-9\\[\\]-]{1,20}") {
            if let Ok(pattern) = HostPattern::parse(&text) {
                prop_assert_eq!(HostPattern::parse(&pattern.to_string()), Ok(pattern));
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = HostPattern::parse(&text);
        }
    }
}
