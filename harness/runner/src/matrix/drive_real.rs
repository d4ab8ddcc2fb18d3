//! A cell in real time: sockets, the client's process, the server's adapter, around the same machine as in virtual time.
//!
//! A real client sends to a port of ours and a real server hears from a port of ours, one for each address that the client has
//! on the far side of the link; what is embedded needs neither. The machine sees one address for each end: that which the
//! client was told.

use core::time::Duration;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use fotaproof_adapter::{Answer, Listen, Message, Operation, Reply, Request};
use fotaproof_lwm2m::UpdateServer;
use fotaproof_lwm2m::server_defects::ServerDefectSet;
use fotaproof_trace::Event;
use tokio::time::Instant;

use super::cell::{CellConfig, CellSession, Ended, Input, Output};
use super::drive_virtual::{FIRST_REQUEST, Talk, embedded_device, embedded_server};
use super::ports::{Heard, Ports};
use crate::embedded::{EmbeddedIut, EmbeddedOutput};
use crate::real::adapter::{Adapter, AdapterError, Attached, FromAdapter, Hand, time_for};
use crate::real::client::{ClientProcess, Instance};
use crate::real::sockets::shown_ip;
use crate::real::{Clock, Interrupt, Watchdog, on_the_wall};
use crate::session::IutReport;

/// How long an adapter may take to end an instance.
const STOP: Duration = Duration::from_secs(20);
/// How long an adapter may take to start an instance or to offer a file.
const START: Duration = Duration::from_secs(60);
/// The least that an adapter is given to answer, on the wall's clock.
const LEAST: Duration = Duration::from_secs(60);

/// The client of a cell.
pub(super) enum Client<'a> {
    /// The embedded device.
    Embedded(&'a fotaproof_lwm2m::device::DeviceConfig),
    /// A process, or a board, with who has a hand in it.
    Process(Box<Instance>, Option<Hand>),
}

/// The server of a cell.
pub(super) enum Server<'a> {
    Embedded(&'a ServerDefectSet),
    Adapter(Adapter),
}

/// What a cell in real time is made of.
pub(super) struct RealCell<'a> {
    /// Its addresses and its host of the package are filled in here.
    pub(super) config: CellConfig,
    pub(super) client: Client<'a>,
    pub(super) server: Server<'a>,
    /// A folder of its own for the server's files.
    pub(super) folder: String,
    /// How many times faster than the wall the clock of the cell and its peers runs.
    pub(super) speed: f64,
    /// Where a board looks for its server; the loopback address if nothing is said.
    pub(super) listen: Option<SocketAddr>,
    /// A pull: somebody has to host the package. The server does when it can.
    pub(super) server_may_host: bool,
}

/// What came of it besides how it ended.
#[derive(Debug, Default)]
pub(super) struct Aside {
    pub(super) notes: Vec<String>,
    pub(super) hosted_by: Option<&'static str>,
    /// Ports that carry CoAP, for the analysis.
    pub(super) ports: Vec<u16>,
}

/// Path of the package in whoever hosts it.
const PATH: &str = "/fw/package.bin";

