//! `workspace`, and what follows from it in the effective lists, in `check` and in `explain`.

use super::program::Site;

const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";
const OTHER: &str = "fedcba98-7654-3210-fedc-ba9876543210";

#[test]
fn a_workspace_comes_changes_and_goes_and_the_file_stays_as_it_was() {
    let file = "[azure]\nworkspaces = [\n  # the fleet\n]\n\n[limits] # few\n";
    let site = Site::new(file);
    let with = |entry: &str| file.replace("# the fleet\n", &format!("# the fleet\n  {entry},\n"));
    let told = &["is on the list now: cloud public", "host patterns follow", "Warning: *.blob."];
    site.expect(&format!("workspace add {{{}}}", ID.to_uppercase()), 0, told);
    assert_eq!(site.text(), with(&format!("\"{ID}\"")));
    for line in ["", "--cloud usgov --region usgovvirginia --region USGovTexas", ""] {
        site.expect(&format!("workspace add {ID} {line}"), 0, &[ID]);
    }
    let table = format!(
        "{{ id = \"{ID}\", cloud = \"usgov\", regions = [\"usgovvirginia\", \"usgovtexas\"] }}"
    );
    assert_eq!(site.text(), with(&table));
    let shown = "cloud usgov, regions usgovvirginia, usgovtexas";
    site.expect("workspace list", 0, &[&format!("{ID}  {shown}\n")]);
    let there = format!("is on the list already (/sluice.toml:4:3): {shown}");
    site.expect(&format!("workspace add {ID}"), 0, &[&there]);
    site.expect("config get azure.workspaces", 0, &[&format!("[{table}]\n")]);
    site.expect("check", 0, &["sluice.toml: warning: *.blob.core.usgovcloudapi.net"]);
    site.expect(&format!("workspace remove {ID}"), 0, &["is off the list", "no host pattern"]);
    assert_eq!(site.text(), file);
    site.expect("workspace list", 0, &["lists no workspace"]);
}

#[test]
fn options_that_are_not_given_stay() {
    let site = Site::new(&format!(
        "[azure]\nworkspaces = [{{ id = \"{ID}\", cloud = \"usgov\", regions = [\"usgovtexas\"] }}]\n"
    ));
    for (line, told) in [
        ("--region usgovvirginia", "now: cloud usgov, regions usgovtexas, usgovvirginia"),
        (
            "--region usgovtexas",
            "already (/sluice.toml:2:15): cloud usgov, regions usgovtexas, usg",
        ),
        ("--cloud public", "now: cloud public, regions usgovtexas, usgovvirginia"),
    ] {
        site.expect(&format!("workspace add {ID} {line}"), 0, &[told]);
    }
}

#[test]
fn what_is_no_workspace_is_told_and_changes_nothing() {
    let text = format!("[azure]\nworkspaces = [\"{ID}\"]\n");
    let site = Site::new(&text);
    for (line, code, words) in [
        ("add fleet", 2, &["\"fleet\": a workspace id is a GUID", "Nothing was changed"][..]),
        (&format!("add {OTHER} --cloud mars"), 2, &["public, usgov, china"]),
        (&format!("add {OTHER} --region a.b"), 2, &["\"a.b\": a region is a name"]),
        (&format!("remove {OTHER}"), 1, &["is not on the list", "Nothing was changed"]),
        ("add", 2, &["Usage"]),
    ] {
        site.expect(&format!("workspace {line}"), code, words);
        assert_eq!(site.text(), text, "{line}");
    }
    let wrong = Site::new("wrokers = 1\n");
    wrong.expect(&format!("workspace add {ID}"), 2, &["unknown key", "already"]);
    let wrong = Site::new("[azure]\nworkspaces = [\"x\"]\n");
    wrong.expect(&format!("workspace add {ID}"), 2, &["sluice.toml:2:15: azure.workspaces"]);
}

#[test]
fn what_follows_is_shown_with_its_origin() {
    let data = format!("{ID}.ods.opinsights.azure.com");
    let site = Site::new(&format!(
        "[allow]\nhosts = [\"www.test.com\", \"{data}\"]\n[azure]\nworkspaces = [\"{ID}\"]\n"
    ));
    assert_eq!(site.run("allowed-host list").out, format!("www.test.com\n{data}\n"));
    let ran = site.expect("allowed-host list --effective", 0, &["\n# warning: admits the storage"]);
    let line = |start: &str| {
        let found = ran.out.lines().filter(|line| line.starts_with(start));
        let found: Vec<&str> = found.collect();
        assert_eq!(found.len(), 1, "{start}: {}", ran.out);
        found[0].to_owned()
    };
    assert!(line("www.test.com").ends_with("sluice.toml:2:10"));
    let both = line(&data);
    let origin = format!("legacy-agent, workspace {ID}: data [LAA, NET, AUTNET]");
    assert!(both.contains("sluice.toml:2:26; ") && both.ends_with(&origin), "{both}");
    assert!(line("*.blob.core.windows.net").contains("legacy-agent, cloud public: "));
    assert!(line("# LAA: ").contains("log-analytics-agent.md"));
    let counted = &["no problems; ", "hosts are allowed (2 listed, ", " from azure)"];
    site.expect("check", 0, counted);
    let derived = format!("{ID}.oms.opinsights.azure.com");
    let remove = format!("allowed-host remove {derived}");
    site.expect(&remove, 1, &["is not on the list", "it follows from legacy-agent, workspace"]);
    let site = Site::new(&format!("azure.workspaces = [\"{ID}\"]\n"));
    site.expect("allowed-host list", 0, &["lists none. From the section azure follow"]);
}

