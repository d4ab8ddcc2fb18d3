//! A device, its server and a file server on a link with 10 ms each way, in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use coap_lite::Packet;
use fotaproof_coap::blockwise::{Block1Send, SendStep, Serve, block_option, serve};
use fotaproof_coap::{Config, Endpoint, Event, ExchangeId, Observer, Request, RequestId, Token};
use fotaproof_lwm2m::package::{self, PackageKind};
use fotaproof_lwm2m::{Defect, Device, DeviceAct, DeviceConfig, DeviceInput, DeviceOutput, Flash, SocketId};
use fotaproof_wire::coap::{BlockValue, Code, Szx, build, content_format, option, summary};
use fotaproof_wire::{LwPath, content};

pub(crate) const SERVER: &str = "192.0.2.10:5683";
pub(crate) const FILES: &str = "192.0.2.20:5683";
pub(crate) const OTHER: &str = "192.0.2.30:5683";
const LATENCY: Duration = Duration::from_millis(10);

/// What a file server does with the GET of a block; `None` is silence.
pub(crate) type Script = Box<dyn FnMut(&mut Serving<'_>) -> Option<Packet>>;

/// Code of the answer to `register`, `update` or `deregister`; `None` is silence.
pub(crate) type Policy = Box<dyn FnMut(&str) -> Option<&'static str>>;

/// Whether a packet is lost: whether it goes toward the device, and its summary.
pub(crate) type Loss = Box<dyn FnMut(bool, &str) -> bool>;

/// A GET that a file server got.
pub(crate) struct Serving<'a> {
    pub packet: &'a Packet,
    /// How many GETs came before.
    pub count: usize,
    pub block: Option<BlockValue>,
}

impl Serving<'_> {
    pub(crate) fn num(&self) -> u32 {
        self.block.map_or(0, |block| block.num)
    }

    /// The plain answer of a good file server.
    pub(crate) fn answer(&self, body: &[u8], largest: Szx, etag: Option<&[u8]>) -> Packet {
        let mut packet = Packet::new();
        packet.header.code = Code::CONTENT.into();
        if let Some(etag) = etag {
            build::set_etag(&mut packet, etag);
        }
        match serve(body.len() as u64, self.block, largest) {
            Serve::Whole(range) => packet.payload = body[range.start as usize..range.end as usize].to_vec(),
            Serve::Block { block, range } => {
                build::set_block2(&mut packet, block);
                packet.payload = body[range.start as usize..range.end as usize].to_vec();
            }
            Serve::BeyondEnd | Serve::Bad => packet.header.code = Code::BAD_OPTION.into(),
        }
        packet
    }
}

pub(crate) fn code(text: &str) -> Packet {
    let mut packet = Packet::new();
    packet.header.code = text.parse::<Code>().unwrap().into();
    packet
}

struct Host {
    endpoint: Endpoint,
    script: Option<Script>,
    gets: usize,
    held: Vec<(RequestId, Packet)>,
}

struct Flying {
    at: Duration,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Bytes,
}

pub(crate) struct Rig {
    pub device: Device,
    pub now: Duration,
    pub log: Vec<String>,
    hosts: BTreeMap<SocketAddr, Host>,
    flying: VecDeque<Flying>,
    sockets: BTreeMap<SocketId, SocketAddr>,
    next_port: u16,
    /// Where the server knows the device.
    pub address: Option<SocketAddr>,
    pub registrations: Vec<Vec<String>>,
    pub updates: usize,
    pub deregistrations: usize,
    responses: BTreeMap<ExchangeId, Option<Packet>>,
    pub notifications: Vec<(Token, Packet)>,
    /// What came by Send.
    pub sends: Vec<String>,
    pub off: bool,
    /// Answers to Register, Update: `None` is silence.
    pub interface: Policy,
    /// Which packets are lost, by their summary; `true` toward the device.
    pub lose: Loss,
    pub location: Vec<&'static str>,
    /// Responses are held back with an empty ACK while this is set.
    pub hold_from: Option<u32>,
    pub separate: Option<bool>,
    /// Length of the largest datagram of the device.
    pub largest_sent: usize,
    /// Packets are neither lost nor logged: for stories of very many.
    pub quiet: bool,
}

