//! The networks that limits count by.

use std::net::{IpAddr, Ipv6Addr};

/// The bits of an IPv6 address that identify a network: a provider gives every customer at least one /64, within which
/// the customer chooses addresses freely.
const NETWORK_BITS: u32 = 64;

/// The network that an address counts as, named by its first address: an IPv4 address itself, of an IPv6 address its
/// /64. An IPv4 address in the form of an IPv6 address counts as the IPv4 address.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << NETWORK_BITS)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> String {
        network_of(address.parse().unwrap()).to_string()
    }

    #[test]
    fn an_ipv6_address_counts_as_its_64_and_an_ipv4_address_as_itself() {
        assert_eq!(network("2001:db8:0:1::1"), "2001:db8:0:1::");
        assert_eq!(network("2001:db8:0:1:ffff:ffff:ffff:ffff"), "2001:db8:0:1::");
        assert_ne!(network("2001:db8:0:2::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("203.0.113.9"), "203.0.113.9");
        assert_eq!(network("::ffff:203.0.113.9"), "203.0.113.9");
    }
}
