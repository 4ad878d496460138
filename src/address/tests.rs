//! Addresses: the rows of the contract, the journey there and back, and bytes that mean nothing.

use super::*;

fn no_scope(_: &str) -> Option<u32> {
    None
}

fn scope(name: &str) -> Option<u32> {
    (name == "eth0").then_some(7)
}

fn parse(host: &str) -> Result<Address, ParseFailure> {
    Address::parse(host, 80, &scope)
}

#[test]
fn texts_of_literal_addresses() {
    let rows = [
        ("127.0.0.1", "127.0.0.1:80"),
        ("0.0.0.0", "0.0.0.0:80"),
        ("255.255.255.255", "255.255.255.255:80"),
        ("::1", "[::1]:80"),
        ("::", "[::]:80"),
        ("0:0:0:0:0:0:0:1", "[::1]:80"),
        ("::FFFF:127.0.0.1", "[::ffff:127.0.0.1]:80"),
        ("2001:0DB8:0:0:1:0:0:1", "[2001:db8::1:0:0:1]:80"),
        ("2001:db8:0:1:1:1:1:1", "[2001:db8:0:1:1:1:1:1]:80"),
        ("fe80::1%3", "[fe80::1%3]:80"),
        ("fe80::1%eth0", "[fe80::1%7]:80"),
        ("fe80::1%0", "[fe80::1]:80"),
        ("unix:/p", "unix:/p"),
        ("unix:p", "unix:p"),
        ("unix:@n", "unix:@n"),
        ("unix:/tmp/größe", "unix:/tmp/größe"),
    ];
    for (host, text) in rows {
        let address = parse(host).unwrap_or_else(|failure| panic!("{host}: {failure:?}"));
        assert_eq!(address.to_string(), text);
        assert_eq!(
            address.port(),
            if host.starts_with(UNIX_PREFIX) { 0 } else { 80 }
        );
    }
}

#[test]
fn what_is_no_literal_address_is_a_name() {
    #[rustfmt::skip]
    let names = [
        "", "localhost", "127.1", "127.0.1", "2130706433", "0x7f.0.0.1", "0x7f000001",
        "0177.0.0.1", "127.0.0.01", "127.0.0.256", "127.0.0.1.", "127.0.0.1.5", " 127.0.0.1",
        "127.0.0.1 ", "+1.2.3.4", "1.2.3.4%eth0", "[::1]", "::1::", ":::", "1:2:3:4:5:6:7",
        "12345::", "::g", "fe80::1 %3", "a..b", "Unix:/p", "unix", "%3",
    ];
    for name in names {
        assert_eq!(parse(name), Err(ParseFailure::NotLiteral), "{name}");
    }
}

#[test]
fn addresses_that_cannot_be() {
    let long = format!("unix:/{}", "x".repeat(UNIX_PATH_MAX));
    let long_name = format!("unix:@{}", "x".repeat(UNIX_PATH_MAX + 1));
    #[rustfmt::skip]
    let rows = [
        "unix:", "unix:@", "unix:a\0b", &long, &long_name, "fe80::1%", "fe80::1%nowhere",
        "fe80::1%4294967296", "fe80::1%+3", "fe80::1%3%3",
    ];
    for host in rows {
        assert_eq!(parse(host), Err(ParseFailure::Invalid), "{host}");
    }
}

#[test]
fn the_longest_paths_fit() {
    let path = "x".repeat(UNIX_PATH_MAX);
    for prefix in ["unix:", "unix:@"] {
        let address = parse(&format!("{prefix}{path}")).unwrap();
        assert_eq!(address.as_bytes().len(), UNIX_SIZE);
        assert_eq!(address.to_string(), format!("{prefix}{path}"));
        assert_eq!(Address::from_bytes(address.as_bytes()), address);
    }
}

#[test]
fn families_and_loopback() {
    let rows = [
        ("127.0.0.1", Family::Ipv4, true),
        ("127.255.0.9", Family::Ipv4, true),
        ("10.0.0.1", Family::Ipv4, false),
        ("::1", Family::Ipv6, true),
        ("::ffff:127.0.0.1", Family::Ipv6, true),
        ("::", Family::Ipv6, false),
        ("unix:/p", Family::Unix, true),
    ];
    for (host, family, loopback) in rows {
        let address = parse(host).unwrap();
        assert_eq!(
            (address.family(), address.is_loopback()),
            (family, loopback),
            "{host}"
        );
    }
    assert_eq!(Address::NONE.family(), Family::None);
    assert_eq!(Address::NONE.to_string(), "");
    assert_eq!(Address::NONE.to_abi().length, 0);
    assert_eq!(
        Address::from_abi(&Address::NONE.to_abi()),
        Some(Address::NONE)
    );
}

