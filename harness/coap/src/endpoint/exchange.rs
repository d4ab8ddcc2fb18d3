//! Exchanges this endpoint started, and their timers.

use core::{net::SocketAddr, time::Duration};
use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use fotaproof_wire::hash::{Address, Map};

use crate::{ExchangeId, Observer, RequestId, Token};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Notify(Observer),
    Separate(RequestId),
    Ping,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for a free place (NSTART) or a free message ID.
    Queued,
    /// Sent; an ACK or a response is due.
    Sent,
    /// A request with an empty ACK; its response is due.
    Acknowledged,
    /// Over; kept for a while for late copies and for sending it again.
    Finished,
}

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) peer: SocketAddr,
    pub(super) kind: Kind,
    pub(super) state: State,
    pub(super) confirmable: bool,
    /// Sent past the queue.
    pub(super) immediate: bool,
    pub(super) retransmit: bool,
    pub(super) message_id: Option<u16>,
    pub(super) token: Token,
    /// The message without its message ID, until it is sent.
    pub(super) draft: Vec<u8>,
    pub(super) datagram: Bytes,
    /// Observe option of a request.
    pub(super) observe: Option<u32>,
    /// Holds a place in the count of messages in flight.
    pub(super) counted: bool,
    pub(super) transmissions: u32,
    pub(super) retransmissions: u32,
    pub(super) first_sent: Duration,
    pub(super) timeout: Duration,
    pub(super) timer: Option<Duration>,
    /// More message IDs and tokens of the same exchange; only with quirks.
    pub(super) other_ids: Vec<(u16, Token)>,
}

/// Exchanges by their ids, which ascend one by one: each has its place in a row, counted from the first that is left.
#[derive(Debug, Default)]
struct Row {
    /// On the heap: a place may stay empty for long behind an exchange that lasts.
    exchanges: VecDeque<Option<Box<Exchange>>>,
    /// Places that are gone.
    gone: u64,
}

impl Row {
    fn index(&self, id: ExchangeId) -> Option<usize> {
        usize::try_from(id.0.checked_sub(self.gone)?).ok()
    }

    fn push(&mut self, exchange: Exchange) -> ExchangeId {
        self.exchanges.push_back(Some(Box::new(exchange)));
        ExchangeId(self.gone + self.exchanges.len() as u64 - 1)
    }

    fn get(&self, id: ExchangeId) -> Option<&Exchange> {
        self.exchanges.get(self.index(id)?)?.as_deref()
    }

    fn get_mut(&mut self, id: ExchangeId) -> Option<&mut Exchange> {
        let index = self.index(id)?;
        self.exchanges.get_mut(index)?.as_deref_mut()
    }

    fn remove(&mut self, id: ExchangeId) -> Option<Box<Exchange>> {
        let index = self.index(id)?;
        let exchange = self.exchanges.get_mut(index)?.take();
        while let Some(None) = self.exchanges.front() {
            self.exchanges.pop_front();
            self.gone += 1;
        }
        exchange
    }

    fn iter(&self) -> impl Iterator<Item = (ExchangeId, &Exchange)> {
        let row = self.exchanges.iter().zip(self.gone..);
        row.filter_map(|(exchange, id)| Some((ExchangeId(id), exchange.as_deref()?)))
    }
}

#[derive(Debug, Default)]
pub(super) struct Exchanges {
    row: Row,
    by_message_id: Map<(Address, u16), ExchangeId>,
    by_token: Map<(Address, Token), ExchangeId>,
    timers: BTreeSet<(Duration, ExchangeId)>,
    finished: VecDeque<ExchangeId>,
}

impl Exchanges {
    pub(super) fn insert(&mut self, exchange: Exchange) -> ExchangeId {
        self.row.push(exchange)
    }

    pub(super) fn get(&self, id: ExchangeId) -> Option<&Exchange> {
        self.row.get(id)
    }

    pub(super) fn get_mut(&mut self, id: ExchangeId) -> Option<&mut Exchange> {
        self.row.get_mut(id)
    }

    /// The newest exchange with this message ID, finished ones included.
    pub(super) fn with_message_id(&self, peer: SocketAddr, message_id: u16) -> Option<(ExchangeId, &Exchange)> {
        let id = *self.by_message_id.get(&(Address(peer), message_id))?;
        self.row.get(id).map(|exchange| (id, exchange))
    }

    /// The newest request with this token that is not finished.
    pub(super) fn with_token(&self, peer: SocketAddr, token: Token) -> Option<(ExchangeId, &Exchange)> {
        let id = *self.by_token.get(&(Address(peer), token))?;
        self.row.get(id).map(|exchange| (id, exchange))
    }

    /// The oldest exchange with the peer that awaits something.
    pub(super) fn oldest(&self, peer: SocketAddr) -> Option<ExchangeId> {
        let waits = |exchange: &Exchange| matches!(exchange.state, State::Sent | State::Acknowledged);
        self.row
            .iter()
            .find(|(_, exchange)| exchange.peer == peer && waits(exchange))
            .map(|(id, _)| id)
    }