pub(crate) fn config() -> DeviceConfig {
    DeviceConfig::new("dev-1", SERVER.parse().unwrap())
}

pub(crate) fn with(defect: Option<Defect>, mut config: DeviceConfig) -> DeviceConfig {
    config.defects.extend(defect);
    config
}

pub(crate) fn package(kind: PackageKind) -> Vec<u8> {
    build(kind, "2.0.0", 4096)
}

pub(crate) fn build(kind: PackageKind, version: &str, size: usize) -> Vec<u8> {
    package::build(kind, version, "fotaproof-device", size, 7).unwrap()
}

impl Rig {
    pub(crate) fn new(config: DeviceConfig) -> Self {
        let flash = Flash::new(config.version.clone());
        let mut rig = Self::off(config, flash);
        rig.power_on();
        rig
    }

    pub(crate) fn off(config: DeviceConfig, flash: Flash) -> Self {
        let hosts = [(SERVER, 11), (FILES, 12), (OTHER, 13)].map(|(address, seed)| {
            let config = Config {
                nstart: usize::MAX,
                ..Config::default()
            };
            (
                address.parse().unwrap(),
                Host {
                    endpoint: Endpoint::new(config, seed),
                    script: None,
                    gets: 0,
                    held: Vec::new(),
                },
            )
        });
        Self {
            device: Device::new(config, flash),
            now: Duration::ZERO,
            log: Vec::new(),
            hosts: hosts.into(),
            flying: VecDeque::new(),
            sockets: BTreeMap::new(),
            next_port: 40_000,
            address: None,
            registrations: Vec::new(),
            updates: 0,
            deregistrations: 0,
            responses: BTreeMap::new(),
            notifications: Vec::new(),
            sends: Vec::new(),
            off: false,
            interface: Box::new(|_| Some("2.01")),
            lose: Box::new(|_, _| false),
            location: vec!["rd", "a7"],
            hold_from: None,
            separate: None,
            largest_sent: 0,
            quiet: false,
        }
    }

    /// Switches on and waits for the registration.
    pub(crate) fn power_on(&mut self) {
        self.input(DeviceInput::PowerOn);
        self.run(Duration::from_secs(3));
    }

    pub(crate) fn input(&mut self, input: DeviceInput) {
        self.device.handle(self.now, input);
        self.drain();
    }

    /// Gives the device an order.
    pub(crate) fn act(&mut self, act: DeviceAct) {
        self.input(DeviceInput::Act(act));
    }

    /// The packets since that line of the log: time since then, port if it changed, direction, summary with letters for message IDs.
    pub(crate) fn story(&self, since: usize) -> String {
        let mut letters: Vec<&str> = Vec::new();
        let mut story = String::new();
        let (mut start, mut port) = (None, "40000");
        for line in self.log[since..].iter().filter(|line| !line.contains(" # ")) {
            let mut words = line.split_whitespace();
            let at: f64 = words.next().unwrap().parse().unwrap();
            words.next();
            story += &format!("{:>8.2}", at - *start.get_or_insert(at));
            for word in words {
                if let Some(id) = word.strip_prefix("mid=") {
                    let known = letters.iter().position(|letter| *letter == id);
                    let index = known.unwrap_or_else(|| {
                        letters.push(id);
                        letters.len() - 1
                    });
                    story += &format!(" #{}", index + 1);
                } else if word.len() == 5 && word.starts_with('4') && word.parse::<u16>().is_ok() {
                    if port != word {
                        story += &format!(" port {word}");
                    }
                    port = word;
                } else if !word.starts_with("tok=") {
                    story += &format!(" {word}");
                }
            }
            story += "\n";
        }
        story
    }

