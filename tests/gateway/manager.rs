//! What a service manager such as systemd is told, and hands over.

use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::admin::Admin;
use crate::support::deadline::{PATIENCE, until};
use crate::support::folder::Folder;
use crate::support::gateway::{Gateway, SPLICE, Setup, command};
use crate::support::peer::Peer;
use crate::support::reply::Reply;

/// Waits until the manager has been told something that contains this.
fn expect(told: &UnixDatagram, words: &str) {
    until(words, PATIENCE, || {
        let mut buffer = [0; 1024];
        let length = told.recv(&mut buffer).ok()?;
        String::from_utf8_lossy(&buffer[..length]).contains(words).then_some(())
    });
}

#[test]
fn the_manager_is_told_of_start_reload_life_and_stop() {
    let folder = Folder::new();
    let path = folder.path().join("notify");
    let told = UnixDatagram::bind(&path).unwrap();
    told.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let file = folder.write("sluice.toml", &Setup::new(SPLICE).text());
    let mut command = command(None);
    command.args(["run", "--config"]).arg(&file);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let gateway = Gateway::started_by(command, file, folder);
    expect(&told, "READY=1");
    expect(&told, "WATCHDOG=1");
    gateway.signal(Signal::HUP);
    expect(&told, "RELOADING=1");
    expect(&told, "READY=1");
    gateway.signal(Signal::TERM);
    expect(&told, "STOPPING=1");
    gateway.ended();
}

/// The pulse came only when nothing else was to do for so long, so that a manager gave a gateway up
/// which it asked to reload now and then.
#[test]
fn steady_hangups_do_not_hold_up_the_pulse() {
    let folder = Folder::new();
    let path = folder.path().join("notify");
    let told = UnixDatagram::bind(&path).unwrap();
    told.set_read_timeout(Some(PATIENCE)).unwrap();
    let file = folder.write("sluice.toml", &Setup::new(SPLICE).text());
    let mut command = command(None);
    command.args(["run", "--config"]).arg(&file);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "600000");
    let gateway = Gateway::started_by(command, file, folder);
    expect(&told, "READY=1");
    // Each reading is told of, twice; the pulse is due after about six of them.
    for _ in 0..100 {
        gateway.signal(Signal::HUP);
        let mut buffer = [0; 1024];
        loop {
            let length = told.recv(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.contains("WATCHDOG=1") {
                gateway.stop();
                return;
            }
            if text.contains("READY=1") {
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("a hundred hangups, and no pulse among them");
}

#[test]
fn a_socket_that_the_manager_holds_is_served() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    let folder = Folder::new();
    let file = folder.write("sluice.toml", &Setup::new(SPLICE).admin().text());
    // Descriptor 3 is the first that a manager hands over; the shell keeps its process id.
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(
        "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" run --config \"$1\"",
    );
    command.arg(crate::support::gateway::PROGRAM).arg(&file);
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(held)));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let gateway = Gateway::started_by(command, file, folder);
    assert_eq!(gateway.address(), address);
    let mut client = Peer::connect(address);
    client.send(b"GET /healthz HTTP/1.1\r\n\r\n");
    assert_eq!(Reply::read(&mut client).status, 200);
    let configuration = &Admin::of(&gateway).status()["configuration"];
    assert_eq!(configuration["overrides"], serde_json::json!(["listen"]), "{configuration}");
    assert_eq!(configuration["inherited_sockets"], true, "{configuration}");
    gateway.stop();
}
