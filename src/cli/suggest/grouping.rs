//! Suffixes that several names share. Whose a suffix is no list can tell for sure: below `s3.amazonaws.com`
//! anybody may have a name. So a wildcard is never proposed, only remarked on.

use std::collections::BTreeMap;

use crate::azure::catalog::Catalog;
use crate::logic::hosts::{DEFAULT_PORT, HostPattern};
use crate::proto::target::{Host, Target};

/// Names below one suffix that make a wildcard worth a remark.
const NAMES_LEAST: usize = 3;
/// Labels that the suffix must have: `*.example.com` is most often wider than the one who asks.
const LABELS_LEAST: usize = 3;

/// A suffix, and how many of the names end with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shared {
    pub(super) suffix: String,
    pub(super) names: usize,
    pub(super) wildcard: HostPattern,
}

/// What several of `targets` end with and is not known to be everyone's, in the order of the alphabet.
pub(super) fn shared(targets: &[&Target], catalog: &Catalog) -> Vec<Shared> {
    let mut below: BTreeMap<(&str, u16), usize> = BTreeMap::new();
    for key in targets.iter().filter_map(|target| suffix(target)) {
        *below.entry(key).or_default() += 1;
    }
    below.retain(|(suffix, _), names| *names >= NAMES_LEAST && !catalog.is_everyones(suffix));
    let shared = |((suffix, port), names): ((&str, u16), usize)| {
        let text = match port {
            DEFAULT_PORT => format!("*.{suffix}"),
            _ => format!("*.{suffix}:{port}"),
        };
        let wildcard = HostPattern::parse(&text).ok()?;
        Some(Shared { suffix: suffix.to_owned(), names, wildcard })
    };
    below.into_iter().filter_map(shared).collect()
}

fn suffix(target: &Target) -> Option<(&str, u16)> {
    let Host::Name(name) = &target.host else { return None };
    let (_, suffix) = name.split_once('.')?;
    (suffix.split('.').count() >= LABELS_LEAST).then_some((suffix, target.port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wildcards(targets: &[&str]) -> Vec<String> {
        let targets: Vec<Target> =
            targets.iter().map(|text| Target::parse(text.as_bytes()).unwrap()).collect();
        let targets: Vec<&Target> = targets.iter().collect();
        let shared = shared(&targets, Catalog::built_in());
        shared.iter().map(|one| format!("{} {}", one.names, one.wildcard)).collect()
    }

    #[test]
    fn three_names_below_three_labels_are_remarked_on() {
        let rows: [(&[&str], &[&str]); 5] = [
            (
                &["a.logs.example.com:443", "b.logs.example.com:443", "c.logs.example.com:443"],
                &["3 *.logs.example.com"],
            ),
            (&["a.logs.example.com:443", "b.logs.example.com:443", "c.logs.example.com:80"], &[]),
            (&["a.example.com:443", "b.example.com:443", "c.example.com:443"], &[]),
            (
                &[
                    "a.blob.core.windows.net:443",
                    "b.blob.core.windows.net:443",
                    "c.blob.core.windows.net:443",
                ],
                &[],
            ),
            (&["10.1.2.3:443", "[2001:db8::1]:443", "[2001:db8::1]:8443", "intranet:443"], &[]),
        ];
        for (targets, expected) in rows {
            assert_eq!(wildcards(targets), expected);
        }
    }
}
