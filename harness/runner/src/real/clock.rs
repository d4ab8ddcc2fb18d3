//! The session's time from the wall clock, and the scaled clock of the IUT.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::path::{Path, PathBuf};

use fotaproof_cases::ast::Role;
use fotaproof_cases::manifest::Manifest;
use tokio::time::Instant;

/// The session's clock: time since the case began, times the speed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    speed: f64,
    skew: Option<Skew>,
}

/// By how much the clock of a case is ahead of what has passed, in nanoseconds of the case's time. A test that adds to it makes the
/// harness late by as much, without waiting.
pub type Skew = &'static AtomicU64;

impl Clock {
    pub(crate) fn starting(speed: f64) -> Self {
        Self {
            start: Instant::now(),
            speed,
            skew: None,
        }
    }

    /// The same, ahead by that.
    pub(super) const fn ahead(mut self, skew: Option<Skew>) -> Self {
        self.skew = skew;
        self
    }

    fn skew(&self) -> Duration {
        Duration::from_nanos(self.skew.map_or(0, |skew| skew.load(Ordering::Relaxed)))
    }

    /// The session's time now.
    pub(crate) fn now(&self) -> Duration {
        self.scaled(self.start.elapsed()) + self.skew()
    }

    /// A span of the session's time on the wall's clock.
    pub(super) fn wall(&self, span: Duration) -> Duration {
        Duration::try_from_secs_f64(span.as_secs_f64() / self.speed).unwrap_or(Duration::MAX)
    }

    /// The wall's instant of a time of the session; none when it is too far away to be said.
    pub(crate) fn instant(&self, at: Duration) -> Option<Instant> {
        let at = at.saturating_sub(self.skew());
        // one microsecond later, so that rounding never wakes us before the time
        let real = if is_plain(self.speed) {
            at
        } else {
            Duration::try_from_secs_f64(at.as_secs_f64() / self.speed).ok()?
        };
        self.start.checked_add(real)?.checked_add(Duration::from_micros(1))
    }

    fn scaled(&self, real: Duration) -> Duration {
        if is_plain(self.speed) {
            real
        } else {
            Duration::try_from_secs_f64(real.as_secs_f64() * self.speed).unwrap_or(Duration::MAX)
        }
    }
}

/// Whether the clock is not scaled.
#[expect(clippy::float_cmp, reason = "exactly one is the value that is not scaled")]
fn is_plain(speed: f64) -> bool {
    speed == 1.0
}

/// How a process is made to live on a scaled clock.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scaling {
    /// Variables that its environment gets.
    pub environment: Vec<(String, String)>,
    /// Arguments that its command gets.
    pub arguments: Vec<String>,
    /// libfaketime is preloaded.
    pub faketime: bool,
}

/// Why an IUT cannot run at a speed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpeedError {
    /// Not a positive number.
    #[error("a speed of {0} is not possible; it is a positive number such as 20")]
    Impossible(f64),
    /// The manifest does not allow it.
    #[error("the manifest does not allow a scaled clock (it has no `speed`), so the speed can only be 1")]
    NotAllowed,
    /// A board has its own clock.
    #[error("a board has a clock of its own, so the speed can only be 1")]
    Board,
    /// Too fast.
    #[error("the manifest allows a speed of {at_most} at most, {asked} was asked for")]
    TooFast {
        /// What was asked.
        asked: f64,
        /// What the manifest allows.
        at_most: f64,
    },
    /// There is no libfaketime here.
    #[error(
        "a scaled clock needs {name}, and it is in none of {searched}; install it (Debian: `faketime`) or run with speed 1"
    )]
    NoFaketime {
        /// The library.
        name: String,
        /// Where it was looked for.
        searched: String,
    },
}

/// What is meant by a time of the IUT on the wall's clock: as long, where it is short. What a machine takes to do its work does not
/// scale, so nothing that only has to end some day is given less than `least`.
pub(crate) fn on_the_wall(time: Duration, speed: f64, least: Duration) -> Duration {
    time.div_f64(speed.clamp(1.0, 10_000.0)).max(time.min(least))
}

