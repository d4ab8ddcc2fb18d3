//! Firmware packages of a case, made as the manifest says.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use fotaproof_cases::ast::{Case, Firmware, Role, Size};
use fotaproof_cases::manifest::{Manifest, PackageSource};
use fotaproof_lwm2m::package::{self, PackageKind};
use nix::unistd::Pid;

use crate::real::keeper::{Kept, KeptFolder};
use crate::session::PackageImage;

/// Name of the package that a case's `firmware` makes.
pub(crate) const FIRMWARE: &str = "firmware";
/// Length of a package when a case does not say one.
const DEFAULT_SIZE: u64 = 20_480;
/// The version that a package installs when a case does not say one.
pub const NEW_VERSION: &str = "2.0.0";
/// The model of the embedded device.
pub const MODEL: &str = "fotaproof-device";
/// Longest time that a package command may take.
const COMMAND_SECONDS: u64 = 120;

/// Why a package could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// A kind that nobody knows.
    #[error("there is no package kind `{0}`")]
    UnknownKind(String),
    /// The manifest has no entry for the kind.
    #[error("the manifest supplies no package of kind `{0}`")]
    NotSupplied(String),
    /// The harness's own format refuses it.
    #[error("a package `{kind}` of {size} bytes: {why}")]
    Build {
        /// The kind.
        kind: String,
        /// The size asked for.
        size: u64,
        /// Why not.
        why: String,
    },
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A command failed.
    #[error("the package command `{command}` failed: {why}")]
    Command {
        /// The command.
        command: String,
        /// Why.
        why: String,
    },
}

/// The packages of a case by name.
///
/// # Errors
/// When one of them cannot be made.
pub fn make_all(
    case: &Case,
    manifest: Option<(&Manifest, &Path)>,
    seed: u64,
) -> Result<BTreeMap<String, PackageImage>, MakeError> {
    let mut all = BTreeMap::new();
    let own = case.firmware.clone().unwrap_or_default();
    all.insert(FIRMWARE.to_owned(), make(&own, manifest, seed)?);
    for (i, (name, firmware)) in case.packages.iter().enumerate() {
        // every package of a case has other bytes
        all.insert(name.clone(), make(firmware, manifest, seed.wrapping_add(i as u64 + 1))?);
    }
    Ok(all)
}

/// One package.
///
/// # Errors
/// When it cannot be made.
pub fn make(firmware: &Firmware, manifest: Option<(&Manifest, &Path)>, seed: u64) -> Result<PackageImage, MakeError> {
    let kind = firmware.package.as_ref().map_or("valid", |kind| kind.value.as_str());
    let size = firmware.size.unwrap_or(Size(DEFAULT_SIZE)).0;
    let version = firmware.version.clone().unwrap_or_else(|| NEW_VERSION.to_owned());
    if kind == "raw" {
        return Ok(PackageImage {
            bytes: raw(firmware.bytes.as_deref().unwrap_or("random"), size, seed),
            version: String::new(),
            kind: kind.to_owned(),
        });
    }
    // our own device takes our own format, whichever server brings it
    let theirs = |manifest: &Manifest| manifest.embedded.is_none() && manifest.role.value == Role::Client;
    let Some((manifest, folder)) = manifest.filter(|(manifest, _)| theirs(manifest)) else {
        return builtin(kind, &version, MODEL, size, seed);
    };
    let source = manifest
        .packages
        .get(kind)
        .ok_or_else(|| MakeError::NotSupplied(kind.to_owned()))?;
    if source.builtin == Some(true) {
        return builtin(kind, &version, source.model.as_deref().unwrap_or(MODEL), size, seed);
    }
    supplied(source, kind, &version, size, folder)
}

fn builtin(kind: &str, version: &str, model: &str, size: u64, seed: u64) -> Result<PackageImage, MakeError> {
    let parsed: PackageKind = kind.parse().map_err(|_| MakeError::UnknownKind(kind.to_owned()))?;
    let version = parsed.version(version).to_owned();
    let length = usize::try_from(size).unwrap_or(usize::MAX);
    let bytes = package::build(parsed, &version, model, length, seed).map_err(|error| MakeError::Build {
        kind: kind.to_owned(),
        size,
        why: error.to_string(),
    })?;
    Ok(PackageImage {
        bytes: bytes.into(),
        version,
        kind: kind.to_owned(),
    })
}

fn raw(how: &str, size: u64, seed: u64) -> Bytes {
    let length = usize::try_from(size).unwrap_or(usize::MAX);
    match how {
        "zeros" => vec![0; length].into(),
        "random" => {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut bytes = vec![0; length];
            rng.fill(&mut bytes);
            bytes.into()
        }
        hex => match hex.parse::<fotaproof_cases::ast::Hex>() {
            Ok(hex) => hex.0.into(),
            Err(_) => hex.as_bytes().to_vec().into(),
        },
    }
}

fn supplied(
    source: &PackageSource,
    kind: &str,
    version: &str,
    size: u64,
    folder: &Path,
) -> Result<PackageImage, MakeError> {
    let image = |bytes: Vec<u8>, version: &str| PackageImage {
        bytes: bytes.into(),
        version: version.to_owned(),
        kind: kind.to_owned(),
    };
    if let Some(file) = &source.file {
        let path = folder.join(&file.value);
        let bytes = std::fs::read(&path).map_err(|source| MakeError::File {
            path: path.display().to_string(),
            source,
        })?;
        return Ok(image(bytes, source.version.as_deref().unwrap_or_default()));
    }
    let Some(words) = &source.command else {
        return Err(MakeError::NotSupplied(kind.to_owned()));
    };
    let temporary = |source| MakeError::File {
        path: "a temporary file".to_owned(),
        source,
    };
    // dropped after the file
    let room = KeptFolder::new().map_err(temporary)?;
    let output = tempfile::NamedTempFile::new_in(room.path()).map_err(temporary)?;
    let filled: Vec<String> = words
        .iter()
        .map(|word| {
            word.value
                .replace("{kind}", kind)
                .replace("{size}", &size.to_string())
                .replace("{version}", version)
                .replace("{output}", &output.path().display().to_string())
                .replace("{manifest}", &folder.display().to_string())
        })
        .collect();
    let failed = |why: String| MakeError::Command {
        command: filled.join(" "),
        why,
    };
    let Some((program, arguments)) = filled.split_first() else {
        return Err(failed("it is empty".to_owned()));
    };
    let kept = Kept::new(None);
    let builder = Command::new("timeout")
        .arg(COMMAND_SECONDS.to_string())
        .arg(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Ok(pid) = i32::try_from(builder.id()) {
        kept.group(Pid::from_raw(pid));
    }
    let done = builder.wait_with_output().map_err(|error| failed(error.to_string()))?;
    drop(kept);
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr)
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned();
        return Err(failed(format!("{}: {said}", done.status)));
    }
    let bytes = std::fs::read(output.path()).map_err(|source| MakeError::File {
        path: output.path().display().to_string(),
        source,
    })?;
    if bytes.is_empty() {
        return Err(failed("it wrote nothing to {output}".to_owned()));
    }
    Ok(image(bytes, version))
}
