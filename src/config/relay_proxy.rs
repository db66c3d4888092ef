//! The section `[relay_proxy]`: addresses as URLs, and credentials from wherever they are kept.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::logic::hosts::{HostPattern, Hosts};
use crate::logic::reason::Reason;
use crate::logic::secret::Secret;
use crate::proto::relay_request;
use crate::proto::target::{Target, split_port};
use crate::sys;

use super::networks::shown;
use super::place;
use super::problem::Problems;
use super::section::{Found, Section};

/// Relay proxies that a session may try one after the other.
const ADDRESSES_MAX: usize = 8;
/// The port of `http://` where none is written (RFC 9110 section 4.2.1).
const HTTP_PORT: u16 = 80;
/// Bytes of a user name, and of a password: with both at their most, the request stays below the
/// 8 KiB that many proxies take.
const USERNAME_BYTES_MAX: usize = 255;
const PASSWORD_BYTES_MAX: usize = 4096;
/// The name of the credential that systemd hands over (`LoadCredential=relay-password:...`).
const CREDENTIAL: &str = "relay-password";

/// What the section says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayProxySettings {
    /// Relay proxies in order of preference; none = targets are reached directly.
    pub addresses: Vec<Target>,
    /// Patterns of hosts that do not go through them.
    pub direct: Vec<HostPattern>,
    /// The user, where there is one.
    pub username: Option<String>,
    /// The password, where there is a user.
    pub password: Option<Secret>,
    /// `Basic` and the credentials, as they are sent.
    pub authorization: Option<Secret>,
}

impl RelayProxySettings {
    /// The hosts that do not go through a relay proxy.
    pub fn direct_hosts(&self) -> Hosts {
        Hosts::new(self.direct.iter().cloned())
    }
}

/// Where secrets may be.
pub(super) struct Home<'a> {
    /// The configuration; the file of a password is [`place::beside`] it.
    pub(super) file: &'a Path,
    /// Where systemd puts credentials.
    pub(super) credentials: Option<PathBuf>,
    /// The gateway itself reads. To anyone else systemd hands nothing over, so that nothing is missing.
    pub(super) is_gateway: bool,
}

pub(super) fn read(
    section: &mut Section<'_>,
    home: &Home<'_>,
    problems: &mut Problems,
) -> RelayProxySettings {
    let mut settings = RelayProxySettings::default();
    if let Some(addresses) = section.list("addresses", address, problems) {
        if addresses.value.len() > ADDRESSES_MAX {
            let message = format!("{} lists more than {ADDRESSES_MAX}", addresses.path);
            problems.add(addresses.span, message);
        }
        for address in addresses.value {
            if !settings.addresses.contains(&address) {
                settings.addresses.push(address);
            }
        }
    }
    let pattern = |text: &str| HostPattern::parse(text).map_err(|error| error.to_string());
    if let Some(direct) = section.list("direct", pattern, problems) {
        settings.direct = direct.value;
    }
    let before = problems.count();
    let username = section.string("username", problems).filter(|found| !found.value.is_empty());
    let password = section.string("password", problems);
    let file = section.string("password_file", problems).filter(|found| !found.value.is_empty());
    let is_unread = problems.count() > before;
    // Told beside all else: whoever mends the rest first would leave it open for so long.
    if let Some(password) = &password
        && is_readable_by_others(home.file)
    {
        let message = format!(
            "{}: others can read this file; take that from them, as with chmod o= {}",
            password.path,
            home.file.display()
        );
        problems.add_for(Reason::SecretReadable, password.span.clone(), message);
    }
    if let Some(username) = &username {
        if let Err(why) = judge_username(username.value) {
            problems.add(username.span.clone(), format!("{}: {why}", username.path));
            return settings;
        }
        settings.username = Some(username.value.to_owned());
        if settings.addresses.is_empty() && !problems.is_of("relay_proxy.addresses") {
            let why = "there is no relay proxy to log in at: set relay_proxy.addresses";
            problems.doubt(username.span.clone(), format!("{}: {why}", username.path));
        }
    }
    if is_unread {
        // What is missing is known when what is there can be read.
        return settings;
    }
    let password = find_password(username.as_ref(), password, file, home, problems);
    if let (Some(username), Some(password)) = (&settings.username, password) {
        let value = relay_request::basic(username, password.reveal());
        settings.authorization = Some(Secret::new(value));
        settings.password = Some(password);
    }
    settings
}

