//! Bytes from anywhere: every seed of the fuzz corpus, and steps by chance.

use std::path::Path;

use fotaproof_dtls::replay::dtls;
use proptest::prelude::*;

#[test]
fn every_corpus_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/dtls");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 14, "{} has only {} files", folder.display(), files.len());
    for file in files {
        println!("{}", file.display());
        dtls(&std::fs::read(&file).unwrap());
    }
}

/// A step: mostly what comes about, some changes of single bytes, some noise.
fn step() -> impl Strategy<Value = Vec<u8>> {
    let change = (0..200_usize, 1..=255_u8).prop_map(|(at, mask)| {
        let mut bytes = vec![0; at];
        bytes.push(mask);
        bytes
    });
    let bytes = prop_oneof![Just(Vec::new()), change, proptest::collection::vec(any::<u8>(), 0..80)];
    (0..32_u8, bytes).prop_map(|(kind, bytes)| {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[kind][..], &length, &bytes].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_steps(choice: u8, steps in proptest::collection::vec(step(), 0..40)) {
        dtls(&[&[choice][..], &steps.concat()].concat());
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        dtls(&bytes);
    }
}
