//! Whose client certificates are admitted, and what is done where there is none to be seen.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::policy::Refusal;
use super::reason::Reason;
use super::resumption::Resumable;
use crate::proto::tls::distinguished_name::{DistinguishedName, folded};
use crate::proto::tls::written_name::NameError;

/// Bytes of one entry of the list.
const RULE_BYTES: usize = 2_048;

/// A subject that is admitted: an entry of `allow.client_certificates`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectRule {
    text: Box<str>,
    key: Box<[u8]>,
}

/// Why a text admits no subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectRuleError {
    /// There is nothing in it.
    Empty,
    /// It is longer than this many bytes.
    TooLong(usize),
    /// A control character, a NUL among them.
    Control,
    /// It is written with slashes, as OpenSSL once did.
    Slashes,
    /// It begins like a distinguished name and is none.
    Name(NameError),
    /// An attribute of a distinguished name is empty.
    EmptyValue,
}

/// The subjects that are admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subjects {
    rules: Vec<SubjectRule>,
    keys: HashSet<Box<[u8]>>,
    marks: HashSet<u64>,
}

/// Whether a session passes of whose client no certificate can be seen: by default never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnseenAllowed {
    /// TLS 1.3 hides it.
    pub tls13: bool,
    /// A session is resumed that this gateway has not seen begin.
    pub resumed: bool,
    /// The server asks for none, or the client has none.
    pub none: bool,
}

/// All that decides about client certificates.
#[derive(Debug)]
pub struct CertificateRules {
    /// Whose are admitted.
    pub subjects: Subjects,
    /// What is done where none can be seen.
    pub unseen: UnseenAllowed,
    /// The sessions that may be resumed.
    pub resumable: Arc<Resumable>,
}

/// By what a session was admitted. Kept with what resumes it, so that an entry which is taken off the
/// list takes its sessions with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// This entry of the list.
    Rule(u64),
    /// `unseen_client_certificate.none`.
    NoneNeeded,
}

impl SubjectRule {
    /// Reads an entry. One that begins with a known attribute type and `=` is a distinguished name,
    /// which a subject must be as a whole, in its own order or the other way round; anything else is
    /// a plain value, which one of a subject's common names must be.
    ///
    /// # Errors
    /// Where it admits nothing, or is mistyped. An unknown type before a `=` counts as mistyped.
    pub fn parse(text: &str) -> Result<SubjectRule, SubjectRuleError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(SubjectRuleError::Empty);
        }
        if trimmed.len() > RULE_BYTES {
            return Err(SubjectRuleError::TooLong(RULE_BYTES));
        }
        if trimmed.contains(char::is_control) {
            return Err(SubjectRuleError::Control);
        }
        if trimmed.starts_with('/') && trimmed.contains('=') {
            return Err(SubjectRuleError::Slashes);
        }
        let key = if is_written_name(trimmed) {
            let name = DistinguishedName::parse(trimmed).map_err(SubjectRuleError::Name)?;
            if name.has_empty() {
                return Err(SubjectRuleError::EmptyValue);
            }
            whole_key(&name)
        } else {
            common_name_key(trimmed)
        };
        Ok(SubjectRule { text: trimmed.into(), key })
    }

    /// A form that is the same for entries that admit the same, and for no others.
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Subjects {
    /// Subjects of these entries.
    pub fn new(rules: Vec<SubjectRule>) -> Subjects {
        let keys = rules.iter().map(|rule| rule.key.clone()).collect();
        let marks = rules.iter().map(|rule| mark(&rule.key)).collect();
        Subjects { rules, keys, marks }
    }

    /// Whether there is no entry, so that certificates are not looked at.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The entries, as they were written.
    pub fn iter(&self) -> impl Iterator<Item = &SubjectRule> {
        self.rules.iter()
    }

    /// The entry that admits `subject`.
    fn admit(&self, subject: &DistinguishedName) -> Option<Grounds> {
        let common_names = subject.common_names().map(common_name_key);
        let mut keys = common_names.chain([whole_key(subject)]);
        keys.find(|key| self.keys.contains(key)).map(|key| Grounds::Rule(mark(&key)))
    }
}

impl CertificateRules {
    /// Judges the subject of a certificate.
    ///
    /// # Errors
    /// Where no entry admits it, or it is made to deceive.
    pub fn judge_subject(&self, subject: &DistinguishedName) -> Result<Grounds, Refusal> {
        let reason = Reason::ClientCertificateNotAllowed;
        if subject.has_nul() {
            return Err(Refusal::because(reason, "there is a NUL in it"));
        }
        self.subjects.admit(subject).ok_or_else(|| Refusal::plain(reason))
    }