/// Runs a cell to its end; afterwards nothing of it is left. Every event goes to `sink` in order.
///
/// # Errors
/// Why it could not begin: ports, the server's instance.
pub(super) async fn run(
    cell: RealCell<'_>,
    sink: &mut dyn FnMut(&Arc<Event>),
    interrupt: &mut Interrupt,
    talk: &mut Talk,
    aside: &mut Aside,
) -> Result<Ended, String> {
    let RealCell {
        mut config,
        client,
        server,
        folder,
        speed,
        listen,
        server_may_host,
    } = cell;
    let mut ports = match listen {
        Some(at) => Ports::on(at, shown_ip(at.ip()).await),
        None => Ports::default(),
    };
    let real_client = matches!(client, Client::Process(..));
    let front = if real_client {
        Some(ports.open_front("the server", listen.map_or(0, |at| at.port())).await?)
    } else {
        None
    };
    let instance = config.errand.instance.clone();
    let server = match server {
        Server::Embedded(defects) => {
            let at = front.unwrap_or_else(super::drive_virtual::server_address);
            RealServer {
                at,
                real: None,
                end: ServerEnd::Embedded(Box::new(embedded_server(at, defects, &config))),
            }
        }
        Server::Adapter(adapter) => {
            let attached = adapter.attach(&instance);
            let real = start(&adapter, &instance, &folder, talk)
                .await
                .map_err(|error| error.to_string())?;
            ports.server = Some(real);
            RealServer {
                at: front.unwrap_or(real),
                real: Some(real),
                end: ServerEnd::Adapter(attached),
            }
        }
    };
    if config.errand.way == fotaproof_reports::matrix::Way::Pull {
        let host = offer(&server, &mut config, server_may_host, &mut ports, real_client, talk).await;
        match host {
            Ok(host) => aside.hosted_by = Some(host),
            Err(why) => {
                server.stop(&instance, talk, aside).await;
                return Err(why);
            }
        }
    }
    aside.ports.extend([server.at.port()]);
    aside.ports.extend(config.repository.as_ref().map(|(at, _)| at.port()));
    let made = match client {
        Client::Embedded(base) => Ok(ClientEnd::Embedded(Box::new(embedded_device(base, &config, server.at)))),
        Client::Process(instance, hand) => {
            ClientProcess::new(*instance, server.at, hand).map(|process| ClientEnd::Process(Box::new(process)))
        }
    };
    let client = match made {
        Ok(client) => client,
        Err(why) => {
            server.stop(&instance, talk, aside).await;
            return Err(why);
        }
    };
    let (file, package) = (config.errand.file.clone(), config.errand.spec.package.clone());
    let mut drive = Drive {
        cell: CellSession::new(config, FIRST_REQUEST),
        clock: Clock::starting(speed),
        watchdog: Watchdog::new(speed),
        speed,
        last: Duration::ZERO,
        ports,
        client,
        server,
        file,
        package,
        unsent: 0,
    };
    let ended = drive.run(sink, interrupt, talk).await;
    if drive.unsent > 0 {
        aside.notes.push(format!(
            "{} datagrams could not be sent: too large, or no way there",
            drive.unsent
        ));
    }
    if let ClientEnd::Process(process) = &mut drive.client {
        aside.notes.extend(process.shut_down(false).await);
    }
    drive.server.stop(&instance, talk, aside).await;
    Ok(ended)
}

/// Starts the instance; gives where it can be reached.
async fn start(adapter: &Adapter, instance: &str, folder: &str, talk: &mut Talk) -> Result<SocketAddr, AdapterError> {
    let operation = Operation::Start {
        instance: instance.to_owned(),
        listen: Listen {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: 0,
            secure_port: None,
        },
        security: None,
        timings: None,
        folder: Some(folder.to_owned()),
    };
    let answer = asked(adapter, operation, START, talk).await?;
    let coap = answer.addresses.map(|addresses| addresses.coap).unwrap_or_default();
    coap.parse()
        .map_err(|_| AdapterError::Broken(format!("{coap:?} in the reply to `start` is no address with a port")))
}

/// Asks and waits; what is said is kept.
async fn asked(
    adapter: &Adapter,
    operation: Operation,
    within: Duration,
    talk: &mut Talk,
) -> Result<Answer, AdapterError> {
    talk.asked(&Request {
        id: 0,
        operation: operation.clone(),
    });
    let result = adapter.request(operation, within).await;
    match &result {
        Ok(answer) => talk.said(&Message::Reply(Reply {
            id: 0,
            ok: Some(answer.clone()),
            error: None,
        })),
        Err(error) => talk.0 += &format!("{}\n", serde_json::json!({"failed": error.to_string()})),
    }
    result
}

/// Finds a host for the package of a pull and tells the leader its URI.
async fn offer(
    server: &RealServer,
    config: &mut CellConfig,
    server_may_host: bool,
    ports: &mut Ports,
    real_client: bool,
    talk: &mut Talk,
) -> Result<&'static str, String> {
    use super::leader::Level;
    match (&server.end, config.errand.level) {
        // it writes URIs of its own, which name the address that it was told
        (ServerEnd::Embedded(_), _) => return Ok("server"),
        // its URIs would name its own port, past the link
        (ServerEnd::Adapter(_), Level::Campaign) if server_may_host && !real_client => return Ok("server"),
        (ServerEnd::Adapter(attached), Level::Library) if server_may_host && attached.adapter().can("serve-file") => {
            let operation = Operation::ServeFile {
                instance: config.errand.instance.clone(),
                file: config.errand.file.clone(),
                path: PATH.to_owned(),
            };
            let answer = asked(attached.adapter(), operation, START, talk)
                .await
                .map_err(|error| error.to_string())?;
            let uri = answer.uri.unwrap_or_default();
            let seen = through(&uri, server.at).ok_or_else(|| {
                format!("the adapter broke its protocol: {uri:?} in the reply to `serve-file` is no coap URI")
            })?;
            config.errand.spec.uris.insert("coap".to_owned(), seen);
            return Ok("server");
        }
        _ => {}
    }
    let at = if real_client {
        ports.open_front("the repository", 0).await?
    } else {
        super::drive_virtual::repository_address()
    };
    config
        .errand
        .spec
        .uris
        .insert("coap".to_owned(), format!("coap://{at}{PATH}"));
    config.repository = Some((at, PATH.to_owned()));
    Ok("harness")
}

