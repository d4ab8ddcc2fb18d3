//! What a reboot and a power cut leave: the running firmware, the stored package, states and settings.

use serde::{Deserialize, Serialize};

use crate::firmware::Firmware;
use crate::package;

/// The persistent store of a device.
///
/// Every change counts up [`Flash::generation`], so that a driver knows when to write the settings (small, `serde`). The image is kept apart and only ever erased or appended to:
/// while [`Flash::image_epoch`] stays the same a driver appends what is new, else it begins anew. A driver that keeps the order (image before settings) survives its own death.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flash {
    /// The firmware version that runs.
    pub version: String,
    /// SHA-256 of the package that runs, hexadecimal; empty from the factory.
    pub running_digest: String,
    /// State and Update Result of object 5.
    pub firmware: Firmware,
    /// Objects that the running firmware no longer has.
    pub dropped_objects: Vec<u16>,
    /// Package URI as last written.
    pub uri: String,
    /// Severity.
    pub severity: i64,
    /// Maximum Defer Period in seconds.
    pub defer_period: u64,
    /// Automatic Upgrade at Download.
    pub auto_upgrade: bool,
    /// Unix time of the last change of State.
    pub last_change: i64,
    /// What /3/0/13 was set off by, in seconds.
    pub clock_offset: i64,
    /// Lifetime written by the server.
    pub lifetime: Option<u32>,
    /// A pull that may go on after a power cut.
    pub pull: Option<PullRecord>,
    /// How the installation that is running will end at the next boot, once it is decided.
    pub verdict: Option<Verdict>,
    /// Length and SHA-256 of the last package that was received whole, good or not.
    pub received: Option<ReceivedRecord>,
    /// How many installations were started.
    pub installs: u32,
    /// How many times the device booted.
    pub boots: u32,
    /// Another installation follows the next boot: set by a defect.
    pub install_again: bool,
    /// The next boot installs the stored package: set by a defect.
    pub install_at_boot: bool,
    #[serde(skip)]
    image: Vec<u8>,
    /// Counts the times the image was erased.
    image_epoch: u64,
    #[serde(skip)]
    generation: u64,
}

/// What a pull has to remember to go on after a power cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRecord {
    /// Where the image comes from.
    pub uri: String,
    /// The file's ETag, hexadecimal; without one a pull begins anew.
    pub etag: String,
    /// Size exponent of the blocks.
    pub szx: u8,
}

/// How an installation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The new firmware is the one to boot.
    Installed,
    /// The new firmware did not boot.
    BootFailed,
}

/// A package as it was received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedRecord {
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

impl Flash {
    /// The flash of a device as it leaves the factory.
    pub fn new(version: impl Into<String>) -> Self {
        Self {
            version: version.into(),
            running_digest: String::new(),
            firmware: Firmware::default(),
            dropped_objects: Vec::new(),
            uri: String::new(),
            severity: 1,
            defer_period: 0,
            auto_upgrade: false,
            last_change: 0,
            clock_offset: 0,
            lifetime: None,
            pull: None,
            verdict: None,
            received: None,
            installs: 0,
            boots: 0,
            install_again: false,
            install_at_boot: false,
            image: Vec::new(),
            image_epoch: 0,
            generation: 0,
        }
    }

    /// The same with the image that a driver kept beside the settings.
    #[must_use]
    pub fn with_image(mut self, image: Vec<u8>) -> Self {
        self.image = image;
        self
    }

    /// The bytes of the stored package, whole or in part.
    pub fn image(&self) -> &[u8] {
        &self.image
    }

    /// Counts the times the image was erased: while it stays, the image was only appended to.
    pub fn image_epoch(&self) -> u64 {
        self.image_epoch
    }

    /// Grows with every change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn touch(&mut self) {
        self.generation += 1;
    }

    pub(crate) fn erase(&mut self) {
        if !self.image.is_empty() {
            self.image = Vec::new();
            self.image_epoch += 1;
            self.touch();
        }
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.image.extend_from_slice(bytes);
        self.touch();
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        if length < self.image.len() {
            self.image.truncate(length);
            self.image_epoch += 1;
            self.touch();
        }
    }

    /// Writes at an offset, filling a hole with zeros: only what a defect does ever leaves one.
    pub(crate) fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        if offset == self.image.len() {
            return self.append(bytes);
        }
        let end = offset + bytes.len();
        if self.image.len() < end {
            self.image.resize(end, 0);
        }
        self.image[offset..end].copy_from_slice(bytes);
        self.image_epoch += 1;
        self.touch();
    }

    pub(crate) fn record_received(&mut self) {
        self.received = Some(ReceivedRecord {
            length: self.image.len() as u64,
            sha256: package::hex(&package::digest(&self.image)),
        });
        self.touch();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_sees_what_to_write() {
        let mut flash = Flash::new("1.0.0");
        let (epoch, generation) = (flash.image_epoch(), flash.generation());
        flash.append(b"abc");
        assert_eq!((flash.image_epoch(), flash.image()), (epoch, b"abc".as_slice()));
        assert!(flash.generation() > generation);
        flash.erase();
        assert!(flash.image_epoch() > epoch && flash.image().is_empty());
    }

    #[test]
    fn settings_survive_as_json_and_the_image_apart() {
        let mut flash = Flash::new("1.0.0");
        flash.append(b"image");
        flash.uri = "coap://h/x".to_owned();
        let text = serde_json::to_string(&flash).unwrap();
        assert!(!text.contains("\"image\""));
        let back = serde_json::from_str::<Flash>(&text)
            .unwrap()
            .with_image(flash.image().to_vec());
        assert_eq!((back.uri.as_str(), back.image()), ("coap://h/x", b"image".as_slice()));
    }
}
