//! `hybrid-worker`.

use super::program::Site;

#[test]
fn a_location_goes_by_any_of_its_names() {
    let site = Site::new("# fleet\r\n[azure]\r\nregions = []\r\n");
    let add = ["hybrid-worker", "add", "west europe"];
    let told = &["West Europe is on the list now: code we, registered automatic", "Warning: *."];
    site.words(&add, "").expect("add", 0, told, site.folder.path());
    let with = |entry: &str| {
        format!("# fleet\r\n[azure]\r\nregions = []\r\nhybrid_workers = [{entry}]\r\n")
    };
    assert_eq!(site.text(), with("\"West Europe\""));
    site.expect("hybrid-worker add we", 0, &["on the list already (/sluice.toml:4:19)"]);
    site.expect("hybrid-worker add we --registered cmdlet", 0, &["has other options now"]);
    let table = "{ location = \"West Europe\", registered = \"cmdlet\" }";
    assert_eq!(site.text(), with(table));
    site.expect("hybrid-worker add WestEurope", 0, &["already", "registered cmdlet"]);
    site.expect("hybrid-worker add jpe", 0, &["Japan"]);
    site.expect("hybrid-worker list", 0, &["West Europe", "code we, registered cmdlet\n", "jpe"]);
    let origin = "hybrid worker in West Europe, registered cmdlet";
    site.expect("allowed-host list --effective", 0, &[origin, "we-agentservice-prod-1."]);
    site.expect("hybrid-worker remove Japan", 0, &["is off the list"]);
    assert_eq!(site.text(), with(table));
    site.expect("hybrid-worker remove WE", 0, &["No location of hybrid workers is on it now"]);
    assert_eq!(site.text(), with(""));
    site.expect("hybrid-worker list", 0, &["lists no location"]);
}

#[test]
fn what_is_no_location_is_told_and_changes_nothing() {
    let site = Site::new("workers = 1\n");
    for (line, code, words) in [
        ("add WestErope", 2, &["did you mean \"West Europe\"?", "Nothing was changed"][..]),
        ("add Atlantis", 2, &["no such location", "portal"]),
        ("add we --registered hand", 2, &["automatic, cmdlet"]),
        ("remove we", 1, &["West Europe is not on the list", "Nothing was changed"]),
        ("remove", 2, &["Usage"]),
    ] {
        site.expect(&format!("hybrid-worker {line}"), code, words);
        assert_eq!(site.text(), "workers = 1\n", "{line}");
    }
}

#[test]
fn locations_with_a_header_for_each_come_change_and_go() {
    let first = "[[azure.hybrid_workers]]\nlocation = 'we' # by its code\n";
    let site = Site::new(first);
    site.expect("hybrid-worker add we --registered cmdlet", 0, &["has other options now"]);
    assert_eq!(site.text(), format!("{first}registered = \"cmdlet\"\n"));
    site.expect("hybrid-worker add we --registered automatic", 0, &["registered automatic"]);
    assert_eq!(site.text(), first);
    site.expect("hybrid-worker add Japan", 0, &["Japan East is on the list now"]);
    let japan = "[[azure.hybrid_workers]]\nlocation = \"Japan East\"\n";
    assert_eq!(site.text(), format!("{first}\n{japan}"));
    site.expect("hybrid-worker remove Atlantis", 2, &["no such location"]);
    site.expect("hybrid-worker remove WestEurope", 0, &["West Europe is off the list"]);
    assert_eq!(site.text(), japan);
}