    /// Judges a session of TLS 1.3, which hides certificates.
    ///
    /// # Errors
    /// Where such sessions are refused.
    pub fn judge_tls13(&self) -> Result<(), Refusal> {
        allowed(self.unseen.tls13, Reason::ClientCertificateUnseenTls13, "")
    }

    /// Judges a session without a certificate, for this cause.
    ///
    /// # Errors
    /// Where such sessions are refused.
    pub fn judge_none(&self, cause: &'static str) -> Result<Grounds, Refusal> {
        allowed(self.unseen.none, Reason::ClientCertificateUnseenNone, cause)?;
        Ok(Grounds::NoneNeeded)
    }

    /// Judges a resumed session, of which `grounds` is what is known. Gives what its next ticket is
    /// known by.
    ///
    /// # Errors
    /// Where nothing is known, or is not good any more, and such sessions are refused.
    pub fn judge_resumed(&self, grounds: Option<Grounds>) -> Result<Option<Grounds>, Refusal> {
        let is_good = match grounds {
            Some(Grounds::Rule(rule)) => self.subjects.marks.contains(&rule),
            Some(Grounds::NoneNeeded) => self.unseen.none,
            None => false,
        };
        if is_good {
            return Ok(grounds);
        }
        let cause = match grounds {
            Some(_) => "what admitted it is not configured any more",
            None => "this gateway has not seen it begin",
        };
        allowed(self.unseen.resumed, Reason::ClientCertificateUnseenResumed, cause)?;
        Ok(None)
    }
}

fn allowed(is_allowed: bool, reason: Reason, cause: &'static str) -> Result<(), Refusal> {
    match (is_allowed, cause) {
        (true, _) => Ok(()),
        (false, "") => Err(Refusal::plain(reason)),
        (false, cause) => Err(Refusal::because(reason, cause)),
    }
}

/// Whether a text begins with a word and `=`, as no name of a person or machine does.
fn is_written_name(text: &str) -> bool {
    text.split_once('=').is_some_and(|(kind, _)| {
        let kind = kind.trim_end();
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        !kind.is_empty() && kind.chars().all(is_word)
    })
}

fn common_name_key(text: &str) -> Box<[u8]> {
    [&[0], folded(text).as_bytes()].concat().into()
}

/// The same for a name and for the same name the other way round.
fn whole_key(name: &DistinguishedName) -> Box<[u8]> {
    [&[1], &*name.key().min(name.key_reversed())].concat().into()
}

/// Entries are the operator's own, so that nobody makes two of them meet.
fn mark(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl fmt::Display for SubjectRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for SubjectRuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubjectRuleError::Empty => f.write_str("there is nothing in it"),
            SubjectRuleError::TooLong(limit) => write!(f, "longer than {limit} bytes"),
            SubjectRuleError::Control => f.write_str("it has a control character in it"),
            SubjectRuleError::Slashes => {
                f.write_str("write commas for the slashes, as in \"CN=agent, O=Example\"")
            }
            SubjectRuleError::EmptyValue => f.write_str(
                "an attribute in it is empty; write its value, as in \"CN=agent, O=Example\"",
            ),
            SubjectRuleError::Name(error) => write!(
                f,
                "{error}; a whole subject is written as in \"CN=agent, O=Example\", a common name by itself"
            ),
        }
    }
}

