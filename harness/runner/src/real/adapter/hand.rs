//! An adapter for devices: a hand for what cannot be done from outside.

use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fotaproof_adapter::{DeviceAction, Operation};

use super::{Adapter, AdapterError, AdapterHost};
use crate::session::IutCommand;

/// How long an action may take: a board boots.
const ACTION: Duration = Duration::from_secs(120);

/// The adapter of a device of one case. Its instance is the endpoint of the device.
#[derive(Clone, Debug)]
pub struct Hand {
    /// The device, as the adapter knows it.
    instance: String,
    /// The same for all who have the hand.
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    adapter: Adapter,
    /// Where another comes from, until the first action of the case.
    host: Option<Arc<AdapterHost>>,
}

impl Hand {
    /// Longest that it is at work for one command of a session, all its actions together.
    pub const PATIENCE: Duration = Duration::from_secs(4 * ACTION.as_secs());

    /// A hand of this adapter, which may serve others too. Should it turn out at the first action that it ended before, it is started
    /// again by its host.
    #[must_use]
    pub fn new(adapter: Adapter, instance: String, host: Option<Arc<AdapterHost>>) -> Self {
        Self {
            instance,
            state: Arc::new(Mutex::new(State { adapter, host })),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn adapter(&self) -> Adapter {
        self.state().adapter.clone()
    }

    /// Whether it can switch the device.
    #[must_use]
    pub fn acts(&self) -> bool {
        self.adapter().can("device")
    }

    /// Whether its adapter ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.adapter().gone().is_some()
    }

    /// Does to the device what the session asks; gives what is to be said of it besides. With `as_far` a fresh start is one as far as the
    /// hand goes: one that cannot wipe the device starts it.
    ///
    /// # Errors
    /// Why it could not.
    pub async fn act(&self, command: IutCommand, as_far: bool) -> Result<Option<String>, AdapterError> {
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
            let host = self.state().host.take();
            let mut done = self.adapter().request(operation.clone(), ACTION).await;
            if let (Err(error @ AdapterError::Died { .. }), Some(host)) = (&done, host) {
                // perhaps after the case before and for its sake: in this one, nothing was done yet
                remark = Some(error.before_the_case());
                let adapter = host.again().await?;
                self.state().adapter = adapter.clone();
                done = adapter.request(operation, ACTION).await;
            }
            match done {
                Err(error) if as_far && *action != DeviceAction::Start && error.is_unsupported() => {}
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        Ok(remark)
    }

    /// SHA-256 of the image that the device holds, in hexadecimal; none when it holds none or nobody can tell.
    ///
    /// # Errors
    /// When the adapter fails.
    pub async fn image_digest(&self) -> Result<Option<String>, AdapterError> {
        let adapter = self.adapter();
        if !adapter.can("image-digest") {
            return Ok(None);
        }
        let operation = Operation::ImageDigest {
            instance: self.instance.clone(),
        };
        let answer = adapter.request(operation, ACTION).await?;
        Ok(answer
            .sha256
            .map(|text| text.to_ascii_lowercase())
            .filter(|text| !text.is_empty()))
    }
}
