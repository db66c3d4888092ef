//! `config get` and `config set`, completions and manual pages.

use crate::support::gateway::PROGRAM;

use super::program::{Site, command, run};

const FILE: &str = "\u{feff}# mark\nlisten = [\"10.0.0.1:8080\"] # inside\n\n[limits]\n# a minute\nidle_ms = 60_000\n";

#[test]
fn a_key_is_set_and_nothing_else() {
    let site = Site::new(FILE);
    for (line, from, to) in [
        ("config set listen 8081", "10.0.0.1:8080", "10.0.0.1:8081"),
        ("config set limits.idle_ms 5000", "60_000", "5000"),
        ("config set limits.head_ms 7", "5000\n", "5000\nhead_ms = 7\n"),
        ("config set workers 2", "# inside\n", "# inside\nworkers = 2\n"),
        (
            "config set allow.clients 10.0.0.0/8,192.168.0.0/16",
            "head_ms = 7\n",
            "head_ms = 7\n\n[allow]\nclients = [\"10.0.0.0/8\", \"192.168.0.0/16\"]\n",
        ),
        (
            "config set allow.clients 10.0.0.0/8",
            "[\"10.0.0.0/8\", \"192.168.0.0/16\"]",
            "[\"10.0.0.0/8\"]",
        ),
    ] {
        let expected = site.text().replace(from, to);
        assert_ne!(expected, site.text(), "{line}");
        site.expect(line, 0, &["in"]);
        assert_eq!(site.text(), expected, "{line}");
    }
    site.expect("config set workers 2", 0, &["workers is 2 already"]);
    site.expect("config set workers 3", 0, &["when a gateway starts with it"]);
    site.words(&["config", "set", "allow.clients", ""], "");
    assert!(site.text().ends_with("clients = []\n"));
}

#[test]
fn bad_values_and_keys_are_told_and_change_nothing() {
    let site = Site::new(FILE);
    for (line, words) in [
        ("config set wrokers 1", &["unknown key \"wrokers\"; did you mean \"workers\"?"][..]),
        ("config set workers many", &["workers takes a whole number, not \"many\""]),
        (
            "config set workers 257",
            &["sluice.toml:", ": workers must be 0 to 256, not 257", "would not pass a check"],
        ),
        ("config set workers -1", &["workers must be 0 to 256, not -1"]),
        ("config set workers 1 2", &["takes one value, not 2"]),
        ("config set listen 0", &["the port must be 1 to 65535, not 0"]),
        ("config set listen 70000", &["listen: \"70000\": the port must be 1 to 65535"]),
        ("config set listen 99999", &["sluice.toml:", "the port must be 1 to 65535, not"]),
        ("config set allow.hosts xn--a", &["an xn-- label of the name cannot be decoded"]),
        ("config set listen localhost:1", &["expected an IP address"]),
        ("config set carrier fast", &["\"auto\", \"splice\", \"copy\""]),
        ("config set allow.hosts *", &["too broad"]),
        ("config set tls.min_version 1.4", &["\"1.3\""]),
        ("config set allow.cut_open yes", &["takes true or false"]),
        ("config set relay_proxy.password hunter2", &["is a secret", "--password-stdin"]),
        ("config set workers", &["Usage"]),
        ("config get wrokers", &["did you mean \"workers\"?"]),
    ] {
        let ran = site.expect(line, 2, words);
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
        assert_eq!(site.text(), FILE, "{line}");
    }
}

#[test]
fn what_is_said_and_what_is_default_is_told() {
    let site = Site::new(FILE);
    let all = site.run("config get").out;
    for line in [
        "listen = [\"10.0.0.1:8080\"]\n",
        "workers = 0  # default\n",
        "limits.idle_ms = 60000\n",
        "limits.head_ms = 10000  # default\n",
    ] {
        assert!(all.contains(line), "{line}: {all}");
    }
    let saved = Site::new(&all);
    saved.expect("check", 0, &["no problems"]);
    let limits = site.run("config get limits").out;
    assert!(limits.lines().all(|line| line.starts_with("limits.")) && limits.lines().count() > 9);
    assert_eq!(site.run("config get listen").out, "10.0.0.1:8080\n");
    let default = site.run("config get tls.min_version");
    assert_eq!(default.out, "1.2\n");
    assert!(default.err.contains("This is the default"), "{default:?}");
    assert_eq!(site.run("config get limits.idle_ms").out, "60000\n");
    Site::empty().expect("config get workers", 2, &["cannot be read"]);
    let missing = Site::empty().expect("config set workers 1", 2, &["there is no such file"]);
    assert!(!missing.err.contains("problems already"), "{missing:?}");
}

