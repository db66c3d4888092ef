//! Addresses and ranges of addresses as people write them, and what to write instead.

use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

/// `ADDR:PORT` to listen on. Port 0 is for tests and is taken here.
///
/// # Errors
/// The sentence that tells what to write instead.
pub(crate) fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        if !text.parse().is_ok_and(|port: u16| port > 0) {
            return Err(format!("the port must be 1 to 65535, not \"{}\"", shown(text)));
        }
        return Err(format!("a port alone: write \"0.0.0.0:{text}\", or \"[::]:{text}\" for IPv6"));
    }
    if text.parse::<IpAddr>().is_ok() {
        let example = if text.contains(':') { format!("[{text}]") } else { text.to_owned() };
        return Err(format!("no port: write \"{example}:8080\""));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("expected ADDR:PORT, as in \"0.0.0.0:8080\"".to_owned());
    };
    if port.parse::<u16>().is_err() {
        return Err(format!("the port must be 1 to 65535, not \"{}\"", shown(port)));
    }
    if host.contains(':') {
        return Err("expected an IPv6 address in brackets, as in \"[::]:8080\"".to_owned());
    }
    Err("expected an IP address before the port, as in \"0.0.0.0:8080\"".to_owned())
}

/// The address of the admin listener; `None` where it is off. Port 0 is for tests and is taken here.
///
/// # Errors
/// The sentence that tells what to write instead.
pub(super) fn admin(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    // The port alone most likely means the address that is the default.
    if text.parse::<u16>().is_ok() {
        return Err(format!("a port alone: write \"127.0.0.1:{text}\""));
    }
    listen(text)
        .map(Some)
        .map_err(|why| why.replace("0.0.0.0:8080", "127.0.0.1:9180").replace(":8080", ":9180"))
}

/// A CIDR block, or one address as the block of that address alone.
///
/// # Errors
/// The sentence that tells what to write instead.
pub(super) fn block(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let Ok(block) = text.parse::<IpNet>() else {
        return Err("expected an address range, as in \"10.0.0.0/8\" or \"fd00::/8\"".to_owned());
    };
    if block.addr() != block.network() {
        return Err(format!(
            "has bits beyond its prefix: write \"{}\" for the range, or \"{}\" for the address",
            block.trunc(),
            block.addr()
        ));
    }
    Ok(canonical(block))
}

/// An address to dial from.
///
/// # Errors
/// The sentence that tells what to write instead.
pub(super) fn source(text: &str) -> Result<IpAddr, String> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err("expected an IP address of this machine, without a port".to_owned());
    };
    let address = address.to_canonical();
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || is_broadcast {
        return Err("not an address that can be dialled from; name one of this machine".to_owned());
    }
    Ok(address)
}

/// Text of the file within a message: no longer than a line can bear, and without what stands before
/// an @, which is a password as likely as not.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    let masked;
    let text = match text.rsplit_once('@') {
        None => text,
        Some((secret, rest)) => {
            let scheme = secret.find("://").map_or("", |at| &secret[..at + 3]);
            masked = format!("{scheme}***@{rest}");
            &masked
        }
    };
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

/// Clients are compared as IPv4 where they are IPv4-mapped, so their ranges must be too.
fn canonical(block: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let (IpNet::V6(v6), IpAddr::V4(v4)) = (block, block.network().to_canonical()) else {
        return block;
    };
    v6.prefix_len()
        .checked_sub(MAPPED_BITS)
        .and_then(|prefix_bits| Ipv4Net::new(v4, prefix_bits).ok())
        .map_or(block, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_are_read_or_explained() {
        for good in ["0.0.0.0:8080", "[::]:8080", "127.0.0.1:0", "[2001:db8::1]:65535"] {
            assert_eq!(listen(good).map(|address| address.to_string()), Ok(good.to_owned()));
        }
        for (bad, why) in [
            ("8080", "write \"0.0.0.0:8080\""),
            ("10.0.0.1", "write \"10.0.0.1:8080\""),
            ("::1", "write \"[::1]:8080\""),
            ("text", "expected ADDR:PORT"),
            ("", "expected ADDR:PORT"),
            ("99999", "1 to 65535, not \"99999\""),
            ("0", "1 to 65535, not \"0\""),
            ("0.0.0.0:65536", "1 to 65535, not \"65536\""),
            ("0.0.0.0:-1", "1 to 65535"),
            ("0.0.0.0:", "1 to 65535"),
            ("localhost:8080", "expected an IP address"),
            ("fe80::x:8080", "in brackets"),
        ] {
            let error = listen(bad).expect_err(bad);
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn the_admin_address_may_be_off() {
        assert_eq!(admin(""), Ok(None));
        assert_eq!(admin("[::1]:0"), Ok(Some("[::1]:0".parse().unwrap())));
        for (bad, why) in [
            ("9180", "write \"127.0.0.1:9180\""),
            ("10.0.0.1", "write \"10.0.0.1:9180\""),
            ("::1", "write \"[::1]:9180\""),
            ("off", "as in \"127.0.0.1:9180\""),
        ] {
            let error = admin(bad).expect_err(bad);
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn blocks_are_read_or_corrected() {
        for (good, canonical) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("fd00::/8", "fd00::/8"),
            ("::1", "::1/128"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
        ] {
            assert_eq!(block(good).map(|block| block.to_string()), Ok(canonical.to_owned()));
        }
        for (bad, why) in [
            ("10.1.2.3/8", "write \"10.0.0.0/8\""),
            ("fd00::1/8", "write \"fd00::/8\""),
            ("10.0.0.0/33", "expected an address range"),
            ("10.0.0/8", "expected an address range"),
            ("example.com", "expected an address range"),
            ("", "expected an address range"),
        ] {
            let error = block(bad).expect_err(bad);
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn sources_are_addresses_one_can_dial_from() {
        assert_eq!(source("::ffff:127.0.0.1"), Ok(IpAddr::from([127, 0, 0, 1])));
        for bad in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "x", "10.0.0.1:1"] {
            assert!(source(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_is_short() {
        assert_eq!(shown("abc"), "abc");
        assert_eq!(shown(&"x".repeat(1 << 20)).len(), 63);
        assert_eq!(shown("http://u:p@ss@host:1"), "http://***@host:1");
        assert_eq!(shown("u:p@"), "***@");
    }
}
