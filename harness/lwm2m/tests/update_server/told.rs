//! What a story of a defect tells.

use fotaproof_adapter::UpdateStatus;
use fotaproof_lwm2m::ServerDefect;
use fotaproof_wire::coap::Code;

use crate::rig::Rig;

/// What does not hold, or nothing.
pub(crate) type Told = Result<(), String>;
pub(crate) type Story = fn(Option<ServerDefect>) -> Told;

macro_rules! ensure {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(format!($($words)+));
        }
    };
}

pub(crate) fn ends_well(rig: &Rig) -> Told {
    let progress = rig.progress("u");
    ensure!(
        progress.status == UpdateStatus::Succeeded,
        "the update is {:?}: {}",
        progress.status,
        progress.reason.unwrap_or_default()
    );
    let truth = rig.truth();
    ensure!(truth.version == "2.0.0", "the device runs {}", truth.version);
    ensure!(truth.executes == 1, "{} Executes", truth.executes);
    let executed = truth.executed[0];
    ensure!(
        (executed.state, executed.result) == (2, 0),
        "Execute in {}/{}",
        executed.state,
        executed.result
    );
    Ok(())
}

pub(crate) fn text_of(answer: Option<Code>) -> String {
    answer.map_or_else(|| "not at all".to_owned(), |code| code.to_string())
}
