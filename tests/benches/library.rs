//! The figures of docs/PERFORMANCE.md that need no process: `cargo bench -p fotaproof-tests`.

use core::sync::atomic::AtomicBool;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use fotaproof_cases::LoadedCase;
use fotaproof_runner::iut::Iut;
use fotaproof_runner::prepare::CaseOptions;
use fotaproof_runner::run::{RunOptions, run};
use fotaproof_tests::{images, play};
use fotaproof_trace::Verdict;

fn main() {
    divan::main();
}

/// The whole library, by the number of threads, without evidence.
#[divan::bench(args = [1, 2], sample_count = 10, sample_size = 1)]
fn library(bencher: Bencher<'_, '_>, jobs: usize) {
    whole(bencher, jobs, false);
}

/// The whole library, by the number of threads, with journals and captures.
#[divan::bench(args = [1, 2], sample_count = 10, sample_size = 1)]
fn library_with_evidence(bencher: Bencher<'_, '_>, jobs: usize) {
    whole(bencher, jobs, true);
}

/// `srv.mid-reuse`, the longest case of the server role: more messages than there are message ids.
#[divan::bench(args = [false, true], sample_count = 10, sample_size = 1)]
fn all_message_ids_of_a_server(bencher: Bencher<'_, '_>, evidence: bool) {
    let mut cases = play::cases();
    cases.retain(|case| case.id == "srv.mid-reuse");
    assert_eq!(cases.len(), 1, "the case is there");
    timed(bencher, &cases, 1, evidence);
}

fn whole(bencher: Bencher<'_, '_>, jobs: usize, evidence: bool) {
    timed(bencher, &play::cases(), jobs, evidence);
}

fn timed(bencher: Bencher<'_, '_>, cases: &[LoadedCase], jobs: usize, evidence: bool) {
    let iut = Iut::embedded();
    bencher
        .counter(ItemsCount::new(cases.len()))
        .with_inputs(|| tempfile::tempdir().expect("a temporary folder"))
        .bench_local_refs(|folder| {
            let options = RunOptions {
                case: CaseOptions {
                    capture: evidence,
                    ..CaseOptions::default()
                },
                jobs,
                folder: evidence.then(|| folder.path().to_path_buf()),
                ..RunOptions::default()
            };
            run(&iut, cases, &options, &AtomicBool::new(false), &|_| {}, "2026-01-01")
        });
}

/// A push in blocks of 64 bytes with all checks on, by MiB: linear in the size of the image.
#[divan::bench(args = [1, 4, 16, 64], sample_count = 3, sample_size = 1)]
fn push_in_blocks_of_64(bencher: Bencher<'_, '_>, mebibytes: u64) {
    let case = images::push(mebibytes << 20, 64);
    let iut = Iut::embedded();
    bencher.counter(BytesCount::new(mebibytes << 20)).bench_local(|| {
        let outcome = play::play(&case, &iut, &CaseOptions::default(), &mut |_| {}).expect("the case applies");
        assert_eq!(outcome.verdict, Verdict::Pass, "{}", play::told(&outcome));
    });
}

/// The same push of 1 MiB with its journal and capture on the disk.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn push_1_mib_with_evidence(bencher: Bencher<'_, '_>) {
    let cases = [images::push(1 << 20, 64)];
    let iut = Iut::embedded();
    bencher
        .counter(BytesCount::new(1_u64 << 20))
        .with_inputs(|| tempfile::tempdir().expect("a temporary folder"))
        .bench_local_refs(|folder| {
            let options = RunOptions {
                case: CaseOptions {
                    capture: true,
                    ..CaseOptions::default()
                },
                jobs: 1,
                folder: Some(folder.path().to_path_buf()),
                ..RunOptions::default()
            };
            run(&iut, &cases, &options, &AtomicBool::new(false), &|_| {}, "2026-01-01")
        });
}
