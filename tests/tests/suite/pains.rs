//! docs/PAINS.md says of each pain which test shows it, and docs/migrating.md of each
//! feature: those tests are there.

use std::{fs, path::Path};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap()
}

fn pages() -> String {
    page("PAINS.md") + &page("migrating.md")
}

/// What stands between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_pain_has_its_row() {
    let table = page("PAINS.md");
    let numbers: Vec<u32> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok())
        .collect();
    assert_eq!(numbers, (1..=28).collect::<Vec<_>>());
}

#[test]
fn every_test_that_is_named_exists() {
    let pages = pages();
    let mut named = 0;
    for (path, test) in code(&pages).filter_map(|code| code.split_once(".rs::")) {
        let file = root().join(format!("{path}.rs"));
        let source = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}.rs: {error}"));
        let defined = ["(", "<"]
            .iter()
            .any(|next| source.contains(&format!("fn {test}{next}")));
        assert!(defined, "there is no {test} in {path}.rs");
        named += 1;
    }
    assert!(named > 70, "only {named} tests were found");
}

#[test]
fn every_file_that_is_named_exists() {
    let pages = pages();
    for path in code(&pages).filter(|code| code.contains('/') && code.ends_with(".rs")) {
        assert!(root().join(path).is_file(), "there is no {path}");
    }
}
