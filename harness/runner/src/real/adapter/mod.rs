//! An adapter as a process that many cases share.
//!
//! [`Adapter::start`] starts the program in a process group of its own and waits for its hello; being there is an event, never a
//! sleep. The [`Adapter`] is a handle that can be cloned and used from any thread and runtime; a thread of its own holds the process.
//! [`Adapter::request`] asks and waits; [`Adapter::attach`] gives one user of one instance everything in the order in which the
//! adapter wrote it. Lines that are no messages, replies to nothing and second replies break the protocol: whoever waits learns
//! it at once. When the last handle is gone, so is every process of the adapter.
//!
//! [`AdapterHost`] is for a run: it starts the adapter with its first case and again only after it died.

mod actor;
pub mod check;
mod error;
mod hand;
mod host;
mod process;
pub mod serve;
#[cfg(test)]
mod tests;

use core::time::Duration;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use fotaproof_adapter::{Answer, Event, Hello, Operation, Reply};
use tokio::sync::{mpsc, oneshot};

use actor::{Ask, QUEUE, Shared, Target};

pub use error::{AdapterError, kind_word};
pub use hand::Hand;
pub use host::{AdapterHost, launch_of, time_for};
pub use process::AdapterLaunch;

/// How long an adapter may take to its hello unless its manifest says otherwise.
pub const READY: Duration = Duration::from_secs(60);

/// A running adapter.
#[derive(Clone, Debug)]
pub struct Adapter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    asked: Option<mpsc::UnboundedSender<Ask>>,
    hello: Hello,
    shared: Arc<Shared>,
    users: AtomicU64,
    served: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // the holder ends the process when nobody can ask any more
        self.asked = None;
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // a holder that panicked has dropped the process, which kills it
            let _ = thread.join();
        }
    }
}

/// What an adapter says to one user, in order.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "each is moved once, into a queue or out of one"
)]
pub enum FromAdapter {
    /// The reply to a request, under the id that the user gave it.
    Reply {
        /// That id.
        id: u64,
        /// What came of it.
        result: Result<Answer, AdapterError>,
    },
    /// An event of the user's instance, or of none.
    Event(Event),
    /// The adapter wrote what the protocol does not know. Requests that were under way stay without a reply.
    Broken(AdapterError),
    /// It ended.
    Gone(AdapterError),
}

/// How an adapter ended after `quit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// The reply to `quit`.
    pub replied: Result<(), AdapterError>,
    /// How its process ended, in words.
    pub status: String,
    /// With exit code 0.
    pub success: bool,
    /// Processes that it left behind and that were ended, in words.
    pub left: Option<String>,
}

impl Farewell {
    /// Whether all of it was in order.
    #[must_use]
    pub const fn in_order(&self) -> bool {
        self.replied.is_ok() && self.success && self.left.is_none()
    }
}

impl Adapter {
    /// Starts an adapter and waits for its hello.
    ///
    /// # Errors
    /// When it cannot be started, is not ready in time, or its first line is not what the protocol wants.
    pub async fn start(launch: &AdapterLaunch) -> Result<Self, AdapterError> {
        let (asked, queue) = mpsc::unbounded_channel();
        let (greeted, greeting) = oneshot::channel();
        let shared = Arc::new(Shared::default());
        let thread = hold(launch.clone(), queue, shared.clone(), greeted)?;
        let hello = match greeting.await {
            Ok(hello) => hello,
            Err(_) => Err(AdapterError::NotStarted("the harness has no runtime for it".to_owned())),
        };
        match hello {
            Ok(hello) => Ok(Self {
                inner: Arc::new(Inner {
                    asked: Some(asked),
                    hello,
                    shared,
                    users: AtomicU64::new(1),
                    served: AtomicBool::new(false),
                    thread: Mutex::new(Some(thread)),
                }),
            }),
            Err(error) => {
                drop(asked);
                let _ = thread.join();
                Err(error)
            }
        }
    }

