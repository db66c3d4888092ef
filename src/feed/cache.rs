//! The last good list, kept in a file. Its first lines say whose list it is, how long, and with which
//! digest, so that neither another feed's list nor a damaged one is taken for it, and no other file is
//! written over. A query is no part of whose it is: the token in it may be another at the next start.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::SystemTime;

use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;

use crate::config::edit::held::Held;
use crate::config::feed::{FeedSettings, FeedUrl};
use crate::config::place::or_here;
use crate::logic::feed::{self, FEED_BYTES_MAX};
use crate::logic::hosts::HostPattern;
use crate::sys::{is_writable_by_others, may_write_in};

/// What such a file begins with.
const MARK: &str = "# sluice feed: ";
/// What its second line begins with.
const LENGTH_MARK: &str = "# bytes: ";
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
/// The file cannot be read, others can write it, or it is damaged; the sentence names it.
pub fn recall(settings: &FeedSettings) -> Result<Option<Kept>, String> {
    let file = &settings.cache_file;
    let cannot = |error: std::io::Error| format!("{} cannot be read: {error}", file.display());
    let mut opened = match open(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(cannot)?,
    };
    let metadata = opened.metadata().map_err(cannot)?;
    if is_writable_by_others(&metadata) {
        return Err(writable_by_others(file));
    }
    let written = metadata.modified().ok();
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
/// It cannot be written, others can write it, or it holds something else than a feed; it stays as it was
/// then.
pub fn keep(settings: &FeedSettings, list: &[u8]) -> Result<(), String> {
    let file = &settings.cache_file;
    let cannot = |error: crate::config::edit::held::HoldError| {
        let (what, error) = (error.what, error.error);
        format!("{what}: {error}")
    };
    let held = Held::take(file).map_err(cannot)?;
    if !held.before().is_none_or(is_ours) {
        return Err(foreign(file));
    }
    if std::fs::metadata(file).is_ok_and(|metadata| is_writable_by_others(&metadata)) {
        // The new one would have its mode.
        return Err(writable_by_others(file));
    }
    let mut bytes = head(&settings.url, list).into_bytes();
    bytes.extend_from_slice(list);
    held.replace(&bytes).map_err(cannot)
}

/// Why no list could be kept here and now, as far as can be seen without a trial.
pub fn doubt(settings: &FeedSettings) -> Option<String> {
    let file = &settings.cache_file;
    let name = file.display();
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.is_dir() => Some(format!("{name} is a folder; name a file in it")),
        Ok(metadata) if !metadata.is_file() => Some(format!("{name} is no plain file")),
        Ok(_) => doubt_file(file).or_else(|| recall(settings).err()),
        Err(_) => doubt_folder(file.ancestors().skip(1).find(|folder| folder.exists())),
    }
}

fn doubt_file(file: &Path) -> Option<String> {
    let name = file.display();
    let mut begin = Vec::new();
    match OpenOptions::new().read(true).write(true).open(file) {
        Err(error) => return Some(format!("this user may not write {name}: {error}")),
        Ok(opened) => {
            let read = opened.take(HEAD_BYTES_MAX as u64).read_to_end(&mut begin);
            if let Err(error) = read {
                return Some(format!("{name} cannot be read: {error}"));
            }
        }
    }
    if is_ours(&begin) { doubt_folder(file.parent()) } else { Some(foreign(file)) }
}

/// A new list is written beside the old one.
fn doubt_folder(folder: Option<&Path>) -> Option<String> {
    let folder = or_here(folder.unwrap_or(Path::new("")));
    let name = folder.display();
    if !folder.is_dir() {
        return Some(format!("{name} is no folder"));
    }
    let may_not = format!("this user may not write in the folder {name}");
    (!may_write_in(folder)).then_some(may_not)
}

/// A pipe would be waited for, a folder be read as one.
fn open(file: &Path) -> std::io::Result<File> {
    if !std::fs::metadata(file)?.is_file() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is not a file"));
    }
    File::open(file)
}

/// Whether a list may take the place of these bytes: of whatever feed, and however damaged, they are a
/// kept list, or the begin of one.
fn is_ours(before: &[u8]) -> bool {
    let mut lines = before.split(|&byte| byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let has_length = lines.next().is_some_and(|second| second.starts_with(LENGTH_MARK.as_bytes()));
    MARK.as_bytes().starts_with(before) || first.starts_with(MARK.as_bytes()) || has_length
}

fn foreign(file: &Path) -> String {
    format!(
        "{} holds something else than a feed and stays as it is; name another \
         allow.feed.cache_file",
        file.display()
    )
}

fn writable_by_others(file: &Path) -> String {
    let name = file.display();
    format!(
        "others can write {name}, so that its hosts may be anybody's; take that from them, as with \
         chmod o-w {name}"
    )
}

fn head(url: &FeedUrl, list: &[u8]) -> String {
    let digest: String = digest(list).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}{LENGTH_MARK}{}, SHA-256: {digest}\n", first_line(url), list.len())
}

fn first_line(url: &FeedUrl) -> String {
    format!("{MARK}{}\n", url.place())
}

