//! `allowed-host` and `allowed-client-certificate`.

use super::program::Site;

const FILE: &str = "# hosts of the fleet\r\n[allow]\r\nhosts = [\r\n    \"www.test.com\", # the first\r\n    \
                    \"*.ods.example.com\",\r\n]\r\n\r\n[limits]\r\nidle_ms = 5000 # short\r\n";

#[test]
fn a_host_comes_and_goes_and_the_file_stays_as_it_was() {
    let site = Site::new(FILE);
    site.expect("allowed-host add intranet.example.com:8443", 0, &["is allowed now", "within 3 s"]);
    let added = FILE.replace(
        "example.com\",\r\n]",
        "example.com\",\r\n    \"intranet.example.com:8443\",\r\n]",
    );
    assert_eq!(site.text(), added);
    let listed = site.run("allowed-host list").out;
    assert_eq!(listed, "www.test.com\n*.ods.example.com\nintranet.example.com:8443\n");
    site.expect("allowed-host remove Intranet.Example.com.:8443", 0, &["is off the list"]);
    assert_eq!(site.text(), FILE);
}

#[test]
fn every_answer_of_the_list_is_told() {
    let site = Site::new(FILE);
    for (line, code, words) in [
        ("add WWW.test.com", 0, &["is on the list already (/sluice.toml:4:5)"][..]),
        (
            "add a.ods.example.com",
            0,
            &["is allowed now", "*.ods.example.com (/sluice.toml:5:5) admits it too"],
        ),
        (
            "remove a.ods.example.com",
            0,
            &["is off the list; but *.ods.example.com", "still admits it"],
        ),
        (
            "remove www.tset.com",
            1,
            &[
                "www.tset.com is not on the list",
                "did you mean www.test.com?",
                "Nothing was changed",
            ],
        ),
        ("remove b.ods.example.com", 1, &["*.ods.example.com (/sluice.toml:5:5) admits it"]),
        ("remove www.test.com nope.example", 1, &["nope.example is not on the list"]),
        ("add *", 2, &["too broad", "*.example.com", "Nothing was changed"]),
        ("add *.com x.y ok.test.com", 2, &["\"*.com\": too broad"]),
        ("add https://www.test.com/", 2, &["a scheme or a path"]),
        ("add www..test.com", 2, &["\"www..test.com\""]),
        ("add", 2, &["Usage"]),
        (
            "list --effective",
            0,
            &["www.test.com       /sluice.toml:4:5\n", "*.ods.example.com  /sluice.toml:5:5\n"],
        ),
        ("remove www.test.com *.ods.example.com", 0, &["No host is allowed now"]),
        ("list", 0, &["lists none"]),
    ] {
        site.expect(&format!("allowed-host {line}"), code, words);
    }
    assert_eq!(
        site.text(),
        "# hosts of the fleet\r\n[allow]\r\nhosts = [\r\n]\r\n\r\n[limits]\r\nidle_ms = 5000 # short\r\n"
    );
}

#[test]
fn a_named_file_that_is_not_there_is_a_mistake_and_an_empty_one_is_filled() {
    let site = Site::empty();
    let file = site.folder.path().join("sluice.toml");
    let add = || {
        super::program::run(
            super::program::command(&file).args(["allowed-host", "add", "www.test.com"]),
            "",
        )
    };
    add().expect("add", 2, &["there is no such file; create it first"], site.folder.path());
    assert!(site.names().is_empty(), "{:?}", site.names());
    std::fs::write(&file, "").unwrap();
    add().expect("add", 0, &["www.test.com is allowed now"], site.folder.path());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "[allow]\nhosts = [\"www.test.com\"]\n");
    let ran = super::program::run(super::program::command(&file).arg("check"), "");
    ran.expect("check", 0, &["no problems; 1 host is allowed"], site.folder.path());
}

#[test]
fn what_a_check_would_refuse_is_refused_and_changes_nothing() {
    let wrong = "wrokers = 1\n[allow]\nhosts = []\n";
    let site = Site::new(wrong);
    let told = &["sluice.toml:1:1: unknown key \"wrokers\"; did you mean \"workers\"?", "already"];
    site.expect("allowed-host add www.test.com", 2, told);
    assert_eq!(site.text(), wrong);
    assert_eq!(site.names(), ["sluice.toml", "sluice.toml.lock"]);
    for damaged in ["[allow\n", "\0\0", "allow = 5\n", "[[allow]]\n", "[allow]\nhosts = 5\n"] {
        let site = Site::new(damaged);
        site.expect("allowed-host add www.test.com", 2, &["sluice.toml:"]);
        assert_eq!(site.text(), damaged);
    }
}

#[test]
fn subjects_come_and_go() {
    let site = Site::new("workers = 1\n");
    let add = ["allowed-client-certificate", "add", "mycert", "CN=agent, O=Example"];
    site.words(&add, "").expect("add", 0, &["From now on a session needs"], site.folder.path());
    let list = "client_certificates = [\"mycert\", \"CN=agent, O=Example\"]";
    assert_eq!(site.text(), format!("workers = 1\n\n[allow]\n{list}\n"));
    for (line, code, words) in [
        ("add mycert", 0, &["on the list already"][..]),
        ("add MyCert", 0, &["on the list already"]),
        ("add CN=agent,O=example", 0, &["on the list already (/sluice.toml:4:34)"]),
        ("add O=Example,CN=agent", 0, &["on the list already (/sluice.toml:4:34)"]),
        ("add subject=CN=agent,O=Example", 0, &["CN=agent,O=Example is on the list already"]),
        ("add CX=agent", 2, &["\"CX=agent\": ", "Nothing was changed"]),
        ("add CN=", 2, &["\"CN=\": an attribute in it is empty", "Nothing was changed"]),
        ("list", 0, &["mycert\nCN=agent, O=Example\n"]),
        ("list --effective", 0, &["/sluice.toml:4:24"]),
        ("remove mycrt", 1, &["did you mean mycert?"]),
        ("remove mycert", 0, &["mycert is off the list"]),
    ] {
        site.expect(&format!("allowed-client-certificate {line}"), code, words);
    }
    let remove = ["allowed-client-certificate", "remove", "subject=O = Example, CN = agent"];
    site.words(&remove, "").expect("remove", 0, &["not looked at"], site.folder.path());
    assert_eq!(site.text(), "workers = 1\n\n[allow]\nclient_certificates = []\n");
}
