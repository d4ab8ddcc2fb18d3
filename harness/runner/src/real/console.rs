//! The commands of the reference server that stands alone, one a line.

use core::fmt::Write as _;
use std::path::PathBuf;

use fotaproof_wire::path::LwPath;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Registrations.
    List,
    /// Talks to this endpoint from now on.
    Use(String),
    /// Read.
    Read(LwPath),
    /// Discover.
    Discover(LwPath),
    /// Write of a text.
    Write(LwPath, String),
    /// Execute with arguments.
    Execute(LwPath, String),
    /// Observe.
    Observe(LwPath),
    /// Write-Attributes.
    Attributes(LwPath, String),
    /// Writes a file to /5/0/0.
    Push(PathBuf),
    /// Serves a file and writes its URI to /5/0/1.
    Pull(PathBuf),
    /// Execute of /5/0/2.
    Update,
    /// Resets object 5 with an empty URI.
    Reset,
    /// Reads State, Update Result and firmware version.
    State,
    /// What there is.
    Help,
    /// Ends the server.
    Quit,
}

/// What cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such command.
    #[error("there is no command `{0}`; `help` lists them")]
    Unknown(String),
    /// Something is missing.
    #[error("`{0}` wants {1}")]
    Wants(&'static str, &'static str),
    /// Not a path.
    #[error("`{0}` is no path such as /5/0/3")]
    Path(String),
}

/// The commands with what they want and do.
const COMMANDS: [(&str, &str, &str); 15] = [
    ("list", "", "registered devices"),
    (
        "use",
        "ENDPOINT",
        "talk to this device; the first that registered if never said",
    ),
    ("read", "PATH", "Read"),
    ("discover", "PATH", "Discover"),
    ("write", "PATH TEXT", "Write a text; no text is the empty one"),
    ("execute", "PATH [ARGUMENTS]", "Execute"),
    ("observe", "PATH", "Observe"),
    ("attributes", "PATH pmin=1&pmax=60", "Write-Attributes"),
    ("push", "FILE", "write a package to /5/0/0 block by block"),
    ("pull", "FILE", "serve a package and write its URI to /5/0/1"),
    ("update", "", "Execute /5/0/2"),
    ("reset", "", "reset object 5 by an empty URI"),
    ("state", "", "read State, Update Result and firmware version"),
    ("help", "", "this"),
    ("quit", "", "end the server"),
];

/// The commands, one a line.
#[must_use]
pub fn help() -> String {
    let mut text = String::new();
    for (name, wants, does) in COMMANDS {
        // writing to a string cannot fail
        let _ = writeln!(text, "{:<32}{does}", format!("{name} {wants}"));
    }
    text.truncate(text.trim_end().len());
    text
}

/// Reads a line; nothing for an empty one.
///
/// # Errors
/// When it is no command.
pub fn parse(line: &str) -> Result<Option<Command>, CommandError> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    if word.is_empty() {
        return Ok(None);
    }
    let Some((name, wants, _)) = COMMANDS.into_iter().find(|(name, ..)| *name == word) else {
        return Err(CommandError::Unknown(word.to_owned()));
    };
    let (first, second) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if !wants.is_empty() && first.is_empty() {
        return Err(CommandError::Wants(name, wants));
    }
    let path = || {
        first
            .parse::<LwPath>()
            .map_err(|_| CommandError::Path(first.to_owned()))
    };
    let second = second.trim().to_owned();
    Ok(Some(match name {
        "list" => Command::List,
        "use" => Command::Use(rest.to_owned()),
        "read" => Command::Read(path()?),
        "discover" => Command::Discover(path()?),
        "write" => Command::Write(path()?, second),
        "execute" => Command::Execute(path()?, second),
        "observe" => Command::Observe(path()?),
        "attributes" if second.is_empty() => return Err(CommandError::Wants(name, wants)),
        "attributes" => Command::Attributes(path()?, second),
        "push" => Command::Push(rest.into()),
        "pull" => Command::Pull(rest.into()),
        "update" => Command::Update,
        "reset" => Command::Reset,
        "state" => Command::State,
        "quit" => Command::Quit,
        _ => Command::Help,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_help_is_understood() {
        for (name, wants, _) in COMMANDS {
            let line = match wants.split(' ').next() {
                Some("PATH") => format!("{name} /5/0/1 a=1"),
                Some("") | None => name.to_owned(),
                _ => format!("{name} some file.bin"),
            };
            assert!(parse(&line).unwrap().is_some(), "{line}");
        }
        insta::assert_snapshot!("server_help", help());
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        let told = |line: &str| parse(line).unwrap_err().to_string();
        assert_eq!(
            told("frobnicate 1"),
            "there is no command `frobnicate`; `help` lists them"
        );
        assert_eq!(told("push"), "`push` wants FILE");
        assert_eq!(told("read five"), "`five` is no path such as /5/0/3");
        assert_eq!(told("attributes /5/0/3"), "`attributes` wants PATH pmin=1&pmax=60");
        assert_eq!(parse("   "), Ok(None));
    }

    #[test]
    fn a_text_is_taken_as_it_stands() {
        let path: LwPath = "/5/0/1".parse().unwrap();
        assert_eq!(
            parse("write /5/0/1 coap://h/a b"),
            Ok(Some(Command::Write(path, "coap://h/a b".to_owned())))
        );
        assert_eq!(parse("write /5/0/1"), Ok(Some(Command::Write(path, String::new()))));
        assert_eq!(
            parse("push my image.bin"),
            Ok(Some(Command::Push("my image.bin".into())))
        );
    }
}
