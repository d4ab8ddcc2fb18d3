//! The keeper: a process beside the harness that ends what the harness started, should the harness be killed.
//!
//! A program that does not watch its standard input does not notice that the harness is gone, and the kernel tells only one process
//! of a group. So the harness holds one end of a pipe and the keeper the other. What is started is written into the pipe before it
//! runs and crossed out when its end was seen to; at the end of the pipe, whatever brought it about, the keeper ends all that is
//! still in its list: process groups, and processes that carry a mark. One keeper serves all that the harness starts.
//!
//! The same goes for temporary folders, which are removed after the last process that may write there.
//!
//! A program says with [`employ`] how it becomes a keeper, and [`dismiss`]es it when it ends. Without a keeper everything works but this.

use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::survivors::{self, MARKER, remove_faketime};

/// What the list of a harness that was killed is gone through, until nothing lives of it.
const ROUNDS: u32 = 100;
/// How the name of a temporary folder begins; the keeper removes no other.
const FOLDER: &str = "fotaproof-";
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(20);

/// The keeper of this process.
struct Keeper {
    /// The arguments with which this program is a keeper; empty when it cannot be one.
    arguments: &'static [&'static str],
    hired: Option<(Child, ChildStdin)>,
    next: u64,
}

static KEEPER: Mutex<Keeper> = Mutex::new(Keeper {
    arguments: &[],
    hired: None,
    next: 1,
});

fn keeper() -> MutexGuard<'static, Keeper> {
    KEEPER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on, this program started with these arguments is the keeper of what is started; it calls [`keep`]. It is not started
/// before there is something to keep.
pub fn employ(arguments: &'static [&'static str]) {
    keeper().arguments = arguments;
}

/// Sends the keeper away and waits until it is gone: nothing is left to keep.
pub fn dismiss() {
    let hired = {
        let mut keeper = keeper();
        keeper.arguments = &[];
        keeper.hired.take()
    };
    if let Some((mut child, pipe)) = hired {
        drop(pipe);
        // it may have been killed
        let _ = child.wait();
    }
}

impl Keeper {
    /// Starts it, if it is not there.
    fn hire(&mut self) {
        if self.arguments.is_empty() || self.hired.is_some() {
            return;
        }
        // this very program, whatever became of its file
        let started = Command::new("/proc/self/exe")
            .arg0("fotaproof")
            .args(self.arguments)
            .current_dir("/")
            .env_remove(MARKER)
            .env_remove("LD_PRELOAD")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // what ends the group of the harness must not end it
            .process_group(0)
            .spawn();
        match started {
            Ok(mut child) => self.hired = child.stdin.take().map(|pipe| (child, pipe)),
            // there is none to be had, and the next would not come either
            Err(_) => self.arguments = &[],
        }
    }

    fn tell(&mut self, line: &str) {
        if let Some((_, pipe)) = &mut self.hired
            && pipe.write_all(line.as_bytes()).is_err()
        {
            // somebody killed it
            if let Some((mut child, _)) = self.hired.take() {
                let _ = child.wait();
            }
            self.arguments = &[];
        }
    }
}

/// Something that is kept; it is crossed out of the list when this is dropped, which is to be when nothing of it lives.
#[derive(Debug)]
pub(crate) struct Kept(u64);

impl Kept {
    /// What is about to be started and will carry this mark, or none.
    pub(crate) fn new(mark: Option<&str>) -> Self {
        let mut keeper = keeper();
        keeper.hire();
        let number = keeper.next;
        keeper.next += 1;
        keeper.tell(&format!("keep {number} {}\n", mark.unwrap_or("-")));
        Self(number)
    }

    /// It was started, in a process group of this number.
    pub(crate) fn group(&self, pid: Pid) {
        keeper().tell(&format!("group {} {pid}\n", self.0));
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        keeper().tell(&format!("over {}\n", self.0));
    }
}

/// A temporary folder that is removed when this is dropped, and by the keeper when the harness is killed.
#[derive(Debug)]
pub struct KeptFolder {
    folder: tempfile::TempDir,
    /// Dropped after the folder is removed.
    _kept: Kept,
}

impl KeptFolder {
    /// Makes one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix(FOLDER).tempdir()?;
        let kept = Kept::new(None);
        if let Some(path) = folder.path().to_str().filter(|path| !path.contains('\n')) {
            keeper().tell(&format!("folder {} {path}\n", kept.0));
        }
        Ok(Self { folder, _kept: kept })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// What a keeper knows of something that was started.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    mark: Option<String>,
    /// The group, and when its first process began, by the kernel's count.
    group: Option<(Pid, Option<u64>)>,
    /// A temporary folder.
    folder: Option<PathBuf>,
}

