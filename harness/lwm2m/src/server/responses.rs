//! Responses and notifications: whole or to be fetched block by block, and what they say.

use core::time::Duration;
use std::net::SocketAddr;

use coap_lite::Packet;
use fotaproof_coap::blockwise::{Block2Fetch, FetchConfig, FetchResponse, FetchStep, block_option};
use fotaproof_coap::{ExchangeId, Observer, Token};
use fotaproof_wire::coap::{Code, build, content_format, option};
use fotaproof_wire::content;
use fotaproof_wire::path::LwPath;
use fotaproof_wire::value::{Value, ValueType};

use super::event::ServerEvent;
use super::reference::{Observation, Op, Server};
use super::types::{OpId, RequestSpec};
use crate::definitions::{self, Version, Versions};
use crate::registration::Registration;

/// Largest body that a read in blocks gathers.
const FETCH_LIMIT: u64 = 1 << 20;

/// What a request under way is for.
#[derive(Debug)]
pub(super) enum Kind {
    /// A request; with its packet when it follows Block2.
    Plain(Option<Packet>),
    /// A request of which the later blocks are being fetched.
    Following(Box<Follow>),
    /// The request of an observation.
    Observe(Packet),
    /// The GET that ends an observation.
    Unobserve(OpId),
    /// A ping.
    Ping,
}

/// The rest of a body that began with block 0.
#[derive(Debug)]
pub(super) struct Follow {
    request: Packet,
    pub(super) first: Packet,
    fetch: Block2Fetch,
    body: Vec<u8>,
    pub(super) told: Told,
}

/// What is told once the body is whole.
#[derive(Debug, Clone, Copy)]
pub(super) enum Told {
    Response {
        piggybacked: bool,
        rtt: Duration,
        transmissions: u32,
    },
    Observation {
        piggybacked: bool,
        rtt: Duration,
        transmissions: u32,
    },
    Notification {
        observation: OpId,
        confirmable: bool,
        fresh: bool,
    },
}

impl Server {
    pub(super) fn take_response(
        &mut self,
        now: Duration,
        op: OpId,
        exchange: ExchangeId,
        from: SocketAddr,
        packet: Packet,
        how: (bool, Duration, u32),
    ) {
        // A late response to a block that a cancelled or restarted fetch no longer waits for.
        if self.running.get(&op).is_none_or(|running| running.exchange != exchange) {
            return;
        }
        let Some(Op { to, path, kind, .. }) = self.running.remove(&op) else {
            return;
        };
        let (piggybacked, rtt, transmissions) = how;
        match kind {
            Kind::Following(follow) => self.follow(now, op, to, path, follow, &packet),
            Kind::Plain(request) => {
                let told = Told::Response {
                    piggybacked,
                    rtt,
                    transmissions,
                };
                self.first_block(now, op, to, path, request, packet, told);
            }
            Kind::Observe(request) => {
                let accepted = Code::from(packet.header.code).is_success() && build::observe(&packet).is_some();
                if accepted && let Some(token) = Token::new(packet.get_token()) {
                    let endpoint = self.registry.at(to).map(|registration| registration.endpoint.clone());
                    let observation = Observation {
                        path,
                        endpoint,
                        observer: Observer { peer: from, token },
                        request: request.clone(),
                    };
                    self.by_observer.insert(observation.observer, op);
                    self.observations.insert(op, observation);
                }
                let told = Told::Observation {
                    piggybacked,
                    rtt,
                    transmissions,
                };
                self.first_block(now, op, to, path, Some(request), packet, told);
            }
            Kind::Unobserve(observation) => {
                let told = Told::Response {
                    piggybacked,
                    rtt,
                    transmissions,
                };
                // The token of this GET is that of the observation, which ends with any answer that has no Observe option.
                if build::observe(&packet).is_none() {
                    self.end_observation(observation);
                }
                self.finish(op, to, path, packet, told, None);
            }
            Kind::Ping => self.finish(
                op,
                to,
                path,
                packet,
                Told::Response {
                    piggybacked,
                    rtt,
                    transmissions,
                },
                None,
            ),
        }
    }

    pub(super) fn take_notification(
        &mut self,
        now: Duration,
        observer: Observer,
        packet: Packet,
        confirmable: bool,
        fresh: bool,
        ended: bool,
    ) {
        let found = self.by_observer.get(&observer).copied();
        let found = found.and_then(|op| Some((op, self.observations.get(&op)?)));
        let Some((op, Observation { path, request, .. })) = found else {
            self.events.push_back(ServerEvent::Unmatched {
                from: observer.peer,
                packet,
            });
            return;
        };
        let (observation, path, mut request) = (op, *path, request.clone());
        build::clear(&mut request, option::OBSERVE);
        let told = Told::Notification {
            observation,
            confirmable,
            fresh,
        };
        self.first_block(now, observation, observer.peer, path, Some(request), packet, told);
        if ended {
            self.end_observation(observation);
        }
    }

