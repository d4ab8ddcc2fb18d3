//! The receiver's end: address translation inward, checksums, reassembly.

use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::{
    assembly::Part,
    event::{DropReason, Fate, LinkEvent},
    facts::{DatagramId, PacketId, Toward},
    link::{Harm, Link, Transit},
    packet::{self, Content, UDP_HEADER},
};

type Out = VecDeque<LinkEvent>;

impl Link {
    /// A packet reaches the receiver's end.
    pub(crate) fn arrive(&mut self, at: Duration, transit: Transit, out: &mut Out) {
        let inward = self.nat.is_active() && transit.toward.exit() == self.nat.behind();
        let dst = match inward.then(|| self.nat.inward(at, transit.dst)) {
            Some(Some(dst)) => dst,
            // In a replay the recording knows better what passed.
            None => transit.dst,
            Some(None) if self.recording.is_some() => transit.dst,
            Some(None) => return self.lose(at, &transit, DropReason::Nat, out),
        };
        let src = transit.outer_src;
        let translated = src != transit.src || dst != transit.dst;
        let packet = if transit.harm.is_some() || (translated && self.with_bytes) {
            Bytes::from(self.rewritten(&transit, src, dst))
        } else {
            transit.bytes.clone()
        };
        let (size, altered) = match transit.harm.as_deref() {
            None => (transit.size, false),
            Some(Harm::Bits { .. }) => (transit.size, true),
            Some(Harm::Truncated(_)) => ((usize::from(transit.size).min(packet.len())) as u16, true),
        };
        self.counters[transit.toward.index()].packets_out += 1;
        out.push_back(LinkEvent::Packet {
            at,
            point: transit.toward.exit(),
            toward: transit.toward,
            packet: transit.packet,
            datagram: transit.datagram,
            fragment: transit.fragment(),
            bytes: if self.with_bytes { packet.clone() } else { Bytes::new() },
            size,
            altered,
        });
        match (transit.part, transit.harm.as_deref()) {
            (None, None) => self.deliver(at, transit, (src, dst), None, out),
            (None, Some(Harm::Truncated(left))) => {
                let payload = transit.payload.slice(..transit.payload.len().min((*left).into()));
                let transit = Transit { size, ..transit };
                self.deliver(at, transit, (src, dst), Some(payload), out);
            }
            (None, Some(Harm::Bits { bits, .. })) => {
                let header = transit.ip_header();
                let header_hit = bits.iter().any(|bit| (*bit as usize) < header * 8);
                // The packet has addresses of one family; a mapped IPv4 address sums up to the same.
                if header_hit || !packet::udp_is_right(src.ip(), dst.ip(), &packet[header..]) {
                    return self.lose(at, &transit, DropReason::Checksum, out);
                }
                let payload = packet.slice(header + UDP_HEADER..);
                self.deliver(at, transit, (src, dst), Some(payload), out);
            }
            (Some(_), Some(Harm::Truncated(_))) => self.lose(at, &transit, DropReason::Reassembly, out),
            (Some(_), Some(Harm::Bits { bits, .. }))
                if bits.iter().any(|bit| (*bit as usize) < transit.ip_header() * 8) =>
            {
                self.lose(at, &transit, DropReason::Checksum, out);
            }
            (Some((fragment, _, count)), _) => {
                let Transit {
                    toward,
                    datagram,
                    packet,
                    size,
                    ..
                } = transit;
                let part = Part {
                    packet,
                    offset: fragment.offset,
                    size,
                    harm: transit.harm.clone(),
                };
                let bytes = transit.payload.len();
                let complete = self
                    .assembly
                    .insert(at, datagram, toward, (fragment.index, count), bytes, part);
                if let Some((parts, copy)) = complete {
                    self.assembled(at, Transit { copy, ..transit }, (src, dst), &parts, out);
                } else {
                    // Too much memory in use by now: the oldest goes.
                    self.give_up_into(at, out);
                }
            }
        }
    }

