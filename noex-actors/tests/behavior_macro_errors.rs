//! What `#[behavior]` refuses, and how it says so. `TRYBUILD=overwrite` writes the expected texts anew.

#[test]
fn mistakes_are_reported_where_they_stand() {
    let cases = trybuild::TestCases::new();
    for room in [
        "arguments",
        "blocks",
        "callbacks",
        "generics",
        "init",
        "message_types",
        "names",
        "options",
        "receivers",
        "results",
        "roles",
    ] {
        cases.compile_fail(format!("tests/ui/{room}.rs"));
    }
}
