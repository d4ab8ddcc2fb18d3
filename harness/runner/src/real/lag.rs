//! How late the harness itself is.
//!
//! On a machine that does not keep up, or at a speed that asks too much, what is due is done late: answers of the harness leave late, and what
//! the IUT sent in time is read late. That is nobody's failure but ours, so it is measured: each round of a driver's loop has a
//! time at which it is due, that of the session's next deadline or of the next tick, whichever is first. What passes beyond it, because
//! the thread was not scheduled or was busy with the round before, is what the session is told.

use core::time::Duration;

use fotaproof_trace::Late;

use super::clock::Clock;
use crate::session::LATE_LIMIT;

/// A loop that has nothing to do goes round this often on the wall's clock at the most.
const LEAST: Duration = Duration::from_millis(2);
/// Lateness that is not worth telling, on the wall's clock: what any timer has.
const NOTHING: Duration = Duration::from_millis(1);

/// Watches one loop.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// How often the loop goes round at the least, in the session's time: a quarter of the lateness that matters.
    tick: Duration,
    /// When it went round last.
    round: Duration,
    /// When the next round is due.
    due: Option<Duration>,
    most: Duration,
}

impl Watchdog {
    pub(crate) fn new(speed: f64) -> Self {
        Self {
            tick: (LATE_LIMIT / 4).max(LEAST.mul_f64(speed.clamp(0.001, 10_000.0))),
            round: Duration::ZERO,
            due: None,
            most: Duration::ZERO,
        }
    }

    /// When the next round is due, given the session's deadline and the last time that the session was told.
    pub(crate) fn due(&mut self, deadline: Option<Duration>, told: Duration) -> Duration {
        let tick = self.round + self.tick;
        // a deadline that the session knew to be over is not late again
        let due = deadline.map_or(tick, |at| at.max(told).min(tick));
        self.due = Some(due);
        due
    }

    /// The loop goes round; says how late, if it never was so late.
    pub(crate) fn round(&mut self, now: Duration, clock: &Clock) -> Option<Late> {
        self.round = now;
        let due = self.due.take()?;
        let by = now.saturating_sub(due);
        let wall = clock.wall(by);
        if by <= self.most || wall < NOTHING {
            return None;
        }
        self.most = by;
        Some(Late { by, wall, due })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn dog() -> (Watchdog, Clock) {
        (Watchdog::new(10.0), Clock::starting(10.0))
    }

    #[test]
    fn a_timer_in_time_is_not_late_and_a_late_one_is_by_what_it_is() {
        let (mut dog, clock) = dog();
        assert_eq!(dog.due(Some(SECOND / 10), Duration::ZERO), SECOND / 10);
        assert_eq!(dog.round(SECOND / 10, &clock), None);
        dog.due(Some(SECOND / 5), SECOND / 10);
        let late = dog.round(SECOND * 4, &clock).unwrap();
        assert_eq!(
            (late.by, late.wall, late.due),
            (SECOND * 19 / 5, SECOND * 19 / 50, SECOND / 5)
        );
        // only what is worse is told
        dog.due(Some(SECOND * 41 / 10), SECOND * 4);
        assert_eq!(dog.round(SECOND * 6, &clock), None);
    }

    #[test]
    fn a_loop_without_a_deadline_has_to_go_round_all_the_same() {
        let (mut dog, clock) = dog();
        assert_eq!(dog.due(None, Duration::ZERO), LATE_LIMIT / 4);
        assert_eq!(dog.due(Some(SECOND * 60), Duration::ZERO), LATE_LIMIT / 4);
        let late = dog.round(SECOND * 3, &clock).unwrap();
        assert_eq!(late.by, SECOND * 3 - LATE_LIMIT / 4);
    }

    /// A flood is read before a timer that is over; each datagram of it is told as come before.
    #[test]
    fn a_deadline_that_starves_is_late_though_the_loop_goes_round() {
        let (mut dog, clock) = dog();
        let deadline = SECOND;
        let mut worst = Duration::ZERO;
        for step in 1..=40_u32 {
            dog.due(
                Some(deadline),
                deadline.saturating_sub(Duration::from_nanos(1)).min(SECOND * step / 10),
            );
            if let Some(late) = dog.round(SECOND * step / 10, &clock) {
                worst = late.by;
            }
        }
        assert_eq!(worst, SECOND * 3);
    }

    #[test]
    fn a_deadline_that_stays_though_the_session_knows_is_not_late() {
        let (mut dog, clock) = dog();
        for step in 0..40_u32 {
            let now = SECOND * step / 10;
            dog.due(Some(SECOND), now);
            assert_eq!(dog.round(now, &clock), None);
        }
    }
}
