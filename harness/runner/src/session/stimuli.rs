//! From the words of a case to messages: requests, raw datagrams, pushes and URIs.

use bytes::Bytes;
use coap_lite::Packet;
use fotaproof_cases::ast::{
    BlockText, Datagram, Party, Payload, Pull, Push, PushMethod, RawOption, Request, TokenUse, Write,
};
use fotaproof_lwm2m::server::{BlockStep, Method, OnIncomplete, PushSpec, PushToken, RequestSpec, TokenChoice};
use fotaproof_wire::coap::{self, BlockValue, Code, RawMessage, Szx, Type, build, option, uint};
use fotaproof_wire::path::LwPath;

use super::Session;
use super::config::PackageImage;
use super::setup::{FIRMWARE, file_of, repositories};

/// Why a step cannot be carried out: the case is wrong, not the IUT.
pub(super) type Unable = String;

/// A datagram made by hand: its bytes, its message id if it has one, its token.
pub(super) type RawDatagram = (Vec<u8>, Option<u16>, Vec<u8>);

impl Session {
    /// The path of a step as LwM2M understands it.
    pub(super) fn lwm2m_path(text: &str) -> Result<LwPath, Unable> {
        text.parse()
            .map_err(|error| format!("`{text}` is no LwM2M path: {error}"))
    }

    pub(super) fn package(&self, name: Option<&str>) -> Result<PackageImage, Unable> {
        let name = name.unwrap_or(FIRMWARE);
        self.config
            .packages
            .get(name)
            .cloned()
            .ok_or_else(|| format!("there is no package `{name}`"))
    }

    /// The package that a repository serves.
    pub(super) fn repository_package(&self, name: &str) -> Option<PackageImage> {
        let all = repositories(&self.config.case);
        let repository = all.get(name).or_else(|| all.values().next())?;
        self.package(repository.package.as_ref().map(|p| p.value.as_str())).ok()
    }

    /// The address of a party that sends.
    pub(super) fn party_address(&self, party: Option<&Party>) -> std::net::SocketAddr {
        let addresses = &self.config.addresses;
        match party {
            None if self.is_tester() => self.device_address(fotaproof_cases::devices::MAIN),
            Some(Party::Device(name)) => self.device_address(name),
            None | Some(Party::Server | Party::Iut) => addresses.server,
            Some(Party::Stranger) => addresses.stranger,
            Some(Party::OtherPort) => addresses.other_port,
            Some(Party::Repository(name)) => *addresses.repositories.get(name).unwrap_or(&addresses.server),
        }
    }

    /// The URI of a pull.
    pub(super) fn pull_uri(&self, pull: &Pull) -> Result<String, Unable> {
        if let Some(uri) = &pull.uri {
            return self.filled(uri);
        }
        let name = pull.repository.as_ref().map_or("main", |name| name.value.as_str());
        let all = repositories(&self.config.case);
        let repository = all
            .get(name)
            .ok_or_else(|| format!("there is no repository `{name}`"))?;
        let (path, query) = file_of(repository);
        let address = self
            .config
            .addresses
            .repositories
            .get(name)
            .unwrap_or(&self.config.addresses.server);
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        Ok(format!("coap://{address}{path}{query}"))
    }

