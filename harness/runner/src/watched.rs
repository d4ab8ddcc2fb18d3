//! A part that is looked at only when something can have come of it.
//!
//! The world of a session and the driver take some rounds for each datagram, and nearly all parts have nothing to do with it.

use core::ops::{Deref, DerefMut};
use core::time::Duration;

/// What has something to do at a time.
pub(crate) trait Timed {
    /// When that is.
    fn poll_deadline(&self) -> Option<Duration>;
}

/// A part whose every change is noticed: whoever may change it wakes it.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    part: T,
    awake: bool,
    /// As of its last rest.
    deadline: Option<Duration>,
}

impl<T: Timed> Watched<T> {
    pub(crate) const fn new(part: T) -> Self {
        Self {
            part,
            awake: true,
            deadline: None,
        }
    }

    /// Begins a round: whether it changed since the round before or something is due. What changes it from now on, but by
    /// [`within`](Self::within), wakes it for the next round.
    pub(crate) fn begin(&mut self, now: Duration) -> bool {
        core::mem::take(&mut self.awake) || self.deadline.is_some_and(|at| at <= now)
    }

    /// Whether somebody changed it in this round.
    pub(crate) const fn is_awake(&self) -> bool {
        self.awake
    }

    /// The part, for the round itself.
    pub(crate) const fn within(&mut self) -> &mut T {
        &mut self.part
    }

    /// Ends a round in which it was looked at.
    pub(crate) fn rest(&mut self) {
        self.deadline = self.part.poll_deadline();
    }

    /// The same where nothing that changed it is left to look at.
    pub(crate) fn sleep(&mut self) {
        self.awake = false;
        self.rest();
    }

    /// When something is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        if self.awake {
            self.part.poll_deadline()
        } else {
            self.deadline
        }
    }
}

impl<T> Deref for Watched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.part
    }
}

impl<T> DerefMut for Watched<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.awake = true;
        &mut self.part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Timed for u64 {
        fn poll_deadline(&self) -> Option<Duration> {
            (*self > 0).then(|| Duration::from_secs(*self))
        }
    }

    #[test]
    fn it_rests_until_it_is_changed_or_due() {
        let second = Duration::from_secs(1);
        let mut watched = Watched::new(5_u64);
        assert!(watched.begin(Duration::ZERO), "it is new");
        watched.rest();
        assert!(!watched.begin(second));
        assert_eq!(*watched, 5, "to look at it wakes nobody");
        assert!(!watched.begin(second * 4) && watched.begin(second * 5));
        *watched = 7;
        assert!(watched.is_awake() && watched.next() == Some(second * 7));
        assert!(watched.begin(second));
        *watched.within() = 0;
        watched.rest();
        assert!(!watched.is_awake() && watched.next().is_none() && !watched.begin(second * 99));
    }
}
