//! Distinguished names (X.501, RFC 5280 section 4.1.2.4): what a certificate's subject is, how it is
//! shown, and when two of them are the same.
//!
//! Two texts are equal without regard to the case of ASCII letters, to spaces around them and to the
//! number of spaces within (the rule of RFC 5280 section 7.1 as far as it can be explained in a
//! sentence); whatever is beyond ASCII must be the same character by character. How a text was
//! encoded says nothing. Parts of a name come in the order of the certificate; OpenSSL writes them
//! so, Windows and RFC 4514 the other way round, and both are accepted of a name that is compared.

use std::fmt::{self, Write};

/// Bytes of a written name that are shown; names of the agents take 130.
const SHOWN_BYTES: usize = 512;

/// A name: its parts in the order of the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistinguishedName(Vec<Rdn>);

/// One part of a name: attributes that belong together. Nearly always there is one.
pub type Rdn = Vec<Attribute>;

/// One attribute of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Which one.
    pub kind: Kind,
    /// What it says.
    pub value: Value,
}

/// The type of an attribute: the contents of its object identifier in DER.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind(Box<[u8]>);

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text, whatever its encoding was.
    Text(Box<str>),
    /// Anything else, as it is encoded.
    Opaque(Box<[u8]>),
}

/// Types by the names that are read, the first of each being the one written (RFC 4514 section 3, and
/// what OpenSSL and Windows write besides).
const KINDS: &[(&[&str], &[u8])] = &[
    (&["CN", "commonName"], &[0x55, 4, 3]),
    (&["SN", "surname"], &[0x55, 4, 4]),
    (&["serialNumber"], &[0x55, 4, 5]),
    (&["C", "countryName"], &[0x55, 4, 6]),
    (&["L", "localityName"], &[0x55, 4, 7]),
    (&["ST", "S", "stateOrProvinceName"], &[0x55, 4, 8]),
    (&["STREET", "streetAddress"], &[0x55, 4, 9]),
    (&["O", "organizationName"], &[0x55, 4, 10]),
    (&["OU", "organizationalUnitName"], &[0x55, 4, 11]),
    (&["title", "T"], &[0x55, 4, 12]),
    (&["GN", "G", "givenName"], &[0x55, 4, 42]),
    (&["initials", "I"], &[0x55, 4, 43]),
    (&["dnQualifier"], &[0x55, 4, 46]),
    (&["UID", "userId"], &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1]),
    (&["DC", "domainComponent"], &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25]),
    (&["emailAddress", "E"], &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]),
];

impl DistinguishedName {
    /// A name of these parts, in the order of the certificate.
    pub fn new(rdns: Vec<Rdn>) -> DistinguishedName {
        DistinguishedName(rdns)
    }

    /// The common names in it.
    pub fn common_names(&self) -> impl Iterator<Item = &str> {
        self.attributes().filter_map(|attribute| match &attribute.value {
            Value::Text(text) if attribute.kind.is_common_name() => Some(&**text),
            _ => None,
        })
    }

    /// Whether there is a NUL in any text: a trick on readers that stop at one.
    pub fn has_nul(&self) -> bool {
        self.attributes()
            .any(|attribute| matches!(&attribute.value, Value::Text(text) if text.contains('\0')))
    }

    /// Whether any text is empty.
    pub fn has_empty(&self) -> bool {
        self.attributes().any(
            |attribute| matches!(&attribute.value, Value::Text(text) if text.trim().is_empty()),
        )
    }

    /// A form that is the same for equal names, and for no others.
    pub fn key(&self) -> Box<[u8]> {
        key(self.0.iter())
    }

    /// [`DistinguishedName::key`] of the name written the other way round.
    pub fn key_reversed(&self) -> Box<[u8]> {
        key(self.0.iter().rev())
    }

    /// The name as an event shows it: written, and cut where it is too long.
    pub fn shown(&self) -> Box<str> {
        let mut text = self.to_string();
        // Written names are ASCII.
        if text.len() > SHOWN_BYTES {
            text.truncate(SHOWN_BYTES);
            text.push_str("...");
        }
        text.into()
    }

    fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.0.iter().flatten()
    }
}

/// A text in the form that is compared.
pub fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.push_str(word);
    }
    folded.make_ascii_lowercase();
    folded
}

/// Every piece with its length before it, so that no two names have the same form.
fn key<'a>(rdns: impl Iterator<Item = &'a Rdn>) -> Box<[u8]> {
    let mut key = Vec::new();
    for rdn in rdns {
        let mut attributes: Vec<Vec<u8>> = rdn.iter().map(Attribute::key).collect();
        attributes.sort_unstable();
        key.extend((attributes.len() as u32).to_be_bytes());
        attributes.into_iter().for_each(|attribute| key.extend(attribute));
    }
    key.into()
}

