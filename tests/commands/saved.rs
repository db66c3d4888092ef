//! Owner, mode, links, locks: what a change leaves as it was, and what the system may refuse.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use super::program::{Ran, Site, command, run};

const FILE: &str = "[allow]\nhosts = [\"www.test.com\"]\n";
const ADD: [&str; 3] = ["allowed-host", "add", "new.test.com"];

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[test]
fn mode_and_owner_stay() {
    for mode in [0o600, 0o640, 0o664] {
        let site = Site::new(FILE);
        fs::set_permissions(&site.file, Permissions::from_mode(mode)).unwrap();
        if is_root() {
            chown(&site.file, Some(65_534), Some(65_533)).unwrap();
        }
        let before = fs::metadata(&site.file).unwrap();
        site.words(&ADD, "").expect("add", 0, &[], site.folder.path());
        let after = fs::metadata(&site.file).unwrap();
        assert_ne!(before.ino(), after.ino(), "another file in its place");
        assert_eq!(after.mode() & 0o7777, mode);
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
        let lock = fs::metadata(site.folder.path().join("sluice.toml.lock")).unwrap();
        assert_eq!((lock.mode() & 0o777, lock.uid()), (0o600, before.uid()));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn extended_attributes_stay() {
    use rustix::fs::{XattrFlags, getxattr, setxattr};
    let site = Site::new(FILE);
    // Not every file system has them; an access list is kept by the same call.
    if setxattr(&site.file, "user.note", b"kept", XattrFlags::empty()).is_err() {
        return;
    }
    site.words(&ADD, "").expect("add", 0, &[], site.folder.path());
    let mut value = vec![0; 16];
    let len = getxattr(&site.file, "user.note", value.as_mut_slice()).unwrap();
    assert_eq!(&value[..len], b"kept");
}

#[test]
fn a_password_is_for_those_whom_the_configuration_is_for() {
    let words = ["relay-proxy", "set", "http://p.example:1", "--username", "u", "--password-stdin"];
    for (mode, expected) in [(0o600, 0o600), (0o640, 0o640), (0o644, 0o600), (0o664, 0o600)] {
        let site = Site::new(FILE);
        fs::set_permissions(&site.file, Permissions::from_mode(mode)).unwrap();
        if is_root() {
            chown(&site.file, Some(65_534), Some(65_533)).unwrap();
        }
        let owner = fs::metadata(&site.file).unwrap();
        site.words(&words, "secret").expect("set", 0, &[], site.folder.path());
        let secret = fs::metadata(site.folder.path().join("sluice.toml.relay-password-1")).unwrap();
        assert_eq!((secret.uid(), secret.gid()), (owner.uid(), owner.gid()));
        assert_eq!(secret.mode() & 0o777, expected, "{mode:o}");
    }
}

#[test]
fn a_link_stays_and_its_file_changes() {
    let site = Site::empty();
    let real = site.folder.path().join("store");
    fs::create_dir(&real).unwrap();
    let real = real.join("real.toml");
    symlink("store/real.toml", site.folder.path().join("middle.toml")).unwrap();
    symlink("middle.toml", &site.file).unwrap();
    // A link to nothing names no file that is there; an empty one is filled.
    site.words(&ADD, "").expect("add", 2, &["there is no such file"], site.folder.path());
    fs::write(&real, "").unwrap();
    for expected in ["[allow]\nhosts = [\"new.test.com\"]\n", FILE] {
        site.words(&ADD, "").expect("add", 0, &[], site.folder.path());
        assert!(fs::symlink_metadata(&site.file).unwrap().is_symlink());
        assert_eq!(
            fs::read_to_string(&real).unwrap(),
            expected.replace("www.test.com\"]", "www.test.com\", \"new.test.com\"]")
        );
        fs::write(&real, FILE).unwrap();
    }
}

#[test]
fn files_are_named_from_what_a_link_leads_to() {
    let site = Site::empty();
    let store = site.folder.path().join("store");
    fs::create_dir(&store).unwrap();
    let real = store.join("real.toml");
    fs::write(&real, "").unwrap();
    symlink("store/real.toml", &site.file).unwrap();
    let words = ["relay-proxy", "set", "http://p.example:1", "--username", "u", "--password-stdin"];
    for (number, file) in [(1, &site.file), (2, &real), (1, &site.file)] {
        let ran = run(command(file).args(words), "secret");
        let told = format!("/store/real.toml.relay-password-{number}.");
        ran.expect("set", 0, &[&told], site.folder.path());
        for file in [&site.file, &real] {
            run(command(file).arg("check"), "").expect("check", 0, &[], site.folder.path());
            let got = run(command(file).args(["relay-proxy", "get"]), "");
            let told = format!("in /store/real.toml.relay-password-{number}\n");
            got.expect("get", 0, &[&told], site.folder.path());
        }
        let left = fs::read_dir(&store).unwrap().flatten();
        assert_eq!(left.filter(|one| one.path().to_string_lossy().contains("password")).count(), 1);
    }
    fs::write(&real, "azure.endpoints_file = \"names.toml\"\n").unwrap();
    site.expect("check", 2, &["/store/names.toml\": "]);
    run(command(&site.file).args(["relay-proxy", "clear"]), "");
}

#[test]
fn what_the_system_refuses_is_told_and_the_file_stays() {
    let site = Site::new(FILE);
    // Another command's lock, held by a process that does not let go, is waited for and then told;
    // that takes 10 s, so that it is the only such test.
    site.words(&ADD, "").expect("add", 0, &[], site.folder.path());
    let before = site.text();
    let lock = File::open(site.folder.path().join("sluice.toml.lock")).unwrap();
    lock.lock().unwrap();
    site.expect(
        "allowed-host remove new.test.com",
        1,
        &["sluice.toml.lock cannot be locked", "10 s"],
    );
    assert_eq!(site.text(), before);
    drop(lock);
    site.expect("allowed-host remove new.test.com", 0, &[]);
    assert_eq!(site.text(), FILE);
    // No plain file.
    let ran = run(command("/dev/null".as_ref()).args(ADD), "");
    ran.expect(
        "/dev/null",
        1,
        &["/dev/null cannot be replaced: it is no plain file"],
        site.folder.path(),
    );
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    let ran = run(command(site.folder.path()).args(ADD), "");
    ran.expect("a folder", 1, &["cannot be opened for writing"], "/".as_ref());
}

#[test]
fn what_a_crash_left_is_written_over() {
    let site = Site::new(FILE);
    site.folder.write("sluice.toml.new", "half a fi");
    site.words(&ADD, "").expect("add", 0, &[], site.folder.path());
    assert!(site.text().contains("new.test.com"));
    assert_eq!(site.names(), ["sluice.toml", "sluice.toml.lock"]);
}

/// Runs the command as an ordinary user, whom root plays by a program that there has to be; `None` where
/// nobody can be played.
fn as_user(site: &Site) -> Option<Ran> {
    if !is_root() {
        return Some(site.words(&ADD, ""));
    }
    let has_setpriv = run(std::process::Command::new("sh").args(["-c", "command -v setpriv"]), "");
    if has_setpriv.code != 0 {
        return None;
    }
    let mut other = std::process::Command::new("setpriv");
    other.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    other.arg(crate::support::gateway::PROGRAM).arg("--config").arg(&site.file).args(ADD);
    let ran = run(&mut other, "");
    // Where the program itself lies in a folder of root's, it cannot even be started.
    (!ran.err.contains("failed to execute")).then_some(ran)
}

#[test]
fn an_ordinary_user_may_not_change_what_is_not_his() {
    if !is_root() {
        return;
    }
    let site = Site::new(FILE);
    let folder = site.folder.path();
    for (folder_mode, owner, told, way_out) in [
        (0o777, 0, "sluice.toml cannot be opened for writing", &site.file),
        (0o755, 65_534, "sluice.toml.lock cannot be opened", &folder.to_owned()),
        (0o700, 65_534, "sluice.toml cannot be opened for writing", &folder.to_owned()),
    ] {
        fs::set_permissions(folder, Permissions::from_mode(folder_mode)).unwrap();
        chown(&site.file, Some(owner), Some(owner)).unwrap();
        let Some(ran) = as_user(&site) else { return };
        let way_out = format!("Run this as the owner of {}, or as root\n", way_out.display());
        assert!(ran.code == 1 && ran.err.contains(told), "{ran:?}");
        assert!(ran.err.ends_with(&way_out), "{ran:?}");
        assert_eq!(site.text(), FILE);
    }
}

#[test]
fn an_owner_is_told_which_mode_keeps_him_out() {
    let site = Site::new(FILE);
    let folder = site.folder.path();
    if is_root() {
        chown(folder, Some(65_534), Some(65_534)).unwrap();
        chown(&site.file, Some(65_534), Some(65_534)).unwrap();
    }
    for (folder_mode, file_mode, letters, closed) in [
        (0o555, 0o644, "w", folder),
        (0o655, 0o644, "x", folder),
        (0o455, 0o644, "wx", folder),
        (0o755, 0o444, "w", &site.file),
        (0o755, 0o044, "rw", &site.file),
    ] {
        fs::set_permissions(&site.file, Permissions::from_mode(file_mode)).unwrap();
        fs::set_permissions(folder, Permissions::from_mode(folder_mode)).unwrap();
        let ran = as_user(&site);
        fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&site.file, Permissions::from_mode(0o644)).unwrap();
        let Some(ran) = ran else { return };
        let told = format!(
            "Permission denied (os error 13). {closed} is yours, but its mode keeps you out: chmod \
             u+{letters} {closed}, then try again\n",
            closed = closed.display()
        );
        assert!(ran.code == 1 && ran.err.ends_with(&told), "no {told} in {ran:?}");
        assert_eq!(site.text(), FILE);
    }
}
