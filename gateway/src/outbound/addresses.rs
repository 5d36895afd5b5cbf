//! Which addresses the gateway may connect to: one table. It resolves nothing.
//!
//! An address is refused when a row of the table holds it, when it is one of the gateway's own, or, for
//! IPv6, when it lies outside 2000::/3, the only block from which global unicast addresses are given out.
//! Rows follow the IANA special-purpose registries (RFC 6890, RFC 8190). A few of the addresses in them are
//! reachable by everyone (anycast relays, DNS sinks); no partner's endpoint is among them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is refused: the block that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotPublic(pub &'static str);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> u32 {
    Ipv4Addr::new(a, b, c, d).to_bits()
}

/// First address, prefix length, what it is.
const V4: &[(u32, u32, &str)] = &[
    (v4(0, 0, 0, 0), 8, "this network, unspecified (RFC 791 §3.2)"),
    (v4(10, 0, 0, 0), 8, "private (RFC 1918)"),
    (v4(100, 64, 0, 0), 10, "carrier-grade NAT (RFC 6598)"),
    (v4(127, 0, 0, 0), 8, "loopback (RFC 1122 §3.2.1.3)"),
    (v4(169, 254, 0, 0), 16, "link-local, cloud metadata (RFC 3927)"),
    (v4(172, 16, 0, 0), 12, "private (RFC 1918)"),
    (v4(192, 0, 0, 0), 24, "IETF protocol assignments (RFC 6890)"),
    (v4(192, 0, 2, 0), 24, "documentation (RFC 5737)"),
    (v4(192, 31, 196, 0), 24, "AS112 (RFC 7535)"),
    (v4(192, 52, 193, 0), 24, "automatic multicast tunnelling (RFC 7450)"),
    (v4(192, 88, 99, 0), 24, "6to4 relay (RFC 7526)"),
    (v4(192, 168, 0, 0), 16, "private (RFC 1918)"),
    (v4(192, 175, 48, 0), 24, "AS112 (RFC 7534)"),
    (v4(198, 18, 0, 0), 15, "benchmarking (RFC 2544)"),
    (v4(198, 51, 100, 0), 24, "documentation (RFC 5737)"),
    (v4(203, 0, 113, 0), 24, "documentation (RFC 5737)"),
    (v4(224, 0, 0, 0), 4, "multicast (RFC 5771)"),
    (v4(240, 0, 0, 0), 4, "reserved, broadcast (RFC 1112 §4, RFC 919)"),
];

const fn v6(a: u16, b: u16, c: u16, d: u16) -> u128 {
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_bits()
}

/// First address, prefix length, what it is. Rows outside 2000::/3 only name what is refused anyway.
const V6: &[(u128, u32, &str)] = &[
    (0, 128, "unspecified (RFC 4291 §2.5.2)"),
    (1, 128, "loopback (RFC 4291 §2.5.3)"),
    (0xffff_0000_0000, 96, "IPv4-mapped (RFC 4291 §2.5.5.2)"),
    (0xffff_0000_0000_0000, 96, "IPv4-translated (RFC 2765)"),
    (0, 96, "IPv4-compatible (RFC 4291 §2.5.5.1)"),
    (v6(0x64, 0xff9b, 0, 0), 96, "NAT64 (RFC 6052)"),
    (v6(0x64, 0xff9b, 1, 0), 48, "local-use NAT64 (RFC 8215)"),
    (v6(0x100, 0, 0, 0), 64, "discard-only (RFC 6666)"),
    (v6(0x100, 0, 0, 1), 64, "dummy prefix (RFC 9780)"),
    (v6(0x2001, 0, 0, 0), 32, "Teredo (RFC 4380)"),
    (v6(0x2001, 2, 0, 0), 48, "benchmarking (RFC 5180)"),
    (v6(0x2001, 3, 0, 0), 32, "automatic multicast tunnelling (RFC 7450)"),
    (v6(0x2001, 0x10, 0, 0), 28, "ORCHID (RFC 4843)"),
    (v6(0x2001, 0x20, 0, 0), 28, "ORCHIDv2 (RFC 7343)"),
    (v6(0x2001, 0x30, 0, 0), 28, "drone remote identification (RFC 9374)"),
    (v6(0x2001, 0, 0, 0), 23, "IETF protocol assignments (RFC 2928)"),
    (v6(0x2001, 0xdb8, 0, 0), 32, "documentation (RFC 3849)"),
    (v6(0x2002, 0, 0, 0), 16, "6to4 (RFC 3056)"),
    (v6(0x2620, 0x4f, 0x8000, 0), 48, "AS112 (RFC 7534)"),
    (v6(0x3ffe, 0, 0, 0), 16, "former 6bone (RFC 3701)"),
    (v6(0x3fff, 0, 0, 0), 20, "documentation (RFC 9637)"),
    (v6(0x5f00, 0, 0, 0), 16, "segment routing identifiers (RFC 9602)"),
    (v6(0xfc00, 0, 0, 0), 7, "unique local (RFC 4193)"),
    (v6(0xfe80, 0, 0, 0), 10, "link-local (RFC 4291 §2.5.6)"),
    (v6(0xfec0, 0, 0, 0), 10, "former site-local (RFC 3879)"),
    (v6(0xff00, 0, 0, 0), 8, "multicast (RFC 4291 §2.7)"),
];
/// The block of global unicast addresses, 2000::/3.
const GLOBAL_UNICAST: u128 = v6(0x2000, 0, 0, 0);

/// Judges addresses: the table and the gateway's own.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    own: Vec<IpAddr>,
}