impl Attribute {
    fn key(&self) -> Vec<u8> {
        let text;
        let (form, bytes): (u8, &[u8]) = match &self.value {
            Value::Text(value) => {
                text = folded(value);
                (0, text.as_bytes())
            }
            Value::Opaque(bytes) => (1, bytes),
        };
        let lengths = [self.kind.0.len() as u32, bytes.len() as u32].map(u32::to_be_bytes);
        [lengths.as_flattened(), &self.kind.0, &[form], bytes].concat()
    }
}

impl Kind {
    /// A type by the contents of its object identifier.
    pub fn of_der(contents: &[u8]) -> Kind {
        Kind(contents.into())
    }

    /// A type by its name, or by its numbers: `2.5.4.3`, `OID.2.5.4.3`.
    pub fn parse(text: &str) -> Option<Kind> {
        let named = |(names, _): &&(&[&str], &[u8])| {
            names.iter().any(|name| name.eq_ignore_ascii_case(text))
        };
        if let Some((_, contents)) = KINDS.iter().find(named) {
            return Some(Kind::of_der(contents));
        }
        let numbers = match text.get(..4) {
            Some(prefix) if prefix.eq_ignore_ascii_case("OID.") => &text[4..],
            _ => text,
        };
        let arcs: Option<Vec<u32>> = numbers.split('.').map(arc).collect();
        match arcs?.as_slice() {
            [first @ 0..=2, second, rest @ ..] if *first == 2 || *second < 40 => {
                let mut contents = Vec::new();
                base128(&mut contents, u64::from(*first) * 40 + u64::from(*second));
                rest.iter().for_each(|&arc| base128(&mut contents, arc.into()));
                Some(Kind(contents.into()))
            }
            _ => None,
        }
    }

    fn is_common_name(&self) -> bool {
        *self.0 == [0x55, 4, 3]
    }
}

/// A number without sign or leading zero.
fn arc(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let has_zero = text.len() > 1 && text.starts_with('0');
    if is_plain && !has_zero { text.parse().ok() } else { None }
}

/// Seven bits a byte, the highest first (X.690 section 8.19).
fn base128(contents: &mut Vec<u8>, number: u64) {
    let digits = (64 - number.leading_zeros()).div_ceil(7).max(1);
    for digit in (0..digits).rev() {
        let more = if digit == 0 { 0 } else { 0x80 };
        contents.push((number >> (7 * digit)) as u8 & 0x7f | more);
    }
}

/// What RFC 4514 wants quoted wherever it stands.
pub(super) fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\')
}

