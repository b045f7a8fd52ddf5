//! Decides which IP addresses are public unicast addresses. By default, hearken downloads only from these.
//!
//! The lists follow IANA's registries of special-purpose addresses ([IPv4], [IPv6]; the RFC of each block is beside
//! it). In doubt an address is closed, because a host that serves audio to the public has another address. So blocks
//! where an anycast service answers are closed, and so are translated addresses, even if the address inside is public.
//!
//! One case cannot be seen from an address: a site that runs a NAT64 under its own prefix (RFC 6052, 2.2) has IPv6
//! addresses that look public but lead to its IPv4 network. Such a translator must refuse them itself.
//!
//! [IPv4]: https://www.iana.org/assignments/iana-ipv4-special-registry
//! [IPv6]: https://www.iana.org/assignments/iana-ipv6-special-registry

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The closed blocks of IPv4: network and prefix length.
const CLOSED_V4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),        // "this network": 0.0.0.0 is the host itself (RFC 791)
    ([10, 0, 0, 0], 8),       // private use (RFC 1918)
    ([100, 64, 0, 0], 10),    // carrier-grade NAT (RFC 6598); contains Alibaba's metadata service
    ([127, 0, 0, 0], 8),      // loopback (RFC 1122)
    ([168, 63, 129, 16], 32), // Azure's platform services, although the address looks public
    ([169, 254, 0, 0], 16),   // link-local (RFC 3927); contains most clouds' metadata services
    ([172, 16, 0, 0], 12),    // private use (RFC 1918)
    ([192, 0, 0, 0], 24),     // protocol assignments (RFC 6890); contains Oracle's metadata service
    ([192, 0, 2, 0], 24),     // documentation (RFC 5737)
    ([192, 31, 196, 0], 24),  // AS112, answered by the nearest node (RFC 7535)
    ([192, 52, 193, 0], 24),  // multicast tunnels, answered by the nearest relay (RFC 7450)
    ([192, 88, 99, 0], 24),   // 6to4 relays (RFC 7526)
    ([192, 168, 0, 0], 16),   // private use (RFC 1918)
    ([192, 175, 48, 0], 24),  // AS112, answered by the nearest node (RFC 7534)
    ([198, 18, 0, 0], 15),    // benchmarking (RFC 2544)
    ([198, 51, 100, 0], 24),  // documentation (RFC 5737)
    ([203, 0, 113, 0], 24),   // documentation (RFC 5737)
    ([224, 0, 0, 0], 4),      // multicast (RFC 5771)
    ([240, 0, 0, 0], 4),      // reserved (RFC 1112), and the broadcast address (RFC 919)
];

/// The global unicast block of IPv6 (RFC 4291). Every address outside it is loopback, mapped, translated, link-local,
/// unique-local, multicast, discard-only or not assigned.
const GLOBAL_V6: ([u16; 8], u32) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// The closed blocks within [`GLOBAL_V6`]: network and prefix length.
const CLOSED_V6: &[([u16; 8], u32)] = &[
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // protocol assignments (RFC 2928): Teredo, ORCHID ...
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation (RFC 3849)
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), // 6to4: an IPv4 address inside (RFC 3056)
    ([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48), // AS112 (RFC 7534)
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation (RFC 9637)
];

/// Returns true for a public unicast address.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let within = |(network, length): &([u8; 4], u32)| {
        (address.to_bits() ^ u32::from_be_bytes(*network)).leading_zeros() >= *length
    };
    !CLOSED_V4.iter().any(within)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let within = |(network, length): &([u16; 8], u32)| {
        (address.to_bits() ^ Ipv6Addr::from(*network).to_bits()).leading_zeros() >= *length
    };
    within(&GLOBAL_V6) && !CLOSED_V6.iter().any(within) && !is_isatap(address)
}

