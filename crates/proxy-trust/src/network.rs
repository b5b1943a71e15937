//! Addresses and subnets of `WSGITrustedProxies`, in the notation of Apache's `Require ip`.
//!
//! `10.1.2.3`, `10.1` (short for `10.1.0.0/16`), `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `::1`,
//! `2001:db8::/32`. Host bits behind the prefix are allowed and ignored.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One address or subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The address with host bits cleared; IPv4 as its mapped IPv6 form.
    base: u128,
    mask: u128,
}

impl Network {
    /// Reads one word of the directive.
    ///
    /// # Errors
    /// [`InvalidNetwork`], whose text is what the directive reports.
    pub fn parse(word: &str) -> Result<Network, InvalidNetwork> {
        let invalid = |reason| InvalidNetwork { word: word.to_owned(), reason };
        let (address, suffix) = match word.split_once('/') {
            Some((address, suffix)) => (address, Some(suffix)),
            None => (word, None),
        };
        if address.contains(':') {
            let base: Ipv6Addr = address.parse().map_err(|_| invalid(Reason::Address))?;
            let bits = suffix.map_or(Some(128), |text| prefix(text, 128));
            let bits = bits.ok_or_else(|| invalid(Reason::Mask))?;
            return Ok(Network::new(u128::from(base), high_bits(bits)));
        }
        let (base, given) = octets(address).ok_or_else(|| invalid(Reason::Address))?;
        let mask = match suffix {
            None => !u32::MAX.checked_shr(8 * given).unwrap_or(0),
            Some(text) => match prefix(text, 32) {
                Some(bits) => !u32::MAX.checked_shr(bits).unwrap_or(0),
                None => u32::from(netmask(text).ok_or_else(|| invalid(Reason::Mask))?),
            },
        };
        Ok(Network::new(mapped(base), high_bits(96) | u128::from(mask)))
    }

    fn new(base: u128, mask: u128) -> Network {
        Network { base: base & mask, mask }
    }

    /// Whether `address` is in this subnet. An IPv4 address equals its IPv4-mapped IPv6 form.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = match address {
            IpAddr::V4(v4) => mapped(v4),
            IpAddr::V6(v6) => u128::from(v6),
        };
        bits & self.mask == self.base
    }
}

/// The subnets of one `WSGITrustedProxies`; an empty list trusts nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// Adds a subnet.
    pub fn push(&mut self, network: Network) {
        self.0.push(network);
    }

    /// Whether any of them contains `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Networks {
        Networks(networks.into_iter().collect())
    }
}

/// A word of `WSGITrustedProxies` that is no address and no subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidNetwork {
    word: String,
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Address,
    Mask,
}

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = match self.reason {
            Reason::Address => "The specified IP address is invalid.",
            Reason::Mask => "The specified network mask is invalid.",
        };
        write!(f, "Unable to parse trusted proxy IP address/subnet of \"{}\". {detail}", self.word)
    }
}

impl std::error::Error for InvalidNetwork {}

fn mapped(address: Ipv4Addr) -> u128 {
    u128::from(address.to_ipv6_mapped())
}

fn high_bits(count: u32) -> u128 {
    !u128::MAX.checked_shr(count).unwrap_or(0)
}

/// A prefix length.
fn prefix(text: &str, limit: u32) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|bits| *bits <= limit)
}

/// A contiguous netmask in dotted form.
fn netmask(text: &str) -> Option<Ipv4Addr> {
    let mask: Ipv4Addr = text.parse().ok()?;
    let bits = u32::from(mask);
    (bits.leading_ones() == 32 - bits.count_zeros()).then_some(mask)
}

/// One to four decimal octets, and how many there were.
fn octets(text: &str) -> Option<(Ipv4Addr, u32)> {
    let mut octets = [0_u8; 4];
    let mut given = 0;
    for part in text.strip_suffix('.').unwrap_or(text).split('.') {
        if part.is_empty() || part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *octets.get_mut(given)? = part.parse().ok()?;
        given += 1;
    }
    Some((Ipv4Addr::from(octets), u32::try_from(given).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn check(word: &str, inside: &[&str], outside: &[&str]) {
        let network = Network::parse(word).unwrap();
        for address in inside {
            assert!(network.contains(address.parse().unwrap()), "{address} in {word}");
        }
        for address in outside {
            assert!(!network.contains(address.parse().unwrap()), "{address} not in {word}");
        }
    }

    #[test]
    fn notations() {
        check("127.0.0.1", &["127.0.0.1", "::ffff:127.0.0.1"], &["127.0.0.2", "::1"]);
        check("1.2.3", &["1.2.3.0", "1.2.3.255"], &["1.2.4.0"]);
        check("10", &["10.255.0.1"], &["11.0.0.1"]);
        check("10.1.2.3/8", &["10.9.9.9"], &["11.1.2.3"]);
        check("10.1.0.0/255.255.0.0", &["10.1.9.9"], &["10.2.0.0"]);
        check("0.0.0.0/0", &["8.8.8.8"], &["2001:db8::1"]);
        check("::1", &["::1"], &["::2", "127.0.0.1"]);
        check("2001:DB8::/32", &["2001:db8:1::1"], &["2001:db9::"]);
        check("::/0", &["2001:db8::1", "1.1.1.1"], &[]);
    }

    #[test]
    fn refusals() {
        for word in
            ["", "localhost", "1.2.3.4.5", "1.2.256", "1..2", "fe80::1%eth0", "1.2.3.4,", "0x7f.1"]
        {
            let text = Network::parse(word).unwrap_err().to_string();
            assert_eq!(
                text,
                format!(
                    "Unable to parse trusted proxy IP address/subnet of \"{word}\". \
                     The specified IP address is invalid."
                )
            );
        }
        for word in [
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/255.0.255.0",
            "::1/129",
            "::1/ffff::",
            "1.1.1.1/-1",
        ] {
            let text = Network::parse(word).unwrap_err().to_string();
            assert!(text.ends_with("The specified network mask is invalid."), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_contains_its_own_address(word in "[0-9a-f:./ x]{0,20}") {
            if let Ok(network) = Network::parse(&word) {
                let address = word.split('/').next().unwrap();
                if let Ok(address) = address.parse::<IpAddr>() {
                    prop_assert!(network.contains(address));
                }
            }
        }

        #[test]
        fn prefix_means_equal_leading_bits(a: u32, b: u32, bits in 0_u32..=32) {
            let network = Network::parse(&format!("{}/{bits}", Ipv4Addr::from(a))).unwrap();
            let same = (a ^ b).leading_zeros() >= bits;
            prop_assert_eq!(network.contains(IpAddr::V4(Ipv4Addr::from(b))), same);
        }
    }
}
