//! A request to end, told to many cases at once.

use std::sync::Arc;

use tokio::sync::watch;

/// Gives the sign.
#[derive(Clone, Debug)]
pub struct InterruptHandle(Arc<watch::Sender<bool>>);

/// Waits for the sign.
#[derive(Clone, Debug)]
pub struct Interrupt(watch::Receiver<bool>);

/// A sign and its receiver, which can be cloned for every case.
#[must_use]
pub fn interrupt() -> (InterruptHandle, Interrupt) {
    let (sender, receiver) = watch::channel(false);
    (InterruptHandle(Arc::new(sender)), Interrupt(receiver))
}

impl InterruptHandle {
    /// Tells all that wait, now and later.
    pub fn interrupt(&self) {
        self.0.send_replace(true);
    }
}

impl Interrupt {
    /// One that never comes.
    #[must_use]
    pub fn never() -> Self {
        interrupt().1
    }

    /// Whether the sign was given.
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Until the sign is given; for ever when nobody is left to give it.
    pub async fn wait(&mut self) {
        if self.0.wait_for(|set| *set).await.is_err() {
            core::future::pending::<()>().await;
        }
    }
}