/// The one password there must be for a user, and for nobody else.
fn find_password(
    username: Option<&Found<&str>>,
    password: Option<Found<&str>>,
    file: Option<Found<&str>>,
    home: &Home<'_>,
    problems: &mut Problems,
) -> Option<Secret> {
    let found = match (password, file) {
        (Some(_), Some(file)) => {
            let message = format!("{}: there is a password already; keep one of them", file.path);
            problems.add(file.span, message);
            return None;
        }
        (Some(password), None) => {
            let outcome =
                judge_password(password.value).map_err(|why| (Reason::ConfigurationInvalid, why));
            (outcome.map(|()| Secret::new(password.value.to_owned())), password.span, password.path)
        }
        (None, Some(file)) => {
            let outcome = read_password(&place::beside(home.file, file.value));
            (outcome, file.span, file.path)
        }
        (None, None) => {
            let username = username?;
            let credential = home.credentials.as_ref().map(|folder| folder.join(CREDENTIAL));
            let Some(credential) = credential.filter(|credential| credential.exists()) else {
                if !home.is_gateway {
                    return None;
                }
                let message = format!(
                    "{}: there is no password: set relay_proxy.password_file, or hand over the \
                     systemd credential {CREDENTIAL}",
                    username.path
                );
                problems.add(username.span.clone(), message);
                return None;
            };
            (read_password(&credential), username.span.clone(), username.path.clone())
        }
    };
    let (outcome, span, path) = found;
    if username.is_none() {
        problems.add(span, format!("{path}: a password without relay_proxy.username"));
        return None;
    }
    outcome.map_err(|(reason, why)| problems.add_for(reason, span, format!("{path}: {why}"))).ok()
}

/// The password in `file`, without the end of its line.
fn read_password(file: &Path) -> Result<Secret, (Reason, String)> {
    let name = file.display();
    let wrong = |why: String| (Reason::ConfigurationInvalid, why);
    let cannot = |error: std::io::Error| wrong(format!("{name} cannot be read: {error}"));
    // Before it is opened: a pipe would be waited for.
    if !std::fs::metadata(file).map_err(cannot)?.is_file() {
        return Err(wrong(format!("{name} is not a file")));
    }
    if is_readable_by_others(file) {
        let why = format!("others can read {name}; take that from them, as with chmod o= {name}");
        return Err((Reason::SecretReadable, why));
    }
    // One more than the password and its line end may have; never grown, so that nothing stays behind.
    let limit = PASSWORD_BYTES_MAX + 3;
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(limit + 1));
    File::open(file)
        .and_then(|opened| opened.take(limit as u64).read_to_end(&mut bytes))
        .map_err(cannot)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong(format!("{name} is not UTF-8")))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(wrong(format!("{name} is empty; password = \"\" says that it should be")));
    }
    judge_password(text).map_err(|why| wrong(format!("{name}: {why}")))?;
    Ok(Secret::new(text.to_owned()))
}

fn is_readable_by_others(file: &Path) -> bool {
    // A file that is not there keeps no secret.
    std::fs::metadata(file).is_ok_and(|metadata| sys::is_readable_by_others(&metadata))
}

fn judge_username(username: &str) -> Result<(), String> {
    if username.contains(':') {
        return Err("a colon would end the name (RFC 7617 section 2)".to_owned());
    }
    if username.len() > USERNAME_BYTES_MAX {
        return Err(format!("longer than {USERNAME_BYTES_MAX} bytes"));
    }
    judge_characters(username)
}

fn judge_password(password: &str) -> Result<(), String> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(format!("the password is longer than {PASSWORD_BYTES_MAX} bytes"));
    }
    judge_characters(password)
}

fn judge_characters(text: &str) -> Result<(), String> {
    match text.chars().any(char::is_control) {
        true => Err("control characters, such as line ends, have no place in it".to_owned()),
        false => Ok(()),
    }
}