/// Is the keeper: reads the list to its end, and ends what is left in it.
#[expect(
    clippy::disallowed_methods,
    reason = "a process of its own, which has nothing else to do"
)]
pub fn keep(mut input: impl BufRead) {
    let mut entries = BTreeMap::new();
    let mut line = String::new();
    loop {
        line.clear();
        match input.read_line(&mut line) {
            Ok(1..) => take(&mut entries, &line, began),
            Ok(0) | Err(_) => break,
        }
    }
    for _ in 0..ROUNDS {
        let lives = entries.values().filter(|entry| end(entry)).count();
        if lives == 0 {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    for folder in entries.values().filter_map(|entry| entry.folder.as_ref()) {
        // it may be gone, if the harness was killed in between
        let _ = fs::remove_dir_all(folder);
    }
}

/// The folder of a line, if it can be one of ours.
fn ours(path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let name = path.file_name()?.to_str()?;
    (path.is_absolute() && name.starts_with(FOLDER)).then(|| path.to_path_buf())
}

/// Takes a line of the list.
fn take(entries: &mut BTreeMap<u64, Entry>, line: &str, began: impl Fn(Pid) -> Option<u64>) {
    let mut words = line.split_whitespace();
    let (word, number) = (words.next(), words.next().and_then(|number| number.parse().ok()));
    let Some(number) = number else { return };
    match (word, words.next()) {
        (Some("keep"), Some(mark)) => {
            let mark = (mark != "-").then(|| mark.to_owned());
            entries.insert(
                number,
                Entry {
                    mark,
                    ..Entry::default()
                },
            );
        }
        (Some("folder"), Some(_)) => {
            // its name may have spaces
            let path = line.trim_end_matches('\n').splitn(3, ' ').nth(2).and_then(ours);
            if let Some(entry) = entries.get_mut(&number) {
                entry.folder = path;
            }
        }
        (Some("group"), Some(pid)) => {
            let pid = pid.parse().ok().filter(|pid| *pid > 1).map(Pid::from_raw);
            if let (Some(entry), Some(pid)) = (entries.get_mut(&number), pid) {
                entry.group = Some((pid, began(pid)));
            }
        }
        (Some("over"), _) => drop(entries.remove(&number)),
        _ => {}
    }
}

/// Ends what lives of an entry; says whether something did.
fn end(entry: &Entry) -> bool {
    let group = entry.group.and_then(|(pid, then)| {
        let now = began(pid);
        // a process of this number that began later is somebody else's; without one, the number is the group's as long as it lives
        (now.is_none() || now == then).then_some(pid)
    });
    let mut found = match &entry.mark {
        Some(mark) => {
            let ended = survivors::end(mark, group);
            ended.iter().for_each(|one| remove_faketime(one.pid));
            !ended.is_empty()
        }
        None => false,
    };
    if let Some(group) = group {
        found |= killpg(group, Signal::SIGKILL).is_ok();
    }
    found
}

/// When a process began, in ticks since the machine did; field 22 of `/proc/PID/stat`.
fn began(pid: Pid) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> BTreeMap<u64, Entry> {
        let mut entries = BTreeMap::new();
        for line in lines.lines() {
            take(&mut entries, line, |pid| u64::try_from(pid.as_raw()).ok());
        }
        entries
    }

    #[test]
    fn what_is_crossed_out_is_not_in_the_list() {
        let entries = read("keep 1 9-1\ngroup 1 100\nkeep 2 -\ngroup 2 200\nkeep 3 9-3\nover 1\n");
        let two = Entry {
            group: Some((Pid::from_raw(200), Some(200))),
            ..Entry::default()
        };
        let three = Entry {
            mark: Some("9-3".to_owned()),
            ..Entry::default()
        };
        assert_eq!(entries, BTreeMap::from([(2, two), (3, three)]));
    }

    #[test]
    fn no_line_ends_what_is_not_ours() {
        for line in [
            "",
            "group 1 1",
            "group 1 0",
            "group 1 -1",
            "keep x y",
            "keep 1",
            "group 7 200",
        ] {
            let entries = read(&format!("keep 1 m\n{line}\n"));
            assert!(entries.values().all(|entry| entry.group.is_none()), "{line}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "somebody has to wait for the child")]
    fn what_is_left_at_the_end_of_the_list_is_ended_and_nothing_else() {
        let sleeper = || Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        let (mut left, mut over) = (sleeper(), sleeper());
        let list = format!(
            "keep 1 -\ngroup 1 {}\nkeep 2 -\ngroup 2 {}\nover 2\n",
            left.id(),
            over.id()
        );
        // it is our child, so it stays a zombie that can be signalled until it is waited for
        let reaper = std::thread::spawn(move || left.wait().unwrap());
        keep(list.as_bytes());
        assert!(!reaper.join().unwrap().success());
        assert!(over.try_wait().unwrap().is_none());
        over.kill().unwrap();
        over.wait().unwrap();
    }

    #[test]
    fn temporary_folders_that_are_left_are_removed_and_no_other() {
        let place = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let path = place.path().join(name);
            fs::create_dir_all(path.join("below")).unwrap();
            path
        };
        let (left, over, other) = (made("fotaproof-a b"), made("fotaproof-c"), made("precious"));
        let list = format!(
            "keep 1 -\nfolder 1 {}\nkeep 2 -\nfolder 2 {}\nover 2\nkeep 3 -\nfolder 3 {}\nkeep 4 -\nfolder 4 fotaproof-here\n",
            left.display(),
            over.display(),
            other.display()
        );
        keep(list.as_bytes());
        assert_eq!((left.exists(), over.exists(), other.exists()), (false, true, true));
    }

    #[test]
    fn a_temporary_folder_is_gone_with_its_owner() {
        let folder = KeptFolder::new().unwrap();
        let path = folder.path().to_path_buf();
        fs::write(path.join("x"), "x").unwrap();
        assert_eq!(ours(path.to_str().unwrap()), Some(path.clone()));
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_process_begins_once() {
        let own = began(Pid::this());
        assert!(own.is_some());
        assert_eq!(own, began(Pid::this()));
    }
}
