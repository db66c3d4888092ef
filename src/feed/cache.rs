//! The last good list, kept in a file. Its first lines say whose list it is and how long, so that neither
//! another feed's list nor half of one is taken for it, and no other file is written over.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::SystemTime;

use crate::config::edit::held::Held;
use crate::config::feed::{FeedSettings, FeedUrl};
use crate::logic::feed::{self, FEED_BYTES_MAX};
use crate::logic::hosts::HostPattern;

/// What such a file begins with.
const MARK: &str = "# sluice feed: ";
/// Bytes of both lines together, with the longest address there is.
const HEAD_BYTES_MAX: usize = 8192;

/// A list that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its hosts.
    pub hosts: Vec<HostPattern>,
    /// When it was written, where the system tells.
    pub written: Option<SystemTime>,
}

/// The list that was kept of this feed; `None` where there is none yet, or one of another feed.
///
/// # Errors
/// The file cannot be read, or it is damaged; the sentence names it.
pub fn recall(settings: &FeedSettings) -> Result<Option<Kept>, String> {
    let file = &settings.cache_file;
    let cannot = |error: std::io::Error| format!("{} cannot be read: {error}", file.display());
    let mut opened = match open(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(cannot)?,
    };
    let written = opened.metadata().and_then(|metadata| metadata.modified()).ok();
    let most = (HEAD_BYTES_MAX + FEED_BYTES_MAX + 1) as u64;
    let mut bytes = Vec::new();
    opened.by_ref().take(most).read_to_end(&mut bytes).map_err(cannot)?;
    let hosts = read(&bytes, &settings.url);
    let hosts = hosts.map_err(|why| format!("{} is damaged: {why}", file.display()))?;
    Ok(hosts.map(|hosts| Kept { hosts, written }))
}

/// Keeps a list in the place of the one before: whoever looks, and whenever the machine stops, there is
/// the old list or the new one.
///
/// # Errors
/// It cannot be written, or the file holds something else than a feed; it stays as it was then.
pub fn keep(settings: &FeedSettings, list: &[u8]) -> Result<(), String> {
    let file = &settings.cache_file;
    let cannot = |error: crate::config::edit::held::HoldError| {
        let (what, error) = (error.what, error.error);
        format!("{what}: {error}")
    };
    let held = Held::take(file).map_err(cannot)?;
    let is_ours = |before: &[u8]| before.is_empty() || before.starts_with(MARK.as_bytes());
    if !held.before().is_none_or(is_ours) {
        return Err(format!(
            "{} holds something else than a feed and stays as it is; name another \
             allow.feed.cache_file",
            file.display()
        ));
    }
    let mut bytes = head(&settings.url, list.len()).into_bytes();
    bytes.extend_from_slice(list);
    held.replace(&bytes).map_err(cannot)
}

/// A pipe would be waited for, a folder be read as one.
fn open(file: &Path) -> std::io::Result<File> {
    if !std::fs::metadata(file)?.is_file() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is not a file"));
    }
    File::open(file)
}

fn head(url: &FeedUrl, list_bytes: usize) -> String {
    let id = fingerprint(url.as_str().as_bytes());
    format!("{MARK}{url} {id:016x}\n# bytes: {list_bytes}\n")
}

/// The hosts of a kept list; `None` where it is of another feed.
fn read(bytes: &[u8], url: &FeedUrl) -> Result<Option<Vec<HostPattern>>, String> {
    let Some(first) = bytes.split_inclusive(|&byte| byte == b'\n').next() else {
        return Err("it is empty".to_owned());
    };
    if !first.starts_with(MARK.as_bytes()) {
        return Err(format!("it does not begin with \"{MARK}\""));
    }
    let own = head(url, 0);
    if !own.as_bytes().starts_with(first) || !first.ends_with(b"\n") {
        return Ok(None);
    }
    let second = bytes[first.len()..].split_inclusive(|&byte| byte == b'\n').next();
    let list = &bytes[first.len() + second.map_or(0, <[u8]>::len)..];
    if !bytes.starts_with(head(url, list.len()).as_bytes()) {
        return Err("it is not as long as it says".to_owned());
    }
    feed::read(list).map(Some).map_err(|error| error.to_string())
}

/// FNV-1a: tells addresses apart whose queries, which are not to be seen in the file, differ.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let folder =
                std::env::temp_dir().join(format!("sluice-feed-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Place(folder)
        }

        fn settings(&self, url: &str) -> FeedSettings {
            FeedSettings {
                url: FeedUrl::parse(url).unwrap(),
                refresh_s: 1,
                authorities: Vec::new(),
                cache_file: self.0.join("feed"),
            }
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn names(kept: &Kept) -> Vec<String> {
        kept.hosts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_kept_is_recalled_for_the_same_feed_only() {
        let place = Place::new("same");
        let own = place.settings("https://a.test/list?token=hunter2");
        assert_eq!(recall(&own), Ok(None));
        keep(&own, b"# one\na.test\n").unwrap();
        assert_eq!(names(&recall(&own).unwrap().unwrap()), ["a.test"]);
        keep(&own, b"b.test").unwrap();
        let kept = recall(&own).unwrap().unwrap();
        assert_eq!(names(&kept), ["b.test"]);
        assert!(kept.written.is_some());
        for other in ["https://a.test/list", "https://a.test/list?token=other", "https://b.test/"] {
            assert_eq!(recall(&place.settings(other)), Ok(None), "{other}");
        }
        let text = std::fs::read_to_string(&own.cache_file).unwrap();
        assert!(text.starts_with("# sluice feed: https://a.test/list?... "), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_damaged_file_is_told_and_a_foreign_one_is_kept() {
        let place = Place::new("damaged");
        let own = place.settings("https://a.test/list");
        keep(&own, b"a.test\nb.test\n").unwrap();
        let whole = std::fs::read(&own.cache_file).unwrap();
        let damaged = |bytes: &[u8]| {
            std::fs::write(&own.cache_file, bytes).unwrap();
            recall(&own)
        };
        for cut in 0..whole.len() {
            // Before the first line has ended, it may be of any feed.
            let told = damaged(&whole[..cut]);
            assert!(matches!(told, Ok(None) | Err(_)), "{cut}: {told:?}");
        }
        assert!(damaged(&[&whole[..], b"c.test\n"].concat()).unwrap_err().contains("not as long"));
        let other = String::from_utf8(whole.clone()).unwrap().replace("b.test", "b:8443");
        assert!(damaged(other.as_bytes()).unwrap_err().contains("is damaged: line 2"));
        assert!(damaged(b"").unwrap_err().contains("it is empty"));
        keep(&own, b"a.test").expect("an empty file is nobody's");
        assert!(damaged(b"root:x:0:0\n").unwrap_err().contains("does not begin"));
        assert!(keep(&own, b"a.test").unwrap_err().contains("holds something else"));
        assert_eq!(std::fs::read(&own.cache_file).unwrap(), b"root:x:0:0\n");
        assert!(damaged(&whole).unwrap().is_some());
    }

    #[test]
    fn the_longest_list_comes_back_whole() {
        let place = Place::new("longest");
        let own = place.settings(&format!("https://a.test/{}", "x".repeat(4_000)));
        let mut list = b"a.test\n#".to_vec();
        list.resize(FEED_BYTES_MAX, b'x');
        keep(&own, &list).unwrap();
        keep(&own, &list).unwrap();
        assert_eq!(names(&recall(&own).unwrap().unwrap()), ["a.test"]);
    }
}
