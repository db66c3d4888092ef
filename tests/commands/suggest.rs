//! `allowed-host suggest --from`, and what `check`, `explain` and `config` say of `allow.mode`.

use std::fmt::Write;

use super::program::Site;

const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

fn text(target: &str, client: &str) -> String {
    format!(
        "2026-01-02T03:04:05.067Z warning 105 host_not_allowed Target host (x) is forbidden: no allowed \
         host pattern admits it session=0000010000000002 client={client}:5 target={target} status=403\n"
    )
}

fn json(target: &str) -> String {
    format!(
        "{{\"id\":105,\"reason\":\"port_not_allowed\",\"client\":\"192.0.2.9:1\",\"target\":\"{target}\",\
         \"mode\":\"report\"}}\n"
    )
}

#[test]
fn events_of_a_file_become_the_commands_to_type() {
    let site = Site::new("allow.hosts = [\"fine.test\"]\n");
    let mut log = String::new();
    for client in ["192.0.2.1", "192.0.2.2", "192.0.2.2"] {
        log.push_str(&text(&format!("{ID}.ods.opinsights.azure.com:443"), client));
    }
    for name in ["a", "b", "c"] {
        log.push_str(&json(&format!("{name}.logs.test.com:443")));
    }
    log.push_str(&text("fine.test:443", "192.0.2.1"));
    log.push_str("105 host_not_allowed 7 more like this in the last second count=7\n");
    std::fs::write(site.folder.path().join("events.log"), &log).unwrap();
    let file = site.folder.path().join("events.log").display().to_string();
    let ran = site.words(&["allowed-host", "suggest", "--from", &file], "");
    let azure = format!(
        "3            0  {ID}.ods.opinsights.azure.com:443  192.0.2.1 and 1 more  azure: monitor-agent, workspace {ID}: data"
    );
    let workspace = format!("sluice workspace add {ID} --config ");
    for words in [
        ": 5, in 7 requests: 4 refused, 3 let through.",
        &azure,
        "a.logs.test.com:443 ",
        "allowed by now, by fine.test",
        "7 more requests left out by the flood limit",
        "sluice config set azure.profiles monitor-agent --config ",
        &workspace,
        "sluice allowed-host add a.logs.test.com b.logs.test.com c.logs.test.com --config ",
        "Or, if all of logs.test.com is yours, which its 3 names do not tell: allowed-host add '*.logs.",
        "look at who asked",
    ] {
        assert!(ran.out.contains(words), "no {words:?} in {}", ran.out);
    }
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    // What is suggested does what is said of it.
    let commands: Vec<&str> =
        ran.out.lines().filter_map(|line| line.strip_prefix("  sluice ")).collect();
    for command in &commands {
        let words: Vec<String> = command.split(' ').map(|word| word.replace('\'', "")).collect();
        let words: Vec<&str> =
            words.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
        let words = &words[..words.len() - 2];
        assert_eq!(site.words(words, "").code, 0, "{command}");
    }
    let again = site.words(&["allowed-host", "suggest", "--from", &file], "");
    assert!(!again.out.contains("  sluice "), "{}", again.out);
    assert_eq!(again.out.matches("allowed by now").count(), 5, "{}", again.out);
}

#[test]
fn hostile_lines_are_passed_over_and_nothing_of_them_is_suggested() {
    let site = Site::new("workers = 1\n");
    let mut input = text("good.test:443", "192.0.2.1");
    for target in
        ["$(reboot):443", "a b:443", "\u{1b}[2Jx.test:443", "*.test:443", "x.test:0443x", "'x:443"]
    {
        input.push_str(&text(target, "192.0.2.1"));
        let event = serde_json::json!({"id": 105, "reason": "host_not_allowed", "target": target});
        writeln!(input, "{event}").unwrap();
    }
    input.push_str(&"x".repeat(1 << 20));
    input.push_str("\n{\"id\":\"many\"}\n{\n\0\u{202e}\n");
    input.push_str(
        "105 server_name_mismatch x server_name=\"y 105 host_not_allowed target=evil.test:443\"\n",
    );
    let ran = site.words(&["allowed-host", "suggest", "--from", "-"], &input);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("sluice allowed-host add good.test --config"), "{ran:?}");
    assert_eq!(ran.out.matches("allowed-host add").count(), 1, "{ran:?}");
    for hostile in ["reboot", "evil.test", "*.test", "\u{1b}", "\u{202e}"] {
        assert!(!ran.out.contains(hostile) && !ran.err.contains(hostile), "{hostile:?}: {ran:?}");
    }
    assert!(ran.out.contains("more requests for what is no valid target"), "{ran:?}");
    assert!(ran.err.contains("standard input:14: longer than any event; 3 such lines"), "{ran:?}");
}

#[test]
fn a_file_that_is_none_of_events_is_told_with_its_place() {
    let site = Site::new("workers = 1\n");
    let other = site.file.display().to_string();
    let suggest = |from: &str| site.words(&["allowed-host", "suggest", "--from", from], "");
    let ran = suggest(&other);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("sluice.toml:1: no event of a gateway"), "{ran:?}");
    let ran = suggest(&site.folder.path().join("missing.log").display().to_string());
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
    assert!(ran.err.contains("missing.log: "), "{ran:?}");
    let ran = suggest(&site.folder.path().display().to_string());
    assert_eq!(ran.code, 1, "{ran:?}");
    let ran = suggest("-");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.starts_with("No target was asked for"), "{ran:?}");
    std::fs::write(&site.file, "wrokers = 1\n").unwrap();
    assert_eq!(suggest("-").code, 2);
}

#[test]
fn the_mode_is_set_checked_and_explained() {
    let site = Site::new("allow.hosts = [\"fine.test\"]\n");
    site.expect("config get allow.mode", 0, &["enforce"]);
    site.expect("explain 93.184.216.34", 1, &["refused: 403 host_not_allowed"]);
    site.expect("config set allow.mode reprot", 2, &["must be one of \"enforce\", \"report\""]);
    let told = ["LET THROUGH from now on, and only told of", "within 3 s"];
    site.expect("config set allow.mode report", 0, &told);
    site.expect("check", 0, &["1 host is allowed", "warning: allow.mode is \"report\": hosts"]);
    let told = [
        "not allowed: host_not_allowed no pattern",
        "let through because allow.mode",
        "verdict      allowed",
    ];
    site.expect("explain 93.184.216.34", 0, &told);
    site.expect(
        "explain 169.254.169.254",
        1,
        &["let through because", "refused: 403 address_not_allowed"],
    );
}