/// What scales the clock of this IUT; nothing at a speed of 1. Of a server it is its adapter that is meant.
///
/// # Errors
/// When the manifest does not allow the speed or the machine has not what it takes.
pub fn scaling(manifest: &Manifest, speed: f64) -> Result<Scaling, SpeedError> {
    if !speed.is_finite() || speed <= 0.0 {
        return Err(SpeedError::Impossible(speed));
    }
    if is_plain(speed) {
        return Ok(Scaling::default());
    }
    if manifest.board.is_some() {
        return Err(SpeedError::Board);
    }
    let allowed = manifest.speed.as_ref().ok_or(SpeedError::NotAllowed)?;
    if !allowed.faketime && allowed.arguments.is_empty() {
        return Err(SpeedError::NotAllowed);
    }
    if let Some(at_most) = allowed.at_most
        && speed > at_most
    {
        return Err(SpeedError::TooFast { asked: speed, at_most });
    }
    let mut made = Scaling {
        arguments: allowed
            .arguments
            .iter()
            .map(|argument| argument.replace("{speed}", &speed.to_string()))
            .collect(),
        ..Scaling::default()
    };
    if allowed.faketime {
        // a server's library has many threads, and tells the time in all of them
        let name = match manifest.role.value {
            Role::Server => "libfaketimeMT.so.1",
            Role::Client => "libfaketime.so.1",
        };
        let library = find_faketime(Path::new("/usr"), name)?.display().to_string();
        // a library that is preloaded already stays
        let preload = match inherited("LD_PRELOAD") {
            Some(before) => format!("{library}:{before}"),
            None => library,
        };
        made.faketime = true;
        made.environment = vec![
            ("LD_PRELOAD".to_owned(), preload),
            ("FAKETIME".to_owned(), format!("+0d x{speed}")),
        ];
    }
    Ok(made)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the environment of the IUT begins with that of the harness"
)]
fn inherited(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A libfaketime below this prefix: in `lib/ARCH/faketime`, `lib/faketime`, `lib64/faketime` or `local/lib/faketime`.
fn find_faketime(prefix: &Path, name: &str) -> Result<PathBuf, SpeedError> {
    let lib = prefix.join("lib");
    let mut folders = Vec::new();
    if let Ok(entries) = std::fs::read_dir(&lib) {
        folders.extend(entries.flatten().map(|entry| entry.path().join("faketime")));
        folders.sort();
    }
    folders.extend([
        lib.join("faketime"),
        prefix.join("lib64/faketime"),
        prefix.join("local/lib/faketime"),
    ]);
    let found = folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    found.ok_or_else(|| SpeedError::NoFaketime {
        name: name.to_owned(),
        searched: format!(
            "{0}/lib/*/faketime, {0}/lib/faketime, {0}/lib64/faketime, {0}/local/lib/faketime",
            prefix.display()
        ),
    })
}

#[cfg(test)]
mod tests {
    use fotaproof_cases::ast::At;
    use fotaproof_cases::manifest::{Board, Speed};

    use super::*;

    fn with_speed(at_most: Option<f64>, faketime: bool) -> Manifest {
        Manifest {
            speed: Some(Speed {
                faketime,
                at_most,
                arguments: vec!["--speed={speed}".to_owned()],
            }),
            ..Manifest::default()
        }
    }

    #[test]
    fn a_speed_is_taken_up_to_the_bound_of_the_manifest() {
        let manifest = with_speed(Some(20.0), false);
        assert_eq!(scaling(&manifest, 20.0).unwrap().arguments, ["--speed=20"]);
        let error = scaling(&manifest, 20.5).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the manifest allows a speed of 20 at most, 20.5 was asked for"
        );
    }

    #[test]
    fn without_a_word_in_the_manifest_only_plain_time_is_possible() {
        let manifest = Manifest::default();
        assert_eq!(scaling(&manifest, 1.0), Ok(Scaling::default()));
        assert_eq!(scaling(&manifest, 2.0), Err(SpeedError::NotAllowed));
        assert_eq!(scaling(&manifest, 0.0), Err(SpeedError::Impossible(0.0)));
        assert!(matches!(scaling(&manifest, f64::NAN), Err(SpeedError::Impossible(_))));
        let board = Manifest {
            board: Some(At::<Board>::default()),
            ..with_speed(None, true)
        };
        assert_eq!(scaling(&board, 2.0), Err(SpeedError::Board));
    }

    #[test]
    fn a_missing_library_is_named_with_the_places() {
        let empty = tempfile::tempdir().unwrap();
        let name = "libfaketime.so.1";
        let error = find_faketime(empty.path(), name).unwrap_err().to_string();
        assert!(
            error.contains("libfaketime.so.1") && error.contains("/lib/*/faketime"),
            "{error}"
        );
        let folder = empty.path().join("lib/x86_64-linux-gnu/faketime");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("libfaketime.so.1"), b"").unwrap();
        assert_eq!(find_faketime(empty.path(), name).unwrap(), folder.join(name));
    }

    #[test]
    fn a_patience_scales_down_to_what_work_takes_and_never_grows() {
        let seconds = Duration::from_secs;
        let least = seconds(60);
        assert_eq!(on_the_wall(seconds(1800), 1.0, least), seconds(1800));
        assert_eq!(on_the_wall(seconds(1800), 20.0, least), seconds(90));
        assert_eq!(on_the_wall(seconds(300), 20.0, least), seconds(60));
        assert_eq!(on_the_wall(seconds(20), 20.0, least), seconds(20));
    }

    #[tokio::test]
    async fn scaled_time_is_turned_back_into_wall_time() {
        let clock = Clock::starting(20.0);
        let instant = clock.instant(Duration::from_secs(20)).unwrap();
        assert_eq!(instant - clock.start, Duration::from_secs(1) + Duration::from_micros(1));
        assert_eq!(clock.scaled(Duration::from_millis(50)), Duration::from_secs(1));
        assert!(clock.instant(Duration::MAX).is_some_and(|at| at > instant));
    }
}
