//! What passes in clear between the hellos and the change of cipher, up to TLS 1.2 (RFC 5246 section
//! 7.4): the types of messages, the sessions that a client offers to resume, and the tickets it gets.

use super::hello::{Fields, HelloError, each_extension, session_id};

/// Sent by a server at any time; empty, and without a meaning within a handshake.
pub const HELLO_REQUEST: u8 = 0;
/// The client's first message.
pub const CLIENT_HELLO: u8 = 1;
/// The server's answer to it.
pub const SERVER_HELLO: u8 = 2;
/// A ticket to resume the session with (RFC 5077 section 3.3).
pub const NEW_SESSION_TICKET: u8 = 4;
/// A list of certificates, the sender's own first; a client's may be empty.
pub const CERTIFICATE: u8 = 11;
/// The server's part of the key exchange.
pub const SERVER_KEY_EXCHANGE: u8 = 12;
/// The server wants a certificate of the client.
pub const CERTIFICATE_REQUEST: u8 = 13;
/// The server has said what it has to say.
pub const SERVER_HELLO_DONE: u8 = 14;
/// The client owns the key of its certificate.
pub const CERTIFICATE_VERIFY: u8 = 15;
/// The client's part of the key exchange.
pub const CLIENT_KEY_EXCHANGE: u8 = 16;
/// What an authority says of the server's certificate (RFC 6066 section 8).
pub const CERTIFICATE_STATUS: u8 = 22;
/// Data beside the handshake, either way (RFC 4680).
pub const SUPPLEMENTAL_DATA: u8 = 23;

/// What a ClientHello offers to resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer<'a> {
    /// The id of a session; with a ticket, a mark for the client itself (RFC 5077 section 3.4).
    pub session_id: &'a [u8],
    /// A ticket; `None` where there is none, or only the wish for one.
    pub ticket: Option<&'a [u8]>,
}

const SESSION_TICKET: u16 = 35;

impl<'a> Offer<'a> {
    /// Reads the offer of the body of a ClientHello.
    ///
    /// # Errors
    /// Where its framing is broken.
    pub fn of(body: &'a [u8]) -> Result<Offer<'a>, HelloError> {
        let mut fields = Fields(body);
        fields.take(2, "client_version")?;
        fields.take(32, "random")?;
        let session_id = session_id(&mut fields)?;
        fields.vector16("cipher_suites")?;
        fields.vector8("compression_methods")?;
        let mut ticket = None;
        each_extension(fields, |kind, data| {
            if kind == SESSION_TICKET && !data.is_empty() {
                ticket = Some(data);
            }
            Ok(())
        })?;
        Ok(Offer { session_id, ticket })
    }
}

/// The session id in the body of a ServerHello.
///
/// # Errors
/// Where the message ends within it.
pub fn settled_session_id(body: &[u8]) -> Result<&[u8], HelloError> {
    let mut fields = Fields(body);
    fields.take(2, "server_version")?;
    fields.take(32, "random")?;
    session_id(&mut fields)
}

/// The ticket in the body of a NewSessionTicket; empty where the server changed its mind.
///
/// # Errors
/// Where its framing is broken.
pub fn new_ticket(body: &[u8]) -> Result<&[u8], HelloError> {
    let mut fields = Fields(body);
    fields.take(4, "ticket_lifetime_hint")?;
    let ticket = fields.vector16("ticket")?;
    fields.end("ticket")?;
    Ok(ticket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tls::sample::{
        SampleHello, SampleServerHello, captured, client_hello, server_hello,
    };

    #[test]
    fn offers_are_read_from_hellos() {
        let hello = |extra: &[(u16, &[u8])], session_id_len| {
            client_hello(&SampleHello { session_id_len, extra, ..SampleHello::default() })
        };
        let rows = [
            (hello(&[], 0), 0, None),
            (hello(&[], 32), 32, None),
            (hello(&[(35, b"")], 32), 32, None),
            (hello(&[(35, b"a ticket"), (23, b"")], 7), 7, Some(&b"a ticket"[..])),
        ];
        for (hello, id_len, ticket) in rows {
            let offer = Offer::of(&hello[4..]).unwrap();
            assert_eq!((offer.session_id, offer.ticket), (&vec![0x22; id_len][..], ticket));
            for end in 4..hello.len() - 1 {
                // Cut before the extensions it is a hello without any.
                let _ = Offer::of(&hello[4..end]);
            }
        }
        assert!(Offer::of(&captured::TLS12_CLIENT[9..]).is_ok());
    }

    #[test]
    fn sessions_of_servers_are_read() {
        let hello = server_hello(&SampleServerHello::default());
        assert_eq!(settled_session_id(&hello[4..]), Ok(&[0x22; 32][..]));
        assert!(settled_session_id(&hello[4..40]).is_err());
        assert_eq!(new_ticket(b"\0\0\x1c\x20\0\x03abc"), Ok(&b"abc"[..]));
        assert_eq!(new_ticket(b"\0\0\0\0\0\0"), Ok(&b""[..]));
        for broken in [&b""[..], b"\0\0\0\0\0\x04abc", b"\0\0\0\0\0\x02abc"] {
            assert!(new_ticket(broken).is_err(), "{broken:?}");
        }
    }
}
