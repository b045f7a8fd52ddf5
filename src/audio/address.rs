//! Which IP addresses are public unicast: the ones that anybody on the internet may be sent to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Is the address one that the public internet routes? After IANA's special-purpose address registries.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a >= 224 // multicast, reserved, broadcast
        || (a == 100 && b & 0xc0 == 64) // carrier-grade NAT
        || (a == 192 && b == 0 && c == 0) // protocol assignments
        || (a == 192 && b == 88 && c == 99) // 6to4 relays
        || (a == 198 && b & 0xfe == 18)) // benchmarking
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Of global unicast (2000::/3) without what embeds or stands for something else: Teredo and the other
    // protocol assignments (2001::/23), documentation (2001:db8::/32, 3fff::/20), 6to4 (2002::/16).
    // Everything outside 2000::/3 is loopback, mapped, translated, local, multicast or unassigned.
    a & 0xe000 == 0x2000
        && !(a == 0x2001 && (b < 0x200 || b == 0xdb8))
        && a != 0x2002
        && !(a == 0x3fff && b < 0x1000)
}
