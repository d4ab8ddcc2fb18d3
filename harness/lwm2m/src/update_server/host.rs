//! The server itself: datagrams, time, and what the parts tell each other.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fotaproof_adapter as adapter;
use fotaproof_coap::Transmit;
use fotaproof_wire::coap::{MessageView, Type};

use super::config::UpdateServerConfig;
use super::device::{Known, Watcher, Work};
use super::secure::Secure;
use crate::campaign::Happening;
use crate::definitions::Version;
use crate::repository::{Act, Fault, FileServer, On, RepositoryConfig};
use crate::server::{Answer, Interface, OpId, Policy, Server, ServerConfig};
use crate::server_defects::{self, ServerDefect};

/// A request that waits for a registration.
#[derive(Debug)]
pub(super) struct Awaited {
    pub(super) id: u64,
    pub(super) endpoint: String,
    pub(super) until: Duration,
}

/// The embedded server of updates. See the [module](super).
#[derive(Debug)]
pub struct UpdateServer {
    pub(super) config: UpdateServerConfig,
    pub(super) server: Server,
    pub(super) instance: Option<String>,
    pub(super) messages: VecDeque<adapter::Message>,
    pub(super) devices: BTreeMap<String, Known>,
    pub(super) work: BTreeMap<OpId, Work>,
    pub(super) watchers: BTreeMap<OpId, Watcher>,
    /// The endpoint of each update, by its name.
    pub(super) updates: BTreeMap<String, String>,
    /// How updates ended whose device has a newer one.
    pub(super) past: BTreeMap<String, adapter::Progress>,
    pub(super) awaited: Vec<Awaited>,
    /// When which campaign is due.
    pub(super) wakes: BTreeSet<(Duration, String)>,
    /// For a defect: the last notification that was told, with its sender and message id.
    pub(super) last_notified: Option<(SocketAddr, u16, adapter::Event)>,
    pub(super) secure: Option<Secure>,
    /// Datagrams from the secure address.
    pub(super) secure_out: VecDeque<Transmit>,
    /// Datagrams in clear, beside an instance with a secure address.
    pub(super) clear_out: VecDeque<Transmit>,
}

impl UpdateServer {
    /// A server without registrations. Its first message is the hello.
    #[must_use]
    pub fn new(config: UpdateServerConfig) -> Self {
        let mut messages = VecDeque::new();
        messages.push_back(adapter::Message::Event(adapter::Event::Hello(super::requests::hello())));
        Self {
            server: new_server(&config),
            config,
            instance: None,
            messages,
            devices: BTreeMap::new(),
            work: BTreeMap::new(),
            watchers: BTreeMap::new(),
            updates: BTreeMap::new(),
            past: BTreeMap::new(),
            awaited: Vec::new(),
            wakes: BTreeSet::new(),
            last_notified: None,
            secure: None,
            secure_out: VecDeque::new(),
            clear_out: VecDeque::new(),
        }
    }

    /// Takes a datagram.
    pub fn handle_datagram(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) {
        let copied = self.copy_of_notification(from, bytes);
        self.server.handle_datagram(now, from, bytes);
        self.pump(now);
        self.messages.extend(copied);
    }

    /// A defect: what a copy of the last notification makes it tell.
    fn copy_of_notification(&self, from: SocketAddr, bytes: &[u8]) -> Option<adapter::Message> {
        let (of, mid, event) = self.last_notified.as_ref()?;
        let view = MessageView::parse(bytes).ok()?;
        let same = *of == from && view.kind() == Type::Con && view.message_id() == *mid;
        same.then(|| adapter::Message::Event(event.clone()))
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.server.poll_deadline().is_some_and(|at| at <= now) {
            self.server.handle_timeout(now);
            self.pump(now);
        }
        self.secure_timeout(now);
        while let Some((_, endpoint)) = self.wakes.first().filter(|(at, _)| *at <= now).cloned() {
            if let Some(update) = self
                .devices
                .get_mut(&endpoint)
                .and_then(|device| device.update.as_mut())
            {
                update.campaign.handle_timeout(now);
            }
            self.after_campaign(now, &endpoint);
            self.pump(now);
        }
        let (over, awaited) = core::mem::take(&mut self.awaited)
            .into_iter()
            .partition(|awaited| awaited.until <= now);
        self.awaited = awaited;
        let over: Vec<Awaited> = over;
        for awaited in over {
            let message = format!("{} did not register in time", awaited.endpoint);
            self.refuse(awaited.id, adapter::ErrorKind::Timeout, message);
        }
    }

