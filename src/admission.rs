//! Who is let in: a limit on all connections and, if set, one on those of each address, for all shards together.
//!
//! Without the second it is one atomic step for each accept and close. With it, a table without locks: a slot is an
//! address's fingerprint and its count. Where no slot is left near an address's own, the address is not counted; the
//! table has four times as many slots as there can be connections.

use engine::Seed;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Slots looked at for an address, from its own on.
const PROBES: usize = 16;
/// A slot's count has these bits, its fingerprint the others.
const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
/// Slots for each connection that there can be, and the most of them: 64 MiB.
const SLOTS_PER_CONNECTION: usize = 4;
const SLOTS_MAX: usize = 1 << 23;

/// The limits on connections, which all shards share.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Sockets of all shards. Only a count: nothing else is read because of it.
    open: Arc<AtomicUsize>,
    connections_max: usize,
    addresses: Option<Arc<Addresses>>,
}

/// Connections by address.
#[derive(Debug)]
struct Addresses {
    /// Only counts: nothing else is read because of one, so all steps are relaxed.
    slots: Box<[AtomicU64]>,
    connections_max: u64,
    seed: Seed,
}

/// What a connection is counted under; nothing if addresses are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted(Option<u32>);

impl Admission {
    /// Limits that nothing counts against yet.
    pub fn new(connections_max: usize, address_connections_max: Option<u32>, seed: Seed) -> Admission {
        let slots = (connections_max * SLOTS_PER_CONNECTION).next_power_of_two().clamp(PROBES, SLOTS_MAX);
        let addresses = address_connections_max.map(|max| {
            let slots = (0..slots).map(|_| AtomicU64::new(0)).collect();
            Arc::new(Addresses { slots, connections_max: u64::from(max), seed })
        });
        Admission { open: Arc::default(), connections_max, addresses }
    }

    /// There is no room for one more, from whatever address.
    pub fn is_full(&self) -> bool {
        self.open.load(Ordering::Relaxed) >= self.connections_max
    }

    /// Addresses are counted: whoever enters has to say his.
    pub fn wants_address(&self) -> bool {
        self.addresses.is_some()
    }

    /// Counts one more connection, and whether its address has too many with it.
    pub fn enter(&self, address: Option<IpAddr>) -> (Counted, bool) {
        self.open.fetch_add(1, Ordering::Relaxed);
        let (Some(addresses), Some(address)) = (&self.addresses, address) else {
            return (Counted::default(), false);
        };
        let Some((slot, count)) = addresses.enter(address) else { return (Counted::default(), false) };
        (Counted(Some(slot)), count > addresses.connections_max)
    }

    /// Counts one less.
    pub fn leave(&self, counted: Counted) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let (Some(addresses), Counted(Some(slot))) = (&self.addresses, counted) {
            addresses.leave(slot);
        }
    }
}

impl Addresses {
    /// The address's slot, and its connections with this one. Bounded in steps, whatever others do meanwhile.
    fn enter(&self, address: IpAddr) -> Option<(u32, u64)> {
        let key = self.seed.hash_one(network(address));
        let print = key & !COUNT_MASK | 1 << COUNT_BITS;
        let own = key as usize;
        let slots = (0..PROBES).map(|step| (own.wrapping_add(step)) & (self.slots.len() - 1));
        let holds = |slot: &usize| self.slots[*slot].load(Ordering::Relaxed) & !COUNT_MASK == print;
        let taken = slots.clone().find(holds);
        for slot in taken.into_iter().chain(slots) {
            let step = |value: u64| match value {
                0 => Some(print | 1),
                value if value & !COUNT_MASK == print => Some(value + 1),
                _ => None,
            };
            let update = self.slots[slot].fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
            if let Ok(before) = update {
                return Some((slot as u32, (before & COUNT_MASK) + 1));
            }
        }
        None
    }

    fn leave(&self, slot: u32) {
        // The last one leaves the slot to any other address.
        let step = |value: u64| Some(if value & COUNT_MASK <= 1 { 0 } else { value - 1 });
        let _ = self.slots[slot as usize].fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }
}

/// Whom an address belongs to: of IPv6 its first 64 bits, which is the least that anyone is given.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(address_connections_max: Option<u32>) -> Admission {
        Admission::new(3, address_connections_max, Seed(1, 2))
    }

    fn enter(admission: &Admission, address: &str) -> (Counted, bool) {
        admission.enter(Some(address.parse().unwrap()))
    }

    #[test]
    fn connections_are_counted_in_and_out() {
        let admission = admission(None);
        let counted: Vec<Counted> = (0..3).map(|_| admission.enter(None).0).collect();
        assert!(admission.is_full() && !admission.wants_address());
        admission.leave(counted[0]);
        assert!(!admission.is_full());
    }

    #[test]
    fn an_address_has_so_many_and_others_are_not_touched() {
        let admission = admission(Some(2));
        assert!(!enter(&admission, "192.0.2.1").1 && !enter(&admission, "::ffff:192.0.2.1").1);
        let (third, is_over) = enter(&admission, "192.0.2.1");
        assert!(is_over, "in whichever form it is written");
        assert!(!enter(&admission, "192.0.2.2").1);
        admission.leave(third);
        assert!(enter(&admission, "192.0.2.1").1, "two are still there");
        for _ in 0..2 {
            admission.leave(third);
        }
        assert!(!enter(&admission, "192.0.2.1").1);
    }

    #[test]
    fn an_ipv6_host_has_all_of_its_64_bits() {
        let admission = admission(Some(1));
        assert!(!enter(&admission, "2001:db8:0:1::5").1);
        assert!(enter(&admission, "2001:db8:0:1:ffff::6").1);
        assert!(!enter(&admission, "2001:db8:0:2::5").1);
    }

    #[test]
    fn threads_that_come_and_go_leave_nothing_behind() {
        let admission = Admission::new(64, Some(1_000), Seed(1, 2));
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let admission = &admission;
                scope.spawn(move || {
                    for round in 0..2_000_u32 {
                        let address = IpAddr::from([10, 0, thread % 2, (round % 50) as u8]);
                        let (counted, is_over) = admission.enter(Some(address));
                        assert!(!is_over);
                        admission.leave(counted);
                    }
                });
            }
        });
        assert_eq!(admission.open.load(Ordering::Relaxed), 0);
        let addresses = admission.addresses.as_ref().unwrap();
        assert!(addresses.slots.iter().all(|slot| slot.load(Ordering::Relaxed) == 0));
    }
}
