//! state-machine and result-belongs.

use crate::CheckConfig;
use crate::testing::*;
use fotaproof_trace::{EventKind, Grade, HookPhase, IutEvent};
use fotaproof_wire::coap::{Code, option};
use fotaproof_wire::{LwPath, Value, content};

/// A device in a conversation, with message ids of its own.
struct Device {
    stream: Stream,
    id: u16,
    ms: u64,
}

impl Device {
    fn new() -> Self {
        Self::with(CheckConfig::default())
    }

    fn with(config: CheckConfig) -> Self {
        Self {
            stream: Stream::with(config),
            id: 0,
            ms: 0,
        }
    }

    fn operation(&mut self, code: Code, path: &str, payload: &[u8], answer: Code, content: &[u8]) -> &mut Self {
        self.id += 1;
        self.ms += 100;
        let (id, token) = (self.id, self.id.to_be_bytes());
        let answer = ack(answer, id, &token);
        let answer = if content.is_empty() {
            answer
        } else {
            answer.format(0).payload(content)
        };
        self.stream
            .exchange(self.ms, &request(code, id, &token, path).payload(payload), &answer);
        self
    }

    fn state(&mut self, state: u8) -> &mut Self {
        self.operation(Code::GET, "/5/0/3", b"", Code::CONTENT, state.to_string().as_bytes())
    }

    fn result(&mut self, result: u8) -> &mut Self {
        self.operation(Code::GET, "/5/0/5", b"", Code::CONTENT, result.to_string().as_bytes())
    }

    /// Both in one answer.
    fn pair(&mut self, state: u8, result: u8) -> &mut Self {
        self.id += 1;
        self.ms += 100;
        let token = self.id.to_be_bytes();
        let base = LwPath::instance(5, 0);
        let values = [
            (LwPath::resource(5, 0, 3), Value::Integer(i64::from(state))),
            (LwPath::resource(5, 0, 5), Value::Integer(i64::from(result))),
            (LwPath::resource(5, 0, 7), Value::String("1.0".to_owned())),
        ];
        let payload = content::encode(11542, &base, &values).unwrap();
        let answer = ack(Code::CONTENT, self.id, &token).with_option(option::CONTENT_FORMAT, 11542u16.to_be_bytes());
        self.stream.exchange(
            self.ms,
            &request(Code::GET, self.id, &token, "/5/0"),
            &answer.payload(payload),
        );
        self
    }

    fn write(&mut self) -> &mut Self {
        self.operation(Code::PUT, "/5/0/1", b"coap://10.0.0.2/fw", Code::CHANGED, b"")
    }

    fn execute(&mut self, answer: Code) -> &mut Self {
        self.operation(Code::POST, "/5/0/2", b"", answer, b"")
    }

    fn wait(&mut self, ms: u64) -> &mut Self {
        self.ms += ms;
        self
    }

    #[track_caller]
    fn holds(&mut self) {
        self.stream.holds();
    }

    #[track_caller]
    fn breaks(&mut self, check: &str) {
        self.stream.breaks(check, Grade::Must);
    }
}

#[test]
fn an_update_from_start_to_end() {
    let mut device = Device::new();
    device
        .state(0)
        .result(0)
        .write()
        .state(1)
        .result(0)
        .state(1)
        .state(2)
        .result(0);
    device
        .execute(Code::CHANGED)
        .state(3)
        .result(0)
        .state(0)
        .result(1)
        .state(0)
        .holds();
}

#[test]
fn states_beyond_the_object() {
    Device::new().state(3).holds();
    Device::new().state(4).breaks("state-machine");
}

#[test]
fn idle_is_left_only_by_a_write() {
    Device::new().state(0).write().state(2).holds();
    Device::new().state(0).state(2).breaks("state-machine");
    // What was begun before the case is no leap.
    Device::new().state(2).holds();
    // An adapter pressed a button.
    let mut device = Device::new();
    device.state(0);
    let hook = IutEvent::Hook {
        name: "start".to_owned(),
        phase: HookPhase::Done,
        text: String::new(),
    };
    device.stream.event(150, EventKind::Iut(hook));
    device.state(2).holds();
}

#[test]
fn updating_needs_an_execute() {
    Device::new()
        .state(0)
        .write()
        .state(2)
        .execute(Code::CHANGED)
        .state(3)
        .holds();
    Device::new().state(0).write().state(2).state(3).breaks("state-machine");
    Device::new()
        .state(0)
        .write()
        .state(2)
        .execute(Code::METHOD_NOT_ALLOWED)
        .state(3)
        .breaks("state-machine");
    // The second is refused, the first still runs.
    let mut device = Device::new();
    device
        .state(0)
        .write()
        .state(2)
        .execute(Code::CHANGED)
        .execute(Code::METHOD_NOT_ALLOWED)
        .state(3)
        .holds();
    // Version 1.2 may update by itself.
    let config = CheckConfig {
        object_version: (1, 2),
        ..CheckConfig::default()
    };
    Device::with(config).state(0).write().state(2).state(3).holds();
}

#[test]
fn an_execute_is_used_up_by_a_new_download() {
    let mut device = Device::new();
    device
        .state(0)
        .write()
        .state(2)
        .execute(Code::CHANGED)
        .state(3)
        .state(0)
        .wait(2_000);
    device.write().state(1).state(2).state(3).breaks("state-machine");
}

#[test]
fn results_of_the_object_version() {
    Device::new().result(9).holds();
    Device::new().result(10).breaks("result-belongs");
    let config = || CheckConfig {
        object_version: (1, 1),
        ..CheckConfig::default()
    };
    Device::with(config()).result(11).holds();
    Device::with(config()).result(12).breaks("result-belongs");
    // The Register knows better.
    let mut device = Device::new();
    let list = register(900, &[9]).payload(&b"</1/0>,</3/0>,</5>;ver=1.1,</5/0>"[..]);
    device.stream.asks(0, &list, &created(900, &[9]));
    device.result(11).holds();
}

#[test]
fn results_that_belong_to_a_state() {
    for (state, result) in [(0, 9), (1, 0), (2, 0), (2, 8), (3, 0)] {
        Device::new()
            .pair(state, result)
            .wait(5_000)
            .pair(state, result)
            .holds();
    }
    for (state, result) in [(1, 5), (2, 1), (2, 5), (3, 8)] {
        Device::new().pair(state, result).holds();
        Device::new().pair(state, result).wait(700).pair(state, result).holds();
        Device::new()
            .pair(state, result)
            .wait(900)
            .pair(state, result)
            .breaks("result-belongs");
    }
}

#[test]
fn a_mixed_sample_of_each_failure_is_tolerated() {
    let mut device = Device::new();
    device
        .pair(0, 0)
        .write()
        .pair(1, 4)
        .pair(0, 4)
        .wait(5_000)
        .write()
        .pair(1, 4)
        .pair(0, 4)
        .holds();
}

#[test]
fn a_result_between_two_equal_states() {
    let mut device = Device::new();
    device
        .state(0)
        .write()
        .state(1)
        .result(5)
        .state(1)
        .wait(2_000)
        .result(5)
        .state(1)
        .breaks("result-belongs");
    // A write in between may have begun anew.
    let mut device = Device::new();
    device
        .state(0)
        .write()
        .state(1)
        .result(5)
        .write()
        .state(1)
        .wait(2_000)
        .result(5)
        .write()
        .state(1)
        .holds();
}
