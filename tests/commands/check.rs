//! `check`.

use super::program::Site;

#[test]
fn every_problem_is_told_at_its_place() {
    let site = Site::new(
        "wrokers = 1\nlisten = [\"127.0.0.1:0\", \"x\"]\n[allow]\nhosts = [\"*\", \"ok.test.com\"]\n\
         [limits]\nidle_ms = -1\nhead = 3\n",
    );
    let ran = site.run("check");
    assert_eq!((ran.code, ran.err.as_str()), (2, ""), "{ran:?}");
    let file = site.file.display();
    let starts = [
        "1:1: unknown key \"wrokers\"; did you mean \"workers\"?",
        "2:11: listen: \"127.0.0.1:0\": the port must be 1 to 65535, not 0",
        "2:26: listen: \"x\": expected ADDR:PORT",
        "4:10: allow.hosts: \"*\": too broad",
        "6:11: limits.idle_ms must be 0 to",
        "7:1: unknown key \"limits.head\"; did you mean \"limits.head_ms\"?",
    ];
    assert_eq!(ran.out.lines().count(), starts.len(), "{}", ran.out);
    for (line, start) in ran.out.lines().zip(starts) {
        assert!(line.starts_with(&format!("{file}:{start}")), "{line}");
    }
    let site = Site::new("listen = [\"127.0.0.1:0\"]\nadmin.listen = \"127.0.0.1:0\"\n");
    site.expect("check", 2, &["sluice.toml:1:11: listen: ", "sluice.toml:2:16: admin.listen: "]);
}

#[test]
fn what_is_fine_is_told_too() {
    for (text, words) in [
        (
            "allow.hosts = [\"a.b\", \"c.d\"]\n",
            &["no problems; 2 hosts are allowed; listens on 0.0.0.0:8080, [::]:8080"][..],
        ),
        ("workers = 1\n", &["no problems; no host is allowed"]),
        (
            "[relay_proxy]\naddresses = [\"http://p:1\"]\nusername = \"u\"\n",
            &["through a relay proxy, whose password systemd has to hand over"],
        ),
        ("", &["it sets nothing, so that no host is allowed", "warning: the file sets nothing"]),
        ("# later\n", &["it sets nothing", "warning: the file sets nothing"]),
        (
            "[relay_proxy]\nusername = \"u\"\n",
            &[
                "sluice.toml:2:12: warning: relay_proxy.username: there is no relay proxy to log in at",
            ],
        ),
    ] {
        Site::new(text).expect("check", 0, words);
    }
    Site::empty().expect("check", 2, &["sluice.toml: the configuration cannot be read"]);
    let twice = "listen = [\"127.0.0.1:1\", \"127.0.0.1:1\", \"192.0.2.1:1\"]\n";
    let warned = [
        "sluice.toml:1:26: warning: listen: 127.0.0.1:1 stands here twice",
        "sluice.toml:1:41: warning: listen: 192.0.2.1 is no address of this machine",
    ];
    Site::new(twice).expect("check", 0, &warned);
    let source = "dial.source_addresses: 192.0.2.1 is no address of this machine";
    let told = format!("sluice.toml:1:26: warning: {source}");
    Site::new("dial.source_addresses = [\"192.0.2.1\"]\n").expect("check", 0, &[&told]);
    let folder = Site::empty();
    std::fs::create_dir(&folder.file).unwrap();
    folder.expect("check", 2, &["cannot be read"]);
}

/// Opening a named pipe waits for its other end.
#[cfg(unix)]
#[test]
fn what_would_hold_the_start_up_is_refused() {
    let site = Site::empty();
    let pipe = |path: &std::path::Path| {
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    };
    pipe(&site.file);
    for line in ["run", "check", "config get"] {
        site.expect(line, 2, &["cannot be read: it is no plain file"]);
    }
    site.expect("config set workers 1", 1, &["cannot be replaced: it is no plain file"]);
    let site = Site::empty();
    let events = site.folder.path().join("events");
    pipe(&events);
    std::fs::write(&site.file, format!("events.to = \"file:{}\"\n", events.display())).unwrap();
    site.expect("run", 2, &["events: cannot be opened", "it is a named pipe that nobody reads"]);
}

#[test]
fn regions_that_can_hardly_be_meant_are_warnings_at_their_place() {
    let id = "01234567-89ab-cdef-0123-456789abcdef";
    let site = Site::new(&format!(
        "[azure]\nregions = [\"mordor\", \"westeurpoe\", \"West Europe\"]\n\
         workspaces = [{{ id = \"{id}\", cloud = \"usgov\", regions = [\"westeurope\"] }}]\n\
         hybrid_workers = [\"we\"]\nprofiles = [\"monitor-agent\"]\n"
    ));
    let told = [
        "sluice.toml:2:12: warning: azure.regions: \"mordor\": no region of this name is known",
        "sluice.toml:2:22: warning: azure.regions: \"westeurpoe\": no region of this name is known; did you mean \"westeurope\"?",
        "sluice.toml:3:90: warning: azure.workspaces: regions: \"westeurope\": is a region of the cloud public, not of usgov",
        "sluice.toml:4:19: warning: azure.hybrid_workers: \"we\" is in the cloud public",
    ];
    site.expect("check", 0, &told);
    let effective = site.run("allowed-host list --effective");
    assert!(
        !effective.out.contains("westeurope.handler.control.monitor.azure.us"),
        "{effective:?}"
    );
    let site = Site::new(&format!("azure.profiles = []\nazure.workspaces = [\"{id}\"]\n"));
    site.expect(
        "check",
        0,
        &["sluice.toml:1:18: warning: azure.profiles is empty, so that no host"],
    );
}

/// Only such systems have one to be without.
#[cfg(target_os = "linux")]
#[test]
fn a_syslog_that_is_not_there_is_a_warning_at_its_place() {
    for outlet in ["journal", "syslog"] {
        let site = Site::new(&format!("events.to = \"{outlet}:/no/such/socket\"\n"));
        let told = "sluice.toml:1:13: warning: events.to: nobody listens here at /no/such/socket";
        site.expect("check", 0, &[told]);
    }
}

#[test]
fn no_problem_hides_another() {
    let site = Site::new(
        "listen = [\"127.0.0.1:0\", \"x\"]\nevents.to = \"file:/no/such/folder/x\"\n\
         azure.cloud = \"mars\"\nazure.client_certificates = true\n\
         admin.listen = \"127.0.0.1:8080\"\n",
    );
    let ran = site.run("check");
    assert_eq!((ran.code, ran.out.lines().count()), (2, 5), "{ran:?}");
}

#[cfg(unix)]
#[test]
fn a_password_that_others_can_read_is_told_beside_what_else_is_wrong() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new(
        "[relay_proxy]\naddresses = [\"\"]\nusername = \"a:b\"\npassword = \"p\"\n\
         password_file = \"p\"\n",
    );
    std::fs::set_permissions(&site.file, std::fs::Permissions::from_mode(0o644)).unwrap();
    site.expect(
        "check",
        2,
        &[
            ":2:14: relay_proxy.addresses",
            ":3:12: relay_proxy.username: a colon",
            ":4:12: relay_proxy.password: others can read this file",
        ],
    );
}