    /// Fills in what is only known at run time: `{repository.NAME.host}`, `{server.port}`, ...
    pub(super) fn filled(&self, text: &str) -> Result<String, Unable> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let Some(close) = rest[open..].find('}') else { break };
            out.push_str(&rest[..open]);
            let name = &rest[open + 1..open + close];
            let address = match name.split('.').collect::<Vec<_>>()[..] {
                ["remembered", name] => {
                    let text = self
                        .facts
                        .remembered
                        .get(name)
                        .ok_or_else(|| format!("nothing was remembered as `{name}`"))?;
                    out.push_str(text);
                    rest = &rest[open + close + 1..];
                    continue;
                }
                ["server", part] => Some((self.config.addresses.server, part)),
                ["stranger", part] => Some((self.config.addresses.stranger, part)),
                ["repository", repository, part] => Some((
                    *self
                        .config
                        .addresses
                        .repositories
                        .get(repository)
                        .unwrap_or(&self.config.addresses.server),
                    part,
                )),
                ["device", device, part] => {
                    if let Some(text) = self.device_word(device, part) {
                        out.push_str(&text);
                        rest = &rest[open + close + 1..];
                        continue;
                    }
                    self.world.devices.get(device).map(|known| (known.address(), part))
                }
                _ => None,
            };
            match address {
                Some((address, "host")) if address.is_ipv6() => out.push_str(&format!("[{}]", address.ip())),
                Some((address, "host")) => out.push_str(&address.ip().to_string()),
                Some((address, "port")) => out.push_str(&address.port().to_string()),
                _ => return Err(format!("nothing is known as `{{{name}}}` at run time")),
            }
            rest = &rest[open + close + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    /// The bytes of a payload.
    pub(super) fn payload(&self, payload: &Payload) -> Result<Vec<u8>, Unable> {
        let Some(format) = payload.encode else {
            return self.plain_payload(payload);
        };
        let whole = Payload {
            encode: None,
            block: None,
            ..payload.clone()
        };
        let path = match &payload.resource {
            Some(path) => Self::lwm2m_path(&path.0)?,
            None => LwPath::resource(5, 0, 0),
        };
        let value = fotaproof_wire::value::Value::Opaque(self.plain_payload(&whole)?);
        let bytes = fotaproof_wire::content::encode(format.0, &path, &[(path, value)])
            .map_err(|error| format!("the payload cannot be written: {error}"))?;
        Ok(match payload.block {
            Some(block) => slice(&bytes.into(), block).to_vec(),
            None => bytes,
        })
    }

    fn plain_payload(&self, payload: &Payload) -> Result<Vec<u8>, Unable> {
        if let Some(parts) = &payload.parts {
            let parts: Vec<Vec<u8>> = parts.iter().map(|part| self.payload(part)).collect::<Result<_, _>>()?;
            let all = parts.concat();
            return Ok(match payload.block {
                Some(block) => slice(&all.into(), block).to_vec(),
                None => all,
            });
        }
        if let Some(text) = &payload.text {
            return Ok(self.filled(text)?.into_bytes());
        }
        if let Some(hex) = &payload.hex {
            return Ok(hex.0.clone());
        }
        if let Some(number) = payload.integer {
            return Ok(number.to_string().into_bytes());
        }
        if let Some(boolean) = payload.boolean {
            return Ok(if boolean { b"1".to_vec() } else { b"0".to_vec() });
        }
        if let Some(length) = payload.random {
            let mut rng = fastrand::Rng::with_seed(self.config.seed ^ 0x7061_796c);
            return Ok((0..length).map(|_| rng.u8(..)).collect());
        }
        if let Some(length) = payload.text_of_length {
            return Ok((0..length).map(|i| b'a' + (i % 26) as u8).collect());
        }
        if let Some(name) = &payload.package {
            let image = self.package(Some(name))?;
            return Ok(match payload.block {
                Some(block) => slice(&image.bytes, block).to_vec(),
                None => image.bytes.to_vec(),
            });
        }
        Ok(Vec::new())
    }

    /// The request of a `request` step.
    pub(super) fn request_spec(&self, request: &Request) -> Result<RequestSpec, Unable> {
        let code = Code(request.method.map_or(Code::GET.0, |method| method.0));
        let mut packet = Packet::new();
        packet.header.code = code.into();
        if let Some(path) = &request.path {
            build::set_path(&mut packet, &self.filled(&path.0)?);
        }
        if let Some(query) = &request.query {
            let query: Vec<String> = query.iter().map(|one| self.filled(one)).collect::<Result<_, _>>()?;
            build::set_query(&mut packet, &query);
        }
        if let Some(format) = request.format {
            build::set_content_format(&mut packet, format.0);
        }
        if let Some(accept) = request.accept {
            build::set_accept(&mut packet, accept.0);
        }
        for (number, block) in [(option::BLOCK1, request.block1), (option::BLOCK2, request.block2)] {
            if let Some(block) = block {
                build::set_option(&mut packet, number, block_bytes(block));
            }
        }
        if let Some(observe) = request.observe {
            build::set_observe(&mut packet, observe);
        }
        if let Some(etag) = &request.etag {
            let value = if etag == "last" {
                self.facts
                    .log
                    .last_etag()
                    .ok_or_else(|| "no answer had an ETag".to_owned())?
            } else {
                etag.parse::<fotaproof_cases::ast::Hex>()
                    .map_err(|problem| problem.to_string())?
                    .0
            };
            build::add_option(&mut packet, option::ETAG, value);
        }
        for extra in request.options.iter().flatten() {
            let number = extra
                .number
                .ok_or_else(|| "an option of a request needs a number".to_owned())?;
            build::add_option(&mut packet, number, option_value(extra));
        }
        if let Some(payload) = &request.payload {
            packet.payload = self.payload(payload)?;
        }
        let mut spec = RequestSpec::new(packet);
        spec.confirmable = request.kind.is_none_or(|kind| kind.0 == Type::Con as u8);
        spec.retransmit = !request.once.unwrap_or(false);
        spec.token = match (&request.token, request.token_length) {
            (Some(token), _) => TokenChoice::Fixed(
                fotaproof_coap::Token::new(&token.0).ok_or_else(|| "a token has at most 8 bytes".to_owned())?,
            ),
            (None, Some(length)) => TokenChoice::Length(usize::from(length.min(8))),
            (None, None) => TokenChoice::Fresh,
        };
        Ok(spec)
    }

    /// The bytes of a `datagram` step, with its message id and token.
    pub(super) fn raw_datagram(&self, datagram: &Datagram) -> Result<RawDatagram, Unable> {
        if let Some(hex) = &datagram.hex {
            let id = (hex.0.len() >= 4).then(|| u16::from_be_bytes([hex.0[2], hex.0[3]]));
            return Ok((hex.0.clone(), id, Vec::new()));
        }
        let mut rng = fastrand::Rng::with_seed(self.config.seed ^ 0x7261_7721 ^ self.event_no);
        let message_id = rng.u16(..);
        let token = match &datagram.token {
            Some(token) => token.0.clone(),
            None if datagram.code.is_some_and(|code| code.0 == 0) => Vec::new(),
            None => (0..4).map(|_| rng.u8(..)).collect(),
        };
        let mut options = Vec::new();
        let path = datagram.path.as_ref().map(|path| self.filled(&path.0)).transpose()?;
        for segment in path.iter().flat_map(|path| path.split('/')).filter(|s| !s.is_empty()) {
            options.push(coap::RawOption::new(option::URI_PATH, segment.as_bytes()));
        }
        if let Some(block) = datagram.block1 {
            options.push(coap::RawOption::new(option::BLOCK1, block_bytes(block)));
        }
        options.sort_by_key(|o: &coap::RawOption| o.number);
        for extra in datagram.options.iter().flatten() {
            options.push(coap::RawOption {
                number: extra.number,
                value: option_value(extra),
                delta_nibble: extra.delta_nibble,
                length_nibble: extra.length_nibble,
                raw: extra.raw.as_ref().map(|raw| raw.0.clone()),
            });
        }
        let payload = match &datagram.payload {
            Some(payload) => self.payload(payload)?,
            None => Vec::new(),
        };
        let raw = RawMessage {
            version: datagram.version.unwrap_or(1),
            kind: datagram.kind.map_or(0, |kind| kind.0),
            token_length: datagram.token_length,
            code: datagram.code.map_or(Code::GET.0, |code| code.0),
            message_id,
            token: token.clone(),
            options,
            marker: datagram.marker,
            payload,
            tail: datagram.tail.as_ref().map(|tail| tail.0.clone()).unwrap_or_default(),
            truncate: datagram.length,
        };
        Ok((raw.encode(), Some(message_id), token))
    }

    /// The push of a `push` step.
    pub(super) fn push_spec(&self, push: &Push, image: &PackageImage) -> Result<PushSpec, Unable> {
        let path = match &push.to {
            Some(path) => Self::lwm2m_path(&path.0)?,
            None => LwPath::resource(5, 0, 0),
        };
        let size = usize::from(push.block.unwrap_or(512));
        let szx = Szx::from_size(size).ok_or_else(|| format!("{size} is no block size"))?;
        let mut spec = PushSpec::new(path, image.bytes.clone());
        spec.szx = szx;
        spec.method = match push.method.unwrap_or_default() {
            PushMethod::Put => Method::Put,
            PushMethod::Post => Method::Post,
        };
        match push.format.as_deref() {
            Some("none") => spec.content_format = None,
            Some(format) => {
                let format: fotaproof_cases::ast::DataFormat = format.parse().map_err(|e| format!("{e}"))?;
                spec.content_format = Some(format.0);
            }
            None => {
                if let Some(format) = push.payload.as_ref().and_then(|payload| payload.encode) {
                    spec.content_format = Some(format.0);
                }
            }
        }
        let token = push.token_length.map_or(TokenChoice::Fresh, |length| {
            TokenChoice::Length(usize::from(length.min(8)))
        });
        spec.token = match push.tokens.unwrap_or_default() {
            TokenUse::One => PushToken::One(token),
            TokenUse::Each => PushToken::PerBlock(token),
        };
        spec.size1 = match push.size1.as_deref() {
            None => None,
            Some("exact") => u32::try_from(image.bytes.len()).ok(),
            Some(number) => Some(number.parse().map_err(|_| format!("`{number}` is no Size1"))?),
        };
        spec.plain_if_single = push.single.unwrap_or(false);
        if push.single == Some(true) && image.bytes.len() > size {
            let fitting = Szx::fitting(image.bytes.len());
            spec.szx = fitting
                .filter(|szx| szx.size() >= image.bytes.len())
                .unwrap_or(Szx::S1024);
        }
        if let Some(blocks) = &push.blocks {
            let mut order = Vec::new();
            for word in blocks {
                let (first, last) = word.split_once("..").unwrap_or((word, word));
                match (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
                    (Ok(first), Ok(last)) if first <= last => order.extend((first..=last).map(BlockStep::from)),
                    _ => return Err(format!("`{word}` is no block number or range such as 0..4")),
                }
            }
            spec.blocks = Some(order);
        }
        spec.from_block = push.from.unwrap_or(0);
        spec.stop_after = push.stop_after.map(|block| block + 1 - spec.from_block.min(block));
        if push.no_restart == Some(true) {
            spec.on_incomplete = OnIncomplete::Fail;
            spec.follow_hint = false;
        }
        Ok(spec)
    }

    /// Format and bytes of a `write` step.
    pub(super) fn write_content(&self, write: &Write) -> Result<(u16, Vec<u8>), Unable> {
        use fotaproof_wire::coap::content_format as format;
        use fotaproof_wire::value::Value;
        let path = Self::lwm2m_path(&write.to.0)?;
        if let Some(values) = &write.values {
            let format = write.format.map_or(format::TLV, |f| f.0);
            return fotaproof_wire::content::encode(format, &path, &self.typed_values(values)?)
                .map(|bytes| (format, bytes))
                .map_err(|error| format!("the values cannot be written: {error}"));
        }
        let value = if let Some(text) = &write.text {
            Value::String(self.filled(text)?)
        } else if let Some(number) = write.integer {
            Value::Integer(number)
        } else if let Some(boolean) = write.boolean {
            Value::Boolean(boolean)
        } else if let Some(hex) = &write.hex {
            if write.format.is_none_or(|f| !matches!(f.0, 0 | 11542 | 110 | 112)) {
                return Ok((write.format.map_or(format::OPAQUE, |f| f.0), hex.0.clone()));
            }
            Value::Opaque(hex.0.clone())
        } else {
            Value::String(String::new())
        };
        let format = write.format.map_or(format::TEXT, |f| f.0);
        fotaproof_wire::content::encode(format, &path, &[(path, value)])
            .map(|bytes| (format, bytes))
            .map_err(|error| format!("the value cannot be written: {error}"))
    }
}

fn slice(bytes: &Bytes, block: BlockText) -> Bytes {
    let size = usize::from(block.size);
    let from = (block.num as usize).saturating_mul(size).min(bytes.len());
    bytes.slice(from..(from + size).min(bytes.len()))
}

/// The option value of a block as written; SZX 7 can be asked for.
fn block_bytes(block: BlockText) -> Vec<u8> {
    match Szx::from_size(usize::from(block.size)) {
        Some(szx) => match BlockValue::new(block.num, block.more, szx) {
            Some(value) => value.encode(),
            None => Vec::new(),
        },
        None => uint::encode(u64::from(block.num) << 4 | u64::from(block.more) << 3 | 7),
    }
}

fn option_value(option: &RawOption) -> Vec<u8> {
    if let Some(hex) = &option.hex {
        hex.0.clone()
    } else if let Some(text) = &option.text {
        text.clone().into_bytes()
    } else if let Some(number) = option.uint {
        uint::encode(number)
    } else {
        Vec::new()
    }
}