    /// The next datagram to send from the address without DTLS.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        if self.secure.is_some() {
            return self.clear_out.pop_front();
        }
        self.server.poll_transmit()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Duration> {
        let wake = self.wakes.first().map(|(at, _)| *at);
        let awaited = self.awaited.iter().map(|awaited| awaited.until).min();
        [self.server.poll_deadline(), wake, awaited, self.secure_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next message of the adapter protocol.
    pub fn poll_message(&mut self) -> Option<adapter::Message> {
        self.messages.pop_front()
    }

    /// Whether there is an instance.
    #[must_use]
    pub const fn is_started(&self) -> bool {
        self.instance.is_some()
    }

    /// Its process is killed: everything is forgotten, what it was about to say included.
    pub fn power_cut(&mut self) {
        self.stop();
        self.messages.clear();
    }

    /// What the server claims, in the words of the case library.
    #[must_use]
    pub fn claims(&self) -> Vec<String> {
        let claims = [
            "srv:push",
            "srv:pull",
            "srv:repo",
            "srv:report",
            "srv:campaign",
            "srv:queue",
            "srv:window",
            "srv:radio",
            "srv:send",
            "srv:dtls",
            "srv:dtls-cid",
        ];
        claims.map(str::to_owned).to_vec()
    }

    /// The registrations, observations and operations below.
    #[must_use]
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Where the updates are, by their names.
    pub fn updates(&self) -> impl Iterator<Item = (&str, adapter::Progress)> {
        self.updates
            .keys()
            .filter_map(|name| Some((name.as_str(), self.progress_of(name)?)))
    }

    // Below: for the other files of this module.

    pub(super) fn has(&self, defect: ServerDefect) -> bool {
        self.config.defects.contains(&defect)
    }

    pub(super) fn tell(&mut self, event: adapter::Event) {
        self.messages.push_back(adapter::Message::Event(event));
    }

    pub(super) fn instance_name(&self) -> String {
        self.instance.clone().unwrap_or_default()
    }

    /// Tells the campaign of a device what happened, if there is one.
    pub(super) fn happened(&mut self, now: Duration, endpoint: &str, happening: Happening) {
        if let Some(update) = self.devices.get_mut(endpoint).and_then(|device| device.update.as_mut()) {
            update.campaign.handle(now, happening);
            self.after_campaign(now, endpoint);
        }
    }

    /// Carries out what a campaign wants and tells how it goes on.
    pub(super) fn after_campaign(&mut self, now: Duration, endpoint: &str) {
        loop {
            let Some(update) = self.devices.get_mut(endpoint).and_then(|device| device.update.as_mut()) else {
                return;
            };
            let Some((id, task)) = update.campaign.poll_task() else {
                break;
            };
            self.start_task(now, endpoint, id, task);
        }
        let Some(device) = self.devices.get_mut(endpoint) else {
            return;
        };
        let Some(update) = &mut device.update else { return };
        let wake = update.campaign.poll_deadline();
        if wake != device.wake {
            if let Some(old) = device.wake {
                self.wakes.remove(&(old, endpoint.to_owned()));
            }
            if let Some(wake) = wake {
                self.wakes.insert((wake, endpoint.to_owned()));
            }
            device.wake = wake;
        }
        let progress = update.campaign.progress();
        if progress != update.told {
            update.told = progress.clone();
            let update = update.name.clone();
            let instance = self.instance_name();
            self.tell(adapter::Event::UpdateStatus {
                instance,
                update,
                progress,
            });
        }
    }

    pub(super) fn progress_of(&self, name: &str) -> Option<adapter::Progress> {
        if let Some(progress) = self.past.get(name) {
            return Some(progress.clone());
        }
        let update = self.devices.get(self.updates.get(name)?)?.update.as_ref()?;
        (update.name == name).then(|| update.campaign.progress())
    }

    /// Works through what the server below has to tell.
    pub(super) fn pump(&mut self, now: Duration) {
        loop {
            while let Some(event) = self.server.poll_event() {
                self.take(now, event);
            }
            if !self.pump_secure(now) {
                return;
            }
        }
    }
}

fn new_server(config: &UpdateServerConfig) -> Server {
    let has = |defect| config.defects.contains(&defect);
    let mut coap = config.coap.clone();
    server_defects::apply(&config.defects, &mut coap.quirks);
    if has(ServerDefect::NstartIgnored) {
        coap.nstart = usize::MAX;
    }
    let mut settings = ServerConfig {
        coap,
        seed: config.seed,
        accept_unknown_updates: has(ServerDefect::UnknownUpdateAccepted),
        ..ServerConfig::default()
    };
    if has(ServerDefect::VersionUnchecked) {
        settings.versions = (0..10)
            .flat_map(|major| (0..10).map(move |minor| Version(major, minor)))
            .collect();
    }
    if has(ServerDefect::LocationMissing) {
        settings.location = Some(Vec::new());
    }
    let mut server = Server::new(settings);
    if has(ServerDefect::Deregister404) {
        let policy = Policy {
            answer: Answer::Code(fotaproof_wire::coap::Code::NOT_FOUND),
            times: None,
        };
        server.set_policy(Interface::Deregister, policy);
    }
    if has(ServerDefect::SendRefused) {
        let policy = Policy {
            answer: Answer::Code(fotaproof_wire::coap::Code::METHOD_NOT_ALLOWED),
            times: None,
        };
        server.set_policy(Interface::Send, policy);
    }
    let mut files = FileServer::new(RepositoryConfig {
        szx: config.szx,
        ..RepositoryConfig::default()
    });
    if has(ServerDefect::RepoBlock0) {
        files.add_fault(Fault::new(On::Every, Act::IgnoreBlock2));
    }
    if has(ServerDefect::RepoEtagChanges) {
        files.add_fault(Fault::new(On::From(8), Act::ETag(b"another".to_vec())));
    }
    server.serve_files(files);
    server
}
