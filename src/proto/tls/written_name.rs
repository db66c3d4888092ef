//! Reads written distinguished names: RFC 4514, with the spaces that OpenSSL and the quotation marks
//! that Windows write besides, and `;` for `,`.

use std::fmt;

use der::asn1::AnyRef;
use der::{Decode, Reader, SliceReader};

use super::certificate;
use super::distinguished_name::{Attribute, DistinguishedName, Kind, Rdn, Value, is_special};

/// Why a text is no distinguished name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// There is nothing.
    Empty,
    /// The attribute type is none that is known.
    UnknownType(Box<str>),
    /// An attribute without `=` and a value.
    NoValue(Box<str>),
    /// A backslash before something that it cannot quote.
    Escape,
    /// A quotation mark without its partner, or something behind it.
    Quote,
    /// A value that begins with `#` and is no DER in hexadecimal.
    Hex,
    /// A NUL or another control character.
    Control,
}

impl DistinguishedName {
    /// Reads a written name.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(text: &str) -> Result<DistinguishedName, NameError> {
        if text.contains(char::is_control) {
            return Err(NameError::Control);
        }
        if text.trim().is_empty() {
            return Err(NameError::Empty);
        }
        let mut rdns: Vec<Rdn> = Vec::new();
        let mut rest = text;
        let mut joined = false;
        loop {
            let (kind, after) =
                rest.split_once('=').ok_or_else(|| NameError::NoValue(rest.trim().into()))?;
            let kind = kind.trim();
            let kind = Kind::parse(kind).ok_or_else(|| NameError::UnknownType(kind.into()))?;
            let (value, end) = value(after)?;
            let attribute = Attribute { kind, value };
            match rdns.last_mut() {
                Some(rdn) if joined => rdn.push(attribute),
                _ => rdns.push(vec![attribute]),
            }
            let Some(separator) = end.chars().next() else { break };
            joined = separator == '+';
            rest = &end[1..];
        }
        Ok(DistinguishedName::new(rdns))
    }
}

/// A value, and what follows it: nothing, or a separator and more.
fn value(text: &str) -> Result<(Value, &str), NameError> {
    let text = text.trim_start_matches(' ');
    let (value, end) = match text.as_bytes().first() {
        Some(b'#') => {
            let end = text.find([',', ';', '+']).unwrap_or(text.len());
            (opaque(text[1..end].trim_end())?, &text[end..])
        }
        Some(b'"') => quoted(&text[1..])?,
        _ => unquoted(text)?,
    };
    if matches!(&value, Value::Text(text) if text.contains(char::is_control)) {
        return Err(NameError::Control);
    }
    Ok((value, end))
}

fn opaque(hex: &str) -> Result<Value, NameError> {
    let digits = hex.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> = digits.0.iter().map(|&[high, low]| byte(high, low)).collect();
    let bytes = bytes.filter(|_| digits.1.is_empty()).ok_or(NameError::Hex)?;
    let mut reader = SliceReader::new(&bytes).map_err(|_| NameError::Hex)?;
    let value = AnyRef::decode(&mut reader).map_err(|_| NameError::Hex)?;
    if !reader.is_finished() {
        return Err(NameError::Hex);
    }
    certificate::decoded(value).map_err(|_| NameError::Hex)
}

fn quoted(text: &str) -> Result<(Value, &str), NameError> {
    let mut value = Vec::new();
    let mut at = 0;
    loop {
        match text.as_bytes().get(at..).unwrap_or_default() {
            // Windows doubles a quotation mark within.
            [b'"', b'"', ..] => {
                value.push(b'"');
                at += 2;
            }
            [b'"', ..] => break,
            [b'\\', rest @ ..] => at += 1 + unescape(rest, &mut value)?,
            [byte, ..] => {
                value.push(*byte);
                at += 1;
            }
            [] => return Err(NameError::Quote),
        }
    }
    let end = text[at + 1..].trim_start_matches(' ');
    if !end.is_empty() && !end.starts_with([',', ';', '+']) {
        return Err(NameError::Quote);
    }
    Ok((utf8(value)?, end))
}

