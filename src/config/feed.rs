//! The section `[allow.feed]`: where a list of hosts is downloaded from, how often, whom to trust, and
//! where it is kept.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::networks::shown;
use super::place;
use super::problem::Problems;
use super::section::{Found, Section};
use crate::proto::target::{Target, split_port};

/// The port of `https://` where none is written (RFC 9110 section 4.2.2).
const HTTPS_PORT: u16 = 443;
/// Bytes of an address: what proxies and servers take as a request line, and then some.
const URL_BYTES_MAX: usize = 4096;
/// An hour: names change over days, and whoever serves the list has many to serve.
const REFRESH_S: u64 = 3_600;
/// A week: beyond it a feed is a file.
const REFRESH_S_MAX: u64 = 7 * 24 * 3_600;

/// What the section says, where it names a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedSettings {
    /// Where it is.
    pub url: FeedUrl,
    /// Seconds from one download to the next.
    pub refresh_s: u64,
    /// Certificates, in DER, that the server's must lead to; none = those that the system trusts.
    pub authorities: Vec<Vec<u8>>,
    /// Where the last good one is kept.
    pub cache_file: PathBuf,
}

/// The address of a feed. Shown without its query: tokens are put there.
#[derive(Clone, PartialEq, Eq)]
pub struct FeedUrl {
    text: String,
    target: Target,
}

impl FeedUrl {
    /// Reads `https://HOST[:PORT][/PATH][?QUERY]`.
    ///
    /// # Errors
    /// The sentence that tells what is wrong; it repeats nothing of a user or a query.
    pub fn parse(text: &str) -> Result<FeedUrl, String> {
        if text.len() > URL_BYTES_MAX {
            return Err(format!("longer than {URL_BYTES_MAX} bytes"));
        }
        let expected = "expected https://HOST/PATH";
        let (scheme, rest) = text.split_once("://").ok_or(expected)?;
        if !scheme.eq_ignore_ascii_case("https") {
            return Err(format!("only https:// is spoken: {expected}"));
        }
        let (authority, _) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("a user or a password has no place in an address".to_owned());
        }
        if rest.contains('#') {
            return Err("a fragment (#) is never sent; leave it out".to_owned());
        }
        let wrong = |error: crate::proto::target::TargetError| error.to_string();
        let target = match split_port(authority.as_bytes()).map_err(wrong)? {
            (_, Some(_)) => Target::parse(authority.as_bytes()),
            (_, None) => Target::parse(format!("{authority}:{HTTPS_PORT}").as_bytes()),
        };
        let target = target.map_err(wrong)?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic())
            || text.parse::<ureq::http::Uri>().is_err()
        {
            return Err("other characters than an address has; write them as %XX".to_owned());
        }
        Ok(FeedUrl { text: text.to_owned(), target })
    }

    /// All of it, for the one who is asked.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Without its query.
    pub fn place(&self) -> &str {
        self.text.split_once('?').map_or(&self.text, |(place, _)| place)
    }

    /// Whom it is asked of.
    pub fn target(&self) -> &Target {
        &self.target
    }
}

impl fmt::Display for FeedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(without_query(&self.text).as_deref().unwrap_or(&self.text))
    }
}