/// The hosts of a kept list; `None` where it is of another feed.
fn read(bytes: &[u8], url: &FeedUrl) -> Result<Option<Vec<HostPattern>>, String> {
    let Some(first) = bytes.split_inclusive(|&byte| byte == b'\n').next() else {
        return Err("it is empty".to_owned());
    };
    if !first.starts_with(MARK.as_bytes()) {
        return Err(format!("it does not begin with \"{MARK}\""));
    }
    if !first.ends_with(b"\n") {
        return Err("it ends in its first line".to_owned());
    }
    if first != first_line(url).as_bytes() {
        return Ok(None);
    }
    let second = bytes[first.len()..].split_inclusive(|&byte| byte == b'\n').next();
    let list = &bytes[first.len() + second.map_or(0, <[u8]>::len)..];
    let length = format!("{LENGTH_MARK}{},", list.len());
    if !second.is_some_and(|second| second.starts_with(length.as_bytes())) {
        return Err("it is not as long as it says".to_owned());
    }
    if !bytes.starts_with(head(url, list).as_bytes()) {
        return Err("it is not what was kept: its digest is another".to_owned());
    }
    feed::read(list).map(Some).map_err(|error| error.to_string())
}

/// SHA-256, as the client of the download has it.
fn digest(bytes: &[u8]) -> Vec<u8> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13();
    suite.map(|suite| suite.common.hash_provider.hash(bytes).as_ref().to_vec()).unwrap_or_default()
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
        for rotated in ["https://a.test/list", "https://a.test/list?token=other"] {
            let kept = recall(&place.settings(rotated)).unwrap().expect(rotated);
            assert_eq!(names(&kept), ["b.test"], "{rotated}");
        }
        for other in ["https://a.test/lis", "https://a.test/list/", "https://b.test/list"] {
            assert_eq!(recall(&place.settings(other)), Ok(None), "{other}");
        }
        let text = std::fs::read_to_string(&own.cache_file).unwrap();
        assert!(text.starts_with("# sluice feed: https://a.test/list\n# bytes: 6, SHA-"), "{text}");
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
            assert!(damaged(&whole[..cut]).is_err(), "{cut}");
            assert!(is_ours(&whole[..cut]), "{cut}");
        }
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            let told = damaged(&flipped);
            assert!(matches!(told, Ok(None) | Err(_)), "{at}: {told:?}");
            assert!(is_ours(&flipped), "{at}");
        }
        let changed = String::from_utf8(whole.clone()).unwrap().replace("b.test", "e.test");
        assert!(damaged(changed.as_bytes()).unwrap_err().contains("its digest is another"));
        assert!(damaged(&[&whole[..], b"c.test\n"].concat()).unwrap_err().contains("not as long"));
        assert!(damaged(b"").unwrap_err().contains("it is empty"));
        keep(&own, b"a.test").expect("an empty file is nobody's");
        assert!(damaged(b"root:x:0:0\n").unwrap_err().contains("does not begin"));
        assert!(keep(&own, b"a.test").unwrap_err().contains("holds something else"));
        assert_eq!(std::fs::read(&own.cache_file).unwrap(), b"root:x:0:0\n");
        assert!(damaged(&whole).unwrap().is_some());
    }

    #[cfg(unix)]
    #[test]
    fn a_list_that_others_can_write_is_not_believed() {
        let place = Place::new("writable");
        let own = place.settings("https://a.test/list");
        keep(&own, b"a.test\n").unwrap();
        let set = |mode| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&own.cache_file, mode).unwrap();
        };
        set(0o646);
        assert!(recall(&own).unwrap_err().contains("chmod o-w "));
        assert!(keep(&own, b"b.test\n").unwrap_err().contains("others can write "));
        set(0o664);
        assert_eq!(names(&recall(&own).unwrap().unwrap()), ["a.test"]);
    }

    #[test]
    fn where_no_list_can_be_kept_is_told_beforehand() {
        let place = Place::new("doubt");
        let mut own = place.settings("https://a.test/list");
        assert_eq!(doubt(&own), None);
        let file = own.cache_file.clone();
        own.cache_file = place.0.join("not/made/yet");
        assert_eq!(doubt(&own), None);
        own.cache_file = file.clone();
        keep(&own, b"a.test\n").unwrap();
        assert_eq!(doubt(&own), None);
        std::fs::write(&file, "a.test\n").unwrap();
        assert!(doubt(&own).unwrap().contains("holds something else than a feed"));
        std::fs::write(&file, MARK).unwrap();
        assert!(doubt(&own).unwrap().contains("is damaged: it ends in its first line"));
        own.cache_file = place.0.clone();
        assert!(doubt(&own).unwrap().contains("is a folder; name a file in it"));
        own.cache_file = file.join("below");
        assert!(doubt(&own).unwrap().contains("is no folder"));
        #[cfg(target_os = "linux")]
        for (place, told) in [("/dev/null", "is no plain file"), ("/proc/sys/x", "/proc/sys")] {
            own.cache_file = PathBuf::from(place);
            assert!(doubt(&own).unwrap().contains(told), "{place}");
        }
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
