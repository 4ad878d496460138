//! Addresses of sockets, as text, as the C struct and as the system's `sockaddr`. Plain values, no system calls.
//!
//! The `sockaddr` is built byte by byte, at the offsets that libc declares, so that nothing here is unsafe and every
//! byte that carries no meaning is zero: two equal addresses are equal byte for byte.

use std::fmt;
use std::mem::{offset_of, size_of};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::abi::asock_address;

/// The room for a `sockaddr`: that of the system's `sockaddr_storage`.
const STORAGE: usize = 128;

const FAMILY_AT: usize = offset_of!(libc::sockaddr, sa_family);
const FAMILY_SIZE: usize = size_of::<libc::sa_family_t>();

const IPV4_SIZE: usize = size_of::<libc::sockaddr_in>();
const IPV4_PORT_AT: usize = offset_of!(libc::sockaddr_in, sin_port);
const IPV4_ADDRESS_AT: usize = offset_of!(libc::sockaddr_in, sin_addr);

const IPV6_SIZE: usize = size_of::<libc::sockaddr_in6>();
const IPV6_PORT_AT: usize = offset_of!(libc::sockaddr_in6, sin6_port);
const IPV6_ADDRESS_AT: usize = offset_of!(libc::sockaddr_in6, sin6_addr);
const IPV6_SCOPE_AT: usize = offset_of!(libc::sockaddr_in6, sin6_scope_id);

const UNIX_PATH_AT: usize = offset_of!(libc::sockaddr_un, sun_path);
const UNIX_SIZE: usize = size_of::<libc::sockaddr_un>();
/// Bytes of a path, or of an abstract name: one is left for the zero at the path's end or the name's start.
const UNIX_PATH_MAX: usize = UNIX_SIZE - UNIX_PATH_AT - 1;

const UNIX_PREFIX: &str = "unix:";

// The families fit whatever integer the system uses for them; the C struct has the room that we count on.
const AF_INET: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;
const AF_INET6: libc::sa_family_t = libc::AF_INET6 as libc::sa_family_t;
const AF_UNIX: libc::sa_family_t = libc::AF_UNIX as libc::sa_family_t;
const _: () =
    assert!(size_of::<libc::sockaddr_storage>() == STORAGE && STORAGE == size_of::<[u64; 16]>());

/// What sort of address it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// No address.
    None,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// A unix socket: a path, an abstract name, or unnamed.
    Unix,
}

/// Why a text is no address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseFailure {
    /// It is not written as an address, so it may be the name of a host.
    NotLiteral,
    /// It is written as an address, but none can be like that: an empty or overlong path, an unknown interface.
    Invalid,
}

/// An address: up to 128 bytes of `sockaddr`. The bytes past its length are zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Address {
    storage: [u8; STORAGE],
    length: u8,
}

impl Address {
    /// No address.
    pub const NONE: Address = Address {
        storage: [0; STORAGE],
        length: 0,
    };

    /// A unix socket that is bound to nothing.
    pub const UNNAMED: Address = Address::of_family(AF_UNIX, UNIX_PATH_AT);

    /// The address in the struct of C; `None` when its length, its family, or the two together cannot be.
    pub fn from_abi(address: &asock_address) -> Option<Address> {
        let length = usize::try_from(address.length).ok()?;
        if length > STORAGE || address.reserved != 0 {
            return None;
        }
        let mut storage = [0; STORAGE];
        for (bytes, word) in storage.chunks_exact_mut(8).zip(address.storage) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        let address = Address::from_bytes(&storage[..length]);
        (length == 0 || address.family() != Family::None).then_some(address)
    }

    /// The struct of C.
    pub fn to_abi(self) -> asock_address {
        let mut storage = [0; 16];
        for (word, bytes) in storage.iter_mut().zip(self.storage.chunks_exact(8)) {
            let mut copy = [0; 8];
            copy.copy_from_slice(bytes);
            *word = u64::from_ne_bytes(copy);
        }
        asock_address {
            storage,
            length: u32::from(self.length),
            reserved: 0,
        }
    }