impl fmt::Debug for FeedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Reads the section; `None` where it names no feed. The configuration is `file`, and the files of the
/// section are [`place::beside`] it.
pub(super) fn read(
    section: &mut Section<'_>,
    file: &Path,
    problems: &mut Problems,
) -> Option<FeedSettings> {
    let before = problems.count();
    let named = |found: &Found<&str>| !found.value.is_empty();
    let url = section.string("url", problems).filter(named);
    let refresh_s = section.number("refresh_s", 1..=REFRESH_S_MAX, problems);
    let ca_file = section.string("ca_file", problems).filter(named);
    let cache_file = section.string("cache_file", problems).filter(named);
    for (other, what) in [
        (Some(file.to_owned()), "the configuration"),
        (ca_file.as_ref().map(|found| place::beside(file, found.value)), "allow.feed.ca_file"),
    ] {
        if let (Some(found), Some(other)) = (&cache_file, other)
            && is_same(&place::beside(file, found.value), &other)
        {
            let why = format!("{}: it is {what}, which a list must not replace", found.path);
            problems.add(found.span.clone(), why);
        }
    }
    let authorities = ca_file.map(|found| {
        read_authorities(&place::beside(file, found.value)).unwrap_or_else(|why| {
            problems.add(found.span, format!("{}: {why}", found.path));
            Vec::new()
        })
    });
    let url = url?;
    let parsed = FeedUrl::parse(url.value);
    if let Err(why) = &parsed {
        problems.add(url.span.clone(), format!("{}: {why}", url.path));
    }
    if cache_file.is_none() {
        let why = format!(
            "{}: set allow.feed.cache_file too, where the last good list is kept for the next \
             start: a file that the gateway may write, as in \"/var/cache/sluice/feed\"",
            url.path
        );
        problems.add(url.span, why);
    }
    if problems.count() > before {
        return None;
    }
    Some(FeedSettings {
        url: parsed.ok()?,
        refresh_s: refresh_s.map_or(REFRESH_S, |found| found.value),
        authorities: authorities.unwrap_or_default(),
        cache_file: place::beside(file, cache_file?.value),
    })
}

/// An address whose query may be a token, as it may be shown; `None` where it has none to hide.
pub(super) fn without_query(url: &str) -> Option<String> {
    url.split_once('?').map(|(place, _)| format!("{place}?..."))
}

/// Whether both names lead to one file, as far as it is there.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |file: &Path| std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    real(one) == real(other)
}

