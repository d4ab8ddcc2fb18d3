//! A timer as fine as the system's.
//!
//! That of the runtime counts in milliseconds and rounds up. Where the clock of a case runs twenty times as fast as the wall's, that
//! would be a delay of 20 to 40 ms at each end of the link, on every datagram.

use core::time::Duration;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

#[derive(Debug)]
struct Fine(TimerFd);

impl AsRawFd for Fine {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// One deadline at a time.
#[derive(Debug)]
pub(super) struct Timer {
    /// None where the system has no such timer; the runtime's does then.
    fine: Option<AsyncFd<Fine>>,
    /// What it is set to.
    set: Option<Instant>,
}

impl Timer {
    /// To be made inside a runtime.
    #[expect(
        deprecated,
        reason = "its successor is unsafe; `Fine` owns its descriptor as long as it is registered, which is all that is asked"
    )]
    pub(super) fn new() -> Self {
        let made = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        );
        let fine = made
            .ok()
            .and_then(|timer| AsyncFd::with_interest(Fine(timer), Interest::READABLE).ok());
        Self { fine, set: None }
    }

    /// Waits until this instant; for ever without one. Dropping the future does no harm.
    pub(super) async fn until(&mut self, at: Option<Instant>) {
        let Some(at) = at else {
            return core::future::pending().await;
        };
        loop {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            if self.wait(at, left).await.is_err() {
                self.fine = None;
            }
        }
    }

    /// Waits until the timer went off, which may have been set by an earlier call.
    async fn wait(&mut self, at: Instant, left: Duration) -> io::Result<()> {
        let Some(fine) = &self.fine else {
            tokio::time::sleep_until(at).await;
            return Ok(());
        };
        if self.set != Some(at) {
            let expiration = Expiration::OneShot(TimeSpec::from_duration(left));
            fine.get_ref().0.set(expiration, TimerSetTimeFlags::empty())?;
            self.set = Some(at);
        }
        let mut ready = fine.readable().await?;
        let read = ready.try_io(|fine| match fine.get_ref().0.wait() {
            Err(Errno::EAGAIN) => Err(io::ErrorKind::WouldBlock.into()),
            other => other.map_err(io::Error::from),
        });
        if let Ok(done) = read {
            // it has to be set anew if it was too early
            self.set = None;
            done?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_never_goes_off_early_and_takes_the_latest_deadline() {
        let mut timer = Timer::new();
        let now = Instant::now();
        let far = now + Duration::from_secs(3600);
        tokio::select! {
            biased;
            () = timer.until(Some(far)) => panic!("an hour has not passed"),
            () = tokio::task::yield_now() => {}
        }
        for micros in [0, 1, 300, 2500] {
            let at = Instant::now() + Duration::from_micros(micros);
            timer.until(Some(at)).await;
            assert!(Instant::now() >= at);
        }
        // long over
        timer.until(Some(now)).await;
    }

    #[tokio::test]
    async fn without_the_system_s_the_runtime_s_is_used() {
        let mut timer = Timer { fine: None, set: None };
        let at = Instant::now() + Duration::from_millis(2);
        timer.until(Some(at)).await;
        assert!(Instant::now() >= at);
    }
}
