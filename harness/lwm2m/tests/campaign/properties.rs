//! What holds whatever happens.

use core::time::Duration;

use fotaproof_lwm2m::campaign::{Campaign, Happening, Task, TaskId, TaskOutcome};
use fotaproof_lwm2m::{ServerDefect, Version};
use fotaproof_wire::coap::Code;
use fotaproof_wire::{LwPath, Value};
use proptest::prelude::*;

use crate::talk::{RESULT, STATE, spec};

#[derive(Debug, Clone)]
enum Step {
    Register,
    Move(u8),
    Gone,
    Value(bool, i64),
    Answer(u8, i64),
    Timeout,
    Reset,
    Superseded,
    Wait(u64),
    Pause(bool),
    Cancel,
    Oddity,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Register),
        1 => (0..3_u8).prop_map(Step::Move),
        1 => Just(Step::Gone),
        8 => (any::<bool>(), -1..13_i64).prop_map(|(state, value)| Step::Value(state, value)),
        16 => (any::<u8>(), 0..4_i64).prop_map(|(code, value)| Step::Answer(code, value)),
        2 => Just(Step::Timeout),
        1 => Just(Step::Reset),
        1 => Just(Step::Superseded),
        4 => (0..400_u64).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => Just(Step::Cancel),
        1 => Just(Step::Oddity),
    ]
}

/// A campaign, and what its driver knows.
struct Driven {
    campaign: Campaign,
    now: Duration,
    open: Vec<(TaskId, Task)>,
    state: Option<i64>,
}

impl Driven {
    fn collect(&mut self, correct: bool) -> Result<(), TestCaseError> {
        while let Some((id, task)) = self.campaign.poll_task() {
            if let Task::CancelTask(stopped) = task {
                prop_assert!(self.open.iter().any(|(open, _)| *open == stopped));
                self.open.retain(|(open, _)| *open != stopped);
                continue;
            }
            if correct && task == Task::Execute(LwPath::resource(5, 0, 2)) {
                prop_assert_eq!(self.state, Some(2));
            }
            self.open.push((id, task));
        }
        if correct {
            prop_assert!(self.open.len() <= 1);
        }
        if self.campaign.is_over() {
            prop_assert!(self.open.is_empty());
        }
        Ok(())
    }

    fn done(&mut self, outcome: TaskOutcome) {
        if self.open.is_empty() {
            return;
        }
        let (task, _) = self.open.remove(0);
        self.campaign.handle(self.now, Happening::Done { task, outcome });
    }

    fn answer(&mut self, code: u8, number: i64) {
        let Some((_, task)) = self.open.first() else { return };
        let code = if code < 200 { Code::CONTENT } else { Code(code) };
        let values = match task {
            Task::Read(path) | Task::Observe(path) if code == Code::CONTENT => {
                if *path == STATE {
                    self.state = Some(number);
                }
                vec![(*path, Value::Integer(number))]
            }
            _ => Vec::new(),
        };
        self.done(TaskOutcome::Code { code, values });
    }
}

proptest! {
    /// Never a panic, never two tasks at a time, never an Execute outside State 2, nothing after the end; whatever the device does and in whatever order.
    #[test]
    fn any_order_of_happenings_is_survived(
        steps in proptest::collection::vec(step(), 0..120),
        defect in proptest::option::weighted(0.3, 0..45_usize),
    ) {
        let mut spec = spec();
        spec.least_signal = Some(2);
        spec.defects.extend(defect.and_then(|at| ServerDefect::all().nth(at)));
        let correct = spec.defects.is_empty();
        let mut driven = Driven { campaign: Campaign::new(Duration::ZERO, spec), now: Duration::ZERO, open: Vec::new(), state: None };
        for step in steps {
            let now = driven.now;
            let over = driven.campaign.is_over();
            match step {
                Step::Register => {
                    driven.campaign.handle(now, Happening::Registered {
                        object5: Some(Version::V1_1),
                        lwm2m: Version::V1_1,
                        binding: "U".to_owned(),
                        address: "a".to_owned(),
                    });
                }
                Step::Move(to) => driven.campaign.handle(now, Happening::Updated { address: to.to_string() }),
                Step::Gone => driven.campaign.handle(now, Happening::Expired),
                Step::Value(state, number) => {
                    // A number that is no State is not taken for one.
                    if state && (0..=255).contains(&number) {
                        driven.state = Some(number);
                    }
                    let path = if state { STATE } else { RESULT };
                    driven.campaign.handle(now, Happening::Value { path, value: Value::Integer(number) });
                }
                Step::Answer(code, number) => driven.answer(code, number),
                Step::Timeout => driven.done(TaskOutcome::Timeout),
                Step::Reset => driven.done(TaskOutcome::Reset),
                Step::Superseded => driven.done(TaskOutcome::Superseded),
                Step::Wait(seconds) => {
                    driven.now += Duration::from_secs(seconds);
                    driven.campaign.handle_timeout(driven.now);
                }
                Step::Pause(true) => driven.campaign.pause(now),
                Step::Pause(false) => driven.campaign.resume(now),
                Step::Cancel => driven.campaign.cancel(now),
                Step::Oddity => {
                    driven.campaign.handle(now, Happening::LateAnswer);
                    driven.campaign.handle(now, Happening::NotificationRejected);
                    driven.campaign.handle(now, Happening::PushProgress { percent: 50 });
                }
            }
            driven.collect(correct)?;
            if over && correct {
                prop_assert!(driven.campaign.is_over());
                prop_assert!(driven.open.is_empty());
            }
        }
    }
}
