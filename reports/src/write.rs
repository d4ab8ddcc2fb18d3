//! Files that are whole or absent.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A report could not be written. Always the environment's fault, never the IUT's: exit code 5.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file system or the quota is full.
    #[error("the disk is full: could not write {} ({source}); free some space or choose another --out", path.display())]
    DiskFull {
        /// File that was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder may not be written to.
    #[error("not allowed to write {} ({source}); choose another --out", path.display())]
    Denied {
        /// File that was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else.
    #[error("could not write {} ({source})", path.display())]
    Other {
        /// File that was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl WriteError {
    /// The error for a file, sorted by what its reader can do about it.
    #[must_use]
    pub fn new(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Denied { path, source },
            _ => Self::Other { path, source },
        }
    }
}

/// Writes a file through a temporary neighbour and a rename, so that a reader, or the next run
/// after a power cut, sees the old content or the new one and never a part. The folder is made
/// when it is missing. A device or a pipe (`/dev/stdout`) is written to directly.
///
/// # Errors
/// A full disk, a folder that may not be written to, and any other failure of the system; no
/// temporary file is left behind.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    write(path, bytes).map_err(|source| WriteError::new(path, source))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    // Runs may write at the same time, in one process and in many.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}-{count}.tmp", std::process::id()));
    let temporary = folder.join(temporary);
    let written = fill(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one worth telling.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn fill(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    // Some file systems tell of a full disk only here.
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_content_replaces_the_old_and_nothing_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/results.json");
        write_atomically(&path, b"old").unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_rename_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.json");
        fs::create_dir_all(path.join("in the way")).unwrap();
        assert!(matches!(write_atomically(&path, b"x"), Err(WriteError::Other { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_named() {
        let error = write_atomically(Path::new("/dev/full"), b"x").unwrap_err();
        assert!(matches!(error, WriteError::DiskFull { .. }));
        assert_eq!(
            error.to_string(),
            "the disk is full: could not write /dev/full (No space left on device (os error 28)); free some space or choose another --out"
        );
    }

    #[test]
    fn each_kind_of_failure_has_its_advice() {
        let kind = |kind: io::ErrorKind| WriteError::new(Path::new("x"), kind.into());
        assert!(matches!(
            kind(io::ErrorKind::QuotaExceeded),
            WriteError::DiskFull { .. }
        ));
        assert!(matches!(
            kind(io::ErrorKind::ReadOnlyFilesystem),
            WriteError::Denied { .. }
        ));
        assert!(matches!(
            kind(io::ErrorKind::PermissionDenied),
            WriteError::Denied { .. }
        ));
        assert!(matches!(kind(io::ErrorKind::NotADirectory), WriteError::Other { .. }));
        assert!(matches!(
            write_atomically(Path::new("/"), b"x"),
            Err(WriteError::Other { .. })
        ));
    }
}
