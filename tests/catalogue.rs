//! The catalogue of faults against the tests that prove what the gateway does about each.
//!
//! One Markdown table per section lies in `tests/catalogue/`: the row's id, the fault, and the tests as
//! `target::path::function`, separated by commas. What no test can show yet is said instead, at the end
//! of the cell: `later: WHAT IT WAITS FOR` or `not here: WHY`. A row that is missing, empty, or names a
//! test that does not exist fails here.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

/// Every row there is, by section.
const ROWS: &[(&str, &[u32])] = &[
    ("A", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 17]),
    ("B", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 16, 17, 18, 19]),
    ("C", &[1, 2, 3, 4, 5, 7, 8]),
    ("D", &[1, 2, 4, 6, 7, 8, 9, 10, 11]),
    ("E", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 22, 23]),
    ("F", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 16]),
    ("G", &[1, 2, 3, 4, 5, 6, 8, 9, 10, 11]),
    ("H", &[1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14]),
    ("I", &[1, 2, 3, 4, 5, 6]),
    ("J", &[1, 2, 3, 4, 5, 7, 8, 10, 11]),
];

/// What a cell says instead of tests; the rest of the cell says what for.
const EXCUSES: [&str; 2] = ["later: ", "not here: "];

const HEADING: [&str; 2] = ["| row | fault | tests |", "|---|---|---|"];

