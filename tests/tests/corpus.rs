//! Every seed of the fuzz corpora of this crate goes through what its target runs.

use std::path::Path;

use fotaproof_tests::fuzz::TARGETS;

#[test]
fn every_corpus_file() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (target, run) in TARGETS {
        let folder = corpus.join(target);
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(files.len() >= 4, "{} has only {} files", folder.display(), files.len());
        for file in files {
            println!("{}", file.display());
            run(&std::fs::read(&file).unwrap());
        }
    }
}
