//! An adapter for devices: a hand for what cannot be done from outside.

use core::time::Duration;
use std::sync::Arc;

use fotaproof_adapter::{DeviceAction, Operation};

use super::{Adapter, AdapterError, AdapterHost};
use crate::session::IutCommand;

/// How long an action may take: a board boots.
const ACTION: Duration = Duration::from_secs(120);

/// The adapter of a device of one case. Its instance is the endpoint of the device.
#[derive(Clone, Debug)]
pub struct Hand {
    /// The adapter, which may serve others too.
    pub adapter: Adapter,
    /// The device, as the adapter knows it.
    pub instance: String,
    /// Where the adapter came from: should it turn out at the first action that it ended before, it is started again.
    pub host: Option<Arc<AdapterHost>>,
}

impl Hand {
    /// Longest that it is at work for one command of a session, all its actions together.
    pub const PATIENCE: Duration = Duration::from_secs(4 * ACTION.as_secs());

    /// Whether it can switch the device.
    #[must_use]
    pub fn acts(&self) -> bool {
        self.adapter.can("device")
    }

    /// Does to the device what the session asks; gives what is to be said of it besides. With `as_far` a fresh start is one as far as the
    /// hand goes: one that cannot wipe the device starts it.
    ///
    /// # Errors
    /// Why it could not.
    pub async fn act(&mut self, command: IutCommand, as_far: bool) -> Result<Option<String>, AdapterError> {
        let actions: &[DeviceAction] = match command {
            IutCommand::Start => &[DeviceAction::Start],
            IutCommand::Stop => &[DeviceAction::Stop],
            IutCommand::PowerCut => &[DeviceAction::PowerCut],
            IutCommand::Fresh => &[DeviceAction::PowerCut, DeviceAction::Wipe, DeviceAction::Start],
        };
        let mut remark = None;
        for action in actions {
            let operation = Operation::Device {
                instance: self.instance.clone(),
                action: *action,
                argument: None,
            };
            let host = self.host.take();
            match (self.adapter.request(operation.clone(), ACTION).await, host) {
                (Ok(_), _) => {}
                // perhaps after the case before and for its sake: in this one, nothing was done yet
                (Err(error @ AdapterError::Died { .. }), Some(host)) => {
                    self.adapter = host.get().await?;
                    self.adapter.request(operation, ACTION).await?;
                    remark = Some(error.before_the_case());
                }
                (Err(error), _) if as_far && *action != DeviceAction::Start && error.is_unsupported() => {}
                (Err(error), _) => return Err(error),
            }
        }
        Ok(remark)
    }

    /// SHA-256 of the image that the device holds, in hexadecimal; none when it holds none or nobody can tell.
    ///
    /// # Errors
    /// When the adapter fails.
    pub async fn image_digest(&self) -> Result<Option<String>, AdapterError> {
        if !self.adapter.can("image-digest") {
            return Ok(None);
        }
        let operation = Operation::ImageDigest {
            instance: self.instance.clone(),
        };
        let answer = self.adapter.request(operation, ACTION).await?;
        Ok(answer
            .sha256
            .map(|text| text.to_ascii_lowercase())
            .filter(|text| !text.is_empty()))
    }
}
