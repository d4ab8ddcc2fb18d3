//! What rules may know of a CoAP datagram, the request that it answers included.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use fotaproof_checks::facts::Token;
use fotaproof_net as net;
use fotaproof_trace::Toward;
use fotaproof_wire::coap::{BlockValue, MessageView, Type, option};

/// Which request a response answers, for rules by path or block. The peer is the end of the harness.
#[derive(Debug, Default)]
pub(crate) struct Conversations {
    /// The latest requests, in their order. Nearly all answers are to one of the last, so that no table finds them sooner.
    asked: VecDeque<Asked>,
}

#[derive(Debug)]
struct Asked {
    peer: SocketAddr,
    by_iut: bool,
    message_id: u16,
    token: Token,
    path: Option<Arc<str>>,
    block1: Option<net::BlockFacts>,
    block2: Option<net::BlockFacts>,
}

impl Conversations {
    /// Requests remembered; a response comes long before so many others.
    const KEPT: usize = 512;

    fn asked(&mut self, asked: Asked) {
        if self.asked.len() >= Self::KEPT {
            self.asked.pop_front();
        }
        self.asked.push_back(asked);
    }

    fn answered(&self, peer: SocketAddr, by_iut: bool, view: &MessageView<'_>) -> Option<&Asked> {
        let token = Token::new(view.token());
        let mut latest = self.asked.iter().rev();
        if !matches!(view.kind(), Type::Ack | Type::Rst) {
            return latest.find(|asked| asked.token == token && asked.by_iut == by_iut && asked.peer == peer);
        }
        let message_id = view.message_id();
        // a second reply without the token answers nothing
        let asked =
            latest.find(|asked| asked.message_id == message_id && asked.by_iut == by_iut && asked.peer == peer)?;
        (!view.code().is_response() || asked.token == token).then_some(asked)
    }

    /// The facts of a datagram that enters the link; a request is remembered for its responses.
    pub(crate) fn facts(&mut self, peer: SocketAddr, toward: Toward, payload: &[u8]) -> net::Facts {
        self.read(peer, toward, payload, &Bytes::copy_from_slice)
    }

    /// The same for bytes of which a part can be had without a copy.
    pub(crate) fn facts_within(&mut self, peer: SocketAddr, toward: Toward, payload: &Bytes) -> net::Facts {
        self.read(peer, toward, payload, &|token| payload.slice_ref(token))
    }

    fn read(
        &mut self,
        peer: SocketAddr,
        toward: Toward,
        payload: &[u8],
        shared: &dyn Fn(&[u8]) -> Bytes,
    ) -> net::Facts {
        let Ok(view) = MessageView::parse(payload) else {
            return net::Facts::default();
        };
        let by_iut = toward == Toward::Peer;
        let code = view.code();
        let mut block1 = view.block1().ok().flatten().map(block_facts);
        let mut block2 = view.block2().ok().flatten().map(block_facts);
        let mut path = None;
        if code.is_request() {
            path = Some(self.path(&view));
            self.asked(Asked {
                peer,
                by_iut,
                message_id: view.message_id(),
                token: Token::new(view.token()),
                path: path.clone(),
                block1,
                block2,
            });
        } else if let Some(asked) = self.answered(peer, !by_iut, &view) {
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
            token: shared(view.token()),
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
        let path = self.answered(peer, !by_iut, &view)?.path.as_deref();
        path.map(str::to_owned)
    }

    /// The path of a request: that of the last one, as with the blocks of a body, or another.
    fn path(&self, view: &MessageView<'_>) -> Arc<str> {
        if let Some(last) = self.asked.back().and_then(|last| last.path.as_ref())
            && is_path(view, last)
        {
            return last.clone();
        }
        view.uri_path().into()
    }
}

/// Whether [`MessageView::uri_path`] of a message is this text.
fn is_path(view: &MessageView<'_>, path: &str) -> bool {
    let mut rest = path.as_bytes();
    let mut segments = 0;
    for option in view.options_of(option::URI_PATH) {
        segments += 1;
        // these stand for something else in the text
        let plain = !option.value.iter().any(|byte| matches!(byte, b'/' | b'%'));
        let after = rest.strip_prefix(b"/").and_then(|rest| rest.strip_prefix(option.value));
        let Some(after) = after.filter(|_| plain) else {
            return false;
        };
        rest = after;
    }
    // without segments it is `/`
    segments > 0 && rest.is_empty()
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
    fn a_path_is_another_when_any_segment_is() {
        // POST, message 8, token bb
        let post = |segments: &[&[u8]]| {
            let mut bytes = vec![0x41, 2, 0, 8, 0xbb];
            for (index, segment) in segments.iter().enumerate() {
                bytes.push(if index == 0 { 0xb0 } else { 0 } | segment.len() as u8);
                bytes.extend_from_slice(segment);
            }
            bytes
        };
        let all: [&[&[u8]]; 8] = [
            &[b"5", b"0"],
            &[b"5", b"0"],
            &[b"5"],
            &[b"5", b"0", b"1"],
            &[],
            &[b"a/b"],
            &[b"a%2Fb"],
            &[b"a", b"b"],
        ];
        let mut conversations = Conversations::default();
        for segments in all {
            let bytes = post(segments);
            let facts = conversations.facts(PEER.into(), Toward::Iut, &bytes);
            let view = MessageView::parse(&bytes).expect("a message");
            assert_eq!(facts.path.as_deref(), Some(view.uri_path().as_str()));
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
