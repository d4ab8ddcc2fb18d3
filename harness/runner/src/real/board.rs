//! A board on the desk: nobody starts it, or commands of its manifest do.

use core::time::Duration;
use std::collections::VecDeque;
use std::path::PathBuf;

use tokio::task::JoinHandle;

use super::Placeholders;
use super::adapter::Hand;
use super::client::Instance;
use super::launch::{absolute, filled, resolve};
use super::tool::{self, Tool};
use crate::session::{IutCommand, IutReport};

/// How long an action may take.
const ACTION: Duration = Duration::from_secs(120);

/// What became of a command.
#[derive(Debug)]
struct Done {
    result: Result<(), String>,
    remark: Option<String>,
}

/// A device that is there.
#[derive(Debug)]
pub(super) struct Board {
    actions: Vec<(String, Vec<String>)>,
    folder: PathBuf,
    running: Option<(IutCommand, JoinHandle<Done>)>,
    /// What is to be said of the case at its end.
    remarks: Vec<String>,
    queue: VecDeque<IutCommand>,
    reports: VecDeque<IutReport>,
    started: bool,
    /// Nothing was asked of it yet.
    first: bool,
    /// Who switches it, where its adapter can.
    hand: Option<Hand>,
}

impl Board {
    /// `controls`: somebody here can start it; else it runs already, as far as anybody knows.
    pub(super) fn new(case: &Instance, values: &Placeholders, hand: Option<Hand>, controls: bool) -> Self {
        let folder = absolute(&case.manifest_folder);
        let actions = case.manifest.board.as_ref().map(|board| &board.value.actions);
        let actions = actions.into_iter().flatten().map(|(name, words)| {
            let mut words = filled(words, values);
            if let Some(program) = words.first_mut() {
                *program = resolve(program, &folder);
            }
            (name.clone(), words)
        });
        let mut board = Self {
            actions: actions.collect(),
            folder,
            running: None,
            remarks: Vec::new(),
            queue: VecDeque::new(),
            reports: VecDeque::new(),
            started: false,
            first: true,
            hand: hand.filter(Hand::acts),
        };
        if !controls {
            board.reports.push_back(IutReport::Started);
        }
        board
    }

    /// Whether something brings it to a fresh start.
    pub(super) fn can_be_fresh(&self) -> bool {
        self.hand.is_some() || self.actions.iter().any(|(name, _)| name == "fresh")
    }

    /// Does what is asked; what comes of it is told by [`Self::report`]. A case begins with a fresh device, where somebody can make it so.
    pub(super) fn command(&mut self, command: IutCommand) {
        let fresh = self.first && self.can_be_fresh();
        self.queue.push_back(match command {
            IutCommand::Start if fresh => IutCommand::Fresh,
            command => command,
        });
    }

    pub(super) async fn report(&mut self) -> IutReport {
        loop {
            if let Some(report) = self.reports.pop_front() {
                return report;
            }
            if let Some((command, handle)) = &mut self.running {
                let command = *command;
                let done = handle.await.unwrap_or_else(|error| Done {
                    result: Err(error.to_string()),
                    remark: None,
                });
                self.running = None;
                self.remarks.extend(done.remark);
                match done.result {
                    Err(reason) if self.hand.is_some() => self.reports.push_back(IutReport::HandFailed { reason }),
                    result => self.done(command, result),
                }
                continue;
            }
            let Some(command) = self.queue.pop_front() else {
                return core::future::pending().await;
            };
            self.begin(command);
        }
    }

    fn begin(&mut self, command: IutCommand) {
        let first = core::mem::take(&mut self.first);
        if let Some(hand) = self.hand.clone() {
            let act = async move {
                let (result, remark) = match hand.act(command, first).await {
                    Ok(remark) => (Ok(()), remark),
                    Err(error) => (Err(error.to_string()), None),
                };
                Done { result, remark }
            };
            self.running = Some((command, tokio::spawn(act)));
            return;
        }
        let names: &[&str] = match command {
            IutCommand::Start => &["start"],
            IutCommand::Stop => &["stop"],
            IutCommand::PowerCut => &["power-cut"],
            IutCommand::Fresh => &["fresh", "start"],
        };
        let words = names
            .iter()
            .find_map(|name| self.actions.iter().find(|(known, _)| known == name));
        let Some((name, words)) = words else {
            let result = match command {
                // a board without a start action is on
                IutCommand::Start => Ok(()),
                _ => Err(format!("the manifest has no action `{}`", names[0])),
            };
            return self.done(command, result);
        };
        let name = name.clone();
        let tool = Tool {
            words: words.clone(),
            folder: self.folder.clone(),
            environment: Vec::new(),
            within: ACTION,
        };
        let action = async move {
            let result = match tool::run(&tool).await {
                Ok(done) if done.success => Ok(()),
                Ok(done) => Err(format!("the action `{name}` failed: {}", done.failure())),
                Err(error) => Err(format!("the action `{name}` failed: {error}")),
            };
            Done { result, remark: None }
        };
        self.running = Some((command, tokio::spawn(action)));
    }

    fn done(&mut self, command: IutCommand, result: Result<(), String>) {
        let report = match (command, result) {
            (IutCommand::Start | IutCommand::Fresh, Ok(())) => {
                self.started = true;
                IutReport::Started
            }
            (IutCommand::Start | IutCommand::Fresh, Err(reason)) => IutReport::StartFailed { reason },
            (IutCommand::Stop, Ok(())) => IutReport::Stopped {
                status: "the action ended".to_owned(),
            },
            (IutCommand::PowerCut, Ok(())) => IutReport::PowerCut,
            (IutCommand::Stop | IutCommand::PowerCut, Err(reason)) => IutReport::Output {
                stderr: true,
                line: format!("[harness] {reason}"),
            },
        };
        self.reports.push_back(report);
    }

    /// Stops it if it was started here and its manifest says how.
    pub(super) async fn shut_down(&mut self) -> Vec<String> {
        self.queue.clear();
        // of one that is gone the case has told
        self.hand = self.hand.take().filter(|hand| !hand.is_gone());
        let stops = self.hand.is_some() || self.actions.iter().any(|(name, _)| name == "stop");
        if self.started && stops {
            self.queue.push_back(IutCommand::Stop);
        }
        while self.running.is_some() || !self.queue.is_empty() || !self.reports.is_empty() {
            match self.report().await {
                IutReport::Output { line, .. } => {
                    self.remarks.extend(line.strip_prefix("[harness] ").map(str::to_owned));
                }
                IutReport::HandFailed { reason } => {
                    // the next case finds out for itself what can still be done
                    self.queue.clear();
                    self.remarks.push(format!("after the case, {reason}"));
                }
                _ => {}
            }
        }
        core::mem::take(&mut self.remarks)
    }
}
