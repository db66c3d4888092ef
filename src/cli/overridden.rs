//! Keys of the file that do not count for a running gateway, as its start gave them other values.

use crate::observe::status::ConfigurationStatus;

/// The flags of `sluice run` that give a key its value.
const FLAGS: [(&str, &str); 2] = [("listen", "--listen"), ("events.format", "--log-format")];

/// The flag of `sluice run` that beats `key` of the file, where there is one.
pub(super) fn flag(key: &str) -> Option<&'static str> {
    FLAGS.into_iter().find(|(known, _)| *known == key).map(|(_, flag)| flag)
}

/// What its start gave this gateway, so that `key` of the file does not count; `None` where it counts.
pub(super) fn by(configuration: &ConfigurationStatus, key: &str) -> Option<String> {
    configuration.overrides.iter().find(|one| *one == key)?;
    Some(match flag(key) {
        _ if key == "listen" && configuration.inherited_sockets => {
            "the sockets of its service manager".to_owned()
        }
        Some(flag) => format!("`{flag}`"),
        // A gateway of another version may know more flags.
        None => "a flag for it".to_owned(),
    })
}

/// Each key that does not count, with what beats it.
pub(super) fn all(configuration: &ConfigurationStatus) -> impl Iterator<Item = String> {
    let told = |key: &String| Some(format!("{key} (by {})", by(configuration, key)?));
    configuration.overrides.iter().filter_map(told)
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::super::run::RunFlags;
    use super::*;
    use crate::config::schema::Overrides;
    use crate::observe::settings::Format;

    #[test]
    fn every_override_has_its_flag() {
        let listen = vec![([127, 0, 0, 1], 1).into()];
        let overrides = Overrides { listen, log_format: Some(Format::Json) };
        let run = RunFlags::augment_args(clap::Command::new("run"));
        let known = |flag: &str| run.get_arguments().any(|one| one.get_long() == Some(&flag[2..]));
        assert_eq!(overrides.keys(), FLAGS.map(|(key, _)| key));
        assert!(FLAGS.iter().all(|(_, flag)| known(flag)), "{FLAGS:?}");
        assert_eq!(Overrides::default().keys(), Vec::<&str>::new());
    }

    #[test]
    fn what_beats_a_key_is_told() {
        let mut configuration = ConfigurationStatus::default();
        assert_eq!(by(&configuration, "listen"), None);
        configuration.overrides = vec!["listen".to_owned(), "events.format".to_owned()];
        let told: Vec<String> = all(&configuration).collect();
        assert_eq!(told, ["listen (by `--listen`)", "events.format (by `--log-format`)"]);
        configuration.inherited_sockets = true;
        let by_sockets = by(&configuration, "listen");
        assert_eq!(by_sockets.as_deref(), Some("the sockets of its service manager"));
    }
}