impl std::error::Error for SubjectRuleError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DistinguishedName {
        DistinguishedName::parse(text).unwrap()
    }

    fn rules(subjects: &[&str], unseen: UnseenAllowed) -> CertificateRules {
        let subjects = subjects.iter().map(|text| SubjectRule::parse(text).unwrap());
        CertificateRules {
            subjects: Subjects::new(subjects.collect()),
            unseen,
            resumable: Arc::default(),
        }
    }

    #[test]
    fn a_plain_value_is_any_common_name_and_a_written_name_is_the_whole() {
        const AGENT: &str = "CN=WS-1, CN=agent, OU=Linux Monitoring Agent, O=Microsoft";
        const REVERSED: &str = "O=Microsoft, OU=Linux Monitoring Agent, CN=agent, CN=WS-1";
        for (rule, subject, is_admitted) in [
            ("ws-1", AGENT, true),
            ("agent", AGENT, true),
            (" Agent ", AGENT, true),
            ("WS-1", REVERSED, true),
            (AGENT, AGENT, true),
            (REVERSED, AGENT, true),
            (AGENT, REVERSED, true),
            ("ws", AGENT, false),
            ("ws-11", AGENT, false),
            ("Microsoft", AGENT, false),
            ("CN=WS-1", AGENT, false),
            ("CN=WS-1, CN=agent", AGENT, false),
            ("OU=Linux Monitoring Agent, CN=agent, CN=WS-1, O=Microsoft", AGENT, false),
            ("CN=Gateway", "CN=Gateway", true),
            ("Gateway", "CN=Gateway", true),
            ("Gateway", "CN=Gateway.evil", false),
            ("Gateway", "O=Gateway", false),
            ("Foo, Inc", "CN=Foo\\, Inc", true),
            ("CN=Foo\\, Inc", "CN=Foo\\, Inc", true),
            ("CN=Foo\\, Inc", "CN=Foo, O=Inc", false),
            ("CN=a+O=b", "O=b+CN=a", true),
            ("CN=a+O=b", "CN=a, O=b", false),
            ("a b", "CN=A   B", true),
            ("ab", "CN=a b", false),
            ("\u{fc}", "CN=\u{fc}", true),
            ("\u{dc}", "CN=\u{fc}", false),
        ] {
            let judged = rules(&[rule], UnseenAllowed::default()).judge_subject(&name(subject));
            assert_eq!(judged.is_ok(), is_admitted, "{rule:?} for {subject:?}");
            if let Err(refusal) = judged {
                assert_eq!(refusal.reason, Reason::ClientCertificateNotAllowed);
            }
        }
    }

    #[test]
    fn mistyped_entries_are_told() {
        use NameError::*;
        for (text, error) in [
            ("", SubjectRuleError::Empty),
            ("  ", SubjectRuleError::Empty),
            ("a\0b", SubjectRuleError::Control),
            ("CN=a\nO=b", SubjectRuleError::Control),
            ("/CN=a/O=b", SubjectRuleError::Slashes),
            ("CM=a", SubjectRuleError::Name(UnknownType("CM".into()))),
            ("CN=Foo, Inc", SubjectRuleError::Name(NoValue("Inc".into()))),
            ("CN=a\\00b", SubjectRuleError::Name(Control)),
            ("CN=", SubjectRuleError::EmptyValue),
            ("CN= , O=Example", SubjectRuleError::EmptyValue),
            ("CN=\"\"", SubjectRuleError::EmptyValue),
        ] {
            assert_eq!(SubjectRule::parse(text), Err(error.clone()), "{text}");
            assert!(!error.to_string().is_empty());
        }
        let long = SubjectRule::parse(&"a".repeat(RULE_BYTES + 1));
        assert_eq!(long, Err(SubjectRuleError::TooLong(RULE_BYTES)));
        let keys = ["CN=a, O=b", "o=B,cn=A", "CN=\"a\"; O=b"]
            .map(|text| SubjectRule::parse(text).unwrap().key().to_owned());
        assert!(keys.iter().all(|key| *key == keys[0]), "they admit the same");
        assert_ne!(SubjectRule::parse("CN=a+O=b").unwrap().key(), &*keys[0]);
        for plain in ["https://a/b", "a b = c", "1 + 1"] {
            assert!(SubjectRule::parse(plain).is_ok(), "{plain}");
        }
    }

    #[test]
    fn a_resumed_session_is_as_good_as_what_admitted_it() {
        let with = |subjects: &[&str]| rules(subjects, UnseenAllowed::default());
        let grounds = with(&["a", "b"]).judge_subject(&name("CN=a, CN=b")).unwrap();
        let none = UnseenAllowed { none: true, ..UnseenAllowed::default() };
        let any = UnseenAllowed { resumed: true, ..UnseenAllowed::default() };
        for (rules, grounds, outcome) in [
            (with(&["a", "b"]), Some(grounds), Some(Some(grounds))),
            (with(&["A"]), Some(grounds), Some(Some(grounds))),
            (with(&["b"]), Some(grounds), None),
            (with(&["a"]), None, None),
            (with(&["a"]), Some(Grounds::NoneNeeded), None),
            (rules(&["a"], none), Some(Grounds::NoneNeeded), Some(Some(Grounds::NoneNeeded))),
            (rules(&["a"], none), None, None),
            (rules(&["b"], any), Some(grounds), Some(None)),
            (rules(&["b"], any), None, Some(None)),
        ] {
            let judged = rules.judge_resumed(grounds);
            assert_eq!(judged.ok(), outcome, "{grounds:?} {:?}", rules.unseen);
        }
    }
}