    /// What it said of itself.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.inner.hello
    }

    /// Whether it says that it can do this.
    #[must_use]
    pub fn can(&self, operation: &str) -> bool {
        self.inner.hello.capabilities.iter().any(|known| known == operation)
    }

    /// Whether somebody used it.
    #[must_use]
    pub fn has_served(&self) -> bool {
        self.inner.served.load(Ordering::Relaxed)
    }

    /// Whether it ended while nobody used it.
    #[must_use]
    pub fn ended_idle(&self) -> bool {
        self.inner.shared.ended_idle()
    }

    /// Why it is gone, once it is.
    #[must_use]
    pub fn gone(&self) -> Option<AdapterError> {
        self.inner.shared.gone()
    }

    /// What it wrote that breaks the protocol, the first few.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.inner.shared.faults()
    }

    /// Processes that it left behind when it ended, in words.
    #[must_use]
    pub fn left(&self) -> Option<String> {
        self.inner.shared.left()
    }

    /// Asks and waits for the reply.
    ///
    /// # Errors
    /// When it refuses, does not answer in time, breaks the protocol meanwhile, or ends.
    pub async fn request(&self, operation: Operation, within: Duration) -> Result<Answer, AdapterError> {
        let (sender, answer) = oneshot::channel();
        self.ask(Ask::Request(operation, within, Target::Once(sender)))?;
        answer.await.unwrap_or_else(|_| Err(self.end()))
    }

    /// Writes a line as it is and waits for a reply with the id that replaces `{id}` in it, or with id 0.
    ///
    /// # Errors
    /// As [`Self::request`]; an error in the reply is none here.
    pub async fn raw(&self, line: &str, within: Duration) -> Result<Reply, AdapterError> {
        let (sender, answer) = oneshot::channel();
        self.ask(Ask::Raw(line.to_owned(), within, sender))?;
        answer.await.unwrap_or_else(|_| Err(self.end()))
    }

    /// A user of an instance: what is said of the instance from now on comes to it, and the replies to what it asks, in order.
    #[must_use]
    pub fn attach(&self, instance: &str) -> Attached {
        let user = self.inner.users.fetch_add(1, Ordering::Relaxed);
        let (sender, queue) = mpsc::channel(QUEUE);
        if let Err(gone) = self.ask(Ask::Attach(user, instance.to_owned(), sender.clone())) {
            let _ = sender.try_send(FromAdapter::Gone(gone));
        }
        Attached {
            adapter: self.clone(),
            user,
            queue,
            over: false,
        }
    }

    /// Asks it to end and waits until nothing of it lives. Everybody else's requests fail.
    pub async fn quit(&self, within: Duration) -> Farewell {
        let (sender, done) = oneshot::channel();
        let gone = |error: AdapterError| Farewell {
            status: error.to_string(),
            replied: Err(error),
            success: false,
            left: self.left(),
        };
        match self.ask(Ask::Quit(within, sender)) {
            Ok(()) => done.await.unwrap_or_else(|_| gone(self.end())),
            Err(error) => gone(error),
        }
    }

    /// Kills it, with every process of it, and waits until none is left: as when the power of its machine is cut. Everybody else who uses
    /// it loses it too.
    pub async fn kill(&self) {
        let (sender, done) = oneshot::channel();
        if self.ask(Ask::Kill(sender)).is_ok() {
            let _ = done.await;
        }
    }

    fn ask(&self, ask: Ask) -> Result<(), AdapterError> {
        self.inner.served.store(true, Ordering::Relaxed);
        let sent = self.inner.asked.as_ref().is_some_and(|asked| asked.send(ask).is_ok());
        if sent { Ok(()) } else { Err(self.end()) }
    }

    fn end(&self) -> AdapterError {
        self.gone().unwrap_or_else(|| AdapterError::Died {
            status: "lost".to_owned(),
            said: String::new(),
        })
    }
}

/// One user of one instance.
#[derive(Debug)]
pub struct Attached {
    adapter: Adapter,
    user: u64,
    queue: mpsc::Receiver<FromAdapter>,
    over: bool,
}

impl Attached {
    /// The adapter.
    #[must_use]
    pub const fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// Asks; the reply comes from [`Self::next`] with this id.
    pub fn send(&self, id: u64, operation: Operation, within: Duration) {
        // an adapter that is gone has told so in the queue
        let _ = self
            .adapter
            .ask(Ask::Request(operation, within, Target::Queue(self.user, id)));
    }

    /// The next thing that it says. Dropping the future loses nothing. After [`FromAdapter::Gone`] it never comes to an end.
    pub async fn next(&mut self) -> FromAdapter {
        match self.queue.recv().await {
            Some(what) => {
                self.over |= matches!(what, FromAdapter::Gone(_));
                what
            }
            None => core::future::pending().await,
        }
    }

    /// Whether [`Self::next`] has told that the adapter is gone.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // an adapter that is gone has no users
        let _ = self.adapter.ask(Ask::Detach(self.user));
    }
}

/// The thread that holds the process: the cases that share it come and go with runtimes of their own.
#[expect(clippy::disallowed_methods, reason = "the real side has threads")]
fn hold(
    launch: AdapterLaunch,
    queue: mpsc::UnboundedReceiver<Ask>,
    shared: Arc<Shared>,
    greeted: oneshot::Sender<Result<Hello, AdapterError>>,
) -> Result<JoinHandle<()>, AdapterError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| AdapterError::NotStarted(error.to_string()))?;
    Ok(std::thread::spawn(move || {
        runtime.block_on(actor::run(launch, queue, shared, greeted));
    }))
}
