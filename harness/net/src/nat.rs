//! Address translation at one end of the link.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{
    facts::Point,
    spec::{Nat, NatChange},
};

/// Mappings kept at most; a device that goes through more ports loses its oldest ones.
const MAX_MAPPINGS: usize = 4096;
/// The first port a new mapping takes.
const FIRST_PORT: u16 = 40_000;

#[derive(Clone, Copy, Debug)]
struct Mapping {
    outer: SocketAddr,
    used: Duration,
}

/// The translator. Not active, it only remembers who spoke last, in case it is told to rebind.
#[derive(Debug, Default)]
pub(crate) struct Translator {
    spec: Option<Nat>,
    /// Came to be by a rebinding: inward packets to addresses it knows nothing of pass.
    on_command: bool,
    inner: BTreeMap<SocketAddr, Mapping>,
    outer: BTreeMap<SocketAddr, SocketAddr>,
    dead: BTreeSet<SocketAddr>,
    last: Option<SocketAddr>,
    made: u16,
}

impl Translator {
    pub(crate) fn new(spec: Option<Nat>) -> Self {
        Self {
            spec,
            ..Self::default()
        }
    }

    pub(crate) fn set_spec(&mut self, spec: Option<Nat>) {
        self.on_command &= spec.is_none();
        if spec.is_some() || !self.on_command {
            self.spec = spec;
        }
    }

    pub(crate) const fn is_active(&self) -> bool {
        self.spec.is_some()
    }

    /// The end behind the NAT.
    pub(crate) fn behind(&self) -> Point {
        self.spec.map_or(Point::Iut, |spec| spec.behind)
    }

    /// A packet goes out: its source as the other side sees it.
    pub(crate) fn outward(&mut self, now: Duration, src: SocketAddr) -> SocketAddr {
        self.last = Some(src);
        let Some(spec) = self.spec else { return src };
        match self.inner.get_mut(&src) {
            Some(mapping) if !expired(&spec, mapping, now) => {
                mapping.used = now;
                mapping.outer
            }
            Some(_) => self.renew(&spec, src, now),
            None => {
                let first = SocketAddr::new(spec.address.unwrap_or_else(|| src.ip()), src.port());
                let outer = if self.outer.contains_key(&first) {
                    self.fresh(&spec, src)
                } else {
                    first
                };
                self.insert(src, Mapping { outer, used: now });
                outer
            }
        }
    }

    /// A packet comes in: its destination behind the NAT, when a mapping leads there.
    pub(crate) fn inward(&mut self, now: Duration, dst: SocketAddr) -> Option<SocketAddr> {
        let Some(spec) = self.spec else { return Some(dst) };
        match self.outer.get(&dst) {
            Some(inner) => {
                let mapping = self.inner.get_mut(inner)?;
                if expired(&spec, mapping, now) {
                    return None;
                }
                if spec.inbound_refresh {
                    mapping.used = now;
                }
                Some(*inner)
            }
            None if self.on_command && !self.dead.contains(&dst) => Some(dst),
            None => None,
        }
    }

    /// Gives every mapping a new outer address; the old ones are dead inward. Returns the new one of who spoke last.
    pub(crate) fn rebind(&mut self, now: Duration) -> Option<SocketAddr> {
        let last = self.last?;
        let spec = match self.spec {
            Some(spec) => spec,
            None => {
                self.on_command = true;
                *self.spec.insert(Nat::default())
            }
        };
        if !self.inner.contains_key(&last) {
            self.insert(last, Mapping { outer: last, used: now });
        }
        let inner: Vec<SocketAddr> = self.inner.keys().copied().collect();
        for src in inner {
            self.renew(&spec, src, now);
        }
        self.inner.get(&last).map(|mapping| mapping.outer)
    }

    fn renew(&mut self, spec: &Nat, src: SocketAddr, now: Duration) -> SocketAddr {
        let outer = self.fresh(spec, src);
        if let Some(old) = self.inner.remove(&src) {
            self.outer.remove(&old.outer);
            if self.on_command {
                self.dead.insert(old.outer);
            }
        }
        self.insert(src, Mapping { outer, used: now });
        outer
    }

    fn insert(&mut self, src: SocketAddr, mapping: Mapping) {
        if self.inner.len() >= MAX_MAPPINGS {
            self.forget_older_half();
        }
        self.dead.remove(&mapping.outer);
        self.outer.insert(mapping.outer, src);
        self.inner.insert(src, mapping);
    }

    fn forget_older_half(&mut self) {
        let mut by_age: Vec<(Duration, SocketAddr)> =
            self.inner.iter().map(|(src, mapping)| (mapping.used, *src)).collect();
        by_age.sort_unstable();
        by_age.truncate(MAX_MAPPINGS / 2);
        for (_, src) in by_age {
            if let Some(old) = self.inner.remove(&src) {
                self.outer.remove(&old.outer);
            }
        }
    }

