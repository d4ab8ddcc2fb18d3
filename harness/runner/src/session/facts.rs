//! What rules may know of a CoAP datagram, the request that it answers included.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use fotaproof_checks::hash::{Address, Map};
use fotaproof_net as net;
use fotaproof_trace::Toward;
use fotaproof_wire::coap::{BlockValue, MessageView, Type};

/// Which request a response answers, for rules by path or block. The peer is the end of the harness.
#[derive(Debug, Default)]
pub(crate) struct Conversations {
    by_id: Map<(Address, bool, u16), Arc<Asked>>,
    by_token: Map<(Address, bool, Bytes), Arc<Asked>>,
    order: VecDeque<(Address, bool, u16, Bytes)>,
}

#[derive(Debug)]
struct Asked {
    token: Bytes,
    path: Option<String>,
    block1: Option<net::BlockFacts>,
    block2: Option<net::BlockFacts>,
}

impl Conversations {
    /// Requests remembered; a response comes long before so many others.
    const KEPT: usize = 512;

    fn asked(&mut self, peer: SocketAddr, by_iut: bool, view: &MessageView<'_>, asked: Asked) {
        let asked = Arc::new(asked);
        let peer = Address(peer);
        if self.order.len() >= Self::KEPT
            && let Some((from, by, id, token)) = self.order.pop_front()
        {
            self.by_id.remove(&(from, by, id));
            self.by_token.remove(&(from, by, token));
        }
        self.order
            .push_back((peer, by_iut, view.message_id(), asked.token.clone()));
        self.by_id.insert((peer, by_iut, view.message_id()), asked.clone());
        self.by_token.insert((peer, by_iut, asked.token.clone()), asked);
    }

    fn answered(&self, peer: SocketAddr, by_iut: bool, view: &MessageView<'_>, token: &Bytes) -> Option<&Asked> {
        if !matches!(view.kind(), Type::Ack | Type::Rst) {
            return self
                .by_token
                .get(&(Address(peer), by_iut, token.clone()))
                .map(AsRef::as_ref);
        }
        // a second reply without the token answers nothing
        let asked = self.by_id.get(&(Address(peer), by_iut, view.message_id()))?;
        (!view.code().is_response() || asked.token == *token).then_some(asked.as_ref())
    }

    /// The facts of a datagram that enters the link; a request is remembered for its responses.
    pub(crate) fn facts(&mut self, peer: SocketAddr, toward: Toward, payload: &[u8]) -> net::Facts {
        let Ok(view) = MessageView::parse(payload) else {
            return net::Facts::default();
        };
        let by_iut = toward == Toward::Peer;
        let code = view.code();
        let mut block1 = view.block1().ok().flatten().map(block_facts);
        let mut block2 = view.block2().ok().flatten().map(block_facts);
        let mut path = None;
        let token = Bytes::copy_from_slice(view.token());
        if code.is_request() {
            path = Some(view.uri_path());
            self.asked(
                peer,
                by_iut,
                &view,
                Asked {
                    token: token.clone(),
                    path: path.clone(),
                    block1,
                    block2,
                },
            );
        } else if let Some(asked) = self.answered(peer, !by_iut, &view, &token) {
            path.clone_from(&asked.path);
            block1 = block1.or(asked.block1);
            block2 = block2.or(asked.block2);
        }
        net::Facts {
            kind: Some(match view.kind() as u8 {
                0 => net::Kind::Con,
                1 => net::Kind::Non,
                2 => net::Kind::Ack,
                _ => net::Kind::Rst,
            }),
            code: Some(code.0),
            token,
            message_id: Some(view.message_id()),
            block1,
            block2,
            path,
            observe: view.observe(),
        }
    }

    /// The path of the request that a datagram is or answers.
    pub(crate) fn path_of(&self, peer: SocketAddr, by_iut: bool, payload: &[u8]) -> Option<String> {
        let view = MessageView::parse(payload).ok()?;
        if view.code().is_request() {
            return Some(view.uri_path());
        }
        self.answered(peer, !by_iut, &view, &Bytes::copy_from_slice(view.token()))?
            .path
            .clone()
    }
}

fn block_facts(block: BlockValue) -> net::BlockFacts {
    net::BlockFacts {
        num: block.num,
        more: block.more,
        size: block.szx.size() as u16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GET /5, message 7, token aa, by the server.
    const GET: &[u8] = &[0x41, 1, 0, 7, 0xaa, 0xb1, b'5'];

    const PEER: ([u8; 4], u16) = ([192, 0, 2, 1], 5683);

    fn path_of(answer: &[u8]) -> Option<String> {
        let mut conversations = Conversations::default();
        conversations.facts(PEER.into(), Toward::Iut, GET);
        conversations.path_of(PEER.into(), true, answer)
    }

    #[test]
    fn an_answer_is_known_by_id_and_token_or_by_token() {
        for (what, answer) in [
            ("piggybacked", &[0x61, 69, 0, 7, 0xaa][..]),
            ("empty ACK", &[0x60, 0, 0, 7]),
            ("RST", &[0x70, 0, 0, 7]),
            ("separate", &[0x41, 69, 0, 1, 0xaa]),
        ] {
            assert_eq!(path_of(answer).as_deref(), Some("/5"), "{what}");
        }
    }

    #[test]
    fn what_only_looks_like_an_answer_is_none() {
        for (what, other) in [
            ("another token", &[0x61, 160, 0, 7, 0xbb][..]),
            ("no token", &[0x60, 160, 0, 7]),
            ("another id", &[0x61, 69, 0, 8, 0xaa]),
            ("separate, the same id by chance", &[0x41, 69, 0, 7, 0xbb]),
        ] {
            assert_eq!(path_of(other), None, "{what}");
        }
    }
}