/// The URI with the host at which the client meets the server: through the link.
fn through(uri: &str, at: SocketAddr) -> Option<String> {
    let rest = uri.strip_prefix("coap://")?;
    let path = rest.find('/').map_or("/", |slash| &rest[slash..]);
    Some(format!("coap://{at}{path}"))
}

enum ClientEnd {
    Embedded(Box<EmbeddedIut>),
    Process(Box<ClientProcess>),
}

struct RealServer {
    /// Where the client meets it.
    at: SocketAddr,
    /// Where it listens.
    real: Option<SocketAddr>,
    end: ServerEnd,
}

enum ServerEnd {
    Embedded(Box<UpdateServer>),
    Adapter(Attached),
}

impl RealServer {
    async fn stop(&self, instance: &str, talk: &mut Talk, aside: &mut Aside) {
        if let ServerEnd::Adapter(attached) = &self.end {
            let adapter = attached.adapter().clone();
            if adapter.gone().is_some() {
                return;
            }
            let operation = Operation::Stop {
                instance: instance.to_owned(),
            };
            if let Err(error) = asked(&adapter, operation, STOP, talk).await {
                aside
                    .notes
                    .push(format!("the server's instance was not stopped: {error}"));
            }
        }
    }
}

/// A cell at work.
struct Drive {
    cell: CellSession,
    clock: Clock,
    watchdog: Watchdog,
    speed: f64,
    /// The latest time that the machine was told.
    last: Duration,
    ports: Ports,
    client: ClientEnd,
    server: RealServer,
    file: String,
    package: Bytes,
    unsent: u64,
}

enum Wake {
    Datagram(Heard),
    Report(IutReport),
    Adapter(Box<FromAdapter>),
    Timer,
    Interrupt,
}

impl Drive {
    async fn run(&mut self, sink: &mut dyn FnMut(&Arc<Event>), interrupt: &mut Interrupt, talk: &mut Talk) -> Ended {
        loop {
            if let Some(ended) = self.put(sink, talk).await {
                return ended;
            }
            let wake = self.wait(interrupt).await;
            self.take(wake, talk);
        }
    }

    fn now(&mut self) -> Duration {
        self.last = self.last.max(self.clock.now());
        self.last
    }

