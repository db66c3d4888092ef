//! `relay-proxy`, and that its password is seen by nobody.

use super::program::Site;

const FILE: &str = "# mark\nallow.hosts = [\"www.test.com\"]\n[limits]\nidle_ms = 5 # x\n";
const SECRET: &str = "hunter2, \"q\"";

fn set(site: &Site, words: &[&str], input: &str, code: i32, told: &[&str]) {
    let all: Vec<&str> = ["relay-proxy", "set"].iter().chain(words).copied().collect();
    let ran = site.words(&all, input);
    ran.expect(&words.join(" "), code, told, site.folder.path());
    assert!(!format!("{}{}", ran.out, ran.err).contains("hunter2"), "{ran:?}");
    assert!(!site.text().contains("hunter2"), "{}", site.text());
}

#[test]
fn an_address_is_set_shown_and_cleared() {
    let site = Site::new(FILE);
    set(
        &site,
        &["http://proxy.example.com:8080"],
        "",
        0,
        &["through http://proxy.example.com:8080"],
    );
    let expected =
        format!("{FILE}\n[relay_proxy]\naddresses = [\"http://proxy.example.com:8080\"]\n");
    assert_eq!(site.text(), expected);
    site.expect("relay-proxy get", 0, &["http://proxy.example.com:8080\n"]);
    set(&site, &["http://a.example:1", "http://b.example:2"], "", 0, &["else http://b.example:2"]);
    assert_eq!(site.run("relay-proxy get").out, "http://a.example:1\nhttp://b.example:2\n");
    for clear in [&["relay-proxy", "set", ""][..], &["relay-proxy", "clear"]] {
        site.words(clear, "").expect("clear", 0, &["reached directly"], site.folder.path());
        assert_eq!(site.text(), format!("{FILE}\n[relay_proxy]\naddresses = []\n"));
    }
    site.expect("relay-proxy get", 0, &["No relay proxy is set"]);
    Site::new(FILE).expect("relay-proxy clear", 0, &["nothing was changed"]);
}

#[test]
fn credentials_are_dropped_with_a_word_where_the_relay_proxy_is_set_anew() {
    let site = Site::new(FILE);
    let words = ["http://p.example:1", "--username", "user1", "--password-stdin"];
    set(&site, &words, SECRET, 0, &["user1"]);
    set(&site, &["http://q.example:1"], "", 0, &["credentials of user1 are dropped"]);
    assert!(!site.text().contains("user1"), "{}", site.text());
    let ran = site.words(&["relay-proxy", "set", "http://p.example:1"], "");
    assert!(!ran.out.contains("dropped"), "{ran:?}");
}

#[test]
fn a_password_goes_into_a_file_of_its_own_and_nowhere_else() {
    let site = Site::new(FILE);
    let words = ["http://p.example:1", "--username", "user1", "--password-stdin"];
    set(&site, &words, &format!("{SECRET}\n"), 0, &["user1", "in /sluice.toml.relay-password-1"]);
    let told = format!(
        "{FILE}\n[relay_proxy]\naddresses = [\"http://p.example:1\"]\nusername = \"user1\"\n\
         password_file = \"sluice.toml.relay-password-1\"\n"
    );
    assert_eq!(site.text(), told);
    let file = site.folder.path().join("sluice.toml.relay-password-1");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), SECRET);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let got = site.expect(
        "relay-proxy get",
        0,
        &["username: user1", "password: in /sluice.toml.relay-password-1"],
    );
    assert!(!got.out.contains("hunter2"));
    // Another password gets another name, so that the text tells of it, and the old file goes.
    set(&site, &words, "hunter22\r\n", 0, &["relay-password-1 is removed"]);
    assert_eq!(site.text(), told.replace("relay-password-1", "relay-password-2"));
    assert_eq!(site.names(), ["sluice.toml", "sluice.toml.lock", "sluice.toml.relay-password-2"]);
    assert_eq!(
        std::fs::read_to_string(site.folder.path().join("sluice.toml.relay-password-2")).unwrap(),
        "hunter22"
    );
    for key in ["relay_proxy.password", "relay_proxy", ""] {
        let ran = site.words(&["config", "get", key], "");
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
    }
    // No credentials any more: the file goes too.
    set(&site, &["http://p.example:1"], "", 0, &["relay-password-2 is removed"]);
    assert_eq!(
        site.text(),
        format!("{FILE}\n[relay_proxy]\naddresses = [\"http://p.example:1\"]\n")
    );
    assert_eq!(site.names(), ["sluice.toml", "sluice.toml.lock"]);
}

/// A file that only its owner reads.
fn write_private(site: &Site, name: &str, text: &str) -> std::path::PathBuf {
    let file = site.folder.write(name, text);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    file
}

