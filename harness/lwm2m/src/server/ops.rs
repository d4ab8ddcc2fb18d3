//! The operations of a server on a device (Core, device management and information reporting).

use core::time::Duration;
use std::net::SocketAddr;

use coap_lite::Packet;
use fotaproof_wire::coap::{Code, build, content_format};
use fotaproof_wire::content::{self, ContentError};
use fotaproof_wire::path::LwPath;
use fotaproof_wire::value::Value;

use super::reference::Server;
use super::types::{Cancel, Method, OpId, RequestSpec};

impl Server {
    /// Sends a request of any content; what comes of it is told as `Response`, `Acknowledged` or `Failed`.
    pub fn request(&mut self, now: Duration, spec: RequestSpec) -> OpId {
        self.start(now, spec)
    }

    /// Reads a path (Core, Read). A response in blocks is fetched whole.
    pub fn read(&mut self, now: Duration, path: &LwPath, accept: Option<u16>) -> OpId {
        let packet = self.get(path, accept);
        self.start(now, following(packet))
    }

    /// Asks for the links below a path (Core, Discover).
    pub fn discover(&mut self, now: Duration, path: &LwPath) -> OpId {
        self.read(now, path, Some(content_format::LINK_FORMAT))
    }

    /// Writes a payload that fits one message (Core, Write); larger ones are for [`push`](Self::push).
    pub fn write(&mut self, now: Duration, path: &LwPath, format: Option<u16>, payload: &[u8], method: Method) -> OpId {
        let mut packet = self.message(method.code(), path);
        if let Some(format) = format {
            build::set_content_format(&mut packet, format);
        }
        packet.payload = payload.to_vec();
        self.start(now, RequestSpec::new(packet))
    }

    /// Writes one value with PUT: bytes as octet stream, everything else as text (Core, Write: replace).
    ///
    /// # Errors
    /// When the path is no resource or the value has no such form.
    pub fn write_value(&mut self, now: Duration, path: &LwPath, value: &Value) -> Result<OpId, ContentError> {
        let format = if matches!(value, Value::Opaque(_)) {
            content_format::OPAQUE
        } else {
            content_format::TEXT
        };
        let payload = content::encode(format, path, &[(*path, value.clone())])?;
        Ok(self.write(now, path, Some(format), &payload, Method::Put))
    }

    /// Executes a resource; `arguments` such as `0='x'` go as text (Core, Execute).
    pub fn execute(&mut self, now: Duration, path: &LwPath, arguments: &str) -> OpId {
        let mut packet = self.message(Code::POST, path);
        if !arguments.is_empty() {
            build::set_content_format(&mut packet, content_format::TEXT);
            packet.payload = arguments.as_bytes().to_vec();
        }
        self.start(now, RequestSpec::new(packet))
    }

    /// Writes attributes such as `pmin=2&pmax=10` (Core, Write-Attributes).
    pub fn write_attributes(&mut self, now: Duration, path: &LwPath, attributes: &str) -> OpId {
        let mut packet = self.message(Code::PUT, path);
        build::set_query(
            &mut packet,
            attributes.split('&').filter(|attribute| !attribute.is_empty()),
        );
        self.start(now, RequestSpec::new(packet))
    }

    /// Creates an instance (Core, Create).
    pub fn create(&mut self, now: Duration, path: &LwPath, format: u16, payload: &[u8]) -> OpId {
        self.write(now, path, Some(format), payload, Method::Post)
    }

    /// Deletes an instance (Core, Delete).
    pub fn delete(&mut self, now: Duration, path: &LwPath) -> OpId {
        let packet = self.message(Code::DELETE, path);
        self.start(now, RequestSpec::new(packet))
    }

    /// Reads several paths at once, in SenML (Core, Read-Composite).
    ///
    /// # Errors
    /// When the format cannot name paths.
    pub fn read_composite(&mut self, now: Duration, paths: &[LwPath], format: u16) -> Result<OpId, ContentError> {
        let packet = self.fetch(paths, format)?;
        Ok(self.start(now, following(packet)))
    }

    /// Writes several resources at once (Core, Write-Composite).
    ///
    /// # Errors
    /// When the values cannot be written in the format.
    pub fn write_composite(
        &mut self,
        now: Duration,
        values: &[(LwPath, Value)],
        format: u16,
    ) -> Result<OpId, ContentError> {
        let mut packet = self.message(Code::IPATCH, &LwPath::ROOT);
        build::set_content_format(&mut packet, format);
        packet.payload = content::encode(format, &LwPath::ROOT, values)?;
        Ok(self.start(now, RequestSpec::new(packet)))
    }

    /// Observes a path (Core, Observe; RFC 7641, 3.1). The id is that of the observation too.
    pub fn observe(&mut self, now: Duration, path: &LwPath, accept: Option<u16>) -> OpId {
        let mut packet = self.get(path, accept);
        build::set_observe(&mut packet, 0);
        self.start(now, following(packet))
    }

    /// Observes several paths at once (Core, Observe-Composite).
    ///
    /// # Errors
    /// When the format cannot name paths.
    pub fn observe_composite(&mut self, now: Duration, paths: &[LwPath], format: u16) -> Result<OpId, ContentError> {
        let mut packet = self.fetch(paths, format)?;
        build::set_observe(&mut packet, 0);
        Ok(self.start(now, following(packet)))
    }

    /// Ends an observation (RFC 7641, 3.6): by a request at once, whose id is given, or by RST to the next notification.
    pub fn cancel_observation(&mut self, now: Duration, observation: OpId, by: Cancel) -> Option<OpId> {
        match by {
            Cancel::Get => self.start_cancel(now, observation),
            Cancel::Reset => {
                self.reset_next(observation);
                None
            }
        }
    }

    /// Sends an empty CON, which a device answers with RST (RFC 7252, 4.3).
    pub fn ping(&mut self, now: Duration, to: Option<SocketAddr>) -> OpId {
        self.start_ping(now, to)
    }

    /// A request for a path below the root path of the device, to be completed by hand.
    #[must_use]
    pub fn message(&self, code: Code, path: &LwPath) -> Packet {
        let mut packet = Packet::new();
        packet.header.code = code.into();
        let root = self.root();
        let path = if path.is_root() {
            String::new()
        } else {
            path.to_string()
        };
        build::set_path(&mut packet, &format!("{root}{path}"));
        packet
    }

    fn get(&self, path: &LwPath, accept: Option<u16>) -> Packet {
        let mut packet = self.message(Code::GET, path);
        if let Some(accept) = accept {
            build::set_accept(&mut packet, accept);
        }
        packet
    }

    fn fetch(&self, paths: &[LwPath], format: u16) -> Result<Packet, ContentError> {
        let mut packet = self.message(Code::FETCH, &LwPath::ROOT);
        build::set_content_format(&mut packet, format);
        build::set_accept(&mut packet, format);
        packet.payload = content::encode_paths(format, paths)?;
        Ok(packet)
    }
}

fn following(packet: Packet) -> RequestSpec {
    RequestSpec {
        follow_blocks: true,
        ..RequestSpec::new(packet)
    }
}