    /// Tells a response, or starts to fetch the rest of it (RFC 7959, 2.4; for a notification with plain GETs, 2.6).
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a response that the rest of it is fetched with"
    )]
    fn first_block(
        &mut self,
        now: Duration,
        op: OpId,
        to: SocketAddr,
        path: LwPath,
        request: Option<Packet>,
        packet: Packet,
        told: Told,
    ) {
        let in_blocks = build::block2(&packet).is_some_and(|block| block.num == 0 && block.more);
        let Some(mut request) = request.filter(|_| in_blocks && Code::from(packet.header.code).is_success()) else {
            self.finish(op, to, path, packet, told, None);
            return;
        };
        build::clear(&mut request, option::OBSERVE);
        // A notification is no operation of its own, but its fetch is one.
        let op = if matches!(told, Told::Notification { .. }) {
            self.new_op()
        } else {
            op
        };
        let fetch = Block2Fetch::new(FetchConfig {
            max_body: Some(FETCH_LIMIT),
            ..FetchConfig::default()
        });
        let follow = Follow {
            request,
            fetch,
            body: Vec::new(),
            first: packet.clone(),
            told,
        };
        self.follow(now, op, to, path, Box::new(follow), &packet);
    }

    fn follow(
        &mut self,
        now: Duration,
        op: OpId,
        to: SocketAddr,
        path: LwPath,
        mut follow: Box<Follow>,
        packet: &Packet,
    ) {
        let response = FetchResponse {
            code: packet.header.code.into(),
            block2: block_option(packet, option::BLOCK2),
            etag: build::get_option(packet, option::ETAG),
            payload_len: packet.payload.len(),
            size2: build::get_uint(packet, option::SIZE2),
        };
        let broken = match follow.fetch.on_response(&response) {
            FetchStep::Store { done, .. } => {
                follow.body.extend_from_slice(&packet.payload);
                if done {
                    let mut whole = follow.first;
                    whole.payload = follow.body;
                    return self.finish(op, to, path, whole, follow.told, None);
                }
                None
            }
            FetchStep::Restart => {
                follow.body.clear();
                None
            }
            FetchStep::Again => None,
            FetchStep::Ignore => Some("the transfer is over".to_owned()),
            FetchStep::Failed(failure) => Some(failure.to_string()),
        };
        let next = follow
            .fetch
            .next_request()
            .and_then(|next| next.block2)
            .filter(|_| broken.is_none());
        let Some(block) = next else {
            let reason = broken.unwrap_or_else(|| "no block is left to ask for".to_owned());
            return self.finish(
                op,
                to,
                path,
                follow.first,
                follow.told,
                Some(format!("the body did not come whole: {reason}")),
            );
        };
        build::set_block2(&mut follow.request, block);
        let exchange = self.transmit(now, op, to, RequestSpec::new(follow.request.clone()));
        self.running.insert(
            op,
            Op {
                exchange,
                to,
                path,
                kind: Kind::Following(follow),
            },
        );
    }

    /// Tells a response that is whole, or broken off for the reason given.
    pub(super) fn finish(
        &mut self,
        op: OpId,
        from: SocketAddr,
        path: LwPath,
        packet: Packet,
        told: Told,
        broken: Option<String>,
    ) {
        let code = Code::from(packet.header.code);
        let (values, decode_error) = match broken {
            Some(reason) => (Vec::new(), Some(reason)),
            None => match self.values(from, &path, &packet) {
                Ok(values) => (values, None),
                Err(reason) => (Vec::new(), Some(reason)),
            },
        };
        match told {
            Told::Response {
                piggybacked,
                rtt,
                transmissions,
            }
            | Told::Observation {
                piggybacked,
                rtt,
                transmissions,
            } => {
                self.events.push_back(ServerEvent::Response {
                    op,
                    from,
                    path,
                    code,
                    packet,
                    piggybacked,
                    rtt,
                    transmissions,
                    values,
                    decode_error,
                });
                if matches!(told, Told::Observation { .. }) && !self.observations.contains_key(&op) {
                    self.events.push_back(ServerEvent::ObservationEnded { op });
                }
            }
            Told::Notification {
                observation: op,
                confirmable,
                fresh,
            } => {
                self.events.push_back(ServerEvent::Notification {
                    op,
                    path,
                    from,
                    code,
                    packet,
                    confirmable,
                    fresh,
                    values,
                    decode_error,
                });
            }
        }
    }

    /// What the payload of a 2.05 says, by path. A link list says nothing that has a value.
    fn values(&self, from: SocketAddr, path: &LwPath, packet: &Packet) -> Result<Vec<(LwPath, Value)>, String> {
        if Code::from(packet.header.code) != Code::CONTENT {
            return Ok(Vec::new());
        }
        match build::content_format(packet) {
            Some(content_format::LINK_FORMAT) => Ok(Vec::new()),
            None if packet.payload.is_empty() => Ok(Vec::new()),
            None => Err("the response has no Content-Format".to_owned()),
            Some(format) => self.decode(from, format, path, &packet.payload),
        }
    }

    /// Reads a payload with the object versions that the device at `from` registered.
    ///
    /// # Errors
    /// In words, why the payload is no content of the format.
    pub fn decode(
        &self,
        from: SocketAddr,
        format: u16,
        base: &LwPath,
        payload: &[u8],
    ) -> Result<Vec<(LwPath, Value)>, String> {
        let versions = self.registry.at(from).map(Registration::versions);
        let types = |path: &LwPath| resource_type(versions.as_ref(), path);
        content::decode(format, base, payload, &types).map_err(|error| error.to_string())
    }
}

/// The type of a resource in the version of its object that the device registered, else in the newest one: a device that shows more than it
/// announced is read all the same.
fn resource_type(versions: Option<&Versions>, path: &LwPath) -> Option<ValueType> {
    versions
        .and_then(|versions| definitions::resource_type(path, versions))
        .or_else(|| definitions::resource_type(path, &Versions::of(Version::V1_2).with(5, Version::V1_2)))
}
