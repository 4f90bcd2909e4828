//! Every committed input keeps its target's property: the fuzzers' corpora on any toolchain.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

/// Runs a target on the inputs of its folder.
fn check(name: &str, target: properties::Target) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!((20..=200).contains(&paths.len()), "{} inputs", paths.len());
    for path in paths {
        let bytes = fs::read(&path).unwrap();
        assert!(properties::holds(target, &bytes), "{} breaks {name}", path.display());
    }
}

#[test]
fn every_target_holds_for_its_corpus() {
    for (name, target) in properties::TARGETS {
        check(name, target);
    }
}

#[test]
fn every_target_holds_for_nothing_and_for_bytes_of_one_kind() {
    for (_, target) in properties::TARGETS {
        target(b"");
        for byte in 0..=u8::MAX {
            target(&[byte; 65]);
        }
    }
}