fn unquoted(text: &str) -> Result<(Value, &str), NameError> {
    let mut value = Vec::new();
    let mut at = 0;
    // Spaces at the end belong to the value only where a backslash says so.
    let mut kept = 0;
    loop {
        match text.as_bytes().get(at..).unwrap_or_default() {
            [] | [b',' | b';' | b'+', ..] => break,
            [b'"', ..] => return Err(NameError::Quote),
            [b'\\', rest @ ..] => {
                at += 1 + unescape(rest, &mut value)?;
                kept = value.len();
            }
            [byte, ..] => {
                value.push(*byte);
                at += 1;
                if *byte != b' ' {
                    kept = value.len();
                }
            }
        }
    }
    value.truncate(kept);
    Ok((utf8(value)?, &text[at..]))
}

/// What follows a backslash: a special character, or a byte in hexadecimal. Gives its length.
fn unescape(text: &[u8], value: &mut Vec<u8>) -> Result<usize, NameError> {
    match *text {
        [special, ..] if is_special(special) || matches!(special, b' ' | b'#' | b'=') => {
            value.push(special);
            Ok(1)
        }
        [high, low, ..] => {
            value.push(byte(high, low).ok_or(NameError::Escape)?);
            Ok(2)
        }
        _ => Err(NameError::Escape),
    }
}

fn byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

fn utf8(bytes: Vec<u8>) -> Result<Value, NameError> {
    let text = String::from_utf8(bytes).map_err(|_| NameError::Escape)?;
    Ok(Value::Text(text.into()))
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("there is nothing in it"),
            NameError::UnknownType(kind) => write!(
                f,
                "{kind:?} is no attribute type that is known (CN, OU, O, C, L, ST, DC, ..., or numbers as in 2.5.4.3)"
            ),
            NameError::NoValue(part) => write!(
                f,
                "{part:?} has no value: each part is TYPE=VALUE, and a comma in a value is written \\,"
            ),
            NameError::Escape => f.write_str(
                "a backslash stands before a special character, or before two hexadecimal digits of UTF-8",
            ),
            NameError::Quote => f.write_str("a quotation mark within a value is written \\\""),
            NameError::Hex => f.write_str("a value after # is DER in hexadecimal; \\# begins a text"),
            NameError::Control => f.write_str("it has a control character in it"),
        }
    }
}

impl std::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_apart() {
        let rows = [
            ("", NameError::Empty),
            ("  ", NameError::Empty),
            ("CN", NameError::NoValue("CN".into())),
            ("CN=a, Inc", NameError::NoValue("Inc".into())),
            ("CN=a,", NameError::NoValue("".into())),
            ("CM=a", NameError::UnknownType("CM".into())),
            ("=a", NameError::UnknownType("".into())),
            ("2.40000000000=a", NameError::UnknownType("2.40000000000".into())),
            ("1.40=a", NameError::UnknownType("1.40".into())),
            ("2.05=a", NameError::UnknownType("2.05".into())),
            ("CN=a\\", NameError::Escape),
            ("CN=a\\x", NameError::Escape),
            ("CN=a\\zz", NameError::Escape),
            ("CN=\\ff", NameError::Escape),
            ("CN=a\"b", NameError::Quote),
            ("CN=\"a", NameError::Quote),
            ("CN=\"a\" b", NameError::Quote),
            ("CN=#0c", NameError::Hex),
            ("CN=#0c0", NameError::Hex),
            ("CN=#0c01ff", NameError::Hex),
            ("CN=#0c016161", NameError::Hex),
            ("CN=#0c8161", NameError::Hex),
            ("CN=a\0", NameError::Control),
            ("CN=\\00a", NameError::Control),
            ("CN=a\nO=b", NameError::Control),
        ];
        for (text, error) in rows {
            assert_eq!(DistinguishedName::parse(text), Err(error.clone()), "{text}");
            assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn what_openssl_and_windows_write_is_read() {
        for (text, written) in [
            ("CN = a, OU = Linux Monitoring Agent", "CN=a, OU=Linux Monitoring Agent"),
            ("O=\"Foo, Inc\", CN=\"\"", "O=Foo\\, Inc, CN="),
            ("O=\"say \"\"hi\"\"\"; S=Texas", "O=say \\\"hi\\\", ST=Texas"),
            ("C = DE + CN = b=c", "C=DE+CN=b=c"),
        ] {
            assert_eq!(DistinguishedName::parse(text).unwrap().to_string(), written);
        }
    }
}