    /// All fragments of a datagram are there.
    fn assembled(
        &mut self,
        at: Duration,
        transit: Transit,
        ends: (SocketAddr, SocketAddr),
        parts: &[Part],
        out: &mut Out,
    ) {
        let largest = parts.iter().map(|part| part.size).max().unwrap_or(transit.size);
        let packets = parts.len() as u16;
        let harmed = || {
            parts
                .iter()
                .filter_map(|part| part.harm.as_deref().map(|harm| (part, harm)))
        };
        let header = transit.ip_header();
        let transit = Transit {
            size: largest,
            part: transit.part.map(|(fragment, length, _)| (fragment, length, packets)),
            ..transit
        };
        if harmed().next().is_none() {
            return self.deliver(at, transit, ends, None, out);
        }
        let (src, dst) = ends;
        let mut udp = packet::udp_header(src, dst, &transit.payload).to_vec();
        udp.extend_from_slice(&transit.payload);
        let mut forgiven = true;
        for (part, harm) in harmed() {
            if let Harm::Bits { bits, fixed } = harm {
                forgiven &= *fixed;
                let data = u32::from(part.offset) * 8;
                packet::flip(&mut udp, bits.iter().map(|bit| (bit - header as u32 * 8) + data));
            }
        }
        if forgiven || packet::udp_is_right(src.ip(), dst.ip(), &udp) {
            let payload = Bytes::from(udp).slice(UDP_HEADER..);
            return self.deliver(at, transit, ends, Some(payload), out);
        }
        for (part, _) in harmed() {
            self.lose_packet(
                at,
                transit.toward,
                transit.datagram,
                part.packet,
                DropReason::Checksum,
                out,
            );
        }
    }

    fn deliver(
        &mut self,
        at: Duration,
        transit: Transit,
        (src, dst): (SocketAddr, SocketAddr),
        changed: Option<Bytes>,
        out: &mut Out,
    ) {
        self.counters[transit.toward.index()].delivered += 1;
        out.push_back(LinkEvent::Delivered {
            at,
            toward: transit.toward,
            datagram: transit.datagram,
            copy: transit.copy,
            src,
            dst,
            altered: changed.is_some(),
            payload: changed.unwrap_or(transit.payload),
            packets: transit.part.map_or(1, |(_, _, count)| count),
            largest: transit.size,
        });
    }

    /// The packet as it leaves, with what it suffered and its new addresses.
    fn rewritten(&self, transit: &Transit, src: SocketAddr, dst: SocketAddr) -> Vec<u8> {
        let harm = transit.harm.as_deref();
        let mut payload = transit.payload.clone();
        let mut part = transit.part.map(|(fragment, length, _)| (fragment, length));
        if let Some(Harm::Truncated(left)) = harm {
            match &mut part {
                None => payload.truncate(usize::from(*left)),
                Some((fragment, length)) => {
                    let udp = if fragment.offset == 0 { UDP_HEADER } else { 0 };
                    *length = (udp + usize::from(*left)).min(*length);
                }
            }
        }
        let udp = packet::udp_header(src, dst, &payload);
        let content = Content {
            src,
            dst,
            ident: transit.ident,
            dont_fragment: self.dont_fragment(),
            udp: &udp,
            payload: &payload,
            part,
        };
        let mut packet = packet::ip_packet(&content);
        if let Some(Harm::Bits { bits, fixed }) = harm {
            packet::flip(&mut packet, bits.iter().copied());
            let header = packet::ip_header(src, dst, part.is_some());
            // The checksum of a fragmented datagram left with the first fragment and cannot follow.
            if *fixed
                && part.is_none()
                && let Some((_, payload)) = packet.split_at_checked(header + UDP_HEADER)
            {
                let udp = packet::udp_header(src, dst, payload);
                packet[header..header + UDP_HEADER].copy_from_slice(&udp);
            }
        }
        packet
    }

    fn lose(&mut self, at: Duration, transit: &Transit, reason: DropReason, out: &mut Out) {
        self.lose_packet(at, transit.toward, transit.datagram, transit.packet, reason, out);
    }

    fn lose_packet(
        &mut self,
        at: Duration,
        toward: Toward,
        datagram: DatagramId,
        packet: PacketId,
        reason: DropReason,
        out: &mut Out,
    ) {
        self.counters[toward.index()].count_drop(reason);
        out.push_back(LinkEvent::Fate {
            at,
            packet,
            datagram,
            rule: None,
            fate: Fate::Dropped(reason),
            draw: None,
        });
    }

    /// Gives up datagrams whose fragments did not come.
    pub(crate) fn give_up(&mut self, now: Duration) {
        let mut out = core::mem::take(&mut self.arriving);
        self.give_up_into(now, &mut out);
        self.arriving = out;
    }

    fn give_up_into(&mut self, now: Duration, out: &mut Out) {
        while let Some(given_up) = self.assembly.give_up(now) {
            for packet in given_up.packets {
                self.lose_packet(
                    given_up.at,
                    given_up.toward,
                    given_up.datagram,
                    packet,
                    DropReason::Reassembly,
                    out,
                );
            }
        }
    }
}
