//! Scheduling of real IUTs.

use core::sync::atomic::AtomicBool;
use std::sync::Mutex;

use fotaproof_cases::LoadedCase;
use fotaproof_reports::model::CaseResult;

use crate::expected::Expectations;
use crate::iut::Iut;
use crate::run::{Progress, RunError, RunOptions};

/// Everything a schedule works with.
pub(crate) struct Schedule<'a> {
    pub(crate) iut: &'a Iut,
    pub(crate) cases: &'a [LoadedCase],
    pub(crate) options: &'a RunOptions,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) interrupt: &'a AtomicBool,
    pub(crate) expectations: &'a Mutex<Expectations>,
    pub(crate) results: &'a [Mutex<Option<CaseResult>>],
    pub(crate) progress: &'a (dyn Fn(Progress<'_>) + Sync),
}

/// Runs all cases; gives why it ended early.
pub(crate) fn run_all(schedule: &Schedule<'_>, _error: &Mutex<Option<RunError>>) -> Option<String> {
    let _ = (schedule.iut, schedule.cases, schedule.options, schedule.stop, schedule.interrupt);
    let _ = (schedule.expectations, schedule.results, schedule.progress);
    Some("not yet".to_owned())
}
