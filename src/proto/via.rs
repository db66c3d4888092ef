//! The proxies that a request has passed. RFC 9110 section 7.6.3.
//!
//! A gateway that goes through a relay proxy adds itself to the list, and so finds its own requests
//! again, however many proxies sent them round.

use std::fmt;

/// The most bytes of a list that is carried on.
pub const VIA_BYTES: usize = 1024;
/// The most proxies in a list that is carried on.
pub const VIA_PROXIES: usize = 16;

/// The `Via` headers of a request as one list, in printable ASCII. At most a little longer than
/// [`VIA_BYTES`]: what goes beyond is cut, and the list counts as too long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Via(String);

/// The name by which one running gateway knows itself in a list. Not secret; random, so that no two
/// gateways and no two starts share one. The default is nobody's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViaName(Box<str>);

impl ViaName {
    /// The name made of this random number.
    pub fn new(random: u64) -> ViaName {
        ViaName(format!("sluice-{random:016x}").into_boxed_str())
    }
}

impl Via {
    /// Puts another header's value behind what is there.
    pub fn add(&mut self, value: &[u8]) {
        if !self.0.is_empty() {
            self.0.push_str(", ");
        }
        let room = (VIA_BYTES + 1).saturating_sub(self.0.len());
        let printable = |&byte: &u8| if matches!(byte, b' '..=b'~') { byte as char } else { '?' };
        self.0.extend(value.iter().take(room).map(printable));
    }

    /// Whether the request has passed the gateway of this name.
    pub fn names(&self, name: &ViaName) -> bool {
        let mut words = self.0.split([' ', ',', '\t']);
        !name.0.is_empty() && words.any(|word| word.eq_ignore_ascii_case(&name.0))
    }

    /// Whether so many proxies are named that this can only be a loop.
    pub fn is_too_long(&self) -> bool {
        self.0.len() > VIA_BYTES || self.0.split(',').count() > VIA_PROXIES
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ViaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(values: &[&[u8]]) -> Via {
        let mut via = Via::default();
        values.iter().for_each(|value| via.add(value));
        via
    }

    #[test]
    fn a_gateway_finds_its_name_and_no_other() {
        let name = ViaName::new(0xab);
        assert_eq!(name.to_string(), "sluice-00000000000000ab");
        for (values, is_named) in [
            (&[&b"1.1 sluice-00000000000000ab"[..]][..], true),
            (&[b"1.0 a, 1.1 SLUICE-00000000000000AB (comment)"], true),
            (&[b"1.1 a", b"1.1 b,1.1 sluice-00000000000000ab,1.1 c"], true),
            (&[b"1.1 sluice-00000000000000ac"], false),
            (&[b"1.1 xsluice-00000000000000ab"], false),
            (&[b"", b" , "], false),
            (&[], false),
        ] {
            assert_eq!(via(values).names(&name), is_named, "{values:?}");
            assert!(!via(values).names(&ViaName::default()), "{values:?}");
        }
    }

    #[test]
    fn a_list_is_printable_and_bounded() {
        let list = via(&[b"1.1 a\r\nX: y\0\xff", b"1.1 b"]);
        assert_eq!(list.to_string(), "1.1 a??X: y??, 1.1 b");
        assert!(!list.is_too_long() && !list.is_empty());
        let proxies = |count: usize| via(&vec![&b"1.1 a"[..]; count]);
        assert!(!proxies(VIA_PROXIES).is_too_long() && proxies(VIA_PROXIES + 1).is_too_long());
        assert!(!via(&[&[b'x'; VIA_BYTES]]).is_too_long());
        let long = via(&[&[b'x'; 10 * VIA_BYTES], &[b'x'; 10 * VIA_BYTES]]);
        assert!(long.is_too_long() && long.to_string().len() < VIA_BYTES + 10);
    }
}
