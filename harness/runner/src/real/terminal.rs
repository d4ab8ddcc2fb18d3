//! Signals and standard input of a program that runs a reference peer alone.

use std::io::BufRead;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::InterruptHandle;

/// Gives the sign at the first SIGINT or SIGTERM; call it inside a runtime.
///
/// # Errors
/// When the signals cannot be listened to.
pub fn stop_at_signals(handle: InterruptHandle) -> std::io::Result<()> {
    let mut int = signal(SignalKind::interrupt())?;
    let mut term = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        handle.interrupt();
    });
    Ok(())
}

/// The lines of standard input. With `at_end` its end gives the sign.
///
/// They are read by a thread of its own, which may still wait for a line when the program ends.
#[must_use]
pub fn stdin_lines(at_end: Option<InterruptHandle>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(64);
    let read = move || {
        let mut input = std::io::stdin().lock();
        let mut bytes = Vec::new();
        while matches!(input.read_until(b'\n', &mut bytes), Ok(1..)) {
            // what is no text is a line all the same, to be refused
            let line = String::from_utf8_lossy(&bytes)
                .trim_end_matches(['\r', '\n'])
                .to_owned();
            bytes.clear();
            // nobody wants the lines of a device, but its input is read to the end all the same
            let _ = sender.blocking_send(line);
        }
        if let Some(handle) = at_end {
            handle.interrupt();
        }
    };
    // without the thread nobody can type, which is no reason not to run
    let _ = std::thread::Builder::new().name("stdin".to_owned()).spawn(read);
    receiver
}
