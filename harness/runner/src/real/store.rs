//! The flash of a device that stands alone, in a folder.
//!
//! `flash.json` holds the settings, `image-N.bin` the stored package, N being the number of times the image was erased before. The
//! image is written before the settings that name it, and a new image goes to a new file, so that the folder is whole at every
//! moment at which the process can be killed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fotaproof_lwm2m::device::Flash;

/// Why the flash cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The settings are not what was written.
    #[error("{path} is not the flash of a device: {why}")]
    Settings {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
}

/// The folder of a device.
#[derive(Debug)]
pub struct FlashStore {
    folder: PathBuf,
    sync: bool,
    generation: Option<u64>,
    settings: String,
    image: Option<Image>,
}

#[derive(Debug)]
struct Image {
    epoch: u64,
    file: File,
    written: usize,
    synced: bool,
}

impl FlashStore {
    /// The store in this folder, which is made if it is not there. With `sync` every change of the settings reaches the disk before the
    /// device goes on, so that it survives a power cut of the machine too and not only the end of the process.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: &Path, sync: bool) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).map_err(|source| file_error(folder, source))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            sync,
            generation: None,
            settings: String::new(),
            image: None,
        })
    }

    /// What was kept, or the flash of a new device with this version.
    ///
    /// # Errors
    /// When what is there cannot be read.
    pub fn load(&mut self, version: &str) -> Result<Flash, StoreError> {
        let path = self.settings_file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Flash::new(version)),
            Err(error) => return Err(file_error(&path, error)),
        };
        let flash: Flash = serde_json::from_str(&text).map_err(|error| StoreError::Settings {
            path: path.display().to_string(),
            why: error.to_string(),
        })?;
        let epoch = flash.image_epoch();
        let path = self.image_file(epoch);
        let image = match fs::read(&path) {
            Ok(image) => image,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(file_error(&path, error)),
        };
        if !image.is_empty() {
            let file = File::options()
                .append(true)
                .open(&path)
                .map_err(|source| file_error(&path, source))?;
            self.image = Some(Image {
                epoch,
                file,
                written: image.len(),
                synced: false,
            });
        }
        self.settings = text;
        Ok(flash.with_image(image))
    }

    /// Writes what changed since the last time.
    ///
    /// # Errors
    /// When it cannot be written, as on a full disk.
    pub fn save(&mut self, flash: &Flash) -> Result<(), StoreError> {
        if self.generation == Some(flash.generation()) {
            return Ok(());
        }
        self.save_image(flash)?;
        self.save_settings(flash)?;
        self.generation = Some(flash.generation());
        Ok(())
    }

    fn save_image(&mut self, flash: &Flash) -> Result<(), StoreError> {
        let epoch = flash.image_epoch();
        let bytes = flash.image();
        let known = self
            .image
            .as_ref()
            .is_some_and(|image| image.epoch == epoch && image.written <= bytes.len());
        if !known {
            if bytes.is_empty() {
                self.image = None;
                return Ok(());
            }
            let path = self.image_file(epoch);
            // bytes of an image that was cut off are of no use: what the device has is written from the start
            let file = File::create(&path).map_err(|source| file_error(&path, source))?;
            self.image = Some(Image {
                epoch,
                file,
                written: 0,
                synced: false,
            });
        }
        let path = self.image_file(epoch);
        let Some(image) = &mut self.image else { return Ok(()) };
        if image.written < bytes.len() {
            image
                .file
                .write_all(&bytes[image.written..])
                .map_err(|source| file_error(&path, source))?;
            image.written = bytes.len();
            image.synced = false;
        }
        Ok(())
    }

    fn save_settings(&mut self, flash: &Flash) -> Result<(), StoreError> {
        let path = self.settings_file();
        let text = serde_json::to_string_pretty(flash).map_err(|error| StoreError::Settings {
            path: path.display().to_string(),
            why: error.to_string(),
        })?;
        if text == self.settings {
            return Ok(());
        }
        let aside = self.folder.join("flash.json.new");
        let write = |sync: bool, image: Option<&mut Image>| -> io::Result<()> {
            if sync && let Some(image) = image.filter(|image| !image.synced) {
                image.file.sync_data()?;
                image.synced = true;
            }
            let mut file = File::create(&aside)?;
            file.write_all(text.as_bytes())?;
            if sync {
                file.sync_data()?;
            }
            fs::rename(&aside, &path)
        };
        write(self.sync, self.image.as_mut()).map_err(|source| file_error(&path, source))?;
        self.settings = text;
        self.sweep(flash.image_epoch());
        Ok(())
    }

    /// Removes images that the settings no longer name.
    fn sweep(&self, epoch: u64) {
        let kept = self.image_file(epoch);
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with("image-") && name.ends_with(".bin") && path != kept {
                // the next sweep takes it
                let _ = fs::remove_file(&path);
            }
        }
    }

    fn settings_file(&self) -> PathBuf {
        self.folder.join("flash.json")
    }

    fn image_file(&self, epoch: u64) -> PathBuf {
        self.folder.join(format!("image-{epoch}.bin"))
    }
}

fn file_error(path: &Path, source: io::Error) -> StoreError {
    StoreError::File {
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flash with settings and an image, as a device leaves it.
    fn flash(uri: &str, epoch: u64, image: &[u8]) -> Flash {
        let mut settings = serde_json::to_value(Flash::new("1.0.0")).unwrap();
        settings["uri"] = uri.into();
        settings["image_epoch"] = epoch.into();
        serde_json::from_value::<Flash>(settings)
            .unwrap()
            .with_image(image.to_vec())
    }

    fn reopened(folder: &Path) -> Flash {
        FlashStore::open(folder, false).unwrap().load("1.0.0").unwrap()
    }

    #[test]
    fn a_new_folder_holds_a_new_device() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("a/b");
        let mut store = FlashStore::open(&below, true).unwrap();
        let flash = store.load("7.0.0").unwrap();
        assert_eq!(flash.version, "7.0.0");
        store.save(&flash).unwrap();
        assert_eq!(reopened(&below), flash);
    }

    #[test]
    fn settings_and_image_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let kept = flash("coap://h/x", 1, b"image");
        FlashStore::open(folder.path(), true).unwrap().save(&kept).unwrap();
        let back = reopened(folder.path());
        assert_eq!((back.uri.as_str(), back.image()), ("coap://h/x", b"image".as_slice()));
    }

    #[test]
    fn an_image_of_before_is_gone_with_the_settings_that_named_it() {
        let folder = tempfile::tempdir().unwrap();
        FlashStore::open(folder.path(), false)
            .unwrap()
            .save(&flash("", 1, b"old and long"))
            .unwrap();
        let mut store = FlashStore::open(folder.path(), false).unwrap();
        store.load("1.0.0").unwrap();
        // killed between image and settings: the old ones hold
        store.save_image(&flash("", 2, b"new")).unwrap();
        assert_eq!(reopened(folder.path()).image(), b"old and long");
        store.save_settings(&flash("", 2, b"new")).unwrap();
        assert_eq!(reopened(folder.path()).image(), b"new");
        assert!(!folder.path().join("image-1.bin").exists());
    }

    #[test]
    fn what_is_no_flash_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("flash.json"), "{}").unwrap();
        let error = FlashStore::open(folder.path(), false)
            .unwrap()
            .load("1.0.0")
            .unwrap_err();
        assert!(
            error.to_string().contains("flash.json is not the flash of a device"),
            "{error}"
        );
    }
}