#[test]
fn workspaces_are_subjects_where_that_is_set() {
    let site = Site::new(&format!("[azure]\nworkspaces = [\"{ID}\"]\n"));
    site.expect("config set azure.client_certificates true", 0, &["= true"]);
    let origin = format!("{ID}  azure.client_certificates, workspace {ID}\n");
    site.expect("allowed-client-certificate list --effective", 0, &[&origin]);
    let listed = site.run("allowed-client-certificate list");
    assert_eq!(listed.out, "");
    let last = format!("workspace remove {ID}");
    site.expect(&last, 2, &["azure.workspaces names none", "would not pass a check"]);
    site.expect("allowed-client-certificate add mycert", 0, &["mycert is allowed now"]);
    site.expect(&last, 0, &["No workspace is on it now"]);
}

#[test]
fn strings_take_the_place_of_tables_by_config_set() {
    let site = Site::new(&format!(
        "[azure]\nworkspaces = [{{ id = \"{ID}\", cloud = \"usgov\" }}] # ours\n"
    ));
    site.expect(&format!("config set azure.workspaces {OTHER} {ID}"), 0, &["azure.workspaces ="]);
    assert_eq!(site.text(), format!("[azure]\nworkspaces = [\"{OTHER}\", \"{ID}\"] # ours\n"));
    site.expect(
        "config set azure.profiles arc,monitor-agent",
        0,
        &["[\"arc\", \"monitor-agent\"]"],
    );
    site.expect("config set azure.cloud mars", 2, &["azure.cloud must be one of"]);
}

#[test]
fn workspaces_with_a_header_for_each_come_change_and_go() {
    let text = format!(
        "[azure] # ours\ncloud = \"public\"\n\n# the fleet\n[[azure.workspaces]]\nid = \"{ID}\" # one\n\n[limits]\n"
    );
    let site = Site::new(&text);
    site.expect("check", 0, &["from azure"]);
    site.expect("workspace list", 0, &[ID, "cloud public"]);
    let there = "is on the list already (/sluice.toml:5:1): cloud public";
    site.expect(&format!("workspace add {ID}"), 0, &[there]);
    site.expect(&format!("workspace add {OTHER}"), 0, &["is on the list now", "patterns follow"]);
    let with = |more: &str| text.replace("\n\n[limits]", &format!("\n\n{more}\n[limits]"));
    let other = format!("[[azure.workspaces]]\nid = \"{OTHER}\"\n");
    assert_eq!(site.text(), with(&other));
    let usgov = "--cloud usgov --region usgovvirginia,usgovtexas";
    site.expect(&format!("workspace add {OTHER} {usgov}"), 0, &["has other options now"]);
    let regions = "regions = [\"usgovvirginia\", \"usgovtexas\"]";
    assert_eq!(site.text(), with(&format!("{other}cloud = \"usgov\"\n{regions}\n")));
    site.expect(&format!("workspace remove {OTHER}"), 0, &["is off the list", "No longer follow"]);
    assert_eq!(site.text(), text);
    site.expect("config get azure.workspaces", 0, &[&format!("[{{ id = \"{ID}\" }}]\n")]);
    site.expect(&format!("config set azure.workspaces {OTHER}"), 0, &["azure.workspaces = ["]);
    let list = format!("workspaces = [\"{OTHER}\"]");
    assert_eq!(
        site.text(),
        format!("[azure] # ours\ncloud = \"public\"\n{list}\n\n# the fleet\n\n[limits]\n")
    );
    let site = Site::new(&format!("[[azure.workspaces]]\nid = \"{ID}\"\n"));
    site.expect(&format!("workspace remove {ID}"), 0, &["No workspace is on it now"]);
    assert_eq!(site.text(), "");
}

#[test]
fn what_no_longer_follows_is_told_as_what_follows_is() {
    let file = "[azure]\nprofiles = [\"monitor-agent\"]\nregions = [\"westeurope\"]\n";
    let site = Site::new(file);
    // Clouds follow the workspaces as soon as there is one.
    let lost = "No longer follow: global.handler.control.monitor.azure.com, westeurope.handler.";
    site.expect(&format!("workspace add {ID} --cloud usgov"), 0, &[lost]);
    let gone = format!("No longer follow: {ID}.ods.opinsights.azure.us, global.handler.");
    site.expect(&format!("workspace remove {ID}"), 0, &[&gone]);
    let site = Site::new(file);
    let told = ["No longer follow: westeurope.handler.control.monitor.azure.com, *.westeurope.ing"];
    site.expect("config set azure.regions northeurope", 0, &told);
    let ran = site.expect("config set azure.regions northeurope,eastus", 0, &["patterns follow"]);
    assert!(!ran.out.contains("No longer"), "{ran:?}");
    let told = ["From the section azure no host pattern follows now", "No longer follow: global."];
    site.expect("config set azure.profiles legacy-agent", 0, &told);
    site.expect("hybrid-worker add we --registered cmdlet", 0, &["4 host patterns follow"]);
    let told = ["No longer follow: we-agentservice-prod-1.azure-automation.net, *.agentsvc.we."];
    site.expect("hybrid-worker add we --registered automatic", 0, &told);
}
