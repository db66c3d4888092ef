//! Commands that are killed, and commands that come together.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use super::program::Site;
use crate::support::deadline::Stopwatch;
use crate::support::random::Random;

fn file() -> String {
    let hosts: String = (0..50).map(|n| format!("  \"host{n}.example.com\", # {n}\n")).collect();
    format!("# mark\n[allow]\nhosts = [\n{hosts}]\n")
}

/// Kills that many commands at random moments; each leaves the old file or the new one. Those that are
/// done before do not count.
fn kill(times: u32) {
    const RUNS_FOR_A_KILL: u32 = 20;
    let site = Site::new(&file());
    let mut random = Random::of_this_run();
    // How long one takes here and now, so that the kills fall within it.
    let mut durations: Vec<Duration> = ["add", "remove"]
        .into_iter()
        .cycle()
        .take(10)
        .map(|verb| {
            let watch = Stopwatch::start();
            site.expect(&format!("allowed-host {verb} first.example.com"), 0, &[]);
            watch.elapsed()
        })
        .collect();
    durations.sort();
    // One run that stood still would put most kills behind the end.
    let median = durations[durations.len() / 2];
    let (mut olds, mut news, mut killed) = (0, 0, 0);
    let mut text = site.text();
    assert_eq!(text, file());
    let with = text.replace("# 49\n]", "# 49\n  \"extra.example.com\",\n]");
    let mut runs = 0;
    while killed < times {
        runs += 1;
        assert!(runs < times * RUNS_FOR_A_KILL, "the kills come too late");
        let verb = if text == with { "remove" } else { "add" };
        let mut child = site
            .command()
            .args(["allowed-host", verb, "extra.example.com"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let micros = random.below(median.as_micros() as usize) as u64;
        std::thread::sleep(Duration::from_micros(micros));
        child.kill().unwrap();
        let is_killed = child.wait().unwrap().code().is_none();
        killed += u32::from(is_killed);
        let left = site.text();
        assert!(left == text || left == with || left == file(), "{left}");
        match (is_killed, left == text) {
            (true, true) => olds += 1,
            (true, false) => news += 1,
            (false, _) => assert!(left != text, "a command that is done has done its work"),
        }
        text = left;
    }
    println!("{killed} of {runs} killed: {olds} left the old file, {news} the new one");
    // Nothing that was left behind is in the way of the next.
    site.expect("allowed-host add last.example.com", 0, &["is allowed now"]);
    assert!(site.text().contains("last.example.com"));
    assert_eq!(site.names(), ["sluice.toml", "sluice.toml.lock"]);
}

#[test]
fn a_killed_command_leaves_the_old_file_or_the_new_one() {
    kill(100);
}

#[test]
#[ignore = "takes long; .ci/long runs it"]
fn long_a_thousand_killed_commands_leave_the_old_file_or_the_new_one() {
    kill(1_000);
}

#[test]
fn of_commands_that_come_together_each_has_its_way() {
    let site = Site::new(&file());
    let command = |n: usize| {
        let mut command = site.command();
        match n % 2 {
            0 => command.args(["allowed-host", "add", &format!("new{n}.example.com")]),
            _ => command.args(["allowed-host", "remove", &format!("host{n}.example.com")]),
        };
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let children: Vec<_> = (0..16).map(command).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let listed = site.run("allowed-host list").out;
    let listed: BTreeSet<&str> = listed.lines().collect();
    for n in 0..16 {
        let (new, old) = (format!("new{n}.example.com"), format!("host{n}.example.com"));
        assert_eq!(listed.contains(new.as_str()), n % 2 == 0, "{n}");
        assert_eq!(listed.contains(old.as_str()), n % 2 == 0, "{n}");
    }
}