#[test]
fn bytes_are_those_of_the_system() {
    let mut expected = vec![0; IPV4_SIZE];
    expected[..2].copy_from_slice(&AF_INET.to_ne_bytes());
    expected[2..8].copy_from_slice(&[0x12, 0x34, 1, 2, 3, 4]);
    let address = Address::parse("1.2.3.4", 0x1234, &no_scope).unwrap();
    assert_eq!(address.as_bytes(), expected);
    // Dirt in the padding of a sockaddr_in is not taken over.
    expected[IPV4_SIZE - 1] = 0xff;
    assert_eq!(Address::from_bytes(&expected), address);
}

#[test]
fn what_the_system_says_of_unix_sockets() {
    let unix = |rest: &[u8]| Address::from_bytes(&[&AF_UNIX.to_ne_bytes(), rest].concat());
    assert_eq!(unix(b"").to_string(), "unix:");
    assert_eq!(unix(b"\0"), unix(b""));
    assert_eq!(unix(b"/p\0"), parse("unix:/p").unwrap());
    assert_eq!(unix(b"/p\0dirt"), parse("unix:/p").unwrap());
    assert_eq!(unix(b"/p"), parse("unix:/p").unwrap());
    assert_eq!(unix(b"\0n"), parse("unix:@n").unwrap());
    assert_ne!(unix(b"\0n\0"), parse("unix:@n").unwrap());
    assert_eq!(unix(b"@n\0").to_string(), "unix:./@n");
    let worst = unix(&[0xff; 125]);
    assert_eq!(worst.as_bytes().len(), UNIX_SIZE);
    assert_eq!(Address::from_abi(&worst.to_abi()), Some(worst));
    assert_eq!(unix(b"\0a\x1b\xffb").to_string(), "unix:@a??b");
}

#[test]
fn malformed_structs_are_refused() {
    let good = parse("1.2.3.4").unwrap().to_abi();
    let with_length = |length| asock_address { length, ..good };
    for length in [1, 2, 15, 17, 28, 110, 128, 129, u32::MAX] {
        assert_eq!(Address::from_abi(&with_length(length)), None, "{length}");
    }
    assert_eq!(
        Address::from_abi(&asock_address {
            reserved: 1,
            ..good
        }),
        None
    );
    let mut unknown = good;
    unknown.storage[0] = u64::MAX;
    assert_eq!(Address::from_abi(&unknown), None);
    assert_eq!(Address::from_bytes(&[0xff; 300]), Address::NONE);
    assert_eq!(Address::from_bytes(&[]), Address::NONE);
}

/// A small generator with a seed; what matters is that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn any_address_survives_the_journey() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for round in 0..20_000 {
        let (high, low) = (numbers.next(), numbers.next());
        let port = (numbers.next() % 65_535 + 1) as u16;
        let address = match numbers.next() % 3 {
            0 => Address::of_ipv4(Ipv4Addr::from(low as u32), port),
            1 => {
                // Masked, so that runs of zeros and short groups come up too.
                let bits =
                    u128::from(high & numbers.next()) << 64 | u128::from(low & numbers.next());
                let bits = if low % 5 == 0 {
                    bits & (u128::MAX >> 72)
                } else {
                    bits
                };
                Address::ipv6(Ipv6Addr::from(bits), port, (high % 3) as u32)
            }
            _ => {
                let length = 1 + (high as usize) % UNIX_PATH_MAX;
                let name: Vec<u8> = (0..length)
                    .map(|_| b'!' + (numbers.next() % 31) as u8)
                    .collect();
                Address::unix(low % 2 == 0, &name)
            }
        };
        assert_eq!(
            Address::from_bytes(address.as_bytes()),
            address,
            "round {round}"
        );
        assert_eq!(
            Address::from_abi(&address.to_abi()),
            Some(address),
            "round {round}"
        );
        let text = address.to_string();
        assert!(text.len() < crate::abi::ASOCK_ADDRESS_TEXT_MAX, "{text}");
        let host = match address.family() {
            Family::Unix => text.as_str(),
            _ => text.rsplit_once(':').unwrap().0.trim_matches(['[', ']']),
        };
        assert_eq!(
            Address::parse(host, port, &no_scope),
            Ok(address),
            "round {round}: {text}"
        );
    }
}

#[test]
fn random_bytes_are_answered() {
    let mut numbers = Numbers(42);
    for _ in 0..20_000 {
        let mut bytes: Vec<u8> = (0..numbers.next() % 200)
            .map(|_| numbers.next() as u8)
            .collect();
        if numbers.next() & 1 == 0 && bytes.len() > 1 {
            bytes[..2].copy_from_slice(&((numbers.next() % 11) as u16).to_ne_bytes());
        }
        let address = Address::from_bytes(&bytes);
        assert!(address.to_string().len() < crate::abi::ASOCK_ADDRESS_TEXT_MAX);
        assert_eq!(Address::from_bytes(address.as_bytes()), address);
        let _ = Address::parse(&String::from_utf8_lossy(&bytes), 1, &scope);
    }
}