    /// Makes the exchange known by its message ID and, if it is a request, by its token.
    pub(super) fn index(&mut self, id: ExchangeId) {
        let Some(exchange) = self.row.get(id) else { return };
        if let Some(message_id) = exchange.message_id {
            self.by_message_id.insert((Address(exchange.peer), message_id), id);
        }
        if exchange.kind == Kind::Request {
            self.by_token.insert((Address(exchange.peer), exchange.token), id);
        }
    }

    pub(super) fn set_timer(&mut self, id: ExchangeId, at: Option<Duration>) {
        let Some(exchange) = self.row.get_mut(id) else { return };
        if let Some(old) = exchange.timer.take() {
            self.timers.remove(&(old, id));
        }
        if let Some(at) = at {
            exchange.timer = Some(at);
            self.timers.insert((at, id));
        }
    }

    pub(super) fn next_timer(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that is due off the exchange.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<ExchangeId> {
        let &(at, id) = self.timers.first()?;
        if at > now {
            return None;
        }
        self.set_timer(id, None);
        Some(id)
    }

    /// Ends an exchange but keeps it among the last `kept`.
    pub(super) fn finish(&mut self, id: ExchangeId, kept: usize) {
        self.set_timer(id, None);
        let Some(exchange) = self.row.get_mut(id) else { return };
        exchange.state = State::Finished;
        let (peer, token) = (exchange.peer, exchange.token);
        let others = core::mem::take(&mut exchange.other_ids);
        self.drop_token(peer, token, id);
        for (_, token) in &others {
            self.drop_token(peer, *token, id);
        }
        if !others.is_empty()
            && let Some(exchange) = self.row.get_mut(id)
        {
            exchange.other_ids = others;
        }
        self.finished.push_back(id);
        while self.finished.len() > kept {
            if let Some(old) = self.finished.pop_front()
                && self
                    .row
                    .get(old)
                    .is_some_and(|exchange| exchange.state == State::Finished)
            {
                self.remove(old);
            }
        }
    }

    /// Forgets an exchange.
    pub(super) fn remove(&mut self, id: ExchangeId) -> Option<Box<Exchange>> {
        self.set_timer(id, None);
        let exchange = self.row.remove(id)?;
        let message_ids = exchange
            .message_id
            .into_iter()
            .chain(exchange.other_ids.iter().map(|(mid, _)| *mid));
        for message_id in message_ids {
            let key = (Address(exchange.peer), message_id);
            if self.by_message_id.get(&key) == Some(&id) {
                self.by_message_id.remove(&key);
            }
        }
        self.drop_token(exchange.peer, exchange.token, id);
        for (_, token) in &exchange.other_ids {
            self.drop_token(exchange.peer, *token, id);
        }
        Some(exchange)
    }

    fn drop_token(&mut self, peer: SocketAddr, token: Token, id: ExchangeId) {
        let key = (Address(peer), token);
        if self.by_token.get(&key) == Some(&id) {
            self.by_token.remove(&key);
        }
    }

    /// All exchanges with a peer.
    pub(super) fn of_peer(&self, peer: SocketAddr) -> Vec<ExchangeId> {
        self.row
            .iter()
            .filter(|(_, exchange)| exchange.peer == peer)
            .map(|(id, _)| id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(port: u16) -> Exchange {
        Exchange {
            peer: ([192, 0, 2, 1], port).into(),
            kind: Kind::Request,
            state: State::Queued,
            confirmable: true,
            immediate: false,
            retransmit: true,
            message_id: None,
            token: Token::EMPTY,
            draft: Vec::new(),
            datagram: Bytes::new(),
            observe: None,
            counted: false,
            transmissions: 0,
            retransmissions: 0,
            first_sent: Duration::ZERO,
            timeout: Duration::ZERO,
            timer: None,
            other_ids: Vec::new(),
        }
    }

    #[test]
    fn an_exchange_is_found_by_its_id_whatever_went_before_it() {
        let mut row = Row::default();
        let ids: Vec<ExchangeId> = (0..4).map(|port| row.push(exchange(port))).collect();
        assert_eq!(ids, [0, 1, 2, 3].map(ExchangeId));
        let left = |row: &Row| {
            row.iter()
                .map(|(id, exchange)| (id.0, exchange.peer.port()))
                .collect::<Vec<_>>()
        };
        assert!(row.remove(ids[1]).is_some() && row.remove(ids[1]).is_none());
        assert_eq!(left(&row), [(0, 0), (2, 2), (3, 3)]);
        assert!(row.remove(ids[0]).is_some() && row.get(ids[0]).is_none() && row.get(ids[1]).is_none());
        assert_eq!((left(&row), row.exchanges.len()), (vec![(2, 2), (3, 3)], 2));
        row.remove(ids[2]);
        row.remove(ids[3]);
        assert_eq!((row.push(exchange(9)), left(&row)), (ExchangeId(4), vec![(4, 9)]));
        assert!(row.get_mut(ExchangeId(5)).is_none());
    }
}
