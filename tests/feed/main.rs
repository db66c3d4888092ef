//! The downloaded list of allowed hosts, on the real program: what it admits and takes away, what is bad
//! and changes nothing, and what is left of it when the server, or the gateway, is gone.
//!
//! A host counts as admitted where its CONNECT gets any other answer than 403: nobody listens on the port
//! 443 that a feed opens.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod server;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use server::{FeedServer, Gives, RelayProxy, of_length, status};
use support::admin::Admin;
use support::deadline::{PATIENCE, Stopwatch, until};
use support::events::Event;
use support::folder::Folder;
use support::gateway::{Gateway, PROGRAM, SPLICE, Setup, command};
use support::port::reserved;
use support::reply::Reply;

const ONE: &str = "127.0.0.77";
const TWO: &str = "127.0.0.78";

/// The folder of a feed: the authority to trust, and the list that is kept.
struct Place(Folder);

impl Place {
    fn of(server: &FeedServer) -> Place {
        let folder = Folder::new();
        folder.write("ca.pem", &server.authority);
        Place(folder)
    }

    fn kept(&self) -> PathBuf {
        self.0.path().join("feed")
    }

    fn setup(&self, url: &str) -> Setup {
        self.setup_every(1, url)
    }

    fn setup_every(&self, refresh_s: u64, url: &str) -> Setup {
        Setup::new(SPLICE)
            .set("allow.feed.url", format!("{url:?}"))
            .set("allow.feed.refresh_s", refresh_s)
            .set("allow.feed.ca_file", format!("{:?}", self.0.path().join("ca.pem")))
            .set("allow.feed.cache_file", format!("{:?}", self.kept()))
    }
}

fn list(hosts: &[&str]) -> Gives {
    Gives::List(format!("# hosts\n{}\n", hosts.join("\n")))
}

fn admits(gateway: &Gateway, host: &str) -> bool {
    Reply::read(&mut gateway.ask(&format!("{host}:443"))).status != 403
}

/// The first event of this reason whose message has these words.
fn told(gateway: &Gateway, reason: &str, words: &str) -> Event {
    gateway.events().wait(&format!("{reason}: {words}"), |event| {
        event.reason() == reason && event.text("message").contains(words)
    })
}

/// Waits until every worker goes by the list that has been told: each takes it when it wakes, and whoever
/// comes is anybody's.
fn in_force(is_so: impl Fn() -> bool) {
    const CONNECTIONS: usize = 20;
    until("the list is in force", PATIENCE, || (0..CONNECTIONS).all(|_| is_so()).then_some(()));
}

/// Whether a tunnel opens, where a relay proxy answers for every target.
fn admits_tunnel(gateway: &Gateway, host: &str) -> bool {
    let head = gateway.ask(&format!("{host}:443")).read_head();
    head.starts_with("HTTP/1.1 200 ")
}