#[test]
fn what_can_hardly_be_meant_is_told_of_the_change_that_brings_it_about() {
    let site = Site::new("[azure]\nprofiles = [\"monitor-agent\"]\n");
    let mistyped = "sluice.toml:3:12: warning: azure.regions: \"westeurpoe\": no region of this name is \
                    known; did you mean \"westeurope\"?\n";
    site.expect("config set azure.regions westeurpoe", 0, &[mistyped]);
    site.expect("config set azure.regions westeurpoe", 0, &["already", mistyped]);
    // It was told of before, and is none of this change.
    let ran = site.expect("config set workers 2", 0, &["workers = 2"]);
    assert!(!ran.out.contains("warning"), "{ran:?}");
    let ran = site.expect("config set azure.regions westeurope", 0, &["now"]);
    assert!(!ran.out.contains("warning"), "{ran:?}");
    let other =
        "warning: azure.regions: \"westeurope\": is a region of the cloud public, not of usgov";
    site.expect("config set azure.cloud usgov", 0, &[other]);
}

#[test]
fn a_command_that_is_told_names_the_configuration_that_was_named() {
    let site = Site::new("workers = 1\n");
    let list = "`sluice allowed-host list --effective --config /sluice.toml` shows them";
    let subjects = list.replace("host", "client-certificate");
    for (line, code, told) in [
        ("config set allow.mode report", 0, "`sluice allowed-host suggest --config /sluice.toml`"),
        ("check", 0, "`sluice allowed-host suggest --config /sluice.toml`"),
        ("config set azure.profiles monitor-agent", 0, list),
        ("allowed-host list", 0, list),
        ("config set azure.workspaces 01234567-89ab-cdef-0123-456789abcdef", 0, list),
        ("config set azure.client_certificates true", 0, list),
        ("allowed-client-certificate list", 0, &subjects),
        (
            "config set relay_proxy.password x",
            2,
            "`sluice relay-proxy set URL --username NAME --password-stdin --config /sluice.toml`",
        ),
    ] {
        site.expect(line, code, &[told]);
    }
    let spaced = site.folder.write("my own.toml", "workers = 1\n");
    let add = ["allowed-host", "add", "a.test.com"];
    let told = format!("`sluice reload --config '{}'`", spaced.display());
    let ran = run(command(&spaced).args(add), "");
    assert!(ran.out.contains(&told), "{ran:?}");
    let ran = run(command(&spaced).args(["explain", "b.test.com"]), "");
    assert!(ran.out.contains(&format!(" --config '{}'", spaced.display())), "{ran:?}");
    let by_variable = std::process::Command::new(PROGRAM)
        .env("SLUICE_CONFIG", &site.file)
        .args(["allowed-host", "add", "b.test.com"])
        .output()
        .unwrap();
    let told = format!("`sluice reload --config {}`", site.file.display());
    assert!(String::from_utf8(by_variable.stdout).unwrap().contains(&told));
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let site = Site::empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = site.expect(&format!("completions {shell}"), 0, &["allowed-client-certificate"]);
        assert!(ran.out.contains("password-stdin"), "{shell}");
    }
    site.expect("completions tcsh", 2, &["possible values"]);
    site.expect("man", 0, &[".TH sluice 1", "relay\\-proxy"]);
    let folder = site.folder.path().join("man1");
    let to = folder.to_string_lossy().into_owned();
    site.words(&["man", "--to", &to], "").expect("man --to", 0, &[], site.folder.path());
    for page in ["sluice.1", "sluice-allowed-host-add.1", "sluice-relay-proxy-set.1"] {
        let text = std::fs::read_to_string(folder.join(page)).unwrap();
        assert!(text.contains(".TH sluice"), "{page}");
    }
    let ran = site.words(&["man", "--to", "/proc/nowhere"], "");
    ran.expect("man --to", 1, &["/proc/nowhere cannot be written to"], site.folder.path());
}
