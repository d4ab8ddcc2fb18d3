//! Whether an IUT is ready to be started: prepared, installed, of the right version.

use core::time::Duration;
use std::path::Path;

use fotaproof_cases::ast::{At, Many};
use fotaproof_cases::manifest::{Manifest, VersionProbe};

use super::launch::{absolute, filled, resolve};
use super::tool::{self, Tool, ToolOutput};
use super::version::{self, Range, Version};
use super::{Interrupt, Placeholders};

/// How long a preparation may take: it may build the IUT.
const PREPARE: Duration = Duration::from_secs(1800);
/// How long a program may take to print its version.
const PROBE: Duration = Duration::from_secs(30);

/// What is known of an IUT before its first start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Its version, when the manifest says how to ask for it.
    pub version: Option<String>,
}

/// Why an IUT cannot be run. All of these are the environment's fault, none the IUT's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// A file of `requires` is missing.
    #[error("the IUT is not installed: {0} does not exist (`requires` of the manifest)")]
    Missing(String),
    /// The command of `prepare` failed.
    #[error("the IUT cannot be prepared: {0} (`prepare` of the manifest)")]
    Prepare(String),
    /// The command of `version` failed or printed none.
    #[error("the version of the IUT is not known: {0} (`version` of the manifest)")]
    Version(String),
    /// Another version than the manifest is for.
    #[error("the IUT has version {found}, and the manifest is for {range}")]
    Range {
        /// The version that is there.
        found: String,
        /// What the manifest is for.
        range: String,
    },
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

/// Prepares an IUT, once a run: runs `prepare`, looks for what it `requires`, asks for its `version`.
///
/// # Errors
/// When one of these fails.
pub async fn prepare(
    manifest: &Manifest,
    manifest_folder: &Path,
    root: &Path,
    mut interrupt: Interrupt,
) -> Result<Readiness, NotReady> {
    let folder = absolute(manifest_folder);
    let values = Placeholders::new()
        .with_path("manifest", &folder)
        .with_path("root", &absolute(root));
    let all = async {
        if let Some(words) = &manifest.prepare {
            command(words, &values, &folder, PREPARE)
                .await
                .map_err(NotReady::Prepare)?;
        }
        if let Some(missing) = missing(manifest.requires.as_ref(), &folder) {
            return Err(NotReady::Missing(missing));
        }
        let version = match &manifest.version {
            Some(probe) => probe_version(probe, &values, &folder).await?,
            None => None,
        };
        Ok(Readiness { version })
    };
    tokio::select! {
        done = all => done,
        () = interrupt.wait() => Err(NotReady::Interrupted),
    }
}

/// The first required file that is not there.
fn missing(requires: Option<&Many<String>>, folder: &Path) -> Option<String> {
    let files = requires.into_iter().flat_map(|files| files.iter());
    files
        .map(|file| folder.join(file))
        .find(|path| !path.exists())
        .map(|path| path.display().to_string())
}

async fn probe_version(probe: &VersionProbe, values: &Placeholders, folder: &Path) -> Result<Option<String>, NotReady> {
    let Some(words) = &probe.command else { return Ok(None) };
    let done = command(words, values, folder, PROBE).await.map_err(NotReady::Version)?;
    let after = probe.after.as_deref();
    let found: Option<Version> = version::find(&done.stdout, after).or_else(|| version::find(&done.stderr, after));
    let found = found.ok_or_else(|| NotReady::Version("the command printed no version".to_owned()))?;
    if let Some(range) = &probe.range {
        let parsed: Range = range
            .value
            .parse()
            .map_err(|error| NotReady::Version(format!("{error}")))?;
        if !parsed.contains(&found) {
            return Err(NotReady::Range {
                found: found.to_string(),
                range: range.value.clone(),
            });
        }
    }
    Ok(Some(found.to_string()))
}

async fn command(
    words: &[At<String>],
    values: &Placeholders,
    folder: &Path,
    within: Duration,
) -> Result<ToolOutput, String> {
    let mut words = filled(words, values);
    if let Some(program) = words.first_mut() {
        *program = resolve(program, folder);
    }
    let tool = Tool {
        words,
        folder: folder.to_path_buf(),
        environment: Vec::new(),
        within,
    };
    let done = tool::run(&tool).await.map_err(|error| error.to_string())?;
    if done.success { Ok(done) } else { Err(done.failure()) }
}
