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
        ("", &["it is empty, so that no host is allowed"]),
    ] {
        Site::new(text).expect("check", 0, words);
    }
    Site::empty().expect("check", 2, &["sluice.toml: the configuration cannot be read"]);
    let folder = Site::empty();
    std::fs::create_dir(&folder.file).unwrap();
    folder.expect("check", 2, &["cannot be read"]);
}
