//! Configurations that are damaged, cut short or nonsense: a start tells what is wrong and ends; a
//! running gateway stays with what it has. Never is a part of one in force.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;

use sluice::config::changes;
use sluice::config::load;
use sluice::config::schema::{Config, Overrides};
use sluice::observe::settings::Format;

use crate::rest::Rest;
use crate::support::folder::Folder;
use crate::support::gateway::{self, Gateway};
use crate::support::port::reserved;
use crate::support::server::Server;
use crate::support::tunnel::Tunnel;

/// The flags, so that no file moves the listener: they beat it on each reload, too.
const FLAGS: [&str; 4] = ["--listen", "127.0.0.1:0", "--log-format", "json"];

fn start(folder: Folder, text: &str) -> Gateway {
    let file = folder.write("sluice.toml", text);
    let mut command = gateway::command(None);
    command.args(["run", "--config"]).arg(&file).args(FLAGS);
    Gateway::started_by(command, file, folder)
}

/// A line that puts the admin listener on a port that stays. It must come first: whatever is cut off a
/// file, what is left of it is whole, or nothing.
fn admin_line() -> String {
    format!("admin.listen = \"{}\"\n", reserved("127.0.0.1"))
}

/// What makes the file, and what is said of it.
struct Damage {
    what: &'static str,
    make: fn(&Path),
    words: &'static str,
}

fn write(file: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::write(file, bytes).unwrap();
}

