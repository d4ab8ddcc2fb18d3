//! The test of an adapter: every rule of the protocol that can be seen from outside, and every operation that it claims, against the
//! reference device.

mod device;
mod hand;
mod operations;
mod protocol;
mod server;

use core::time::Duration;

use fotaproof_adapter::{ErrorKind, Event, Hello, Operation, PROTOCOL};

use super::{Adapter, AdapterError, AdapterLaunch, Answer, Attached, FromAdapter, kind_word};

/// What is tested and how long it may take.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// How the adapter is started.
    pub launch: AdapterLaunch,
    /// How long an answer may take that waits for no device.
    pub within: Duration,
    /// Of an adapter for devices: the endpoint of a device that it has and that nothing depends on.
    pub device: String,
}

/// What became of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckVerdict {
    /// As the protocol wants it.
    Passed,
    /// Otherwise.
    Failed,
    /// Nothing that it claims.
    NotClaimed,
    /// What it needs failed before.
    NotTested,
}

impl CheckVerdict {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotClaimed => "not claimed",
            Self::NotTested => "not tested",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Its name.
    pub name: &'static str,
    /// What became of it.
    pub verdict: CheckVerdict,
    /// What the protocol wants.
    pub expected: &'static str,
    /// What was seen.
    pub seen: String,
}

/// Everything that was seen of an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// What it said of itself, if it did.
    pub hello: Option<Hello>,
    /// The checks, in their order.
    pub checks: Vec<Checked>,
    /// It could not even be started: nothing is known of it.
    pub not_started: bool,
}

impl CheckReport {
    /// How many checks came to this.
    #[must_use]
    pub fn count(&self, verdict: CheckVerdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }
}

/// Operations that every adapter for servers has.
const NEEDED: [&str; 3] = ["start", "stop", "quit"];
/// All words that `capabilities` may have.
pub(super) const KNOWN: [&str; 20] = [
    "start",
    "stop",
    "quit",
    "await-registered",
    "read",
    "write",
    "write-blocks",
    "execute",
    "observe",
    "cancel",
    "discover",
    "write-attributes",
    "serve-file",
    "update-start",
    "update-pause",
    "update-resume",
    "update-cancel",
    "update-progress",
    "device",
    "image-digest",
];

/// Tests an adapter from its start to its end. Nothing of it is left afterwards.
pub async fn check(options: &CheckOptions) -> CheckReport {
    let mut probe = Probe {
        checks: Vec::new(),
        within: options.within,
        gone: false,
        silent: 0,
    };
    let adapter = match Adapter::start(&options.launch).await {
        Ok(adapter) => adapter,
        Err(error) => {
            probe.tell("hello", HELLO, Err(error.to_string()));
            return CheckReport {
                hello: None,
                checks: probe.checks,
                not_started: matches!(error, AdapterError::NotStarted(_)),
            };
        }
    };
    let hello = adapter.hello().clone();
    probe.tell("hello", HELLO, hello_seen(&hello));
    probe.tell(
        "capabilities",
        "operations of the protocol, each once; of a server `start`, `stop` and `quit` are among them, of a hand `quit` and what it is for",
        capabilities_seen(&hello),
    );
    protocol::check(&mut probe, &adapter, &hello).await;
    if hello.role == "server" {
        server::check(&mut probe, &adapter).await;
    } else if hello.role == "client" {
        hand::check(&mut probe, &adapter, &options.device).await;
    }
    let faults = adapter.faults();
    probe.conclude(
        "lines",
        "every line of standard output is a message that somebody waits for",
        match faults.first() {
            None => Ok("no other line".to_owned()),
            Some(first) => Err(first.clone()),
        },
    );
    quit(&mut probe, &adapter, options.within).await;
    CheckReport {
        hello: Some(hello),
        checks: probe.checks,
        not_started: false,
    }
}

const HELLO: &str = "the first line, in time: the event `hello` with name, version, role and protocol 1.x";

fn hello_seen(hello: &Hello) -> Result<String, String> {
    let Hello {
        protocol,
        name,
        version,
        role,
        ..
    } = hello;
    if name.trim().is_empty() || version.trim().is_empty() {
        return Err(format!("name {name:?}, version {version:?}"));
    }
    if !matches!(role.as_str(), "server" | "client") {
        return Err(format!("role {role:?}, which is neither `server` nor `client`"));
    }
    Ok(format!("{name} {version}, {role}, protocol {protocol}"))
}

fn capabilities_seen(hello: &Hello) -> Result<String, String> {
    let words = &hello.capabilities;
    for (i, word) in words.iter().enumerate() {
        if words[..i].contains(word) {
            return Err(format!("`{word}` twice"));
        }
        if hello.protocol == PROTOCOL && !KNOWN.contains(&word.as_str()) {
            return Err(format!("`{word}`, which is no operation of version {PROTOCOL}"));
        }
    }
    let has = |need: &str| words.iter().any(|word| word == need);
    if hello.role == "server"
        && let Some(lacks) = NEEDED.iter().find(|need| !has(need))
    {
        return Err(format!("no `{lacks}`"));
    }
    if hello.role == "client" {
        if !has("quit") {
            return Err("no `quit`".to_owned());
        }
        if !has("device") && !has("image-digest") {
            return Err("neither `device` nor `image-digest`".to_owned());
        }
    }
    Ok(words.join(", "))
}

