//! How far a run is, as plain text; who shows it, and where, is the command line's matter.

use crate::model::{CaseResult, Totals};
use crate::text::{duration, fit, one_line, width};
use crate::view::{headline, is_problem, outcome};

/// A run under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Cases of the run.
    pub total: u32,
    /// Counts over those that ended.
    pub totals: Totals,
    /// Ids of those under way, the longest first.
    pub running: Vec<String>,
}

impl Progress {
    /// The start of a run of some cases.
    #[must_use]
    pub fn new(total: u32) -> Self {
        Self {
            total,
            ..Self::default()
        }
    }

    /// A case begins.
    pub fn begin(&mut self, id: &str) {
        self.running.push(id.to_owned());
    }

    /// A case ended.
    pub fn end(&mut self, case: &CaseResult) {
        if let Some(at) = self.running.iter().position(|id| *id == case.id) {
            self.running.remove(at);
        }
        self.totals.add(case);
    }

    /// Cases that ended, run or not.
    #[must_use]
    pub const fn done(&self) -> u32 {
        self.totals.run() + self.totals.not_applicable + self.totals.not_run
    }

    /// The state in one line of at most some columns; what is under way gives way first.
    #[must_use]
    pub fn line(&self, columns: usize) -> String {
        let digits = self.total.to_string().len();
        let mut line = format!("{:>digits$}/{}  {} passed", self.done(), self.total, self.totals.passed);
        for (number, word) in [
            (self.totals.failed, "failed"),
            (self.totals.expected_failures, "expected"),
            (self.totals.inconclusive, "inconclusive"),
            (self.totals.errors, "error"),
        ] {
            if number > 0 {
                line += &format!(", {number} {word}");
            }
        }
        if let Some(current) = self.running.first() {
            let more = match self.running.len() {
                1 => String::new(),
                many => format!(" (+{})", many - 1),
            };
            let room = columns.saturating_sub(width(&line) + width(&more) + 2);
            if room >= 8 {
                line += &format!("  {}{more}", fit(&one_line(current), room));
            }
        }
        fit(&line, columns)
    }
}

/// The line that stays when a case has ended, for a terminal that cannot redraw.
#[must_use]
pub fn ended(case: &CaseResult, columns: usize) -> String {
    let mut line = format!(
        "{:<16}  {}  ({})",
        outcome(case),
        one_line(&case.id),
        duration(case.wall_ms)
    );
    if is_problem(case) {
        line += &format!("  {}", headline(case));
    }
    fit(&line, columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Verdict;

    fn case(id: &str, verdict: Verdict) -> CaseResult {
        CaseResult {
            id: id.into(),
            verdict,
            wall_ms: 12.0,
            reason: "4.00 instead of 2.04".into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_run_from_start_to_end() {
        let mut progress = Progress::new(12);
        assert_eq!(progress.line(80), " 0/12  0 passed");
        progress.begin("push.a[block=64]");
        progress.begin("push.b");
        assert_eq!(progress.line(80), " 0/12  0 passed  push.a[block=64] (+1)");
        progress.end(&case("push.a[block=64]", Verdict::Pass));
        progress.end(&case("push.x", Verdict::NotApplicable));
        progress.end(&case("push.y", Verdict::Fail));
        assert_eq!(progress.done(), 3);
        assert_eq!(progress.line(80), " 3/12  1 passed, 1 failed  push.b");
    }

    #[test]
    fn a_narrow_terminal_keeps_the_counts() {
        let mut progress = Progress::new(1);
        progress.begin("push.a-very-long-name-of-a-case[block=1024]");
        assert_eq!(progress.line(30), "0/1  0 passed  push.a-very-lo…");
        assert_eq!(progress.line(20), "0/1  0 passed");
        assert_eq!(progress.line(6), "0/1  …");
        assert_eq!(progress.line(0), "");
    }

    #[test]
    fn ended_cases_keep_to_one_line() {
        assert_eq!(
            ended(&case("push.a", Verdict::Pass), 80),
            "pass              push.a  (12 ms)"
        );
        assert_eq!(
            ended(&case("push\n.a", Verdict::Fail), 80),
            "fail              push .a  (12 ms)  4.00 instead of 2.04"
        );
    }
}