    pub(crate) fn serve(&mut self, host: &str, script: impl FnMut(&mut Serving<'_>) -> Option<Packet> + 'static) {
        let host = self.hosts.get_mut(&host.parse().unwrap()).unwrap();
        host.script = Some(Box::new(script));
        host.gets = 0;
    }

    /// A good file server with this body.
    pub(crate) fn serve_body(&mut self, host: &str, body: Vec<u8>) {
        self.serve(host, move |serving| {
            Some(serving.answer(&body, Szx::S1024, Some(b"a1")))
        });
    }

    pub(crate) fn gets(&self, host: &str) -> usize {
        self.hosts[&host.parse().unwrap()].gets
    }

    /// Releases what is held.
    pub(crate) fn release(&mut self) {
        self.hold_from = None;
        for host in self.hosts.values_mut() {
            for (id, packet) in std::mem::take(&mut host.held) {
                host.endpoint.respond(self.now, id, packet);
            }
        }
        self.drain();
    }

    fn fly(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        let toward_device = self.hosts.contains_key(&from);
        if self.quiet {
            self.flying.push_back(Flying {
                at: self.now + LATENCY,
                from,
                to,
                bytes,
            });
            return;
        }
        let text = summary(&bytes);
        if !toward_device {
            self.largest_sent = self.largest_sent.max(bytes.len());
        }
        let lost = (self.lose)(toward_device, &text);
        let payload = fotaproof_wire::coap::MessageView::parse(&bytes)
            .map(|view| view.payload().to_vec())
            .unwrap_or_default();
        let text = if (1..=80).contains(&payload.len()) {
            format!("{text} [{}]", payload.escape_ascii())
        } else {
            text
        };
        let arrow = if toward_device { '>' } else { '<' };
        let port = if toward_device { to.port() } else { from.port() };
        let host = if toward_device { from } else { to };
        self.log.push(format!(
            "{:>9.3} {}{} {arrow} {text}{}",
            self.now.as_secs_f64(),
            host.ip(),
            if port >= 40_000 {
                format!(" {port}")
            } else {
                String::new()
            },
            if lost { " LOST" } else { "" }
        ));
        if !lost {
            self.flying.push_back(Flying {
                at: self.now + LATENCY,
                from,
                to,
                bytes,
            });
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.device.poll_output() {
            match output {
                DeviceOutput::OpenSocket(socket) => {
                    self.sockets
                        .insert(socket, SocketAddr::new("192.0.2.1".parse().unwrap(), self.next_port));
                    self.next_port += 1;
                }
                DeviceOutput::CloseSocket(socket) => {
                    self.sockets.remove(&socket);
                }
                DeviceOutput::Transmit { socket, to, bytes } => {
                    let from = self.sockets[&socket];
                    self.fly(from, to, bytes);
                }
                DeviceOutput::Log(text) => self.log.push(format!("{:>9.3} # {text}", self.now.as_secs_f64())),
                DeviceOutput::Off => self.off = true,
                DeviceOutput::Rebooted { .. } => self.log.push(format!("{:>9.3} # reboot", self.now.as_secs_f64())),
            }
        }
        let addresses: Vec<SocketAddr> = self.hosts.keys().copied().collect();
        for address in addresses {
            while let Some(event) = self.hosts.get_mut(&address).unwrap().endpoint.poll_event() {
                self.on_event(address, event);
            }
            while let Some(transmit) = self.hosts.get_mut(&address).unwrap().endpoint.poll_transmit() {
                self.fly(address, transmit.to, transmit.bytes);
            }
        }
    }

    fn on_event(&mut self, address: SocketAddr, event: Event) {
        match event {
            Event::Request { id, from, packet, .. } => self.on_request(address, id, from, &packet),
            Event::Response { exchange, packet, .. } => {
                self.responses.insert(exchange, Some(packet));
            }
            Event::Failed { exchange, .. } => {
                self.responses.insert(exchange, None);
            }
            Event::Notification { token, packet, .. } => self.notifications.push((token, packet)),
            _ => {}
        }
    }

    fn on_request(&mut self, address: SocketAddr, id: RequestId, from: SocketAddr, packet: &Packet) {
        let path = build::path(packet);
        if path.starts_with("/rd") {
            let method = Code::from(packet.header.code);
            let name = if path == "/rd" && method == Code::POST {
                "register"
            } else if method == Code::POST {
                "update"
            } else {
                "deregister"
            };
            let Some(answer) = (self.interface)(name) else {
                self.hosts.get_mut(&address).unwrap().endpoint.ignore(id);
                return;
            };
            let mut answer = code(answer);
            if Code::from(answer.header.code).is_success() {
                match name {
                    "register" => {
                        let block1 = build::block1(packet);
                        if block1.is_some_and(|block| block.more) {
                            answer = code("2.31");
                            build::set_block1(&mut answer, block1.unwrap());
                        } else {
                            for segment in &self.location {
                                build::add_option(&mut answer, option::LOCATION_PATH, segment.as_bytes());
                            }
                            self.address = Some(from);
                            let mut facts = build::query(packet);
                            facts.push(String::from_utf8_lossy(&packet.payload).into_owned());
                            self.registrations.push(facts);
                        }
                    }
                    "update" => {
                        answer = code("2.04");
                        self.address = Some(from);
                        self.updates += 1;
                    }
                    _ => {
                        answer = code("2.02");
                        self.deregistrations += 1;
                    }
                }
            }
            self.hosts
                .get_mut(&address)
                .unwrap()
                .endpoint
                .respond(self.now, id, answer);
            return;
        }
        if path == "/dp" {
            let format = build::content_format(packet).unwrap_or_default();
            let values = content::decode(format, &LwPath::ROOT, &packet.payload, &|_| None).unwrap_or_default();
            let text = values.iter().map(|(path, value)| format!("{path}={value:?}"));
            self.sends.push(text.collect::<Vec<_>>().join(" "));
            let host = self.hosts.get_mut(&address).unwrap();
            host.endpoint.respond(self.now, id, code("2.04"));
            return;
        }
        let (hold_from, separate) = (self.hold_from, self.separate);
        let host = self.hosts.get_mut(&address).unwrap();
        let block = block_option(packet, option::BLOCK2);
        let mut serving = Serving {
            packet,
            count: host.gets,
            block,
        };
        host.gets += 1;
        let answer = match &mut host.script {
            Some(script) => script(&mut serving),
            None => Some(code("4.04")),
        };
        match answer {
            Some(answer) if hold_from.is_some_and(|num| serving.num() >= num) => {
                host.endpoint.acknowledge(self.now, id);
                host.held.push((id, answer));
            }
            Some(answer) if separate == Some(true) => {
                host.endpoint.acknowledge(self.now, id);
                host.endpoint.respond(self.now, id, answer);
            }
            Some(answer) if separate == Some(false) => {
                host.endpoint
                    .respond_with(self.now, id, answer, fotaproof_coap::ResponseMode::SeparateCon);
            }
            Some(answer) => host.endpoint.respond(self.now, id, answer),
            None => host.endpoint.ignore(id),
        }
    }

    fn next_deadline(&self) -> Option<Duration> {
        let hosts = self.hosts.values().filter_map(|host| host.endpoint.poll_deadline());
        hosts
            .chain(self.device.poll_deadline())
            .chain(self.flying.front().map(|flying| flying.at))
            .min()
    }

    fn step(&mut self, until: Duration) -> bool {
        let Some(at) = self.next_deadline().filter(|at| *at <= until) else {
            return false;
        };
        self.now = self.now.max(at);
        while self.flying.front().is_some_and(|flying| flying.at <= self.now) {
            let Flying { from, to, bytes, .. } = self.flying.pop_front().unwrap();
            if let Some(host) = self.hosts.get_mut(&to) {
                host.endpoint.handle_datagram(self.now, from, &bytes);
            } else if let Some(socket) = self
                .sockets
                .iter()
                .find(|(_, address)| **address == to)
                .map(|(socket, _)| *socket)
            {
                self.device
                    .handle(self.now, DeviceInput::Datagram { socket, from, bytes });
            }
        }
        if self.device.poll_deadline().is_some_and(|at| at <= self.now) {
            self.device.handle_timeout(self.now);
        }
        for host in self.hosts.values_mut() {
            host.endpoint.handle_timeout(self.now);
        }
        self.drain();
        true
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        let mut steps = 0;
        while self.step(until) {
            steps += 1;
            assert!(steps < 400_000, "livelock at {:?}: {:?}", self.now, self.log.last());
        }
        self.now = until;
    }

    pub(crate) fn seconds(&mut self, seconds: u64) {
        self.run(Duration::from_secs(seconds));
    }

    /// Sends a request from a host and waits for the answer, at most 100 s.
    pub(crate) fn ask_from(&mut self, host: &str, request: Request) -> Option<Packet> {
        let to = self.address?;
        let exchange = self
            .hosts
            .get_mut(&host.parse().unwrap())
            .unwrap()
            .endpoint
            .request(self.now, to, request);
        self.drain();
        let until = self.now + Duration::from_secs(100);
        while !self.responses.contains_key(&exchange) && self.step(until) {}
        self.responses.remove(&exchange).flatten()
    }

    pub(crate) fn ask(&mut self, packet: Packet) -> Option<Packet> {
        self.ask_from(SERVER, Request::confirmable(packet))
    }

    /// Sends a request without waiting for the answer.
    pub(crate) fn send(&mut self, packet: Packet) -> ExchangeId {
        self.send_request(Request::confirmable(packet))
    }

    pub(crate) fn send_request(&mut self, request: Request) -> ExchangeId {
        let to = self.address.unwrap();
        let exchange = self
            .hosts
            .get_mut(&SERVER.parse().unwrap())
            .unwrap()
            .endpoint
            .request(self.now, to, request);
        self.drain();
        exchange
    }

    pub(crate) fn resend(&mut self, exchange: ExchangeId) {
        self.hosts
            .get_mut(&SERVER.parse().unwrap())
            .unwrap()
            .endpoint
            .resend(self.now, exchange);
        self.drain();
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        if let Some(to) = self.address {
            self.hosts
                .get_mut(&SERVER.parse().unwrap())
                .unwrap()
                .endpoint
                .send_raw(to, bytes.to_vec());
            self.drain();
            self.run(Duration::from_millis(100));
        }
    }

    pub(crate) fn reset_notifications(&mut self, token: Token) {
        let observer = Observer {
            peer: self.address.unwrap(),
            token,
        };
        let server = self.hosts.get_mut(&SERVER.parse().unwrap()).unwrap();
        server
            .endpoint
            .set_notification_policy(&observer, fotaproof_coap::NotificationPolicy::Reset);
    }

    /// The code of the answer as text, `-` for none.
    pub(crate) fn code_of(&mut self, packet: Packet) -> String {
        self.ask(packet)
            .map_or_else(|| "-".to_owned(), |answer| Code::from(answer.header.code).to_string())
    }

    pub(crate) fn get(&mut self, path: &str) -> String {
        match self.ask(request("0.01", path)) {
            Some(answer) if Code::from(answer.header.code) == Code::CONTENT => {
                String::from_utf8_lossy(&answer.payload).into_owned()
            }
            Some(answer) => Code::from(answer.header.code).to_string(),
            None => "-".to_owned(),
        }
    }

    /// `2/0`, read over the wire.
    pub(crate) fn pair(&mut self) -> String {
        format!("{}/{}", self.get("/5/0/3"), self.get("/5/0/5"))
    }

    pub(crate) fn put(&mut self, path: &str, format: u16, payload: &[u8]) -> String {
        let mut packet = request("0.03", path);
        build::set_content_format(&mut packet, format);
        packet.payload = payload.to_vec();
        self.code_of(packet)
    }

    pub(crate) fn uri(&mut self, uri: &str) -> String {
        self.put("/5/0/1", content_format::TEXT, uri.as_bytes())
    }

    pub(crate) fn nul(&mut self) -> String {
        self.put("/5/0/0", content_format::OPAQUE, &[0])
    }

    pub(crate) fn execute(&mut self, path: &str) -> String {
        self.code_of(request("0.02", path))
    }

    pub(crate) fn block(&mut self, body: &[u8], num: u32, szx: Szx) -> String {
        self.code_of(block_request(body, num, szx))
    }

    /// Pushes a body; the code of the last answer.
    pub(crate) fn push(&mut self, body: &[u8], szx: Szx) -> String {
        let mut send = Block1Send::new(body.len() as u64, szx);
        let mut last = "-".to_owned();
        while let Some(step) = send.next_step() {
            let mut packet = request("0.03", "/5/0/0");
            build::set_content_format(&mut packet, content_format::OPAQUE);
            build::set_block1(&mut packet, step.block);
            packet.payload = body[step.range.start as usize..step.range.end as usize].to_vec();
            let Some(answer) = self.ask(packet) else {
                return "-".to_owned();
            };
            let code = Code::from(answer.header.code);
            last = code.to_string();
            let step = send.on_response(code, block_option(&answer, option::BLOCK1), None);
            if matches!(step, SendStep::Failed(_)) {
                break;
            }
        }
        last
    }

    /// Observes a path with that token; the code of the answer.
    pub(crate) fn observe(&mut self, path: &str, token: &[u8]) -> String {
        let mut packet = request("0.01", path);
        build::set_observe(&mut packet, 0);
        let request = Request::confirmable(packet).with_token(Token::new(token).unwrap());
        self.ask_from(SERVER, request).map_or_else(
            || "-".to_owned(),
            |answer| String::from_utf8_lossy(&answer.payload).into_owned(),
        )
    }

    /// The values notified for that token.
    pub(crate) fn notified(&self, token: &[u8]) -> Vec<String> {
        let token = Token::new(token).unwrap();
        self.notifications
            .iter()
            .filter(|(with, _)| *with == token)
            .map(|(_, packet)| String::from_utf8_lossy(&packet.payload).into_owned())
            .collect()
    }

    pub(crate) fn transcript(&self) -> String {
        let flash = self.device.flash();
        let digest = flash.received.as_ref().map_or("", |record| record.sha256.as_str());
        format!(
            "{}\nversion {} received {digest} installs {}",
            self.log.join("\n"),
            flash.version,
            flash.installs
        )
    }

    /// Power cut, then power again.
    pub(crate) fn power_cycle(&mut self) {
        self.input(DeviceInput::PowerCut);
        self.seconds(1);
        self.power_on();
    }

    pub(crate) fn stop_and_start(&mut self) {
        self.input(DeviceInput::Stop);
        self.seconds(6);
        self.power_on();
    }
}

pub(crate) fn request(code: &str, path: &str) -> Packet {
    let mut packet = self::code(code);
    build::set_path(&mut packet, path);
    packet
}

pub(crate) fn block_request(body: &[u8], num: u32, szx: Szx) -> Packet {
    let start = num as usize * szx.size();
    let end = (start + szx.size()).min(body.len());
    let mut packet = request("0.03", "/5/0/0");
    build::set_content_format(&mut packet, content_format::OPAQUE);
    build::set_block1(&mut packet, BlockValue::new(num, end < body.len(), szx).unwrap());
    packet.payload = body[start..end].to_vec();
    packet
}
