//! An adapter for devices: a hand for what cannot be done from outside.

use core::time::Duration;

use fotaproof_adapter::{DeviceAction, Operation};

use super::{Adapter, AdapterError};
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
}

impl Hand {
    /// Whether it can switch the device.
    #[must_use]
    pub fn acts(&self) -> bool {
        self.adapter.can("device")
    }

    /// Does to the device what the session asks.
    ///
    /// # Errors
    /// Why it could not, in words.
    pub async fn act(self, command: IutCommand) -> Result<(), String> {
        let actions: &[DeviceAction] = match command {
            IutCommand::Start => &[DeviceAction::Start],
            IutCommand::Stop => &[DeviceAction::Stop],
            IutCommand::PowerCut => &[DeviceAction::PowerCut],
            IutCommand::Fresh => &[DeviceAction::PowerCut, DeviceAction::Wipe, DeviceAction::Start],
        };
        for action in actions {
            let operation = Operation::Device {
                instance: self.instance.clone(),
                action: *action,
                argument: None,
            };
            self.adapter
                .request(operation, ACTION)
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok(())
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
