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
    set(&site, &words, &format!("{SECRET}\n"), 0, &["user1", "relay-password"]);
    let told = format!(
        "{FILE}\n[relay_proxy]\naddresses = [\"http://p.example:1\"]\nusername = \"user1\"\n\
         password_file = \"relay-password\"\n"
    );
    assert_eq!(site.text(), told);
    let file = site.folder.path().join("relay-password");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), SECRET);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let got =
        site.expect("relay-proxy get", 0, &["username: user1", "password: in /relay-password"]);
    assert!(!got.out.contains("hunter2"));
    // Another password gets another name, so that the text tells of it, and the old file goes.
    set(&site, &words, "hunter22\r\n", 0, &[]);
    assert_eq!(site.text(), told.replace("relay-password", "relay-password-2"));
    assert_eq!(site.names(), ["relay-password-2", "sluice.toml", "sluice.toml.lock"]);
    assert_eq!(
        std::fs::read_to_string(site.folder.path().join("relay-password-2")).unwrap(),
        "hunter22"
    );
    for key in ["relay_proxy.password", "relay_proxy", ""] {
        let ran = site.words(&["config", "get", key], "");
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
    }
    // No credentials any more: the file goes too.
    set(&site, &["http://p.example:1"], "", 0, &[]);
    assert_eq!(
        site.text(),
        format!("{FILE}\n[relay_proxy]\naddresses = [\"http://p.example:1\"]\n")
    );
    assert_eq!(site.names(), ["sluice.toml", "sluice.toml.lock"]);
}

#[test]
fn a_file_that_is_not_ours_stays() {
    let text = "[relay_proxy]\naddresses = [\"http://p:1\"]\nusername = \"u\" # who\npassword_file = \"mine\"\n";
    let site = Site::new(text);
    let file = site.folder.write("mine", "hunter2");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    site.expect("relay-proxy clear", 0, &["reached directly"]);
    assert_eq!(site.text(), "[relay_proxy]\naddresses = []\n");
    assert!(file.exists());
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
        assert!(site.names().iter().all(|name| !name.starts_with("relay")), "{words:?}");
    }
    let long = "h".repeat(2000);
    set(&site, &with("http://p.example:1"), &long, 2, &["longer than 1024 bytes"]);
}
