//! What differs between two configurations, in words for the one who changed it.

use std::collections::BTreeSet;

use super::schema::Config;
use crate::logic::hosts::HostPattern;

/// Names of hosts that are told one by one.
const NAMES_MAX: usize = 8;

/// The keys that differ between `old` and `new`; empty where nothing does.
pub fn between(old: &Config, new: &Config) -> Vec<String> {
    let mut changes = Vec::new();
    let mut note = |key: &str, differs: bool| {
        if differs {
            changes.push(key.to_owned());
        }
    };
    note("listen", old.listen != new.listen);
    note("carrier", old.carrier != new.carrier);
    let (old_relay, new_relay) = (&old.relay_proxy, &new.relay_proxy);
    note("relay_proxy.addresses", old_relay.addresses != new_relay.addresses);
    note("relay_proxy.direct", old_relay.direct != new_relay.direct);
    note("relay_proxy.username", old_relay.username != new_relay.username);
    // The name is part of it.
    let same_user = old_relay.username == new_relay.username;
    let same_password = old_relay.authorization == new_relay.authorization;
    note("relay_proxy.password", same_user && !same_password);
    note("dial.source_addresses", old.source_addresses != new.source_addresses);
    note("allow.addresses", old.addresses != new.addresses);
    note("allow.clients", old.clients != new.clients);
    note("allow.feed", old.feed != new.feed);
    note("azure", old.azure != new.azure);
    note("proxy_protocol.from", old.balancers != new.balancers);
    note("allow.cut_open", old.cuts_open != new.cuts_open);
    note("tls.min_version", old.min_version != new.min_version);
    note("tls.server_name", old.match_server_name != new.match_server_name);
    note("allow.client_certificates", old.client_certificates != new.client_certificates);
    let unseen_differs = old.unseen_client_certificate != new.unseen_client_certificate;
    note("tls.unseen_client_certificate", unseen_differs);
    note("admin.listen", old.admin_listen != new.admin_listen);
    note("events", old.events != new.events);
    if old.workers != new.workers {
        changes.push("workers (takes effect with a restart)".to_owned());
    }
    if old.allow_mode != new.allow_mode {
        changes.push(format!("allow.mode = \"{}\"", new.allow_mode.as_str()));
    }
    let hosts = hosts(old.hosts.iter(), new.hosts.iter());
    changes.extend(hosts.map(|hosts| format!("allow.hosts ({hosts})")));
    changes.extend(limits(old, new));
    changes
}

/// The keys that have effect only with a restart, where the process has another value.
pub fn pending(workers: usize, wanted: usize) -> Vec<String> {
    let differs = workers != wanted;
    differs.then(|| format!("workers ({workers} run, {wanted} are wanted)")).into_iter().collect()
}

/// What two lists of hosts differ in, as in `+a.test -b.test and 7 more`; `None` where in nothing.
pub fn hosts<'a>(
    old: impl Iterator<Item = &'a HostPattern>,
    new: impl Iterator<Item = &'a HostPattern>,
) -> Option<String> {
    let old: BTreeSet<String> = old.map(ToString::to_string).collect();
    let new: BTreeSet<String> = new.map(ToString::to_string).collect();
    let added = new.difference(&old).map(|host| format!("+{host}"));
    let removed = old.difference(&new).map(|host| format!("-{host}"));
    let all: Vec<String> = added.chain(removed).collect();
    let more = all.len().saturating_sub(NAMES_MAX);
    let shown = all.iter().take(NAMES_MAX).cloned().collect::<Vec<_>>().join(" ");
    match (all.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(shown),
        (false, more) => Some(format!("{shown} and {more} more")),
    }
}

/// The derived `Debug` of limits lists `key: value` in one order, which is all that is needed here.
fn limits(old: &Config, new: &Config) -> Vec<String> {
    let (old, new) = (format!("{:?}", old.limits), format!("{:?}", new.limits));
    let fields = |text: &str| -> Vec<String> {
        let inside = text.trim_start_matches("Limits { ").trim_end_matches(" }");
        inside.split(", ").map(|field| field.replace(": ", " = ")).collect()
    };
    let differing = fields(&old).into_iter().zip(fields(&new)).filter(|(old, new)| old != new);
    differing.map(|(_, new)| format!("limits.{new}")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::load::parse;

    fn config(text: &str) -> Config {
        parse(text.as_bytes(), Path::new("c.toml")).expect("a good configuration")
    }

    #[test]
    fn what_changed_is_named() {
        let old = config("allow.hosts = [\"a.b\", \"c.d\"]\n");
        let rows = [
            ("allow.hosts = [\"c.d\", \"a.b\"]\n", vec![]),
            ("allow.hosts = [\"a.b\", \"e.f\"]\n", vec!["allow.hosts (+e.f -c.d)"]),
            (
                "workers = 3\nallow.hosts = [\"a.b\", \"c.d\"]\nlimits.idle_ms = 5\n",
                vec!["workers (takes effect with a restart)", "limits.idle_ms = 5"],
            ),
            (
                "listen = [\"127.0.0.1:1\"]\nallow.hosts = [\"a.b\", \"c.d\"]\ntls.min_version = \"1.3\"",
                vec!["listen", "tls.min_version"],
            ),
            (
                "allow.hosts = [\"a.b\", \"c.d\"]\nrelay_proxy.addresses = [\"http://p\"]\n\
                 relay_proxy.direct = [\"e.f\"]\nrelay_proxy.username = \"u\"\n\
                 relay_proxy.password = \"hunter2\"",
                vec!["relay_proxy.addresses", "relay_proxy.direct", "relay_proxy.username"],
            ),
            (
                "allow.hosts = [\"a.b\", \"c.d\"]\nallow.feed.url = \"https://e.f/\"\n\
                 allow.feed.cache_file = \"g\"",
                vec!["allow.feed"],
            ),
            (
                "allow.hosts = [\"a.b\", \"c.d\"]\nallow.mode = \"report\"",
                vec!["allow.mode = \"report\""],
            ),
            (
                "allow.hosts = [\"a.b\", \"c.d\"]\nproxy_protocol.from = [\"10.0.0.0/8\"]",
                vec!["proxy_protocol.from"],
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(between(&old, &config(text)), expected, "{text}");
        }
    }
}