fn utf16(text: &str, swap: bool) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(|unit| if swap { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
}

const DAMAGES: &[Damage] = &[
    Damage {
        what: "text for a list",
        make: |file| write(file, "listen = \"text\"\n"),
        words: "listen must be a list",
    },
    Damage {
        what: "a port alone",
        make: |file| write(file, "listen = [\"8080\"]\n"),
        words: "a port alone",
    },
    Damage {
        what: "port 65536",
        make: |file| write(file, "listen = [\"0.0.0.0:65536\"]\n"),
        words: "the port must be 1",
    },
    Damage {
        what: "a key twice",
        make: |file| write(file, "workers = 1\nworkers = 2\n"),
        words: ":2:1: duplicate key",
    },
    Damage {
        what: "an unknown key",
        make: |file| write(file, "wrokers = 1\n"),
        words: "did you mean \"workers\"?",
    },
    Damage {
        what: "a number out of range",
        make: |file| write(file, "limits.head_ms = 0\n"),
        words: "must be 1 to",
    },
    Damage {
        what: "UTF-16, little end first",
        make: |file| write(file, utf16("workers = 1\n", false)),
        words: "UTF-16",
    },
    Damage {
        what: "UTF-16, big end first",
        make: |file| write(file, utf16("workers = 1\n", true)),
        words: "UTF-16",
    },
    Damage {
        what: "Latin-1",
        make: |file| write(file, b"# caf\xe9\nworkers = 1\n"),
        words: "not UTF-8",
    },
    Damage {
        what: "zeros, as after a crash",
        make: |file| write(file, [0; 4_096]),
        words: "a NUL byte",
    },
    Damage { what: "a hundred megabytes", make: of_100_megabytes, words: "larger than" },
    Damage {
        what: "brackets without end",
        make: |file| write(file, format!("a = {}", "[".repeat(500_000))),
        words: "sluice.toml:1:",
    },
    Damage {
        what: "a folder",
        make: |file| std::fs::create_dir(file).unwrap(),
        words: "cannot be read",
    },
    Damage {
        what: "a link to itself",
        make: |file| symlink(file, file).unwrap(),
        words: "cannot be read",
    },
];

fn of_100_megabytes(file: &Path) {
    std::fs::File::create(file).unwrap().set_len(100 << 20).unwrap();
}

#[test]
fn a_start_with_a_damaged_file_tells_and_ends() {
    for damage in DAMAGES {
        let folder = Folder::new();
        let file = folder.path().join("sluice.toml");
        (damage.make)(&file);
        let arguments = [&["run", "--config", file.to_str().unwrap()], &FLAGS[..]].concat();
        let (code, out, told) = gateway::run(&arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{}", damage.what);
        let events = told.all();
        assert!(!events.is_empty() && events.iter().all(|it| it.id() == 401), "{events:?}");
        let message = events[0].text("message");
        assert!(message.contains(damage.words), "{}: {message}", damage.what);
        assert_eq!(told.others(), Vec::<String>::new(), "{}", damage.what);
    }
}

#[test]
fn a_reload_of_a_damaged_file_changes_nothing() {
    let server = Server::start();
    let text = format!(
        "{}allow.hosts = [{:?}]\nallow.addresses = [\"127.0.0.0/8\"]\nevents.level = \"debug\"\n\
         limits.drain_ms = 0\n",
        admin_line(),
        server.authority()
    );
    let gateway = start(Folder::new(), &text);
    let rest = Rest::of(&gateway);
    let mut tunnel = Tunnel::verified(&gateway, &server);
    let refused = |gateway: &Gateway| {
        let told = rest.metric("sluice_configuration_refused_total");
        (told, gateway.events().count(|event| event.id() == 401))
    };
    for damage in DAMAGES {
        let (before, _) = refused(&gateway);
        let damaged = gateway.folder().path().join("damaged.toml");
        (damage.make)(&damaged);
        // A folder takes no file's place.
        std::fs::remove_file(gateway.file()).unwrap();
        std::fs::rename(&damaged, gateway.file()).unwrap();
        let reply = rest.admin().ask("POST /reload");
        assert_eq!(reply.status, 422, "{}: {reply:?}", damage.what);
        assert!(reply.body.contains(damage.words), "{}: {}", damage.what, reply.body);
        assert!(refused(&gateway).0 > before, "{}", damage.what);
        assert_eq!(rest.metric("sluice_configuration_generation"), 1.0, "{}", damage.what);
        tunnel.client.send(b"as before");
        tunnel.server.expect(b"as before");
        drop(Tunnel::verified(&gateway, &server));
        if gateway.file().is_dir() {
            std::fs::remove_dir(gateway.file()).unwrap();
            std::fs::write(gateway.file(), "").unwrap();
        }
    }
    // With a byte order mark the file is as good as without.
    gateway.rewrite(&format!("\u{feff}{text}limits.head_ms = 5000\n"));
    assert_eq!(rest.admin().ask("POST /reload").status, 200);
    assert_eq!(rest.metric("sluice_configuration_generation"), 2.0);
    drop(tunnel);
    rest.wait("damaged files").expect_exact(&gateway.stop(), "damaged files");
}

/// The file is cut at each of its bytes. Where what is left is a configuration, the whole of it is in
/// force; where it is none, the whole of the one before.
#[test]
fn a_file_cut_at_any_byte_is_in_force_as_a_whole_or_not_at_all() {
    let server = Server::start();
    let text = format!(
        "{}allow.addresses = [\"127.0.0.0/8\"]\nevents.level = \"debug\"\n\
         allow.hosts = [\n  {:?},\n  \"a.example\", # one\n]\nlimits.drain_ms = 0\n\
         [limits]\nhead_ms = 4321\nidle_ms = 1234567\nhalf_closed_ms = 55_000\n\
         [tls]\nmin_version = \"1.3\"\n",
        admin_line(),
        server.authority()
    )
    // A dotted key and a section of the same name exclude each other.
    .replace("limits.drain_ms = 0\n[limits]\n", "[limits]\ndrain_ms = 0\n");
    let gateway = start(Folder::new(), &text);
    let rest = Rest::of(&gateway);
    let mut tunnel = Tunnel { client: gateway.open(&server.authority()), server: server.accept() };
    let mut in_force = whole(text.as_bytes(), gateway.file()).expect("the text is right");
    let (mut generation, mut good) = (1, 0);
    for cut in (0..=text.len()).rev() {
        gateway.rewrite(&text[..cut]);
        let reply = rest.admin().ask("POST /reload");
        let next = whole(&text.as_bytes()[..cut], gateway.file());
        assert_eq!(reply.status == 200, next.is_some(), "cut at {cut}: {reply:?}");
        if let Some(next) = next {
            generation += u64::from(!changes::between(&in_force, &next).is_empty());
            good += 1;
            in_force = next;
        }
        expect_in_force(rest, &in_force, generation, &format!("cut at {cut}"));
    }
    assert!(good > 20 && generation > 10, "{good} configurations, {generation} generations");
    // The whole file is in force again, and the tunnel from before all this is there.
    gateway.rewrite(&text);
    assert_eq!(rest.admin().ask("POST /reload").status, 200);
    tunnel.server.stream.set_nodelay(true).unwrap();
    let hello = crate::support::tls::hello(None);
    tunnel.client.send(&hello);
    tunnel.server.expect(&hello);
    drop(tunnel);
    rest.wait("cut files").expect_exact(&gateway.stop(), "cut files");
}

/// The configuration that a reload makes of these bytes, if it takes them.
fn whole(bytes: &[u8], file: &Path) -> Option<Config> {
    let mut config = load::parse(bytes, file).ok().filter(|config| !config.is_blank)?;
    let listen: Vec<SocketAddr> = vec![FLAGS[1].parse().unwrap()];
    config.apply(&Overrides { listen, log_format: Some(Format::Json) });
    Some(config)
}

fn expect_in_force(rest: Rest, config: &Config, generation: u64, what: &str) {
    let status = rest.admin().status();
    assert_eq!(status["configuration"]["generation"], generation, "{what}");
    let limits = &config.limits;
    for (key, value) in [
        ("head_ms", limits.head_ms),
        ("idle_ms", limits.idle_ms),
        ("half_closed_ms", limits.half_closed_ms),
        ("drain_ms", limits.drain_ms),
    ] {
        assert_eq!(status["limits"][key], value, "{what}: {key}");
    }
}
