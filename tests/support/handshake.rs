//! A handshake that is refused, as both sides and the operator get to know of it.

use super::events::Event;
use super::gateway::Gateway;
use super::tls::alert;
use super::tunnel::Tunnel;

/// How a handshake is refused: event, reason, and the alert as its minor version and description.
#[derive(Clone, Copy, Debug)]
pub struct Refused(pub u64, pub &'static str, pub Option<(u8, u8)>);

/// The server name is another.
pub const MISMATCH: Refused = Refused(105, "server_name_mismatch", Some((3, 112)));
/// Against the rules of TLS.
pub const UNREADABLE: Refused = Refused(402, "handshake_unreadable", Some((3, 50)));

/// Checks what both sides and the operator get of a refused handshake. `may_pass` may reach the client
/// before that.
///
/// # Panics
/// Where one of them is not as it should be.
pub fn expect_refusal(
    gateway: &Gateway,
    mut tunnel: Tunnel,
    may_pass: &[u8],
    refused: Refused,
    what: &str,
) -> Event {
    let Refused(id, reason, told) = refused;
    let alert = told.map_or(Vec::new(), |(minor, description)| alert(minor, description));
    let session = gateway.session_of(&tunnel.client);
    let (read, ended) = tunnel.client.read_to_any_end();
    assert!(ended.is_ok(), "{what}: {ended:?} after {}", read.escape_ascii());
    let words = read.strip_prefix(may_pass).unwrap_or(&read);
    assert_eq!(words.escape_ascii().to_string(), alert.escape_ascii().to_string(), "{what}");
    let (reached, _) = tunnel.server.read_to_any_end();
    assert!(reached.is_empty(), "{what}: {} reached the target", reached.escape_ascii());
    drop(tunnel);
    let event = gateway.events().of(reason, &session);
    assert_eq!(event.id(), id, "{what}");
    let level = if id == 402 { "error" } else { "warning" };
    assert_eq!((event.text("level"), event.has("status")), (level, false), "{what}: {event:?}");
    let ending = gateway.end_of(&session);
    let ending = ending.text("ending");
    assert!(ending.ends_with(&format!(".gateway.{reason}")), "{what}: {ending}");
    assert_eq!(gateway.events().count(|event| event.is("tls_verified", &session)), 0, "{what}");
    event
}