async fn quit(probe: &mut Probe, adapter: &Adapter, within: Duration) {
    const EXPECTED: &str = "`quit` is replied to, then the process exits with 0 and leaves nothing behind";
    if adapter.gone().is_some() {
        return probe.not_tested("quit", EXPECTED);
    }
    let farewell = adapter.quit(within).await;
    let seen = match (&farewell.replied, &farewell.left) {
        (Err(error), _) => Err(error.to_string()),
        (Ok(()), Some(left)) => Err(format!("{}; it left {left}", farewell.status)),
        (Ok(()), None) if farewell.success => Ok(farewell.status),
        (Ok(()), None) => Err(farewell.status),
    };
    probe.conclude("quit", EXPECTED, seen);
}

/// The checks as they are made.
struct Probe {
    checks: Vec<Checked>,
    within: Duration,
    /// The adapter is gone or hangs, and that was told.
    gone: bool,
    /// Requests in a row without an answer that can be read.
    silent: u32,
}

/// Requests in a row without an answer that can be read, after which the adapter counts as hanging.
const HANGING: u32 = 2;

impl Probe {
    fn conclude(&mut self, name: &'static str, expected: &'static str, seen: Result<String, String>) {
        let (verdict, seen) = match seen {
            Ok(seen) => (CheckVerdict::Passed, seen),
            Err(seen) => (CheckVerdict::Failed, seen),
        };
        self.checks.push(Checked {
            name,
            verdict,
            expected,
            seen,
        });
    }

    /// A check; after the adapter is gone, and that was told once, nothing can be said any more.
    fn tell(&mut self, name: &'static str, expected: &'static str, seen: Result<String, String>) {
        if self.gone {
            return self.not_tested(name, expected);
        }
        self.conclude(name, expected, seen);
    }

    fn skip(&mut self, name: &'static str, expected: &'static str, why: &str) {
        self.checks.push(Checked {
            name,
            verdict: CheckVerdict::NotClaimed,
            expected,
            seen: why.to_owned(),
        });
    }

    fn not_tested(&mut self, name: &'static str, expected: &'static str) {
        self.checks.push(Checked {
            name,
            verdict: CheckVerdict::NotTested,
            expected,
            seen: if self.gone {
                "the adapter does not answer any more"
            } else {
                "what it needs failed"
            }
            .to_owned(),
        });
    }

    /// Asks; what came is a check's `seen` where it is not what was wanted.
    async fn ask(&mut self, adapter: &Adapter, operation: Operation) -> Result<Answer, AdapterError> {
        self.ask_within(adapter, operation, self.within).await
    }

    async fn ask_within(
        &mut self,
        adapter: &Adapter,
        operation: Operation,
        within: Duration,
    ) -> Result<Answer, AdapterError> {
        if self.gone {
            return Err(AdapterError::Died {
                status: "it is gone".to_owned(),
                said: String::new(),
            });
        }
        let answer = adapter.request(operation, within).await;
        self.heard(&answer);
        answer
    }

    /// Counts what hangs or talks nonsense.
    fn heard<T>(&mut self, answer: &Result<T, AdapterError>) {
        self.silent = match answer {
            Err(AdapterError::Silent { .. } | AdapterError::Broken(_)) => self.silent + 1,
            _ => 0,
        };
    }

    /// To be asked after each check: whether the adapter is still there.
    fn look(&mut self, adapter: &Adapter) {
        self.gone |= adapter.gone().is_some() || self.silent >= HANGING;
    }
}

/// The seen of a refusal that was wanted, or what came instead.
fn refused(result: Result<Answer, AdapterError>, kinds: &[ErrorKind]) -> Result<String, String> {
    match result {
        Err(AdapterError::Refused { error, .. }) => {
            let seen = format!("error `{}`", kind_word(&error));
            if kinds.contains(&error.kind) {
                Ok(seen)
            } else {
                Err(format!("{seen}: {}", error.message))
            }
        }
        Err(other) => Err(other.to_string()),
        Ok(_) => Err("reply `ok`".to_owned()),
    }
}

/// What an instance says, with what nobody waited for yet.
struct Watch {
    attached: Attached,
    seen: Vec<Event>,
}

impl Watch {
    fn new(adapter: &Adapter, instance: &str) -> Self {
        Self {
            attached: adapter.attach(instance),
            seen: Vec::new(),
        }
    }

    /// The first event that fits, of those before and those to come.
    async fn event<T>(&mut self, within: Duration, mut fits: impl FnMut(&Event) -> Option<T>) -> Option<T> {
        if let Some(i) = self.seen.iter().position(|event| fits(event).is_some()) {
            return fits(&self.seen.remove(i));
        }
        let waiting = async {
            loop {
                match self.attached.next().await {
                    FromAdapter::Event(event) => match fits(&event) {
                        Some(found) => return Some(found),
                        None => self.seen.push(event),
                    },
                    FromAdapter::Gone(_) => return None,
                    FromAdapter::Reply { .. } | FromAdapter::Broken(_) => {}
                }
            }
        };
        tokio::time::timeout(within, waiting).await.ok().flatten()
    }

    /// Forgets what came before.
    fn forget(&mut self) {
        self.seen.clear();
    }
}
