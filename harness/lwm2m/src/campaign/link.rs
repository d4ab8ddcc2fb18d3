//! Between a campaign and the adapter protocol: tasks as operations, replies as outcomes.

use fotaproof_adapter as adapter;
use fotaproof_wire::link_format::{self, ObjectLinks};
use fotaproof_wire::path::LwPath;
use fotaproof_wire::value::Value;

use super::types::{Happening, Task, TaskOutcome};
use crate::definitions::{Version, Versions};

/// The operation of the library level that does a task; `None` for [`Task::CancelTask`] and [`Task::CancelObservation`], which have none or need
/// the name of the observation.
#[must_use]
pub fn operation_of(task: &Task, instance: &str, endpoint: &str, file: &str) -> Option<adapter::Operation> {
    let (instance, endpoint) = (instance.to_owned(), endpoint.to_owned());
    Some(match task {
        Task::Read(path) => adapter::Operation::Read {
            instance,
            endpoint,
            path: path.to_string(),
        },
        Task::Observe(path) => adapter::Operation::Observe {
            instance,
            endpoint,
            path: path.to_string(),
        },
        Task::Write { path, value } => adapter::Operation::Write {
            instance,
            endpoint,
            path: path.to_string(),
            value: value_to_adapter(value),
        },
        Task::Push { block } => adapter::Operation::WriteBlocks {
            instance,
            endpoint,
            path: "/5/0/0".to_owned(),
            file: file.to_owned(),
            block: *block,
        },
        Task::Execute(path) => adapter::Operation::Execute {
            instance,
            endpoint,
            path: path.to_string(),
            arguments: None,
        },
        Task::CancelObservation(_) | Task::CancelTask(_) => return None,
    })
}

/// What a reply of the library level means for the task.
#[must_use]
pub fn outcome_of(reply: &adapter::Reply, task: &Task) -> TaskOutcome {
    if let Some(error) = &reply.error {
        return match error.kind {
            adapter::ErrorKind::Timeout => TaskOutcome::Timeout,
            adapter::ErrorKind::NotRegistered => TaskOutcome::Superseded,
            _ => TaskOutcome::Failed(error.message.clone()),
        };
    }
    let Some(response) = reply.ok.as_ref().and_then(|answer| answer.response.as_ref()) else {
        return TaskOutcome::Failed("the reply has no response".to_owned());
    };
    match response.code.parse() {
        Ok(code) => TaskOutcome::Code {
            code,
            values: values_of(response, task),
        },
        Err(_) => TaskOutcome::Failed(format!("{:?} is no response code", response.code)),
    }
}

/// The values of a response, by path.
fn values_of(response: &adapter::Response, task: &Task) -> Vec<(LwPath, Value)> {
    let single = match task {
        Task::Read(path) | Task::Observe(path) => response
            .value
            .as_ref()
            .and_then(|value| Some((*path, value_from_adapter(value)?))),
        _ => None,
    };
    let more = response
        .values
        .iter()
        .filter_map(|(path, value)| Some((path.parse().ok()?, value_from_adapter(value)?)));
    single.into_iter().chain(more).collect()
}

/// What an adapter tells of a registration.
#[must_use]
pub fn happening_of_registration(registration: &adapter::Registration) -> Happening {
    let lwm2m = registration.lwm2m.parse().unwrap_or(Version::V1_0);
    let links = link_format::parse(registration.links.as_bytes()).unwrap_or_default();
    let links = ObjectLinks::from_links(&links);
    let announced = links.version(5).and_then(|version| version.parse().ok());
    let has = links.objects.iter().any(|link| link.path.object == Some(5));
    Happening::Registered {
        // An adapter that gives no list is taken at its word that there is something to update.
        object5: (has || registration.links.is_empty())
            .then(|| announced.unwrap_or_else(|| Versions::of(lwm2m).object(5))),
        lwm2m,
        binding: registration.binding.clone(),
        address: registration.address.clone(),
    }
}

/// A value of the protocol.
#[must_use]
pub fn value_to_adapter(value: &Value) -> adapter::Value {
    match value {
        Value::Integer(number) | Value::Time(number) => adapter::Value::Integer(*number),
        Value::Unsigned(number) => {
            i64::try_from(*number).map_or_else(|_| adapter::Value::String(number.to_string()), adapter::Value::Integer)
        }
        Value::Float(number) => adapter::Value::Float(*number),
        Value::Boolean(truth) => adapter::Value::Boolean(*truth),
        Value::String(text) | Value::CoreLink(text) => adapter::Value::String(text.clone()),
        Value::Opaque(bytes) => adapter::Value::Opaque(crate::package::hex(bytes)),
        Value::ObjectLink(object, instance) => adapter::Value::String(format!("{object}:{instance}")),
    }
}

/// The value that the protocol carries; `None` when its hexadecimal cannot be read.
#[must_use]
pub fn value_from_adapter(value: &adapter::Value) -> Option<Value> {
    Some(match value {
        adapter::Value::String(text) => Value::String(text.clone()),
        adapter::Value::Integer(number) => Value::Integer(*number),
        adapter::Value::Float(number) => Value::Float(*number),
        adapter::Value::Boolean(truth) => Value::Boolean(*truth),
        adapter::Value::Opaque(hex) => Value::Opaque(unhex(hex)?),
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
