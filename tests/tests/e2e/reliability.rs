//! The page that maps faults to tests says the truth about which tests there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use e2e::controller::repository;

/// Shorter ones are codes, options and file names.
const SHORTEST: usize = 21;

fn collect_functions(folder: &Path, functions: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder)
        .expect("a folder of the repository")
        .flatten()
    {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            let name = name.to_string_lossy();
            if !name.starts_with('.') && !name.starts_with("target") {
                collect_functions(&path, functions);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source in UTF-8");
            let names = text
                .split("fn ")
                .skip(1)
                .filter_map(|rest| rest.split('(').next());
            functions.extend(names.map(str::to_owned));
        }
    }
}

fn is_name(text: &str) -> bool {
    text.contains('_')
        && text
            .chars()
            .all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit())
}

#[test]
fn every_test_that_the_page_on_reliability_names_exists() {
    let page = fs::read_to_string(repository().join("docs/reliability.md")).unwrap();
    let named: BTreeSet<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| text.len() >= SHORTEST && is_name(text))
        .collect();
    assert!(named.len() > 50, "only {} names were found", named.len());
    let mut functions = BTreeSet::new();
    collect_functions(&repository(), &mut functions);
    let missing: Vec<&&str> = named
        .iter()
        .filter(|name| !functions.contains(**name))
        .collect();
    assert!(missing.is_empty(), "not in any source: {missing:#?}");
}
