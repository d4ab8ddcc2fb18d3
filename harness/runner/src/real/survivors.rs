//! Processes that a case started and that still live, found in `/proc`.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// The environment variable that marks every process of a case, so that one which left the process group is found too.
pub const MARKER: &str = "FOTAPROOF_RUN";

/// Looks in a row for processes that are not ended yet: each may have been forked while the one before was looked at.
const ROUNDS: usize = 8;

/// A process that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Survivor {
    pub(super) pid: Pid,
    pub(super) name: String,
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
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw));
    let mut found: Vec<Survivor> = pids
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            let folder = format!("/proc/{pid}");
            let folder = Path::new(&folder);
            let marked = fs::read(folder.join("environ"))
                .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes()));
            if !marked && group.is_none() {
                return None;
            }
            let status = fs::read_to_string(folder.join("stat")).ok()?;
            let (name, state, of_group) = parse_stat(&status)?;
            let lives = !matches!(state, 'Z' | 'X' | 'x');
            (lives && (marked || Some(of_group) == group)).then(|| Survivor {
                pid,
                name: name.to_owned(),
            })
        })
        .collect();
    found.sort_by_key(|survivor| survivor.pid);
    found
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
    use super::*;

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
