//! What holds of every adapter, whatever it can do.

use core::time::Duration;

use fotaproof_adapter::{ErrorKind, Hello, Operation, Reply};

use super::super::{Adapter, AdapterError, kind_word};
use super::{Probe, refused};

/// How long a reply that may be missing is waited for.
const OPTIONAL: Duration = Duration::from_secs(2);
/// An instance that is never started.
pub(super) const NOBODY: &str = "check-none";

pub(super) async fn check(probe: &mut Probe, adapter: &Adapter, hello: &Hello) {
    // an operation that every adapter of the role has, or this one says to have
    let own = match hello.role.as_str() {
        "client" if adapter.can("device") => "device",
        "client" => "image-digest",
        _ => "start",
    };
    let unknown = probe.ask(adapter, Operation::NoSuchOperation {}).await;
    probe.tell(
        "unknown-operation",
        "an operation that it does not know is refused with `unknown-operation`",
        refused(unknown, &[ErrorKind::UnknownOperation]),
    );
    probe.look(adapter);

    let reply = raw(probe, adapter, &format!(r#"{{"id":{{id}},"op":"{own}"}}"#)).await;
    probe.tell(
        "bad-request",
        "a request without the fields that it needs is refused with `bad-request`",
        answered(reply, &[ErrorKind::BadRequest]),
    );
    probe.look(adapter);

    if hello.role != "client" {
        let reply = raw(
            probe,
            adapter,
            r#"{"id":{id},"op":"stop","instance":"check-none","a-field-of-version":{"1":9}}"#,
        )
        .await;
        probe.tell(
            "unknown-instance",
            "`stop` of an instance that is not there is refused with `unknown`; a field that it does not know changes nothing",
            answered(reply, &[ErrorKind::Unknown]),
        );
        probe.look(adapter);
    }

    for (name, line) in [
        ("no-json", "this is no request"),
        ("no-object", "[1, 2, 3]"),
        ("cut-json", r#"{"op":"start","id":"#),
    ] {
        let reply = match probe.gone {
            true => Err(AdapterError::Broken(String::new())),
            false => adapter.raw(line, OPTIONAL.min(probe.within)).await,
        };
        // whatever it said to that: it has to be there for the next request
        let next = probe.ask(adapter, Operation::NoSuchOperation {}).await;
        let lives = refused(next, &[ErrorKind::UnknownOperation]);
        let seen = match (reply, lives) {
            (_, Err(next)) => Err(format!("to the next request: {next}")),
            (Ok(reply), Ok(_)) => answered(Ok(reply), &[ErrorKind::BadRequest]),
            (Err(AdapterError::Silent { .. }), Ok(_)) => Ok("no reply, and it goes on".to_owned()),
            (Err(other), Ok(_)) => Err(other.to_string()),
        };
        probe.tell(
            name,
            "a line that is no request is refused with `bad-request` under id 0, or passed over; the adapter goes on",
            seen,
        );
        probe.look(adapter);
    }
}

pub(super) async fn raw(probe: &mut Probe, adapter: &Adapter, line: &str) -> Result<Reply, AdapterError> {
    if probe.gone {
        return Err(AdapterError::Broken(String::new()));
    }
    let reply = adapter.raw(line, probe.within).await;
    probe.heard(&reply);
    reply
}

pub(super) fn answered(reply: Result<Reply, AdapterError>, kinds: &[ErrorKind]) -> Result<String, String> {
    let error = match reply {
        Ok(Reply { error: Some(error), .. }) => error,
        Ok(_) => return Err("reply `ok`".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let seen = format!("error `{}`", kind_word(&error));
    if kinds.contains(&error.kind) {
        Ok(seen)
    } else {
        Err(format!("{seen}: {}", error.message))
    }
}
