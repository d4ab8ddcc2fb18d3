//! What became of confirmable exchanges on the link, so that a request that the link lost is not
//! held against the IUT.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use fotaproof_checks::facts::Token;
use fotaproof_net::DatagramId;
use fotaproof_wire::coap::{MessageView, Type};

use super::latest::Latest;

/// Who asked, whom, under which message id.
type Key = (SocketAddr, SocketAddr, u16);

/// The first transmission and MAX_RETRANSMIT more (RFC 7252 section 4.8).
const TRANSMISSIONS: u32 = 5;
/// Longest time from the last transmission to giving up: the last interval of a sender.
const LAST_INTERVAL: Duration = Duration::from_secs(48);

/// A confirmable message that was not acknowledged yet.
#[derive(Debug, Default)]
struct Exchange {
    token: Token,
    transmissions: u32,
    delivered: u32,
    acknowledged: u32,
    last: Duration,
    lost_at_random: u32,
}

/// The exchanges under way.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    open: BTreeMap<Key, Exchange>,
    parts: Latest<(Key, bool)>,
    /// When a random loss last met a message.
    last_loss: Option<Duration>,
}

impl Exchanges {
    /// A datagram enters the link.
    pub(crate) fn sent(
        &mut self,
        now: Duration,
        datagram: DatagramId,
        src: SocketAddr,
        dst: SocketAddr,
        payload: &[u8],
    ) {
        let Ok(view) = MessageView::parse(payload) else { return };
        let (key, acknowledgement) = match view.kind() {
            Type::Con => ((src, dst, view.message_id()), false),
            Type::Ack | Type::Rst => ((dst, src, view.message_id()), true),
            Type::Non => return,
        };
        if acknowledgement {
            let Some(exchange) = self.open.get_mut(&key) else {
                return;
            };
            // A response under another token answers nothing that was asked, whether it arrives or not.
            if view.code().is_response() && Token::new(view.token()) != exchange.token {
                return;
            }
            exchange.acknowledged += 1;
        } else {
            let exchange = self.open.entry(key).or_default();
            let token = Token::new(view.token());
            if exchange.token != token {
                *exchange = Exchange {
                    token,
                    ..Exchange::default()
                };
            }
            exchange.transmissions += 1;
            exchange.last = now;
        }
        self.parts.insert(datagram, (key, acknowledgement));
    }

    /// A datagram reached the other end.
    pub(crate) fn delivered(&mut self, datagram: DatagramId) {
        let Some((key, acknowledgement)) = self.parts.get(datagram) else {
            return;
        };
        if *acknowledgement {
            self.open.remove(key);
        } else if let Some(exchange) = self.open.get_mut(key) {
            exchange.delivered += 1;
        }
    }

    /// Chance lost a packet of a datagram; what a rule or a blackout of the case loses is meant.
    pub(crate) fn lost(&mut self, now: Duration, datagram: DatagramId) {
        let Some((key, _)) = self.parts.get(datagram) else {
            return;
        };
        self.last_loss = Some(now);
        if let Some(exchange) = self.open.get_mut(key) {
            exchange.lost_at_random += 1;
        }
    }

    /// An exchange that came to nothing since then because of the link alone: whatever arrived of
    /// it was acknowledged, and chance had a part in the rest.
    pub(crate) fn broken_by_chance(&self, since: Duration) -> Option<String> {
        let (key, exchange) = self.open.iter().find(|(_, exchange)| {
            exchange.transmissions >= TRANSMISSIONS
                && exchange.last + LAST_INTERVAL >= since
                && exchange.acknowledged >= exchange.delivered
                && exchange.lost_at_random > 0
        })?;
        Some(format!(
            "the link lost message {} from {} or its acknowledgement {} times",
            key.2, key.0, exchange.transmissions
        ))
    }

    /// Whether chance lost a message of an exchange since then, which matters to what is sent once.
    pub(crate) fn lost_since(&self, since: Duration) -> bool {
        self.last_loss.is_some_and(|at| at >= since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CON: &[u8] = &[0x41, 1, 0, 7, 0xaa];
    const ACK: &[u8] = &[0x61, 69, 0, 7, 0xaa];
    /// Under the same message id, but no answer: 5.00 without the token.
    const STRAY: &[u8] = &[0x60, 160, 0, 7];

    fn ends() -> (SocketAddr, SocketAddr) {
        (([192, 0, 2, 1], 5683).into(), ([192, 0, 2, 2], 5683).into())
    }

    /// Five transmissions; of the first so many the given number is delivered and acknowledged.
    fn exchange(delivered: u64, acknowledged: u64, chance: bool) -> Exchanges {
        let (a, b) = ends();
        let mut exchanges = Exchanges::default();
        for i in 0..5 {
            let now = Duration::from_secs(i);
            exchanges.sent(now, DatagramId(2 * i), a, b, CON);
            if i < delivered {
                exchanges.delivered(DatagramId(2 * i));
            } else if chance {
                exchanges.lost(now, DatagramId(2 * i));
            }
            if i < acknowledged {
                exchanges.sent(now, DatagramId(2 * i + 1), b, a, ACK);
                if chance {
                    exchanges.lost(now, DatagramId(2 * i + 1));
                }
            }
        }
        exchanges
    }

    #[test]
    fn what_never_arrived_is_the_link_s_doing() {
        assert!(exchange(0, 0, true).broken_by_chance(Duration::ZERO).is_some());
        assert!(exchange(3, 3, true).broken_by_chance(Duration::ZERO).is_some());
    }

    #[test]
    fn what_arrived_and_was_not_answered_is_not() {
        assert!(exchange(1, 0, true).broken_by_chance(Duration::ZERO).is_none());
    }

    #[test]
    fn what_the_case_loses_on_purpose_is_not() {
        assert!(exchange(0, 0, false).broken_by_chance(Duration::ZERO).is_none());
    }

    #[test]
    fn an_acknowledged_exchange_is_over() {
        let (a, b) = ends();
        let mut exchanges = exchange(4, 4, true);
        exchanges.sent(Duration::from_secs(9), DatagramId(20), b, a, ACK);
        exchanges.delivered(DatagramId(20));
        assert!(exchanges.broken_by_chance(Duration::ZERO).is_none());
    }

    #[test]
    fn a_second_reply_that_arrives_saves_nothing() {
        let (a, b) = ends();
        let stray = |mut exchanges: Exchanges| {
            exchanges.sent(Duration::from_secs(9), DatagramId(20), b, a, STRAY);
            exchanges.delivered(DatagramId(20));
            exchanges
        };
        let lost = stray(exchange(5, 5, true));
        assert!(lost.broken_by_chance(Duration::ZERO).is_some(), "the answers were lost");
        let unanswered = stray(exchange(1, 0, true));
        assert!(unanswered.broken_by_chance(Duration::ZERO).is_none(), "it is no answer");
    }

    #[test]
    fn an_old_one_says_nothing_of_a_later_step() {
        let exchanges = exchange(0, 0, true);
        assert!(exchanges.broken_by_chance(Duration::from_secs(52)).is_some());
        assert!(exchanges.broken_by_chance(Duration::from_secs(53)).is_none());
    }
}
