//! From a manifest to the program, arguments and environment of one instance.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use fotaproof_cases::ast::At;

use super::client::Instance;
use super::clock::Scaling;
use super::survivors::MARKER;
use super::{Placeholders, fill};

/// How a process is started.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) folder: PathBuf,
    /// The value of [`MARKER`].
    pub(super) mark: String,
}

/// The placeholders of an instance.
pub(super) fn placeholders(case: &Instance, server: SocketAddr) -> Placeholders {
    let endpoint = match &case.manifest.board {
        Some(board) => &board.endpoint,
        None => &case.endpoint,
    };
    let psk = case
        .manifest
        .credentials
        .as_ref()
        .and_then(|credentials| credentials.psk.as_ref());
    let mut values = Placeholders::new()
        .with("endpoint", endpoint)
        .with_server(server)
        .with("lifetime", case.lifetime.to_string())
        .with_path("state", &absolute(&case.folder))
        .with("instance", case.number.to_string())
        .with_path("manifest", &absolute(&case.manifest_folder))
        .with_path("root", &absolute(&case.root))
        .with("psk.identity", psk.map_or("", |psk| psk.identity.as_str()))
        .with("psk.key", psk.map_or("", |psk| psk.key.as_str()));
    if asks_for_port(case)
        && let Some(port) = free_port()
    {
        values = values.with("port", port.to_string());
    }
    values
}

/// How the IUT of a case is started; none for a board.
pub(super) fn launch(case: &Instance, values: &Placeholders, scaling: &Scaling, mark: String) -> Option<Launch> {
    let command = case.manifest.command.as_ref()?;
    let words = filled(&command.value, values);
    let (program, arguments) = words.split_first()?;
    let manifest_folder = absolute(&case.manifest_folder);
    let folder = match &case.manifest.work_folder {
        Some(folder) => manifest_folder.join(fill(&folder.value, values)),
        None => absolute(&case.folder),
    };
    let own = case
        .manifest
        .environment
        .iter()
        .map(|(name, value)| (name.clone(), fill(value, values)));
    let mark_entry = (MARKER.to_owned(), mark.clone());
    Some(Launch {
        program: resolve(program, &manifest_folder),
        arguments: arguments.iter().chain(&scaling.arguments).cloned().collect(),
        environment: own
            .chain(scaling.environment.iter().cloned())
            .chain([mark_entry])
            .collect(),
        folder,
        mark,
    })
}

/// The words of a command with their placeholders filled in.
pub(super) fn filled(words: &[At<String>], values: &Placeholders) -> Vec<String> {
    words.iter().map(|word| fill(&word.value, values)).collect()
}

/// A program with a relative path is meant from the manifest's folder; a bare name is looked for in PATH.
pub(super) fn resolve(program: &str, manifest_folder: &Path) -> String {
    if program.contains('/') {
        manifest_folder.join(program).display().to_string()
    } else {
        program.to_owned()
    }
}

/// Why a program could not be started, in words.
pub(super) fn start_failure(program: &str, folder: &Path, error: &io::Error) -> String {
    if !folder.is_dir() {
        return format!("its folder {} does not exist", folder.display());
    }
    match error.kind() {
        io::ErrorKind::NotFound if !program.contains('/') => format!("the command `{program}` is not found in PATH"),
        io::ErrorKind::NotFound if Path::new(program).exists() => {
            format!("the interpreter or loader of `{program}` does not exist")
        }
        io::ErrorKind::NotFound => format!("the command `{program}` does not exist"),
        io::ErrorKind::PermissionDenied => format!("the command `{program}` is not executable"),
        _ => format!("the command `{program}` cannot be started: {error}"),
    }
}

/// Makes the IUT's folder with the manifest's files in it, if it is not there.
pub(super) fn furnish(case: &Instance) -> Result<(), String> {
    let folder = &case.folder;
    let fresh = !folder.exists();
    fs::create_dir_all(folder).map_err(|error| format!("the folder {} cannot be made: {error}", folder.display()))?;
    let empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if fresh || empty {
        for file in &case.manifest.files {
            let from = case.manifest_folder.join(&file.value);
            copy(&from, folder).map_err(|error| format!("the file {} cannot be copied: {error}", from.display()))?;
        }
    }
    Ok(())
}

/// Removes all that the IUT left, and furnishes its folder anew.
pub(super) fn refurnish(case: &Instance) -> Result<(), String> {
    match fs::remove_dir_all(&case.folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("the folder {} cannot be wiped: {error}", case.folder.display()))
        }
        _ => furnish(case),
    }
}

fn copy(from: &Path, into: &Path) -> io::Result<()> {
    let name = from.file_name().ok_or_else(|| io::Error::other("it has no name"))?;
    let to = into.join(name);
    if from.is_dir() {
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(from)? {
            copy(&entry?.path(), &to)?;
        }
        return Ok(());
    }
    fs::copy(from, to).map(drop)
}

pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn asks_for_port(case: &Instance) -> bool {
    let manifest = &case.manifest;
    let words = manifest
        .command
        .iter()
        .flat_map(|command| &command.value)
        .map(|word| &word.value);
    words
        .chain(manifest.environment.values())
        .any(|text| text.contains("{port}"))
}

/// A UDP port that is free now and that this process gives to nobody else. It is below the range from which the
/// system takes ports, so that no socket of another case gets it in between.
fn free_port() -> Option<u16> {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let offset = std::process::id().wrapping_mul(613);
    (0..COUNT).find_map(|_| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + offset.wrapping_add(step) % COUNT).ok()?;
        is_free(port).then_some(port)
    })
}

#[expect(clippy::disallowed_methods, reason = "the real side looks for a free port")]
fn is_free(port: u16) -> bool {
    std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once() {
        let (one, other) = (free_port().unwrap(), free_port().unwrap());
        assert_ne!(one, other);
        assert!((10_000..32_000).contains(&one) && is_free(other));
    }

    #[test]
    fn a_program_beside_the_manifest_is_found_from_any_folder() {
        assert_eq!(resolve("./client", Path::new("/m")), "/m/./client");
        assert_eq!(resolve("/usr/bin/client", Path::new("/m")), "/usr/bin/client");
        assert_eq!(resolve("node", Path::new("/m")), "node");
    }
}