/// As RFC 4514 writes it, but in the order of the certificate, with a space behind each comma, and
/// with everything beyond printable ASCII in hexadecimal: it can be copied back into a configuration.
impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, rdn) in self.0.iter().enumerate() {
            f.write_str(if number == 0 { "" } else { ", " })?;
            for (number, attribute) in rdn.iter().enumerate() {
                f.write_str(if number == 0 { "" } else { "+" })?;
                write!(f, "{}={}", attribute.kind, attribute.value)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((names, _)) = KINDS.iter().find(|(_, contents)| **contents == *self.0) {
            return f.write_str(names[0]);
        }
        let mut arc = 0u128;
        let mut is_first = true;
        for &byte in &self.0 {
            // An identifier without an end is cut; it equals no written one anyway.
            arc = (arc & (u128::MAX >> 8)) << 7 | u128::from(byte & 0x7f);
            if byte & 0x80 != 0 {
                continue;
            }
            match (std::mem::take(&mut is_first), arc) {
                (true, 0..=79) => write!(f, "{}.{}", arc / 40, arc % 40)?,
                (true, _) => write!(f, "2.{}", arc - 80)?,
                (false, _) => write!(f, ".{arc}")?,
            }
            arc = 0;
        }
        Ok(())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => {
                let last = text.len().saturating_sub(1);
                for (at, byte) in text.bytes().enumerate() {
                    let at_edge =
                        (byte == b' ' && (at == 0 || at == last)) || (byte == b'#' && at == 0);
                    match byte {
                        _ if is_special(byte) || at_edge => {
                            f.write_char('\\')?;
                            f.write_char(char::from(byte))?;
                        }
                        b' '..=b'~' => f.write_char(char::from(byte))?,
                        _ => write!(f, "\\{byte:02X}")?,
                    }
                }
                Ok(())
            }
            Value::Opaque(encoded) => {
                f.write_char('#')?;
                encoded.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> DistinguishedName {
        DistinguishedName::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn text(value: &str) -> Value {
        Value::Text(value.into())
    }

    #[test]
    fn equal_names_have_one_key() {
        let name = "CN=ws, CN=agent, OU=Linux Monitoring Agent, O=Microsoft";
        for same in [
            "CN=ws,CN=agent,OU=Linux Monitoring Agent,O=Microsoft",
            "cn = WS , commonName=Agent;ou= linux  monitoring   agent ,o=microsoft ",
            "2.5.4.3=ws, OID.2.5.4.3=agent, OU=\"Linux Monitoring Agent\", O=\\4dicrosoft",
            "CN=#0c027773, CN=#13056167656e74, OU=Linux Monitoring Agent, O=Microsoft",
        ] {
            assert_eq!(parse(name).key(), parse(same).key(), "{same}");
        }
        let reversed = "O=Microsoft, OU=Linux Monitoring Agent, CN=agent, CN=ws";
        assert_eq!(parse(name).key_reversed(), parse(reversed).key());
        for other in [
            reversed,
            "CN=ws, CN=agent, OU=Linux Monitoring Agent",
            "CN=ws+CN=agent, OU=Linux Monitoring Agent, O=Microsoft",
            "CN=wsC, N=agent, OU=Linux Monitoring Agent, O=Microsoft",
            "CN=ws\\, CN=agent, OU=Linux Monitoring Agent, O=Microsoft",
            "CN=ws, CN=agent, OU=LinuxMonitoring Agent, O=Microsoft",
            "CN=ws, CN=agent, OU=Linux Monitoring Agent, O=Microsoft, O=x",
        ] {
            let key = DistinguishedName::parse(other).map(|other| other.key());
            assert_ne!(key.ok(), Some(parse(name).key()), "{other}");
        }
        assert_eq!(parse("CN=a+O=b").key(), parse("O=b+CN=a").key(), "a part is a set");
        assert_ne!(parse("CN=a+O=b").key(), parse("CN=a,O=b").key());
        assert_ne!(parse("CN=#04026162").key(), parse("CN=ab").key(), "an octet string is no text");
        assert_ne!(parse("CN=b\u{fc}").key(), parse("CN=bu").key());
    }

    #[test]
    fn names_are_written_so_that_they_can_be_read() {
        let attribute = |kind: &str, value| Attribute { kind: Kind::parse(kind).unwrap(), value };
        let rows = [
            (vec![vec![attribute("CN", text("Gateway"))]], "CN=Gateway"),
            (
                vec![
                    vec![attribute("CN", text("Foo, Inc")), attribute("O", text(" a+b "))],
                    vec![attribute("DC", text("#x"))],
                ],
                "CN=Foo\\, Inc+O=\\ a\\+b\\ , DC=\\#x",
            ),
            (vec![vec![attribute("E", text("a\"b\\c;<d>"))]], "emailAddress=a\\\"b\\\\c\\;\\<d\\>"),
            (vec![vec![attribute("1.3.6.1.4.1.311.60", text("x"))]], "1.3.6.1.4.1.311.60=x"),
            (vec![vec![attribute("2.999.3", text("\u{fc}"))]], "2.999.3=\\C3\\BC"),
            (vec![vec![attribute("CN", Value::Opaque([4, 1, 7].into()))]], "CN=#040107"),
            (vec![vec![attribute("CN", text(""))]], "CN="),
            (vec![], ""),
        ];
        for (parts, written) in rows {
            let name = DistinguishedName::new(parts);
            assert_eq!(name.to_string(), written);
            if !written.is_empty() {
                assert_eq!(parse(written), name);
            }
        }
        let nul = DistinguishedName::new(vec![vec![attribute("CN", text("a\0b"))]]);
        assert_eq!((nul.to_string().as_str(), nul.has_nul()), ("CN=a\\00b", true));
        assert!(DistinguishedName::parse("CN=a\\00b").is_err(), "nobody admits that");
    }

    #[test]
    fn what_is_shown_is_bounded() {
        let name = parse(&format!("CN={}", "\u{fc}".repeat(9_000)));
        assert_eq!(name.shown().len(), SHOWN_BYTES + 3);
    }

    #[test]
    fn types_without_an_end_are_shown_somehow() {
        for contents in [&[0x80][..], &[0xff; 64], &[0x7f], &[0x55, 0xff], &[]] {
            let _ = Kind::of_der(contents).to_string();
        }
    }

    proptest::proptest! {
        #[test]
        fn any_name_that_is_written_reads_as_itself(
            parts in proptest::collection::vec(
                proptest::collection::vec(("[A-Z]{2}|CN|O|DC", "[ -~\u{e0}-\u{ff}]{0,12}"), 1..3),
                1..4,
            ),
        ) {
            let attribute = |(kind, value): (String, String)| Attribute {
                kind: Kind::parse(&kind).unwrap_or(Kind::of_der(&[0x55, 4, 3])),
                value: Value::Text(value.into()),
            };
            let parts = parts.into_iter();
            let name = DistinguishedName::new(
                parts.map(|part| part.into_iter().map(attribute).collect()).collect(),
            );
            proptest::prop_assert_eq!(DistinguishedName::parse(&name.to_string()), Ok(name));
        }

        #[test]
        fn any_text_is_a_name_or_an_error(text in "[A-Za-z0-9.=,;+#\"\\\\ \u{fc}]{0,40}") {
            if let Ok(name) = DistinguishedName::parse(&text) {
                proptest::prop_assert_eq!(DistinguishedName::parse(&name.to_string()), Ok(name));
            }
        }
    }
}