/// The certificates in a PEM file, each of which can be trusted.
fn read_authorities(file: &Path) -> Result<Vec<Vec<u8>>, String> {
    let name = shown(&file.to_string_lossy());
    let wrong = |why: &dyn fmt::Display| format!("\"{name}\": {why}");
    // Before it is opened: a pipe would be waited for.
    if !std::fs::metadata(file).map_err(|error| wrong(&error))?.is_file() {
        return Err(wrong(&"it is not a file"));
    }
    let found = CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))?;
    let mut authorities = Vec::new();
    for certificate in found {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        authorities.push(certificate.to_vec());
        let trusted = RootCertStore::empty().add(certificate);
        trusted.map_err(|error| {
            wrong(&format!("its certificate {} cannot be trusted: {error}", authorities.len()))
        })?;
    }
    match authorities.is_empty() {
        true => Err(wrong(&"no certificate in PEM is in it")),
        false => Ok(authorities),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::parse;

    #[test]
    fn addresses_are_read_or_explained() {
        for (text, target, told) in [
            ("https://lists.test/hosts.txt", "lists.test:443", "https://lists.test/hosts.txt"),
            ("HTTPS://Lists.test.:8443", "lists.test:8443", "HTTPS://Lists.test.:8443"),
            ("https://[::1]:8443/a", "[::1]:8443", "https://[::1]:8443/a"),
            ("https://a.test/b?sig=hunter2", "a.test:443", "https://a.test/b?..."),
            ("https://a.test/b@c", "a.test:443", "https://a.test/b@c"),
        ] {
            let url = FeedUrl::parse(text).expect(text);
            assert_eq!(
                (url.target().to_string().as_str(), url.to_string().as_str()),
                (target, told)
            );
            assert_eq!((url.as_str(), format!("{url:?}")), (text, format!("\"{told}\"")));
        }
        let long = format!("https://a.test/{}", "x".repeat(URL_BYTES_MAX));
        for (text, why) in [
            ("http://lists.test/hosts", "only https:// is spoken"),
            ("file:///etc/passwd", "only https:// is spoken"),
            ("lists.test/hosts", "expected https://HOST/PATH"),
            ("https://", "no host"),
            ("https:///hosts", "no host"),
            ("https://user:hunter2@lists.test/", "no place in an address"),
            ("https://lists.test/#all", "a fragment"),
            ("https://lists.test:0/", "port"),
            ("https://*.test/", ""),
            ("https://a.test/b c", "%XX"),
            ("https://a.test/b\r\nX: y", "%XX"),
            ("https://a.test/\u{fc}", "%XX"),
            (&long, "longer than"),
        ] {
            let told = FeedUrl::parse(text).expect_err(text);
            assert!(told.contains(why) && !told.contains("hunter2"), "{text}: {told}");
        }
    }

    fn problems(lines: &str) -> Vec<String> {
        let file = std::env::temp_dir().join("sluice-no-such-folder").join("f.toml");
        let text = format!("[allow.feed]\n{lines}");
        let problems = parse(text.as_bytes(), &file).err().unwrap_or_default();
        problems.iter().map(|one| format!("{}:{}: {}", one.line, one.column, one.message)).collect()
    }

    #[test]
    fn a_section_is_whole_or_its_problems_have_their_place() {
        let good = "url = \"https://a.test/\"\ncache_file = \"c\"\n";
        let config = parse(format!("[allow.feed]\n{good}").as_bytes(), Path::new("/x/f.toml"));
        let feed = config.unwrap().feed.unwrap();
        assert_eq!((feed.refresh_s, feed.authorities.len()), (3_600, 0));
        assert_eq!(feed.cache_file, Path::new("/x/c"));
        for (lines, told) in [
            ("url = \"\"\ncache_file = \"c\"\nrefresh_s = 9\n", &[][..]),
            ("url = \"https://a.test/\"\n", &["2:7: allow.feed.url: set allow.feed.cache_file"]),
            (
                "cache_file = \"c\"\nurl = \"http://a.test/\"\n",
                &["3:7: allow.feed.url: only https:// is spoken"],
            ),
            ("refresh_s = 0\n", &["2:13: allow.feed.refresh_s must be 1 to 604800, not 0"]),
            ("ca_file = \"none.pem\"\n", &["2:11: allow.feed.ca_file: \""]),
            (
                "url = \"https://a.test/\"\ncache_file = \"./f.toml\"\n",
                &["3:14: allow.feed.cache_file: it is the configuration"],
            ),
            (
                "ca_file = \"c\"\ncache_file = \"c\"\n",
                &[
                    "2:11: allow.feed.ca_file: ",
                    "3:14: allow.feed.cache_file: it is allow.feed.ca_file",
                ],
            ),
            ("every = 1\n", &["2:1: unknown key \"allow.feed.every\""]),
        ] {
            let found = problems(lines);
            assert_eq!(found.len(), told.len(), "{found:?}");
            for (found, told) in found.iter().zip(told) {
                assert!(found.starts_with(told), "{found}");
            }
        }
    }

    #[test]
    fn authorities_come_from_a_file_that_holds_some() {
        let folder =
            std::env::temp_dir().join(format!("sluice-authorities-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("ca.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        let ca = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let pem = ca.pem();
        let broken = pem.replace("-----END", "-----FIN");
        let foreign = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, why) in [
            (pem.as_str(), None),
            (&format!("{pem}{pem}"), None),
            ("", Some("no certificate in PEM")),
            (&key.serialize_pem(), Some("no certificate in PEM")),
            (&broken, Some("ca.pem\": ")),
            (foreign, Some("its certificate 1 cannot be trusted")),
        ] {
            std::fs::write(&file, text).unwrap();
            match (read_authorities(&file), why) {
                (Ok(found), None) => assert_eq!(found[0], ca.der().to_vec()),
                (Err(told), Some(why)) => assert!(told.contains(why), "{told}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        assert!(read_authorities(&folder).unwrap_err().contains("not a file"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