    /// An outer address not in use.
    fn fresh(&mut self, spec: &Nat, src: SocketAddr) -> SocketAddr {
        loop {
            let n = self.made;
            self.made = self.made.wrapping_add(1);
            let ip = match spec.change {
                NatChange::Port => spec.address.unwrap_or_else(|| src.ip()),
                NatChange::Address => public(src.ip(), n),
            };
            let outer = SocketAddr::new(ip, FIRST_PORT + n % (u16::MAX - FIRST_PORT));
            if !self.outer.contains_key(&outer) {
                return outer;
            }
        }
    }
}

fn expired(spec: &Nat, mapping: &Mapping, now: Duration) -> bool {
    spec.idle.is_some_and(|idle| now.saturating_sub(mapping.used) > idle)
}

/// A public address of the documentation ranges (RFC 5737, RFC 3849).
fn public(family: IpAddr, n: u16) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::new(198, 51, 100, (n % 254) as u8 + 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0xf0, 0, 0, 0, 0, n.wrapping_add(1)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_mapping_lives_through_its_idle_time_and_not_longer() {
        let inner = addr("192.0.2.1:5683");
        for (idle, alive) in [(30, true), (31, false)] {
            let mut nat = Translator::new(Some(Nat {
                idle: Some(30 * SECOND),
                ..Nat::default()
            }));
            assert_eq!(nat.outward(Duration::ZERO, inner), inner);
            assert_eq!(nat.inward(idle * SECOND, inner), alive.then_some(inner));
            let outer = nat.outward(idle * SECOND, inner);
            assert_eq!(outer == inner, alive);
            assert_eq!(nat.inward(idle * SECOND, outer), Some(inner));
        }
    }

    #[test]
    fn only_packets_outward_refresh_unless_told_otherwise() {
        let inner = addr("192.0.2.1:5683");
        for refresh in [false, true] {
            let mut nat = Translator::new(Some(Nat {
                idle: Some(30 * SECOND),
                inbound_refresh: refresh,
                ..Nat::default()
            }));
            nat.outward(Duration::ZERO, inner);
            assert!(nat.inward(20 * SECOND, inner).is_some());
            assert_eq!(nat.inward(40 * SECOND, inner).is_some(), refresh);
        }
    }

    #[test]
    fn nothing_comes_in_before_something_went_out() {
        let mut nat = Translator::new(Some(Nat::default()));
        assert_eq!(nat.inward(SECOND, addr("192.0.2.1:5683")), None);
    }

    #[test]
    fn a_rebinding_on_command_needs_no_nat_in_the_spec() {
        let (inner, other) = (addr("192.0.2.1:5683"), addr("192.0.2.1:5684"));
        let mut nat = Translator::new(None);
        assert_eq!(nat.rebind(SECOND), None);
        assert_eq!(nat.outward(SECOND, inner), inner);
        let first = nat.rebind(SECOND).unwrap();
        let second = nat.rebind(SECOND).unwrap();
        assert_eq!((first, second), (addr("192.0.2.1:40000"), addr("192.0.2.1:40001")));
        assert_eq!(nat.outward(SECOND, inner), second);
        assert_eq!(nat.inward(SECOND, second), Some(inner));
        assert_eq!((nat.inward(SECOND, inner), nat.inward(SECOND, first)), (None, None));
        assert_eq!(nat.inward(SECOND, other), Some(other));
    }

    #[test]
    fn an_address_can_change_and_two_devices_never_share_one() {
        let spec = Nat {
            change: NatChange::Address,
            address: Some([203, 0, 113, 9].into()),
            ..Nat::default()
        };
        let mut nat = Translator::new(Some(spec));
        let a = nat.outward(SECOND, addr("192.0.2.1:5683"));
        let b = nat.outward(SECOND, addr("192.0.2.7:5683"));
        assert_eq!(a, addr("203.0.113.9:5683"));
        assert_ne!(a, b);
        assert_eq!(nat.rebind(SECOND).unwrap().ip(), IpAddr::from([198, 51, 100, 3]));
    }

    #[test]
    fn mappings_are_bounded() {
        let mut nat = Translator::new(Some(Nat::default()));
        for port in 1..=u16::MAX {
            nat.outward(
                Duration::from_millis(port.into()),
                SocketAddr::new([192, 0, 2, 1].into(), port),
            );
        }
        assert!(nat.inner.len() <= MAX_MAPPINGS && nat.outer.len() <= MAX_MAPPINGS);
    }
}
