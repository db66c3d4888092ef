//! Lists of ten and of 10,000 host patterns: hit and miss, by the form of the patterns.

use std::hint::black_box;

use criterion::Criterion;
use sluice::logic::hosts::{HostPattern, HostVerdict, Hosts};
use sluice::proto::target::Target;

/// A pattern with `#` for its number, a target that number 7 admits, and one that none does.
const FORMS: &[(&str, &str, &str)] = &[
    ("agent#.example.com", "agent7.example.com:443", "other.example.com:443"),
    ("*.w#.example.com", "a.w7.example.com:443", "a.x.example.com:443"),
    (
        "azgn#*.servicebus.windows.net",
        "azgn7-b.servicebus.windows.net:443",
        "b.servicebus.windows.net:443",
    ),
    (
        "*-azgn#.servicebus.windows.net",
        "b-azgn7.servicebus.windows.net:443",
        "b-c.servicebus.windows.net:443",
    ),
    (
        "*-#-*.servicebus.windows.net",
        "a-7-b.servicebus.windows.net:443",
        "a-b-c.servicebus.windows.net:443",
    ),
    ("intranet.example.com:1#", "intranet.example.com:17", "intranet.example.com:9"),
];

pub fn hosts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hosts");
    for (form, hit, miss) in FORMS {
        for count in [10, 10_000] {
            let list = list(form, count);
            for (what, target) in [("hit", hit), ("miss", miss)] {
                let target = Target::parse(target.as_bytes()).expect("a good target");
                let is_hit = matches!(list.judge(&target), HostVerdict::Allowed(_));
                assert_eq!(is_hit, what == "hit", "{form} {target}");
                group.bench_function(format!("{form}, {count}, {what}"), |bencher| {
                    bencher
                        .iter(|| matches!(list.judge(black_box(&target)), HostVerdict::Allowed(_)));
                });
            }
        }
    }
    group.finish();
}

fn list(form: &str, count: usize) -> Hosts {
    Hosts::new((0..count).map(|number| {
        HostPattern::parse(&form.replace('#', &number.to_string())).expect("a good pattern")
    }))
}
