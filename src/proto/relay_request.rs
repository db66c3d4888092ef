//! What we ask a relay proxy for. RFC 9110 sections 7.6.3 and 9.3.6, RFC 7617.

use std::fmt::Write;

use super::target::Target;
use super::via::{Via, ViaName};

/// The CONNECT to a relay proxy. Nothing of the client goes with it but the target and the list of
/// proxies it has passed; `authorization` is the value of `Proxy-Authorization`.
pub fn request(
    target: &Target,
    passed: &Via,
    name: &ViaName,
    authorization: Option<&str>,
) -> String {
    const OWN_WORDS: usize = 128;
    let target = target.to_string();
    let secret_bytes = authorization.map_or(0, str::len);
    // Never grown: what a String leaves behind when it moves would not be wiped.
    let mut head =
        String::with_capacity(OWN_WORDS + 2 * target.len() + passed.len() + secret_bytes);
    // A String takes everything.
    let _ = write!(head, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nVia: ");
    if !passed.is_empty() {
        let _ = write!(head, "{passed}, ");
    }
    let _ = write!(head, "1.1 {name}\r\n");
    if let Some(authorization) = authorization {
        let _ = write!(head, "Proxy-Authorization: {authorization}\r\n");
    }
    head.push_str("\r\n");
    head
}

/// The value of `Proxy-Authorization` for a user and a password: `Basic` and their UTF-8 in base64.
/// The caller has seen to it that the user has no colon and neither has control characters.
pub fn basic(username: &str, password: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let colon = std::iter::once(b':');
    let mut bytes = username.bytes().chain(colon).chain(password.bytes());
    // Never grown: what a String leaves behind when it moves would not be wiped.
    let mut value = String::with_capacity(6 + (username.len() + password.len() + 3) / 3 * 4);
    value.push_str("Basic ");
    while let Some(first) = bytes.next() {
        let (second, third) = (bytes.next(), bytes.next());
        let three = u32::from(first) << 16
            | u32::from(second.unwrap_or(0)) << 8
            | u32::from(third.unwrap_or(0));
        let digit = |shift: u32| char::from(ALPHABET[(three >> shift) as usize & 63]);
        value.push(digit(18));
        value.push(digit(12));
        value.push(if second.is_some() { digit(6) } else { '=' });
        value.push(if third.is_some() { digit(0) } else { '=' });
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_written_to_the_letter() {
        let name = ViaName::new(1);
        let plain = Target::parse(b"WWW.test.com:443").unwrap();
        assert_eq!(
            request(&plain, &Via::default(), &name, None),
            "CONNECT www.test.com:443 HTTP/1.1\r\nHost: www.test.com:443\r\n\
             Via: 1.1 sluice-0000000000000001\r\n\r\n"
        );
        let literal = Target::parse(b"[2001:db8::1]:8443").unwrap();
        let mut passed = Via::default();
        passed.add(b"1.0 a");
        let long = "x".repeat(9_000);
        let written = request(&literal, &passed, &name, Some(&long));
        let bound = 128 + 2 * "[2001:db8::1]:8443".len() + passed.len() + long.len();
        assert!(written.capacity() == bound && written.len() <= bound, "it has grown");
        assert_eq!(
            request(&literal, &passed, &name, Some("Basic Og==")),
            "CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n\
             Via: 1.0 a, 1.1 sluice-0000000000000001\r\nProxy-Authorization: Basic Og==\r\n\r\n"
        );
    }

    /// The vectors of RFC 4648 section 10 and RFC 7617 section 2, with a colon in them.
    #[test]
    fn credentials_are_base64() {
        for (username, password, value) in [
            ("", "", "Basic Og=="),
            ("f", "", "Basic Zjo="),
            ("f", "o", "Basic Zjpv"),
            ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("test", "123\u{a3}", "Basic dGVzdDoxMjPCow=="),
            ("u", "a:b:c", "Basic dTphOmI6Yw=="),
            ("\u{ff}\u{ff}", "\u{3ff}~~", "Basic w7/DvzrPv35+"),
        ] {
            let written = basic(username, password);
            assert_eq!(written, value);
            assert!(written.capacity() >= written.len());
        }
    }
}
