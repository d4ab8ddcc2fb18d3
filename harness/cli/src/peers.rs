//! `device` and `server`: the reference peers alone over UDP.

use clap::Args;

use crate::Done;
use crate::failure::Failure;

/// `device`.
#[derive(Debug, Args)]
pub(crate) struct DeviceArgs {}

/// `server`.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {}

pub(crate) fn device(_args: &DeviceArgs) -> Done {
    Err(Failure::Usage("not yet".to_owned()))
}

pub(crate) fn server(_args: &ServerArgs) -> Done {
    Err(Failure::Usage("not yet".to_owned()))
}