/// Returns true if the last four bytes are an IPv4 address to which packets are tunnelled, whatever the prefix (ISATAP;
/// RFC 5214, 6.1). The interface identifier shows it.
fn is_isatap(address: Ipv6Addr) -> bool {
    let [.., a, b, _, _] = address.segments();
    // The bit 0x200 only tells whether the IPv4 address is claimed to be unique.
    a & !0x200 == 0 && b == 0x5efe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap_or_else(|err| panic!("{text}: {err}")))
    }

    /// For each block: the address before it, its first, its last, the address after it. A neighbour that is not public
    /// itself is in parentheses.
    const BLOCKS: &[[&str; 4]] = &[
        // IPv4
        ["", "0.0.0.0", "0.255.255.255", "1.0.0.0"],
        ["9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"],
        ["100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"],
        ["126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"],
        ["168.63.129.15", "168.63.129.16", "168.63.129.16", "168.63.129.17"],
        ["169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"],
        ["172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"],
        ["191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"],
        ["192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"],
        ["192.31.195.255", "192.31.196.0", "192.31.196.255", "192.31.197.0"],
        ["192.52.192.255", "192.52.193.0", "192.52.193.255", "192.52.194.0"],
        ["192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"],
        ["192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"],
        ["192.175.47.255", "192.175.48.0", "192.175.48.255", "192.175.49.0"],
        ["198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"],
        ["198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"],
        ["203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"],
        ["223.255.255.255", "224.0.0.0", "239.255.255.255", "(240.0.0.0)"],
        ["(239.255.255.255)", "240.0.0.0", "255.255.255.254", "(255.255.255.255)"],
        // IPv6, outside of global unicast
        ["", "::", "::", "(::1)"],
        ["(::)", "::1", "::1", "(::2)"],
        ["(::1)", "::2", "::ffff:ffff", "(::1:0:0)"],
        ["(::fffe:ffff:ffff)", "::ffff:0.0.0.0", "::ffff:255.255.255.255", "(::1:0:0:0)"],
        ["", "::ffff:0:0:0", "::ffff:0:ffff:ffff", ""],
        ["", "64:ff9b::", "64:ff9b::ffff:ffff", "(64:ff9b::1:0:0)"],
        ["", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "(64:ff9b:2::)"],
        ["", "100::", "100::ffff:ffff:ffff:ffff", "(100:0:0:1::)"],
        ["", "100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", "(100:0:0:2::)"],
        ["", "4000::", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""],
        ["", "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "(5f01::)"],
        ["", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "(fe00::)"],
        ["", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "(fec0::)"],
        ["", "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "(ff00::)"],
        ["", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""],
        // IPv6, closed blocks within global unicast
        ["", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"],
        [
            "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001::",
            "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:200::",
        ],
        [
            "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db9::",
        ],
        [
            "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2002::",
            "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2003::",
        ],
        [
            "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff",
            "2620:4f:8000::",
            "2620:4f:8000:ffff:ffff:ffff:ffff:ffff",
            "2620:4f:8001::",
        ],
        [
            "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "3fff::",
            "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
            "3fff:1000::",
        ],
    ];

    #[test]
    fn every_special_block_is_closed_from_first_to_last_address_only() {
        for [before, first, last, after] in BLOCKS {
            assert!(!public(first), "{first}");
            assert!(!public(last), "{last}");
            for neighbour in [before, after] {
                match neighbour.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
                    Some(closed) => assert!(!public(closed), "{closed}"),
                    None if neighbour.is_empty() => {}
                    None => assert!(public(neighbour), "{neighbour}"),
                }
            }
        }
    }

    #[test]
    fn public_unicast_is_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "93.184.215.14",
            "142.250.74.112",
            "223.255.255.254",
            "2000::1",
            "2001:4860:4860::8888",
            "2400:cb00:2048:1::c629:d7a2",
            "2606:4700:4700::1111",
            "2a00:1450:4001:82f::2010",
        ] {
            assert!(public(address), "{address}");
        }
    }

    #[test]
    fn metadata_services_of_clouds_are_closed() {
        for address in [
            "169.254.169.254", // AWS, Google, Azure, and others
            "169.254.170.2",   // AWS, containers
            "fd00:ec2::254",   // AWS
            "fd20:ce::254",    // Google
            "168.63.129.16",   // Azure
            "100.100.100.200", // Alibaba
            "192.0.0.192",     // Oracle
        ] {
            assert!(!public(address), "{address}");
        }
    }

    /// Returns the ways in which an IPv4 address can be embedded in an IPv6 address.
    fn embeddings(inner: Ipv4Addr) -> Vec<Ipv6Addr> {
        let [a, b, c, d] = inner.octets().map(u16::from);
        let (high, low) = (a << 8 | b, c << 8 | d);
        let v6 = |s: [u16; 8]| Ipv6Addr::from(s);
        vec![
            inner.to_ipv6_mapped(),
            v6([0, 0, 0, 0, 0, 0, high, low]), // compatible (RFC 4291, 2.5.5.1)
            v6([0, 0, 0, 0, 0xffff, 0, high, low]), // translated (RFC 2765, 2.1)
            v6([0x64, 0xff9b, 0, 0, 0, 0, high, low]), // NAT64 (RFC 6052)
            v6([0x64, 0xff9b, 1, 0, 0, 0, high, low]), // local NAT64 (RFC 8215), /96
            v6([0x64, 0xff9b, 1, high, c, d << 8, 0, 0]), // the same, /48 (RFC 6052, 2.2)
            v6([0x64, 0xff9b, 1, 7, a, b << 8 | c, d << 8, 0]), // the same, /64
            v6([0x2002, high, low, 0, 0, 0, 0, 1]), // 6to4 (RFC 3056)
            v6([0x2001, 0, high, low, 0, 0, !0x808, !0x808]), // Teredo's server (RFC 4380)
            v6([0x2001, 0, 0x808, 0x808, 0, 0xabcd, !high, !low]), // Teredo's client
            v6([0xfe80, 0, 0, 0, 0, 0x5efe, high, low]), // ISATAP (RFC 5214)
            v6([0xfe80, 0, 0, 0, 0x200, 0x5efe, high, low]),
            v6([0x2a00, 1, 2, 3, 0, 0x5efe, high, low]), // ISATAP under a public prefix
            v6([0x2a00, 1, 2, 3, 0x200, 0x5efe, high, low]),
        ]
    }

    proptest! {
        #[test]
        fn no_ipv4_address_is_reached_inside_an_ipv6_address(inner: u32) {
            for address in embeddings(Ipv4Addr::from_bits(inner)) {
                prop_assert!(!is_public(IpAddr::V6(address)), "{address}");
            }
        }

        #[test]
        fn addresses_that_the_standard_library_calls_special_are_closed(v4: u32, v6: u128) {
            let v4 = Ipv4Addr::from_bits(v4);
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast()
                || v4.is_documentation() || v4.is_multicast() || v4.is_unspecified();
            prop_assert!(!(special && is_public(IpAddr::V4(v4))), "{v4}");
            let v6 = Ipv6Addr::from_bits(v6);
            let special = v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unique_local()
                || v6.is_multicast() || v6.is_unspecified() || v6.to_ipv4().is_some();
            prop_assert!(!(special && is_public(IpAddr::V6(v6))), "{v6}");
        }

        #[test]
        fn every_address_of_a_private_network_is_closed(block in 0..6_usize, host: u32) {
            let (network, length) = [
                (0x0a00_0000_u32, 8), (0xac10_0000, 12), (0xc0a8_0000, 16),
                (0x7f00_0000, 8), (0xa9fe_0000, 16), (0x6440_0000, 10),
            ][block];
            let address = Ipv4Addr::from_bits(network | host >> length);
            prop_assert!(!is_public(IpAddr::V4(address)), "{address}");
        }
    }
}
