//! Names that one pattern could take the place of.

use std::collections::BTreeMap;

use super::asked::Asked;
use crate::azure::catalog::Catalog;
use crate::logic::hosts::HostPattern;
use crate::proto::target::{Host, Target};

/// Names below one suffix that make a pattern worth its width.
const NAMES_LEAST: usize = 3;
/// Labels that the suffix must have: `*.example.com` is most often wider than the one who asks.
const LABELS_LEAST: usize = 3;

/// The pattern for each of `asked`: the target itself, or a wildcard where several share a suffix that is not
/// known to be everyone's.
pub(super) fn patterns(asked: &[&Asked], catalog: &Catalog) -> Vec<HostPattern> {
    let mut below: BTreeMap<(&str, u16), usize> = BTreeMap::new();
    for key in asked.iter().filter_map(|one| suffix(&one.target)) {
        *below.entry(key).or_default() += 1;
    }
    below.retain(|(suffix, _), names| *names >= NAMES_LEAST && !catalog.is_everyones(suffix));
    let pattern = |one: &&Asked| {
        let shared = suffix(&one.target).filter(|key| below.contains_key(key));
        let text = match shared {
            Some((suffix, port)) => format!("*.{suffix}:{port}"),
            None => one.target.to_string(),
        };
        // A target is a pattern without a star, and so is what follows its first dot.
        HostPattern::parse(&text).expect("a valid target makes a valid pattern")
    };
    asked.iter().map(pattern).collect()
}

fn suffix(target: &Target) -> Option<(&str, u16)> {
    let Host::Name(name) = &target.host else { return None };
    let (_, suffix) = name.split_once('.')?;
    (suffix.split('.').count() >= LABELS_LEAST).then_some((suffix, target.port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns_for(targets: &[&str]) -> Vec<String> {
        let asked: Vec<Asked> = targets
            .iter()
            .map(|text| Asked {
                target: Target::parse(text.as_bytes()).unwrap(),
                count: 1,
                clients: Vec::new(),
                more_clients: false,
            })
            .collect();
        let asked: Vec<&Asked> = asked.iter().collect();
        patterns(&asked, Catalog::built_in()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn three_names_below_three_labels_make_a_pattern() {
        let rows: [(&[&str], &[&str]); 5] = [
            (
                &["a.logs.example.com:443", "b.logs.example.com:443", "c.logs.example.com:443"],
                &["*.logs.example.com"; 3],
            ),
            (
                &["a.logs.example.com:443", "b.logs.example.com:443", "c.logs.example.com:80"],
                &["a.logs.example.com", "b.logs.example.com", "c.logs.example.com:80"],
            ),
            (
                &["a.example.com:443", "b.example.com:443", "c.example.com:443"],
                &["a.example.com", "b.example.com", "c.example.com"],
            ),
            (
                &[
                    "a.blob.core.windows.net:443",
                    "b.blob.core.windows.net:443",
                    "c.blob.core.windows.net:443",
                ],
                &["a.blob.core.windows.net", "b.blob.core.windows.net", "c.blob.core.windows.net"],
            ),
            (
                &["10.1.2.3:443", "[2001:db8::1]:443", "[2001:db8::1]:8443", "intranet:443"],
                &["10.1.2.3", "2001:db8::1", "[2001:db8::1]:8443", "intranet"],
            ),
        ];
        for (targets, expected) in rows {
            assert_eq!(patterns_for(targets), expected);
        }
    }
}