#[test]
fn every_row_of_the_catalogue_has_a_test_or_says_why_not() {
    let mut faults = Vec::new();
    for (section, rows) in ROWS {
        let path = folder().join("tests/catalogue").join(format!("{section}.md"));
        match std::fs::read_to_string(&path) {
            Ok(text) => faults.extend(check_table(section, rows, &text)),
            Err(error) => faults.push(format!("{}: {error}", path.display())),
        }
    }
    for entry in std::fs::read_dir(folder().join("tests/catalogue")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if !ROWS.iter().any(|(section, _)| name == format!("{section}.md")) {
            faults.push(format!("tests/catalogue/{name} is the table of no section"));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// What is wrong with the table of a section.
fn check_table(section: &str, rows: &[u32], text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expected = rows.iter().map(|row| format!("{section}{row}")).peekable();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    if lines.get(..2) != Some(&HEADING) {
        faults.push(format!("{section}.md: a table begins with {:?}", HEADING.join("\n")));
    }
    for line in lines.iter().skip(2) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, fault, tests] = cells[..] else {
            faults.push(format!("{section}.md: not three cells: {line}"));
            continue;
        };
        match expected.next() {
            Some(next) if next == id => {}
            Some(next) => {
                faults.push(format!("{section}.md: {id} stands where {next} belongs"));
                return faults;
            }
            None => faults
                .push(format!("{section}.md: {id} is no row of the catalogue, or stands twice")),
        }
        if fault.is_empty() {
            faults.push(format!("{id}: the fault is not described"));
        }
        faults.extend(check_cell(tests).into_iter().map(|fault| format!("{id}: {fault}")));
    }
    faults.extend(expected.map(|missing| format!("{section}.md: {missing} is missing")));
    faults
}

/// What is wrong with the tests of a row.
fn check_cell(cell: &str) -> Vec<String> {
    let excuse = EXCUSES.iter().filter_map(|excuse| cell.find(excuse)).min();
    let named = &cell[..excuse.unwrap_or(cell.len())];
    let names: Vec<&str> =
        named.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() && excuse.is_none() {
        return vec![format!("no test; say which, or one of {EXCUSES:?}")];
    }
    names.iter().filter_map(|name| find_test(name).err()).collect()
}

/// Finds `target::path::function` and sees that it is a test.
fn find_test(name: &str) -> Result<(), String> {
    let mut path: Vec<&str> = name.trim_matches('`').split("::").collect();
    let function = path.pop().unwrap_or_default();
    let Some((target, modules)) = path.split_first() else {
        return Err(format!("{name:?} is not target::path::function"));
    };
    let (mut file, mut below) =
        root_of(target).ok_or_else(|| format!("{name}: there is no test target {target}"))?;
    let mut modules = modules.iter().peekable();
    while let Some(module) = modules.peek() {
        let next = [format!("{module}.rs"), format!("{module}/mod.rs")];
        let Some(next) = next.iter().map(|next| below.join(next)).find(|next| next.is_file())
        else {
            break;
        };
        file = next;
        below.push(module);
        modules.next();
    }
    let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
    // What is left are modules within the file.
    for module in modules {
        let opens = |line: &str| {
            line.trim().trim_start_matches("pub ").strip_prefix("mod ")
                == Some(&format!("{module} {{"))
        };
        if !text.lines().any(opens) {
            return Err(format!("{name}: no module {module} in {}", file.display()));
        }
    }
    if is_test(&text, function) {
        Ok(())
    } else {
        Err(format!("{name}: no #[test] of this name in {}", file.display()))
    }
}

/// The file that a target begins with, and the folder of its modules.
fn root_of(target: &str) -> Option<(PathBuf, PathBuf)> {
    let places = [
        (format!("tests/{target}/main.rs"), format!("tests/{target}")),
        (format!("tests/{target}.rs"), "tests".to_owned()),
        (format!("loadgen/tests/{target}/main.rs"), format!("loadgen/tests/{target}")),
        ("src/lib.rs".to_owned(), "src".to_owned()),
        ("loadgen/src/main.rs".to_owned(), "loadgen/src".to_owned()),
    ];
    let places = places.map(|(root, below)| (folder().join(root), folder().join(below)));
    let [folder_of_tests, one_file, of_loadgen, library, loadgen] = places;
    match target {
        "sluice" => Some(library),
        "loadgen" => Some(loadgen),
        _ => [folder_of_tests, one_file, of_loadgen].into_iter().find(|(root, _)| root.is_file()),
    }
}

/// Whether the text has a function of this name with `#[test]` among its attributes.
fn is_test(text: &str, function: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let begins = format!("fn {function}(");
    let places = lines.iter().enumerate().filter(|(_, line)| line.starts_with(&begins));
    places.map(|(at, _)| at).any(|at| {
        let above = lines[..at].iter().rev();
        above.take_while(|line| line.starts_with(['#', '/'])).any(|line| *line == "#[test]")
    })
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Plants one of each fault and expects it found.
mod planted {
    use super::*;

    fn faults(rows: &[&str]) -> Vec<String> {
        let table = [&HEADING, rows].concat().join("\n");
        check_table("A", &[1, 2], &table)
    }

    const GOOD: &str = "`catalogue::planted::a_whole_table_has_no_fault`";

    #[test]
    fn a_whole_table_has_no_fault() {
        let first =
            format!("| A1 | something | {GOOD}, sluice::proto::target::tests::nothing_panics |");
        assert_eq!(faults(&[&first, "| A2 | something | later: another time |"]), [""; 0]);
        let both = format!("| A1 | something | {GOOD}, not here: on this system, that is |");
        assert_eq!(faults(&[&both, "| A2 | something | not here: never |"]), [""; 0]);
    }

    #[test]
    fn each_fault_is_found() {
        let good = format!("| A1 | something | {GOOD} |");
        let rows = [
            ("| A2 | | not here: never |", "not described"),
            ("| A2 | something | |", "no test"),
            ("| A2 | something | later: |", "is not target::path::function"),
            ("| A2 | something | not here:  |", "is not target::path::function"),
            ("| A2 | something |", "not three cells"),
            ("| A3 | something | not here: never |", "A3 stands where A2 belongs"),
            ("| A2 | something | a_function |", "is not target::path::function"),
            ("| A2 | something | nothing::here |", "no test target"),
            ("| A2 | something | catalogue::nothing::here |", "no module nothing"),
            ("| A2 | something | catalogue::planted::each_fault |", "no #[test]"),
            ("| A2 | something | catalogue::planted::faults |", "no #[test]"),
            ("| A2 | something | sluice::proto::nothing::here |", "no module nothing"),
        ];
        for (row, fault) in rows {
            let found = faults(&[&good, row]).join("\n");
            assert!(found.contains(fault), "{row}: {found:?}");
        }
        assert!(faults(&[&good])[0].contains("A2 is missing"));
        let second = "| A2 | something | not here: never |";
        assert!(faults(&[&good, second, second])[0].contains("stands twice"));
        assert!(!check_table("A", &[1], &good).is_empty(), "a table without its heading");
    }
}