/// `http://HOST[:PORT]`, as the original takes it.
///
/// # Errors
/// The sentence that tells what to write instead. It repeats no credentials.
pub(crate) fn address(text: &str) -> Result<Target, String> {
    if text.contains('@') {
        return Err("credentials have no place in an address: set relay_proxy.username and \
                    relay_proxy.password_file"
            .to_owned());
    }
    if text.is_empty() {
        return Err("expected http://HOST:PORT; for no relay proxy write []".to_owned());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("expected http://HOST:PORT: write \"http://{}\"", shown(text)));
    };
    if !scheme.eq_ignore_ascii_case("http") {
        return Err("only relay proxies of http:// are spoken to".to_owned());
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err("expected http://HOST:PORT and nothing after it".to_owned());
    }
    let wrong = |error: crate::proto::target::TargetError| error.to_string();
    match split_port(authority.as_bytes()).map_err(wrong)? {
        (_, Some(_)) => Target::parse(authority.as_bytes()).map_err(wrong),
        (_, None) => Target::parse(format!("{authority}:{HTTP_PORT}").as_bytes()).map_err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::parse;
    use crate::config::problem::Problem;

    #[test]
    fn addresses_are_read_or_explained() {
        for (text, read) in [
            ("http://proxy.example.com:8080", "proxy.example.com:8080"),
            ("http://myorgname.corp.contoso.com:80", "myorgname.corp.contoso.com:80"),
            ("HTTP://Proxy.Example.COM./", "proxy.example.com:80"),
            ("http://10.0.0.1", "10.0.0.1:80"),
            ("http://[2001:db8::1]:3128/", "[2001:db8::1]:3128"),
            ("http://[::1]", "[::1]:80"),
        ] {
            assert_eq!(address(text).map(|target| target.to_string()), Ok(read.to_owned()));
        }
        for (text, why) in [
            ("", "for no relay proxy write []"),
            ("proxy:8080", "write \"http://proxy:8080\""),
            ("https://proxy:8080", "only relay proxies of http://"),
            ("socks5://proxy:1080", "only relay proxies of http://"),
            ("http://user:hunter2@proxy:8080", "have no place"),
            ("user:hunter2@proxy:8080", "have no place"),
            ("http://proxy:8080/path", "nothing after it"),
            ("http://proxy:8080?x", "nothing after it"),
            ("http://proxy:0", "port"),
            ("http://proxy:65536", "port"),
            ("http://proxy:", "port"),
            ("http://", "no host"),
            ("http://2130706433:80", "number"),
            ("http://::1:80", "colon"),
            ("http://b\u{fc}cher.example:80", "ASCII"),
        ] {
            let error = address(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    /// A folder with a configuration that only its owner reads, and beside it a password.
    struct Saved(PathBuf);

    impl Saved {
        fn new(name: &str) -> Saved {
            let folder = std::env::temp_dir().join(format!("sluice-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let saved = Saved(folder);
            saved.write("sluice.toml", b"", 0o600);
            saved
        }

        fn write(&self, name: &str, bytes: &[u8], mode: u32) {
            let file = self.0.join(name);
            std::fs::write(&file, bytes).unwrap();
            set_mode(&file, mode);
        }

        fn read(&self, lines: &str) -> Result<RelayProxySettings, Vec<Problem>> {
            let text = format!("[relay_proxy]\n{lines}\n");
            parse(text.as_bytes(), &self.0.join("sluice.toml")).map(|config| config.relay_proxy)
        }

        fn problem(&self, lines: &str) -> Problem {
            let mut problems = self.read(lines).expect_err(lines);
            assert_eq!(problems.len(), 1, "{lines}: {problems:?}");
            problems.remove(0)
        }
    }

    #[cfg(unix)]
    fn set_mode(file: &Path, mode: u32) {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(file, permissions).unwrap();
    }

    #[cfg(not(unix))]
    fn set_mode(_file: &Path, _mode: u32) {}

    impl Drop for Saved {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn revealed(settings: &RelayProxySettings) -> Option<&str> {
        settings.authorization.as_ref().map(Secret::reveal)
    }

    #[test]
    fn credentials_are_found_beside_the_file_or_in_it() {
        let saved = Saved::new("relay-found");
        let aladdin = Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        for (name, bytes) in [
            ("plain", &b"open sesame"[..]),
            ("line", b"open sesame\n"),
            ("windows", b"\xef\xbb\xbfopen sesame\r\n"),
        ] {
            saved.write(name, bytes, 0o640);
            let lines = format!("username = \"Aladdin\"\npassword_file = \"{name}\"");
            assert_eq!(revealed(&saved.read(&lines).unwrap()), aladdin, "{name}");
        }
        let whole = saved.0.join("plain");
        let lines = format!("username = \"Aladdin\"\npassword_file = {whole:?}");
        assert_eq!(revealed(&saved.read(&lines).unwrap()), aladdin);
        let inside = saved.read("username = \"Aladdin\"\npassword = \"open sesame\"").unwrap();
        assert_eq!(revealed(&inside), aladdin);
        let none = saved.read("username = \"Aladdin\"\npassword = \"\"").unwrap();
        assert_eq!(revealed(&none), Some("Basic QWxhZGRpbjo="));
        let nobody = saved.read("username = \"\"\npassword_file = \"\"").unwrap();
        assert_eq!((revealed(&nobody), &nobody.username), (None, &None));
        let settings = saved.read(
            "addresses = [\"http://a:1\", \"http://b:2\", \"http://A:1/\"]\ndirect = [\"*.b.c\"]",
        );
        let settings = settings.unwrap();
        let addresses: Vec<String> = settings.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["a:1", "b:2"]);
        assert_eq!(settings.direct_hosts().len(), 1);
    }

    #[test]
    fn what_is_wrong_with_credentials_is_told_without_them() {
        let saved = Saved::new("relay-wrong");
        saved.write("good", b"hunter2", 0o600);
        saved.write("open", b"hunter2\n", 0o604);
        saved.write("lines", b"hunter2\nhunter2\n", 0o600);
        saved.write("empty", b"\n", 0o600);
        saved.write("latin", b"hunter2\xfc", 0o600);
        saved.write("long", &[b'x'; PASSWORD_BYTES_MAX + 1], 0o600);
        let long = format!("username = \"{}\"\npassword = \"\"", "u".repeat(256));
        for (lines, at, words) in [
            ("username = \"us:er\"\npassword = \"hunter2\"", (2, 12), "a colon"),
            ("username = \"us\\ner\"\npassword = \"hunter2\"", (2, 12), "control characters"),
            (&long, (2, 12), "longer than 255"),
            ("username = \"u\"\npassword = \"hun\\u0000ter2\"", (3, 12), "control characters"),
            ("username = \"u\"\npassword = \"hun\\r\\nter2\"", (3, 12), "control characters"),
            ("username = \"u\"", (2, 12), "there is no password"),
            ("password = \"hunter2\"", (2, 12), "without relay_proxy.username"),
            ("password_file = \"good\"", (2, 17), "without relay_proxy.username"),
            (
                "username = \"u\"\npassword = \"hunter2\"\npassword_file = \"good\"",
                (4, 17),
                "keep one",
            ),
            ("username = \"u\"\npassword_file = \"none\"", (3, 17), "cannot be read"),
            ("username = \"u\"\npassword_file = \".\"", (3, 17), "is not a file"),
            ("username = \"u\"\npassword_file = \"lines\"", (3, 17), "control characters"),
            ("username = \"u\"\npassword_file = \"empty\"", (3, 17), "is empty"),
            ("username = \"u\"\npassword_file = \"latin\"", (3, 17), "not UTF-8"),
            ("username = \"u\"\npassword_file = \"long\"", (3, 17), "longer than 4096"),
            ("addresses = [\"http://u:hunter2@a:1\"]", (2, 14), "have no place"),
            ("addresses = [\"u:hunter2@a:1\"]", (2, 14), "\"***@a:1\""),
            ("username = \"u\"\npassword = 5", (3, 12), "must be a string"),
        ] {
            let mut problems = saved.read(lines).expect_err(lines);
            let problem = problems.remove(0);
            assert_eq!((problem.line, problem.column), at, "{lines}: {problem}");
            assert!(problem.message.contains(words), "{lines}: {problem}");
            assert!(!problem.to_string().contains("hunter2"), "{problem}");
            assert_eq!(problem.reason, Reason::ConfigurationInvalid, "{lines}");
        }
        let nine: Vec<String> = (0..9).map(|n| format!("\"http://p{n}:1\"")).collect();
        let problem = saved.problem(&format!("addresses = [{}]", nine.join(", ")));
        assert!(problem.message.contains("more than 8"), "{problem}");
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        if !sys::TELLS_READERS {
            return;
        }
        let saved = Saved::new("relay-readable");
        saved.write("open", b"hunter2\n", 0o604);
        let problem = saved.problem("username = \"u\"\npassword_file = \"open\"");
        assert_eq!((problem.reason, problem.line), (Reason::SecretReadable, 3));
        assert!(problem.message.contains("chmod o="), "{problem}");
        saved.write("sluice.toml", b"", 0o604);
        let problem = saved.problem("username = \"u\"\npassword = \"hunter2\"");
        assert_eq!((problem.reason, problem.line), (Reason::SecretReadable, 3));
        assert!(!problem.message.contains("hunter2"), "{problem}");
        saved.write("open", b"hunter2\n", 0o600);
        assert!(saved.read("username = \"u\"\npassword_file = \"open\"").is_ok());
    }

    #[test]
    fn systemd_hands_a_password_over() {
        let saved = Saved::new("relay-credential");
        saved.write(CREDENTIAL, b"open sesame\n", 0o400);
        let text = "[relay_proxy]\nusername = \"Aladdin\"\n";
        let file = saved.0.join("sluice.toml");
        let read = |credentials: Option<PathBuf>| {
            super::super::load::parse_at(
                text.as_bytes(),
                &Home { file: &file, credentials, is_gateway: true },
            )
        };
        let config = read(Some(saved.0.clone())).unwrap();
        let value = Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(revealed(&config.relay_proxy), value);
        assert!(read(None).is_err() && read(Some(saved.0.join("none"))).is_err());
        let others = Home { file: &file, credentials: None, is_gateway: false };
        let config = super::super::load::parse_at(text.as_bytes(), &others).unwrap();
        assert_eq!(config.relay_proxy.username.as_deref(), Some("Aladdin"));
    }
}