fn says(gateway: &Gateway, words: &[&str]) -> String {
    let mut command = Command::new(PROGRAM);
    let ran = command.args(words).arg("--config").arg(gateway.file()).output().unwrap();
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn a_good_list_admits_and_a_bad_one_changes_nothing() {
    let server = FeedServer::start(list(&[ONE]));
    let place = Place::of(&server);
    let gateway = place.setup(&server.url()).admin().start();
    let admin = Admin::of(&gateway);
    let event = told(&gateway, "feed_updated", "1 host (+127.0.0.77)");
    assert_eq!((event.id(), event.text("level")), (100, "info"));
    in_force(|| admits(&gateway, ONE) && !admits(&gateway, TWO));
    until("a question whether there is another list", PATIENCE, || {
        let asked = server.asked.lock();
        asked.iter().any(|head| head.to_lowercase().contains("if-none-match: ")).then_some(())
    });
    server.give(list(&[TWO, "bad host"]));
    let event = told(&gateway, "feed_failed", "line 3, \"bad host\": ");
    assert_eq!((event.id(), event.text("level")), (403, "error"));
    assert!(admits(&gateway, ONE) && !admits(&gateway, TWO));
    let metrics = admin.metrics();
    assert_eq!(metrics["sluice_feed_hosts"], 1.0);
    assert_eq!(metrics["sluice_feed_last_refresh_successful"], 0.0);
    assert!(metrics["sluice_feed_age_seconds"] < 60.0 && metrics["sluice_errors_total"] >= 1.0);
    let feed = &admin.status()["feed"];
    assert_eq!((&feed["url"], &feed["hosts"]), (&server.url().into(), &1.into()));
    assert!(feed["problem_why"].as_str().unwrap().contains("bad host"), "{feed}");
    server.give(list(&[ONE]));
    told(&gateway, "feed_updated", "can be had again: 1 host, the same");
    server.give(list(&[TWO]));
    told(&gateway, "feed_updated", "1 host (+127.0.0.78 -127.0.0.77)");
    in_force(|| admits(&gateway, TWO) && !admits(&gateway, ONE));
    until("the new list is kept", PATIENCE, || {
        std::fs::read_to_string(place.kept()).is_ok_and(|text| text.contains(TWO)).then_some(())
    });
    let origin = format!("allow.feed: {}", server.url());
    let effective = says(&gateway, &["allowed-host", "list", "--effective"]);
    assert!(effective.contains(&format!("{TWO}  {origin}")), "{effective}");
    let explained = says(&gateway, &["explain", TWO]);
    assert!(explained.contains(&format!("allowed by {TWO} ({origin})")), "{explained}");
    assert_eq!(admin.status()["configuration"]["generation"], 1);
    // Port 0 is for tests alone.
    gateway.rewrite(&place.setup(&server.url()).listen("127.0.0.1:8080").text());
    let checked = says(&gateway, &["check"]);
    assert!(checked.contains("beside those of the feed https://localhost"), "{checked}");
    gateway.stop();
}

#[test]
fn what_is_no_list_is_told_and_changes_nothing() {
    let server = FeedServer::start(list(&[ONE]));
    let place = Place::of(&server);
    let gateway = place.setup(&server.url()).start();
    told(&gateway, "feed_updated", "1 host");
    in_force(|| admits(&gateway, ONE));
    let large = "# a comment\n".repeat(100_000);
    for (gives, words) in [
        (status("404 Not Found"), "direct: answers 404;"),
        (status("302 Found\r\nLocation: https://localhost/"), "answers 302: redirects are not"),
        (status("304 Not Modified"), "answers 304;"),
        (Gives::Raw(format!("HTTP/1.1 200 OK\r\n\r\n{TWO}\n")), "how long the list is"),
        (of_length(large.len(), &large), "gives more than 1048576 bytes"),
        (of_length(999, TWO), "direct: "),
        (of_length(9, "<!DOCTYPE"), "line 1, \"<!DOCTYPE\": "),
        (of_length(2, "#\n"), "no host is in it"),
        (of_length(13, "127.0.0.78:80"), "port 80: a feed opens port 443 alone"),
        (Gives::Raw("SSH-2.0-x\r\n\r\n".to_owned()), "direct: "),
    ] {
        let before = gateway.events().count(|event| event.reason() == "feed_failed");
        // A tag would make 304 a good answer.
        drop(std::fs::remove_file(place.kept()));
        server.give(gives);
        until(words, PATIENCE, || {
            let events = gateway.events().all();
            let failed = events.iter().filter(|event| event.reason() == "feed_failed");
            failed.skip(before).any(|event| event.text("message").contains(words)).then_some(())
        });
        assert!(admits(&gateway, ONE) && !admits(&gateway, TWO), "{words}");
    }
    gateway.stop();
}

#[test]
fn a_start_without_the_server_has_the_last_good_list() {
    let server = FeedServer::start(list(&[ONE]));
    let place = Place::of(&server);
    let url = server.url();
    let gateway = place.setup(&url).start();
    told(&gateway, "feed_updated", "1 host");
    until("the list is kept", PATIENCE, || place.kept().exists().then_some(()));
    gateway.stop();
    drop(server);
    let gateway = place.setup(&url).start();
    assert!(admits(&gateway, ONE), "before anybody has been asked");
    told(&gateway, "feed_failed", "nobody listens there (connection refused); what it had stays");
    assert!(admits(&gateway, ONE));
    gateway.stop();
    // The list of another feed is nobody's.
    let gateway = place.setup(&format!("https://{}/other", reserved("127.0.0.1"))).start();
    assert!(!admits(&gateway, ONE));
    gateway.stop();
    let whole = std::fs::read(place.kept()).unwrap();
    std::fs::write(place.kept(), &whole[..whole.len() - 3]).unwrap();
    let gateway = place.setup(&url).admin().start();
    let event = told(&gateway, "feed_cache_failed", "is damaged: it is not as long as it says");
    assert_eq!((event.id(), event.text("level")), (400, "error"));
    assert!(!admits(&gateway, ONE));
    told(&gateway, "feed_failed", "there is no list yet");
    let feed = &Admin::of(&gateway).status()["feed"];
    assert!(feed["cache_problem_why"].as_str().unwrap().contains("is damaged"), "{feed}");
    gateway.stop();
}

#[test]
fn only_a_server_that_is_trusted_is_believed_and_the_environment_leads_nowhere() {
    let (server, other) = (FeedServer::start(list(&[ONE])), FeedServer::start(list(&[TWO])));
    let place = Place::of(&other);
    let gateway = place.setup(&server.url()).start();
    told(&gateway, "feed_failed", "name its authority's certificate in allow.feed.ca_file");
    assert!(!admits(&gateway, ONE));
    gateway.stop();
    let misnamed = other.url().replace("localhost", "127.0.0.1");
    let gateway = place.setup(&misnamed).start();
    told(&gateway, "feed_failed", "its certificate is for localhost, not for 127.0.0.1; check");
    gateway.stop();
    let folder = Folder::new();
    let file = folder.write("sluice.toml", &place.setup(&other.url()).text());
    let mut command = command(None);
    for name in ["ALL_PROXY", "HTTPS_PROXY", "https_proxy"] {
        command.env(name, format!("http://{}", reserved("127.0.0.1")));
    }
    command.args(["run", "--config"]).arg(&file);
    let gateway = Gateway::started_by(command, file, folder);
    told(&gateway, "feed_updated", "1 host (+127.0.0.78)");
    gateway.stop();
}

#[test]
fn through_the_relay_proxy_with_its_credentials_and_open_tunnels_are_cut() {
    let server = FeedServer::start(list(&["a.test", "b.test"]));
    // "user1:open sesame"
    let proxy = RelayProxy::start("Basic dXNlcjE6b3BlbiBzZXNhbWU=");
    let place = Place::of(&server);
    place.0.write("password", "open sesame\n");
    let password = place.0.path().join("password");
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let proxies = [format!("http://{}", reserved("127.0.0.1")), proxy.url()];
    let setup = |url: &str| {
        place
            .setup(url)
            .set("relay_proxy.addresses", format!("{proxies:?}"))
            .set("relay_proxy.username", "\"user1\"")
            .set("relay_proxy.password_file", format!("{password:?}"))
            .set("allow.cut_open", true)
    };
    let gateway = setup(&server.url()).start();
    told(&gateway, "feed_updated", "2 hosts (+a.test +b.test)");
    let asked = format!("CONNECT localhost:{} ", server.url().split([':', '/']).nth(4).unwrap());
    assert!(proxy.asked.lock().iter().any(|head| head.starts_with(&asked)), "{asked}");
    in_force(|| admits_tunnel(&gateway, "a.test"));
    let mut cut = gateway.open("a.test:443");
    server.give(list(&["b.test"]));
    told(&gateway, "feed_updated", "1 host (-a.test)");
    cut.expect_reset();
    in_force(|| !admits_tunnel(&gateway, "a.test") && admits_tunnel(&gateway, "b.test"));
    // Another feed, and then none.
    let other = FeedServer::start(list(&["c.test"]));
    place.0.write("ca.pem", &other.authority);
    gateway.rewrite(&setup(&other.url()).text());
    gateway.signal(rustix::process::Signal::HUP);
    told(&gateway, "reloaded", "allow.feed; allow.feed is asked for at once");
    told(&gateway, "feed_updated", "1 host (+c.test -b.test)");
    let none = Setup::new(SPLICE).set("limits.idle_ms", 1_000_000).text();
    gateway.rewrite(&none);
    gateway.signal(rustix::process::Signal::HUP);
    told(&gateway, "reloaded", "-c.test");
    in_force(|| !admits(&gateway, "c.test"));
    gateway.stop();
}

#[test]
fn another_address_keeps_the_hosts_until_it_has_given_a_good_list() {
    let server = FeedServer::start(list(&[ONE]));
    let place = Place::of(&server);
    let url = server.url();
    let gateway = place.setup(&format!("{url}?token=one")).admin().start();
    let admin = Admin::of(&gateway);
    told(&gateway, "feed_updated", "1 host");
    in_force(|| admits(&gateway, ONE));
    server.give(status("403 Forbidden"));
    let reload = |url: &str, generation: u64| {
        gateway.rewrite(&place.setup(url).admin().text());
        gateway.signal(rustix::process::Signal::HUP);
        told(&gateway, "reloaded", &format!("generation {generation}, by SIGHUP: allow.feed; "));
    };
    reload(&format!("{url}?token=hunter2"), 2);
    told(
        &gateway,
        "feed_failed",
        "the token in allow.feed.url may not be valid any more; what it had",
    );
    assert!(admits(&gateway, ONE), "a token that is refused takes nothing away");
    let gone = format!("https://{}/gone", reserved("127.0.0.1"));
    reload(&gone, 3);
    told(&gateway, "feed_failed", &format!("{gone}: direct: nobody listens there"));
    assert!(admits(&gateway, ONE), "nor does an address that is wrong");
    let feed = &admin.status()["feed"];
    assert_eq!((&feed["url"], &feed["hosts"]), (&gone.as_str().into(), &1.into()));
    assert!(feed["age_s"].is_number(), "{feed}");
    server.give(list(&[TWO]));
    reload(&format!("{url}?token=three"), 4);
    told(&gateway, "feed_updated", "1 host (+127.0.0.78 -127.0.0.77)");
    in_force(|| admits(&gateway, TWO) && !admits(&gateway, ONE));
    let kept = until("it is kept", PATIENCE, || {
        std::fs::read_to_string(place.kept()).ok().filter(|text| text.contains(TWO))
    });
    assert!(!kept.contains("token"), "{kept}");
    gateway.stop();
    drop(server);
    // What was kept under one token counts under another.
    let gateway = place.setup(&format!("{url}?token=four")).start();
    assert!(admits(&gateway, TWO));
    gateway.stop();
}

#[test]
fn a_reload_asks_at_once_and_what_is_wrong_is_told_since_when() {
    let server = FeedServer::start(status("500 Oh"));
    let place = Place::of(&server);
    let setup = place.setup_every(3600, &server.url()).admin();
    let gateway = setup.start();
    let admin = Admin::of(&gateway);
    told(&gateway, "feed_failed", "direct: answers 500; there is no list yet");
    let metrics = admin.metrics();
    assert_eq!(metrics["sluice_feed_age_seconds"], f64::INFINITY);
    assert_eq!(metrics["sluice_feed_last_refresh_successful"], 0.0);
    let since = admin.status()["feed"]["problem_since"].as_str().unwrap().to_owned();
    let failures = |count| gateway.events().count(|event| event.reason() == "feed_failed") >= count;
    for count in [2, 3] {
        gateway.signal(rustix::process::Signal::HUP);
        until("a look", PATIENCE, || failures(count).then_some(()));
    }
    // Three in a row: by itself it tries again in 36 s at the earliest.
    let watch = Stopwatch::start();
    let feed = &admin.status()["feed"];
    assert_eq!(feed["problem_since"], since.as_str());
    assert!(feed["problem"].as_str().unwrap() > since.as_str(), "{feed}");
    server.give(list(&[ONE]));
    let asked = admin.ask("POST /reload");
    assert!(
        asked.body.contains("nothing has changed; allow.feed is asked for at once"),
        "{asked:?}"
    );
    told(&gateway, "feed_updated", "1 host (+127.0.0.77)");
    assert!(watch.elapsed() < Duration::from_secs(20), "before its own next trial");
    let feed = &admin.status()["feed"];
    assert!(feed["problem"].is_null() && feed["problem_since"].is_null(), "{feed}");
    let metrics = admin.metrics();
    assert_eq!(metrics["sluice_feed_last_refresh_successful"], 1.0);
    assert!(metrics["sluice_feed_age_seconds"] < 60.0);
    gateway.stop();
}

#[test]
fn commands_tell_of_a_feed_without_a_list_or_a_place_for_it_and_show_no_token() {
    let folder = Folder::new();
    let file = folder.write(
        "sluice.toml",
        "[allow.feed]\nurl = \"https://a.test/list?token=hunter2\"\ncache_file = \"feed\"\n",
    );
    let run = |words: &[&str]| {
        let ran = Command::new(PROGRAM).args(words).arg("--config").arg(&file).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(ran.stdout), text(ran.stderr));
        assert!(!out.contains("hunter2") && !err.contains("hunter2"), "{words:?}: {out}{err}");
        (out, err)
    };
    let unknown = "feed holds no list of https://a.test/list?... (allow.feed.cache_file): a running \
                   gateway may know more hosts, see `sluice status`";
    assert!(run(&["explain", "b.test"]).0.contains(unknown));
    assert!(run(&["allowed-host", "list", "--effective"]).1.contains(unknown));
    let (shown, note) = run(&["config", "get", "allow.feed.url"]);
    assert_eq!(shown, "https://a.test/list?...\n");
    assert!(note.contains("is not shown"), "{note}");
    let line = "allow.feed.url = \"https://a.test/list?...\"  # its query is not shown";
    assert!(run(&["config", "get"]).0.contains(line));
    let (_, refused) = run(&["config", "set", "allow.feed.url", "https://a.test/?sig=hunter2"]);
    assert!(refused.contains("with an editor"), "{refused}");
    assert!(!std::fs::read_to_string(&file).unwrap().contains("sig="));
    assert!(run(&["check"]).0.contains(": no problems"));
    std::fs::create_dir(folder.path().join("feed")).unwrap();
    let checked = run(&["check"]).0;
    assert!(checked.contains("sluice.toml:3:14: warning: allow.feed.cache_file: "), "{checked}");
    assert!(checked.contains("is a folder; name a file in it"), "{checked}");
}

#[test]
fn a_kill_leaves_the_old_list_or_the_new_one() {
    let of = |from: u32| -> Gives {
        Gives::List((from..from + 15_000).map(|n| format!("host{n}.test\n")).collect())
    };
    let server = FeedServer::start(of(0));
    let place = Place::of(&server);
    for round in 0..6u32 {
        server.give(of(round * 100_000));
        let asked = server.asked.lock().len();
        let gateway = place.setup(&server.url()).start();
        until("a download", PATIENCE, || (server.asked.lock().len() > asked).then_some(()));
        std::thread::sleep(Duration::from_millis(u64::from(round) * 12));
        // Killed, not stopped.
        drop(gateway);
        let Ok(text) = std::fs::read_to_string(place.kept()) else { continue };
        let (_, rest) = text.split_once("# bytes: ").unwrap();
        let (head, list) = rest.split_once('\n').unwrap();
        let bytes = head.split(',').next().unwrap();
        assert_eq!(bytes.parse(), Ok(list.len()));
        assert_eq!(list.lines().count(), 15_000);
    }
}
