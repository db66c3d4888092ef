//! All that is wrong with a configuration file: what `run` would refuse, and what only tests may write.

use std::net::SocketAddr;
use std::path::Path;

use toml_edit::{Document, Item, Value};

use super::load;
use super::place;
use super::problem::{Problem, Problems};

/// Everything that is wrong with `bytes`, which `file` is said to hold, in the order of the file.
pub fn problems(bytes: &[u8], file: &Path) -> Vec<Problem> {
    match load::parse_aside(bytes, file) {
        Ok(_) => place::text(bytes, file).map_or_else(
            |problem| vec![problem],
            |text| ports_of_the_system(text).locate(file, text),
        ),
        Err(problems) => problems,
    }
}

/// Port 0 is another port at each start: good for tests, where somebody reads what is printed, and for
/// nobody else.
fn ports_of_the_system(text: &str) -> Problems {
    let mut problems = Problems::new();
    let Ok(document) = Document::parse(text) else { return problems };
    let listen = document.get("listen").and_then(Item::as_array);
    let admin = document.get("admin").and_then(|admin| admin.get("listen"));
    let listen = listen.into_iter().flatten().map(|value| ("listen", value));
    let admin = admin.and_then(Item::as_value).map(|value| ("admin.listen", value));
    for (path, value) in listen.chain(admin) {
        let address = value.as_str().and_then(|text| text.parse::<SocketAddr>().ok());
        if let Some(address) = address.filter(|address| address.port() == 0) {
            let why = format!("{path}: \"{address}\": the port must be 1 to 65535, not 0");
            problems.add(Value::span(value), why);
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_tests_may_write_is_a_problem_at_its_place() {
        let file = Path::new("f.toml");
        let text =
            "\u{feff}listen = [\"127.0.0.1:0\", \"[::1]:8080\"]\n[admin]\nlisten = \"[::1]:0\"\n";
        let told: Vec<String> =
            problems(text.as_bytes(), file).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "f.toml:1:11: listen: \"127.0.0.1:0\": the port must be 1 to 65535, not 0",
                "f.toml:3:10: admin.listen: \"[::1]:0\": the port must be 1 to 65535, not 0",
            ]
        );
        assert_eq!(problems(b"workers = 1\nadmin.listen = \"\"", file), []);
        assert_eq!(problems(b"workers = 1000", file).len(), 1);
    }
}