#[test]
fn where_the_password_is_is_told_and_not_what_it_is() {
    for (line, get, state) in [
        ("", "password: from the service manager, as the credential relay-password\n", "not set"),
        ("password = \"hunter2\"\n", "password: in /sluice.toml\n", "set, and not shown"),
    ] {
        let site = Site::empty();
        let begin = "[relay_proxy]\naddresses = [\"http://p:1\"]\nusername = \"u\"\n";
        write_private(&site, "sluice.toml", &format!("{begin}{line}"));
        let ran = site.expect("relay-proxy get", 0, &["username: u\n", get]);
        assert!(!ran.out.contains("hunter2"), "{ran:?}");
        let ran = site.run("config get relay_proxy.password");
        let told = format!("relay_proxy.password is {state}.\n");
        assert_eq!((ran.code, ran.out.as_str(), ran.err), (0, "", told));
        let ran = site.expect("config get relay_proxy", 0, &[&format!("password is {state}\n")]);
        assert!(!ran.out.contains("hunter2"), "{ran:?}");
    }
}

#[test]
fn a_file_that_is_not_ours_stays_and_that_is_said() {
    for name in
        ["mine", "relay-password", "other.toml.relay-password-1", "sluice.toml.relay-password"]
    {
        let text = format!(
            "[relay_proxy]\naddresses = [\"http://p:1\"]\nusername = \"u\" # who\n\
             password_file = \"{name}\"\n"
        );
        let site = Site::new(&text);
        let file = write_private(&site, name, "hunter2");
        let told = format!("/{name} stays: this command did not make it");
        site.expect("relay-proxy clear", 0, &["reached directly", &told]);
        assert_eq!(site.text(), "[relay_proxy]\naddresses = []\n");
        assert!(file.exists(), "{name}");
    }
}

#[test]
fn a_file_that_a_copy_of_the_configuration_names_stays() {
    let site = Site::new(FILE);
    let words = ["http://p.example:1", "--username", "user1", "--password-stdin"];
    set(&site, &words, SECRET, 0, &[]);
    let copy = site.folder.path().join("copy.toml");
    std::fs::copy(&site.file, &copy).unwrap();
    site.expect("relay-proxy clear", 0, &["relay-password-1 stays: /copy.toml names it"]);
    assert!(site.folder.path().join("sluice.toml.relay-password-1").exists());
    std::fs::remove_file(&copy).unwrap();
    let told = ["reached directly", "relay-password-1 is removed"];
    site.expect("relay-proxy clear", 0, &told);
    assert_eq!(site.names(), ["sluice.toml", "sluice.toml.lock"]);
}

#[test]
fn what_a_killed_command_left_of_a_password_goes_with_the_next() {
    for words in [&["relay-proxy", "clear"][..], &["relay-proxy", "set", "http://p.example:1"]] {
        let site = Site::new(FILE);
        for left in ["relay-password-1", "relay-password-2.new", "relay-password-77"] {
            write_private(&site, &format!("sluice.toml.{left}"), "hunter2");
        }
        let theirs = ["sluice.toml.relay-password-x", "sluice.toml.relay-password-1.old"];
        for name in theirs {
            write_private(&site, name, "hunter2");
        }
        site.words(words, "").expect("next", 0, &["77 is removed"], site.folder.path());
        let names = site.names();
        let left: Vec<&String> = names.iter().filter(|name| name.contains("password")).collect();
        assert_eq!(left, [theirs[1], theirs[0]], "{words:?}");
    }
}

#[test]
fn what_is_wrong_is_told_without_the_secret_and_changes_nothing() {
    let site = Site::new(FILE);
    let with = |url| vec![url, "--username", "u", "--password-stdin"];
    for (words, input, told) in [
        (vec!["http://u:hunter2@p.example:1"], "", &["must not hold credentials"][..]),
        (vec!["http://p.example:1", "--password", "hunter2"], "", &["--password-stdin"]),
        (vec!["http://p.example:1", "--password=hunter2"], "", &["--password-stdin"]),
        (vec!["http://p.example:1", "--username", "u"], "", &["--password-stdin"]),
        (vec!["http://p.example:1", "--password-stdin"], "hunter2", &["--username"]),
        (with("http://p.example:1"), "", &["is empty"]),
        (with("http://p.example:1"), "\n", &["is empty"]),
        (with("http://p.example:1"), "hunter2\nhunter2\n", &["control character"]),
        (with(""), "hunter2", &["need an address"]),
        (with("https://p.example:1"), "hunter2", &["relay_proxy.addresses", "http://"]),
        (vec!["ftp://p.example:1"], "", &["relay_proxy.addresses"]),
        (vec!["http://p.example:1/path"], "", &["relay_proxy.addresses"]),
        (vec!["http://p.example:99999"], "", &["relay_proxy.addresses"]),
    ] {
        set(&site, &words, input, 2, told);
        assert_eq!(site.text(), FILE, "{words:?}");
        assert!(site.names().iter().all(|name| !name.contains("relay")), "{words:?}");
    }
    let long = "h".repeat(2000);
    set(&site, &with("http://p.example:1"), &long, 2, &["longer than 1024 bytes"]);
}
