//! Processes that a case started and that still live, found in `/proc`.

use core::time::Duration;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// The environment variable that marks every process of a case, so that one which left the process group is found too.
pub const MARKER: &str = "FOTAPROOF_RUN";

/// Looks in a row for processes that are not ended yet: each may have been forked while the one before was looked at.
const ROUNDS: usize = 8;

/// Looks at a process that is in the middle of an exec, at one that is perhaps past it, and what lies between them.
const LOOKS: usize = 20;
const FEW: usize = 4;
/// Room for nearly every environment.
const LARGE: usize = 64 << 10;
const EXEC: Duration = Duration::from_millis(1);

/// A process that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Survivor {
    pub(super) pid: Pid,
    pub(super) name: String,
}

/// What a look at a process says.
enum Look {
    Found(Survivor),
    Other,
    /// It shows no environment, as in the middle of an exec: worth so many looks.
    Unclear {
        looks: usize,
    },
}

/// The living processes of a group and those that carry the mark. Zombies do not live.
pub(super) fn find(mark: &str, group: Option<Pid>) -> Vec<Survivor> {
    let wanted = format!("{MARKER}={mark}");
    // asking costs one call; only a group that has members is worth reading every status for
    let group = group.filter(|group| killpg(*group, None).is_ok());
    let own = Pid::this();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut pids: Vec<Pid> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw))
        .filter(|pid| *pid != own)
        .collect();
    let mut found = Vec::new();
    for turn in 1..=LOOKS {
        pids.retain(|pid| match look(*pid, &wanted, group) {
            Look::Found(survivor) => {
                found.push(survivor);
                false
            }
            Look::Other => false,
            Look::Unclear { looks } => turn < looks,
        });
        if pids.is_empty() {
            break;
        }
        exec_goes_on();
    }
    found.sort_by_key(|survivor: &Survivor| survivor.pid);
    found
}

#[expect(
    clippy::disallowed_methods,
    reason = "a millisecond in which another process goes on; callers end processes when they are dropped, and cannot await"
)]
fn exec_goes_on() {
    std::thread::sleep(EXEC);
}

fn look(pid: Pid, wanted: &str, group: Option<Pid>) -> Look {
    let folder = format!("/proc/{pid}");
    let folder = Path::new(&folder);
    let environ = at_once(&folder.join("environ"));
    let marked = environ
        .as_ref()
        .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes()));
    if marked || group.is_some() {
        let status = fs::read_to_string(folder.join("stat")).unwrap_or_default();
        if let Some((name, state, of_group)) = parse_stat(&status)
            && !matches!(state, 'Z' | 'X' | 'x')
            && (marked || Some(of_group) == group)
        {
            return Look::Found(Survivor {
                pid,
                name: name.to_owned(),
            });
        }
    }
    // kernel threads and those that are dying have no program
    let has_none = environ.is_ok_and(|environ| environ.is_empty()) && fs::read_link(folder.join("exe")).is_ok();
    if !has_none {
        return Look::Other;
    }
    match fs::read(folder.join("cmdline")) {
        Ok(arguments) if arguments.is_empty() => Look::Unclear { looks: LOOKS },
        // an exec that ended a moment ago, or a program that was given no environment
        _ => Look::Unclear { looks: FEW },
    }
}

/// What a file of `/proc` says, in one read if it can be: between two reads the process may have begun another program, and the rest be gone.
fn at_once(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(LARGE);
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Ends them all with SIGKILL and says which they were. They are dying when this returns, not yet gone.
pub(super) fn end(mark: &str, group: Option<Pid>) -> Vec<Survivor> {
    let mut ended: Vec<Survivor> = Vec::new();
    for _ in 0..ROUNDS {
        let mut more = false;
        for survivor in find(mark, group) {
            if ended.iter().any(|known| known.pid == survivor.pid) {
                continue;
            }
            // it may have ended in between
            let _ = kill(survivor.pid, Signal::SIGKILL);
            ended.push(survivor);
            more = true;
        }
        if !more {
            break;
        }
    }
    ended
}

/// In words, for a note.
pub(super) fn told(survivors: &[Survivor]) -> String {
    let words: Vec<String> = survivors
        .iter()
        .map(|one| format!("{} (pid {})", one.name, one.pid))
        .collect();
    words.join(", ")
}

/// Name, state and process group of a `/proc/PID/stat`. The name may contain anything, also parentheses.
fn parse_stat(text: &str) -> Option<(&str, char, Pid)> {
    let open = text.find('(')?;
    let close = text.rfind(')')?;
    let name = text.get(open + 1..close)?;
    let mut fields = text.get(close + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let group = fields.nth(1)?.parse().ok()?;
    Some((name, state, Pid::from_raw(group)))
}

/// Removes what libfaketime leaves in shared memory for a process that was killed.
pub(super) fn remove_faketime(pid: Pid) {
    for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
        // there is none when the process ended in order
        let _ = fs::remove_file(Path::new("/dev/shm").join(name));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    /// One that begins a new program again and again has no environment for most of its life.
    #[test]
    fn a_process_in_the_middle_of_an_exec_is_found() {
        let mark = format!("exec-{}", std::process::id());
        let mut restless = Command::new("sh")
            .args(["-c", "exec sh -c \"$0\" \"$0\"", "exec sh -c \"$0\" \"$0\""])
            .env(MARKER, &mark)
            .process_group(0)
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(restless.id().cast_signed());
        let missed = (0..500)
            .filter(|_| find(&mark, None).iter().all(|one| one.pid != pid))
            .count();
        restless.kill().unwrap();
        restless.wait().unwrap();
        assert_eq!(missed, 0, "of 500 looks");
        assert_eq!(find(&mark, None), []);
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        assert_eq!(
            parse_stat("12 (a) b (c)) S 1 34 34 0"),
            Some(("a) b (c)", 'S', Pid::from_raw(34)))
        );
        assert_eq!(
            parse_stat("12 (sleep) Z 1 12 12"),
            Some(("sleep", 'Z', Pid::from_raw(12)))
        );
        assert_eq!(parse_stat("12 sleep S"), None);
        assert_eq!(parse_stat("12 (sleep) S 1"), None);
    }
}
