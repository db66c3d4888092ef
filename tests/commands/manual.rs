//! The manual pages, every one of them.

use std::collections::BTreeMap;

use super::program::Site;

/// The pages by their names, without the markup of single letters and words.
fn pages(site: &Site) -> BTreeMap<String, String> {
    let folder = site.folder.path().join("man1");
    let to = folder.to_string_lossy().into_owned();
    site.words(&["man", "--to", &to], "").expect("man --to", 0, &[], site.folder.path());
    let files = std::fs::read_dir(folder).unwrap().flatten();
    let page = |file: std::fs::DirEntry| {
        let text = std::fs::read_to_string(file.path()).unwrap();
        (file.file_name().to_string_lossy().into_owned(), plain(&text))
    };
    files.map(page).collect()
}

fn plain(text: &str) -> String {
    let marks =
        [("\\fB", ""), ("\\fI", ""), ("\\fR", ""), ("\\*(Aq", "'"), ("\\-", "-"), ("\\\\", "\\")];
    marks.iter().fold(text.to_owned(), |text, (mark, letter)| text.replace(mark, letter))
}

/// What stands under a heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!(".SH {heading}\n")).unwrap_or_default();
    rest.split_once("\n.SH ").map_or(rest, |(section, _)| section).trim_end()
}

#[test]
fn every_page_is_whole() {
    let site = Site::empty();
    let pages = pages(&site);
    assert!(pages.len() >= 30, "{:?}", pages.keys());
    for (name, page) in &pages {
        let title = name.strip_suffix(".1").unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let head = format!(".TH {title} 1 \" \" \"sluice {version}\" \"Sluice Manual\"\n");
        assert!(page.contains(&head), "{name}: {page}");
        assert_eq!(page.matches(".el .ds Aq").count(), 1, "{name}: {page}");
        let headings = page.lines().filter_map(|line| line.strip_prefix(".SH "));
        let headings: Vec<&str> = headings.filter(|heading| *heading != "SUBCOMMANDS").collect();
        let all = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES"];
        assert_eq!(headings, all, "{name}");
        assert!(section(page, "NAME").starts_with(&format!("{title} - ")), "{name}: {page}");
        assert!(section(page, "SYNOPSIS").contains(" [--config <FILE>]"), "{name}: {page}");
    }
    assert_eq!(plain(&site.run("man").out), pages["sluice.1"]);
}

#[test]
fn a_synopsis_shows_what_may_be_written() {
    let pages = pages(&Site::empty());
    for (name, synopsis) in [
        ("sluice", "sluice [--config <FILE>] [--help] [--version] <COMMAND>"),
        ("sluice-config", "sluice config [--config <FILE>] [--help] <COMMAND>"),
        ("sluice-config-get", "sluice config get [--config <FILE>] [--help] [KEY]"),
        ("sluice-config-set", "sluice config set [--config <FILE>] [--help] <KEY> <VALUE>..."),
        (
            "sluice-run",
            "sluice run [--listen <ADDR:PORT>] [--log-format <text|json>] [--config <FILE>] [--help]",
        ),
    ] {
        assert_eq!(section(&pages[&format!("{name}.1")], "SYNOPSIS"), synopsis);
    }
}

#[test]
fn what_the_help_says_behind_the_options_stands_in_the_page() {
    let site = Site::empty();
    let mut examples = 0;
    for (name, page) in pages(&site) {
        let asked = section(&page, "SYNOPSIS").split(" [").next().unwrap();
        let help = site.run(&format!("{} --help", asked.trim_start_matches("sluice"))).out;
        let (_, behind) = help.split_once("\nExample").unwrap();
        let (listed, details) = behind.split_once("\n\n").unwrap_or((behind, ""));
        for line in listed.lines().skip(1) {
            examples += 1;
            let line = format!("\n{}\n", line.trim());
            assert!(section(&page, "EXAMPLES").contains(&line), "{name}: no {line} in {page}");
        }
        for paragraph in details.split("\n\n").filter(|text| !text.is_empty()) {
            let line = format!("\n.PP\n{}", paragraph.trim_end().replace('\n', " "));
            assert!(section(&page, "DESCRIPTION").contains(&line), "{name}: no {line} in {page}");
        }
    }
    assert!(examples >= 40, "only {examples} were found");
}
