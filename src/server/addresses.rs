//! Limits the connections of each address, so that one client cannot use all connections.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The number of addresses up to which addresses without connections are kept.
const KEPT_ADDRESSES: usize = 64;

/// The connections of each address; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    most: usize,
    /// The state, behind a lock and not in an actor, so that a connection is accepted without waiting for an answer.
    /// The lock is held only for one access to a map. A connection that closes does not take the lock.
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// The connections that each address has left. When the map is twice as large as after the last removal, addresses
    /// without connections are removed.
    left: HashMap<Network, Arc<Semaphore>>,
    kept: usize,
}

/// The addresses that count as one: an IPv4 address, or the /64 network of an IPv6 address, which providers assign to
/// one customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Network {
    V4(Ipv4Addr),
    V6(u64),
}

impl Network {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(bits) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*bits) << 64)),
        }
    }
}

impl Addresses {
    /// Allows `most` connections for each address; `all` are allowed in total. The default is seven eighths of all,
    /// because a proxy or a load test has one address and many connections. An eighth is left for other clients and for
    /// the operator.
    pub(super) fn new(most: Option<NonZeroUsize>, all: usize) -> Self {
        let most = most.map_or_else(|| all.saturating_sub(all / 8).max(1), NonZeroUsize::get);
        Self { most: most.min(Semaphore::MAX_PERMITS), known: Arc::default() }
    }

    /// Returns the most connections that one address may have.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Takes one of the connections of an address. Returns `None` if the address has no connection left.
    pub(super) fn take(&self, network: Network) -> Option<OwnedSemaphorePermit> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { left, kept } = &mut *known;
        if left.len() >= (*kept * 2).max(KEPT_ADDRESSES) && !left.contains_key(&network) {
            // Each open connection also holds its semaphore.
            left.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
            *kept = left.len();
        }
        let semaphore = left.entry(network).or_insert_with(|| Arc::new(Semaphore::new(self.most)));
        Arc::clone(semaphore).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(most: usize) -> Addresses {
        Addresses::new(NonZeroUsize::new(most), 1000)
    }

    fn network(address: &str) -> Network {
        Network::of(address.parse().unwrap())
    }

    #[test]
    fn connections_of_one_address_do_not_count_for_another() {
        let addresses = addresses(2);
        let (one, other) = (network("192.0.2.1"), network("192.0.2.2"));
        let taken = [addresses.take(one).unwrap(), addresses.take(one).unwrap()];
        assert!(addresses.take(one).is_none());
        assert!(addresses.take(other).is_some());
        drop(taken);
        assert!(addresses.take(one).is_some());
    }

    #[test]
    fn the_default_leaves_an_eighth_for_the_others() {
        assert_eq!(Addresses::new(None, 20_000).most(), 17_500);
        assert_eq!(Addresses::new(None, 1).most(), 1);
    }

    #[test]
    fn addresses_of_one_client_count_as_one() {
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_eq!(network("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
        assert_eq!(network("192.0.2.1").to_string(), "192.0.2.1");
    }

    #[test]
    fn addresses_without_connections_are_forgotten() {
        let addresses = addresses(2);
        let stays = addresses.take(network("192.0.2.1")).unwrap();
        for number in 0..100_000_u32 {
            drop(addresses.take(Network::V4(Ipv4Addr::from_bits(number))).unwrap());
        }
        let known = addresses.known.lock().unwrap();
        assert!(known.left.len() <= KEPT_ADDRESSES, "{}", known.left.len());
        assert!(known.left.contains_key(&network("192.0.2.1")));
        drop((known, stays));
    }
}
