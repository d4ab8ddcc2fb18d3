//! SIGINT and SIGTERM end a run in good order: the first sets a flag, the second ends the
//! program at once.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

/// A flag that a signal sets.
pub(crate) fn flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    let watch = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else {
            return;
        };
        runtime.block_on(async {
            let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
                return;
            };
            loop {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                }
                if set.swap(true, Ordering::Relaxed) {
                    std::process::exit(fotaproof_reports::model::exit_code::INTERRUPTED);
                }
            }
        });
    };
    // without the watcher a signal ends the program at once, as it would anyway
    let _ = std::thread::Builder::new().name("signals".to_owned()).spawn(watch);
    flag
}