    /// What comes first. What lies in the sockets is taken before a deadline that is over.
    async fn wait(&mut self, interrupt: &mut Interrupt) -> Wake {
        let embedded = match &self.client {
            ClientEnd::Embedded(device) => device.poll_deadline(),
            ClientEnd::Process(_) => None,
        };
        let server = match &self.server.end {
            ServerEnd::Embedded(server) => server.poll_deadline(),
            ServerEnd::Adapter(_) => None,
        };
        let deadline = [self.cell.poll_deadline(), embedded, server]
            .into_iter()
            .flatten()
            .min();
        let timer = self.clock.instant(self.watchdog.due(deadline, self.last));
        let (client, server, ports) = (&mut self.client, &mut self.server.end, &mut self.ports);
        let report = async {
            match client {
                ClientEnd::Process(process) => process.report().await,
                ClientEnd::Embedded(_) => core::future::pending().await,
            }
        };
        let said = async {
            match server {
                ServerEnd::Adapter(attached) => attached.next().await,
                ServerEnd::Embedded(_) => core::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = interrupt.wait() => Wake::Interrupt,
            heard = ports.receive() => Wake::Datagram(heard),
            said = said => Wake::Adapter(Box::new(said)),
            report = report => Wake::Report(report),
            () = until(timer) => Wake::Timer,
        }
    }

    fn take(&mut self, wake: Wake, talk: &mut Talk) {
        let now = self.now();
        if let Some(late) = self.watchdog.round(now, &self.clock) {
            self.cell.was_late(late);
        }
        match wake {
            Wake::Datagram(Heard::FromClient { from, to, bytes }) => {
                if let ClientEnd::Process(process) = &mut self.client {
                    process.heard();
                }
                self.cell.handle(now, Input::FromClient { from, to, bytes });
            }
            Wake::Datagram(Heard::FromServer { to, bytes }) => {
                let from = self.server.at;
                self.cell.handle(now, Input::FromServer { from, to, bytes });
            }
            Wake::Report(report) => self.cell.handle(now, Input::Client(report)),
            Wake::Adapter(said) => self.adapter_said(now, *said, talk),
            Wake::Interrupt => self.cell.handle(now, Input::Interrupt),
            Wake::Timer => {}
        }
        if let ClientEnd::Embedded(device) = &mut self.client {
            device.handle_timeout(now);
        }
        if let ServerEnd::Embedded(server) = &mut self.server.end
            && server.poll_deadline().is_some_and(|at| at <= now)
        {
            server.handle_timeout(now);
        }
        self.cell.handle_timeout(now);
    }

    fn adapter_said(&mut self, now: Duration, said: FromAdapter, talk: &mut Talk) {
        let message = match said {
            FromAdapter::Event(event) => Message::Event(event),
            FromAdapter::Reply { id, result } => match result {
                Ok(answer) => Message::Reply(Reply {
                    id,
                    ok: Some(answer),
                    error: None,
                }),
                Err(AdapterError::Refused { error, .. }) => Message::Reply(Reply {
                    id,
                    ok: None,
                    error: Some(error),
                }),
                Err(other) => return self.cell.handle(now, Input::Trouble(other.to_string())),
            },
            FromAdapter::Broken(error) | FromAdapter::Gone(error) => {
                talk.0 += &format!("{}\n", serde_json::json!({"failed": error.to_string()}));
                return self.cell.handle(now, Input::Trouble(error.to_string()));
            }
        };
        talk.said(&message);
        self.cell.handle(now, Input::Adapter(Box::new(message)));
    }

    /// Carries out what is asked at this instant; gives the end when it has come.
    async fn put(&mut self, sink: &mut dyn FnMut(&Arc<Event>), talk: &mut Talk) -> Option<Ended> {
        loop {
            let now = self.now();
            let mut busy = false;
            while let Some(output) = self.cell.poll_output() {
                busy = true;
                match output {
                    Output::Event(event) => sink(&event),
                    Output::ToClient { from, to, bytes } => self.give_client(now, from, to, bytes).await,
                    Output::ToServer { from, bytes } => self.give_server(now, from, &bytes).await,
                    Output::Ask(request) => self.ask(now, *request, talk),
                    Output::Client(command) => match &mut self.client {
                        ClientEnd::Process(process) => process.command(command),
                        ClientEnd::Embedded(device) => {
                            if let Some(report) = device.command(now, command) {
                                self.cell.handle(now, Input::Client(report));
                            }
                        }
                    },
                    Output::Done(ended) => return Some(*ended),
                }
            }
            if let ClientEnd::Embedded(device) = &mut self.client {
                while let Some(output) = device.poll_output() {
                    busy = true;
                    let input = match output {
                        EmbeddedOutput::Transmit { from, to, bytes } => Input::FromClient { from, to, bytes },
                        EmbeddedOutput::Report(report) => Input::Client(report),
                    };
                    self.cell.handle(now, input);
                }
            }
            if let ServerEnd::Embedded(server) = &mut self.server.end {
                while let Some(transmit) = server.poll_transmit() {
                    busy = true;
                    let (from, to, bytes) = (self.server.at, transmit.to, transmit.bytes);
                    self.cell.handle(now, Input::FromServer { from, to, bytes });
                }
                while let Some(message) = server.poll_message() {
                    busy = true;
                    talk.said(&message);
                    self.cell.handle(now, Input::Adapter(Box::new(message)));
                }
            }
            if !busy {
                return None;
            }
        }
    }

    fn ask(&mut self, now: Duration, request: Request, talk: &mut Talk) {
        talk.asked(&request);
        match &mut self.server.end {
            ServerEnd::Embedded(server) => {
                let (file, package) = (&self.file, &self.package);
                server.request(now, request, &mut |name| (name == file).then(|| package.clone()));
            }
            ServerEnd::Adapter(attached) => {
                let within = on_the_wall(time_for(&request.operation), self.speed, LEAST);
                attached.send(request.id, request.operation, within);
            }
        }
    }

    async fn give_client(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        match &mut self.client {
            ClientEnd::Embedded(device) => device.datagram(now, from, to, bytes),
            ClientEnd::Process(process) => {
                process.delivered(&bytes);
                self.unsent += u64::from(self.ports.send_to_client(from, to, &bytes).await.is_err());
            }
        }
    }

    async fn give_server(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) {
        match &mut self.server.end {
            ServerEnd::Embedded(server) => server.handle_datagram(now, from, bytes),
            ServerEnd::Adapter(_) => {
                debug_assert!(self.server.real.is_some());
                self.unsent += u64::from(self.ports.send_to_server(from, bytes).await.is_err());
            }
        }
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => core::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_of_the_server_leads_through_the_link() {
        let at: SocketAddr = ([127, 0, 0, 1], 4000).into();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            through("coap://127.0.0.1:5683/fw/a?b", at),
            some("coap://127.0.0.1:4000/fw/a?b")
        );
        assert_eq!(through("coap://[::1]", at), some("coap://127.0.0.1:4000/"));
        assert_eq!(through("http://127.0.0.1/fw", at), None);
        assert_eq!(through("", at), None);
    }
}