    /// The `sockaddr`, as long as the system wants it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.storage[..usize::from(self.length)]
    }

    /// The address in a `sockaddr`. Only what has a meaning is taken over: padding is cleared, and a path ends at its
    /// first zero. An unknown family, or a length that does not go with the family, gives `NONE`.
    pub fn from_bytes(bytes: &[u8]) -> Address {
        let bytes = &bytes[..bytes.len().min(STORAGE)];
        match (family_number(bytes), bytes.len()) {
            (Some(AF_INET), IPV4_SIZE) => Address::of_ipv4(
                Ipv4Addr::from(array_at(bytes, IPV4_ADDRESS_AT)),
                u16::from_be_bytes(array_at(bytes, IPV4_PORT_AT)),
            ),
            (Some(AF_INET6), IPV6_SIZE) => {
                let mut address = Address::NONE;
                address.storage[..IPV6_SIZE].copy_from_slice(bytes);
                address.length = IPV6_SIZE as u8;
                address
            }
            (Some(AF_UNIX), length) if length >= UNIX_PATH_AT => {
                Address::unix_from(&bytes[UNIX_PATH_AT..])
            }
            _ => Address::NONE,
        }
    }

    /// Which family it is of.
    pub fn family(&self) -> Family {
        match family_number(self.as_bytes()) {
            Some(AF_INET) => Family::Ipv4,
            Some(AF_INET6) => Family::Ipv6,
            Some(AF_UNIX) => Family::Unix,
            _ => Family::None,
        }
    }

    /// The port; 0 where there is none.
    pub fn port(&self) -> u16 {
        match self.family() {
            Family::Ipv4 => u16::from_be_bytes(array_at(&self.storage, IPV4_PORT_AT)),
            Family::Ipv6 => u16::from_be_bytes(array_at(&self.storage, IPV6_PORT_AT)),
            Family::Unix | Family::None => 0,
        }
    }

    /// The same address with another port, where it has one.
    pub fn with_port(self, port: u16) -> Address {
        match self.family() {
            Family::Ipv4 => self.with(IPV4_PORT_AT, &port.to_be_bytes()),
            Family::Ipv6 => self.with(IPV6_PORT_AT, &port.to_be_bytes()),
            Family::Unix | Family::None => self,
        }
    }

    /// Any address of this machine, of one of the families that have ports.
    pub fn any(family: Family, port: u16) -> Address {
        match family {
            Family::Ipv6 => Address::ipv6(Ipv6Addr::UNSPECIFIED, port, 0),
            _ => Address::of_ipv4(Ipv4Addr::UNSPECIFIED, port),
        }
    }

    /// What a socket of that family says for this address: one for both families writes IPv4 its own way.
    pub fn for_family(self, family: Family) -> Address {
        match (family, self.ipv4()) {
            (Family::Ipv6, Some((host, port))) => Address::ipv6(host.to_ipv6_mapped(), port, 0),
            _ => self,
        }
    }

    /// The path of a unix socket that has one.
    pub fn path(&self) -> Option<&[u8]> {
        if self.family() != Family::Unix {
            return None;
        }
        match &self.as_bytes()[UNIX_PATH_AT..] {
            [] | [0, ..] => None,
            path => Some(path.strip_suffix(&[0]).unwrap_or(path)),
        }
    }

    /// Whether it never leaves this machine.
    #[cfg(test)]
    pub fn is_loopback(&self) -> bool {
        match self.family() {
            Family::Ipv4 => self.ipv4_address().is_loopback(),
            Family::Ipv6 => {
                let address = self.ipv6_address();
                address.is_loopback()
                    || address
                        .to_ipv4_mapped()
                        .is_some_and(|inner| inner.is_loopback())
            }
            Family::Unix => true,
            Family::None => false,
        }
    }

    /// Reads a literal address: IPv4 as a strict dotted quad (no octal, no hexadecimal, no short forms), IPv6 with an
    /// optional `%scope`, `unix:PATH`, or `unix:@NAME` for an abstract name. `scope` gives the number of an interface.
    pub fn parse(
        host: &str,
        port: u16,
        scope: &dyn Fn(&str) -> Option<u32>,
    ) -> Result<Address, ParseFailure> {
        if let Some(path) = host.strip_prefix(UNIX_PREFIX) {
            return Address::parse_unix(path.as_bytes());
        }
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Ok(Address::of_ipv4(address, port));
        }
        let (text, zone) = match host.split_once('%') {
            Some((text, zone)) => (text, Some(zone)),
            None => (host, None),
        };
        let address = text
            .parse::<Ipv6Addr>()
            .map_err(|_| ParseFailure::NotLiteral)?;
        let zone = match zone {
            Some(zone) => scope_number(zone, scope).ok_or(ParseFailure::Invalid)?,
            None => 0,
        };
        Ok(Address::ipv6(address, port, zone))
    }

    fn parse_unix(path: &[u8]) -> Result<Address, ParseFailure> {
        let (is_abstract, name) = match path.strip_prefix(b"@") {
            Some(name) => (true, name),
            None => (false, path),
        };
        if name.is_empty() || name.len() > UNIX_PATH_MAX || name.contains(&0) {
            return Err(ParseFailure::Invalid);
        }
        Ok(Address::unix(is_abstract, name))
    }

    /// An IPv4 address and its port.
    pub fn of_ipv4(address: Ipv4Addr, port: u16) -> Address {
        Address::of_family(AF_INET, IPV4_SIZE)
            .with(IPV4_PORT_AT, &port.to_be_bytes())
            .with(IPV4_ADDRESS_AT, &address.octets())
    }

    fn ipv6(address: Ipv6Addr, port: u16, scope: u32) -> Address {
        Address::of_family(AF_INET6, IPV6_SIZE)
            .with(IPV6_PORT_AT, &port.to_be_bytes())
            .with(IPV6_ADDRESS_AT, &address.octets())
            .with(IPV6_SCOPE_AT, &scope.to_ne_bytes())
    }

    /// `name` has at most `UNIX_PATH_MAX` bytes, save that a path of the system's may have one more and no zero.
    fn unix(is_abstract: bool, name: &[u8]) -> Address {
        let start = UNIX_PATH_AT + usize::from(is_abstract);
        // The length of a path counts its final zero, as the system reports it; that of an abstract name is exact.
        let length = (start + name.len() + usize::from(!is_abstract)).min(UNIX_SIZE);
        Address::of_family(AF_UNIX, length).with(start, name)
    }

    /// What follows the family in a `sockaddr_un`.
    fn unix_from(rest: &[u8]) -> Address {
        let rest = &rest[..rest.len().min(UNIX_SIZE - UNIX_PATH_AT)];
        match rest {
            [0, name @ ..] if !name.is_empty() => Address::unix(true, name),
            [] | [0] => Address::UNNAMED,
            path => {
                let end = path.iter().position(|byte| *byte == 0);
                Address::unix(false, &path[..end.unwrap_or(path.len())])
            }
        }
    }

    const fn of_family(family: libc::sa_family_t, length: usize) -> Address {
        debug_assert!(length <= STORAGE);
        let mut storage = [0; STORAGE];
        let family = family.to_ne_bytes();
        let mut at = 0;
        while at < FAMILY_SIZE {
            storage[FAMILY_AT + at] = family[at];
            at += 1;
        }
        Address {
            storage,
            length: length as u8,
        }
    }

    fn with(mut self, at: usize, bytes: &[u8]) -> Address {
        self.storage[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// The host and the port of an IPv4 address.
    pub fn ipv4(&self) -> Option<(Ipv4Addr, u16)> {
        (self.family() == Family::Ipv4).then(|| (self.ipv4_address(), self.port()))
    }

    /// The same of an IPv4 address in the form that an IPv6 socket has for it.
    pub fn mapped_ipv4(&self) -> Option<(Ipv4Addr, u16)> {
        if self.family() != Family::Ipv6 {
            return None;
        }
        let host = self.ipv6_address().to_ipv4_mapped()?;
        let address = Address::of_ipv4(host, self.port());
        (address.for_family(Family::Ipv6) == *self).then_some((host, self.port()))
    }

    /// The IPv4 group of receivers that it names.
    pub fn ipv4_group(&self) -> Option<Ipv4Addr> {
        let (host, _) = self.ipv4()?;
        host.is_multicast().then_some(host)
    }

    /// The IPv6 group of receivers that it names, and the scope.
    pub fn ipv6_group(&self) -> Option<(Ipv6Addr, u32)> {
        let scope = u32::from_ne_bytes(array_at(&self.storage, IPV6_SCOPE_AT));
        let is_group = self.family() == Family::Ipv6 && self.ipv6_address().is_multicast();
        is_group.then(|| (self.ipv6_address(), scope))
    }

    /// Whether it names a group of receivers.
    pub fn is_group(&self) -> bool {
        self.ipv4_group().is_some() || self.ipv6_group().is_some()
    }

    fn ipv4_address(&self) -> Ipv4Addr {
        Ipv4Addr::from(array_at::<4>(&self.storage, IPV4_ADDRESS_AT))
    }

    fn ipv6_address(&self) -> Ipv6Addr {
        Ipv6Addr::from(array_at::<16>(&self.storage, IPV6_ADDRESS_AT))
    }
}

impl Default for Address {
    fn default() -> Address {
        Address::NONE
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.family() {
            Family::None => Ok(()),
            Family::Ipv4 => write!(out, "{}:{}", self.ipv4_address(), self.port()),
            Family::Ipv6 => match u32::from_ne_bytes(array_at(&self.storage, IPV6_SCOPE_AT)) {
                0 => write!(out, "[{}]:{}", self.ipv6_address(), self.port()),
                scope => write!(out, "[{}%{}]:{}", self.ipv6_address(), scope, self.port()),
            },
            Family::Unix => {
                out.write_str(UNIX_PREFIX)?;
                match &self.as_bytes()[UNIX_PATH_AT..] {
                    [] => Ok(()),
                    [0, name @ ..] => {
                        out.write_str("@")?;
                        write_name(out, name)
                    }
                    path => {
                        // A file whose name begins with @ would read as an abstract name.
                        if path.starts_with(b"@") {
                            out.write_str("./")?;
                        }
                        write_name(out, path.strip_suffix(&[0]).unwrap_or(path))
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Address({self})")
    }
}

/// Writes a name that may hold anything: what is no text, or would disturb a terminal, becomes `?`. It is never longer
/// than the bytes, so that ASOCK_ADDRESS_TEXT_MAX always suffices.
fn write_name(out: &mut fmt::Formatter<'_>, name: &[u8]) -> fmt::Result {
    for chunk in name.utf8_chunks() {
        for letter in chunk.valid().chars() {
            fmt::Write::write_char(out, if letter.is_control() { '?' } else { letter })?;
        }
        if !chunk.invalid().is_empty() {
            out.write_str("?")?;
        }
    }
    Ok(())
}

/// A scope is a number, of digits only, or the name of an interface.
fn scope_number(zone: &str, scope: &dyn Fn(&str) -> Option<u32>) -> Option<u32> {
    if zone.is_empty() || zone.contains('\0') {
        None
    } else if zone.bytes().all(|byte| byte.is_ascii_digit()) {
        zone.parse().ok()
    } else {
        scope(zone)
    }
}

fn family_number(bytes: &[u8]) -> Option<libc::sa_family_t> {
    let family = bytes.get(FAMILY_AT..FAMILY_AT + FAMILY_SIZE)?;
    Some(libc::sa_family_t::from_ne_bytes(family.try_into().ok()?))
}

fn array_at<const SIZE: usize>(bytes: &[u8], at: usize) -> [u8; SIZE] {
    let mut array = [0; SIZE];
    array.copy_from_slice(&bytes[at..at + SIZE]);
    array
}

#[cfg(test)]
mod tests;