impl Addresses {
    /// With the addresses that the gateway itself is reached by.
    pub fn new(own: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { own: own.into_iter().map(|address| address.to_canonical()).collect() }
    }

    /// Whether the gateway may connect to `address`.
    pub fn check(&self, address: IpAddr) -> Result<(), NotPublic> {
        if self.own.contains(&address) {
            return Err(NotPublic("an address of the gateway itself"));
        }
        match address {
            IpAddr::V4(address) => {
                let bits = address.to_bits();
                let shares = |net: u32, length: u32| (bits ^ net).leading_zeros() >= length;
                refuse_if(V4.iter().find(|(net, length, _)| shares(*net, *length)).map(|row| row.2))
            }
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                let shares = |net: u128, length: u32| (bits ^ net).leading_zeros() >= length;
                refuse_if(V6.iter().find(|(net, length, _)| shares(*net, *length)).map(|row| row.2))?;
                refuse_if((!shares(GLOBAL_UNICAST, 3)).then_some("not global unicast (RFC 4291 §2.4)"))
            }
        }
    }
}

fn refuse_if(block: Option<&'static str>) -> Result<(), NotPublic> {
    block.map_or(Ok(()), |block| Err(NotPublic(block)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(address: &str) -> Result<(), NotPublic> {
        Addresses::default().check(address.parse().expect(address))
    }

    #[test]
    fn every_block_is_refused_at_both_ends() {
        for (address, block) in [
            ("0.0.0.0", "unspecified"),
            ("0.255.255.255", "this network"),
            ("10.0.0.0", "private"),
            ("10.255.255.255", "private"),
            ("100.64.0.0", "carrier-grade"),
            ("100.127.255.255", "carrier-grade"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.255", "loopback"),
            ("169.254.0.0", "link-local"),
            ("169.254.169.254", "metadata"),
            ("172.16.0.0", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.8", "protocol assignments"),
            ("192.0.0.170", "protocol assignments"),
            ("192.0.2.1", "documentation"),
            ("192.31.196.1", "AS112"),
            ("192.52.193.1", "multicast tunnelling"),
            ("192.88.99.1", "6to4"),
            ("192.168.0.0", "private"),
            ("192.168.255.255", "private"),
            ("192.175.48.1", "AS112"),
            ("198.18.0.0", "benchmarking"),
            ("198.19.255.255", "benchmarking"),
            ("198.51.100.7", "documentation"),
            ("203.0.113.255", "documentation"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.0", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::127.0.0.1", "IPv4-compatible"),
            ("::ffff:127.0.0.1", "IPv4-mapped"),
            ("::ffff:10.0.0.1", "IPv4-mapped"),
            ("::ffff:8.8.8.8", "IPv4-mapped"),
            ("::ffff:0:169.254.169.254", "IPv4-translated"),
            ("64:ff9b::", "NAT64"),
            ("64:ff9b::10.0.0.1", "NAT64"),
            ("64:ff9b:1::", "local-use NAT64"),
            ("64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "local-use NAT64"),
            ("64:ff9b:2::1", "not global unicast"),
            ("100::1", "discard"),
            ("100:0:0:1::1", "dummy"),
            ("2001::1", "Teredo"),
            ("2001:0:ffff::1", "Teredo"),
            ("2001:1::1", "protocol assignments"),
            ("2001:2::1", "benchmarking"),
            ("2001:3::1", "multicast tunnelling"),
            ("2001:10::1", "ORCHID"),
            ("2001:1f:ffff::1", "ORCHID"),
            ("2001:20::1", "ORCHIDv2"),
            ("2001:2f:ffff::1", "ORCHIDv2"),
            ("2001:30::1", "drone"),
            ("2001:1ff:ffff::1", "protocol assignments"),
            ("2001:db8::1", "documentation"),
            ("2002::1", "6to4"),
            ("2002:7f00:1::", "6to4"),
            ("2620:4f:8000::1", "AS112"),
            ("3ffe::1", "6bone"),
            ("3fff::1", "documentation"),
            ("3fff:fff:ffff::1", "documentation"),
            ("5f00::1", "segment routing"),
            ("fc00::1", "unique local"),
            ("fdff:ffff::1", "unique local"),
            ("fe80::1", "link-local"),
            ("febf:ffff::1", "link-local"),
            ("fec0::1", "site-local"),
            ("feff::1", "site-local"),
            ("ff02::1", "multicast"),
            ("4000::1", "not global unicast"),
            ("1::1", "not global unicast"),
        ] {
            let NotPublic(found) = verdict(address).expect_err(address);
            assert!(found.contains(block), "{address}: {found}");
        }
    }

    #[test]
    fn neighbours_of_the_blocks_are_public() {
        for address in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "8.8.8.8",
            "2001:200::1",
            "2001:db7:ffff::1",
            "2001:db9::1",
            "2003::1",
            "2600::1",
            "3ffd:ffff::1",
            "3fff:1000::1",
            "2a00:1450:4001::1",
        ] {
            assert_eq!(verdict(address), Ok(()), "{address}");
        }
    }

    #[test]
    fn the_gateways_own_addresses_are_refused() {
        let addresses = Addresses::new(["8.8.4.4", "2600::5", "::ffff:9.9.9.9"].map(|a| a.parse().expect(a)));
        for (address, refused) in
            [("8.8.4.4", true), ("2600::5", true), ("9.9.9.9", true), ("8.8.8.8", false), ("2600::6", false)]
        {
            assert_eq!(addresses.check(address.parse().expect(address)).is_err(), refused, "{address}");
        }
    }
}
