//! Descriptors from outside: what they are, and how they come and go.

use super::socket::{get_int, local_name, peer_name, Descriptor, Kind, RawDescriptor};
use super::{checked, SysResult};
use crate::address::{Address, Family};

/// What a descriptor that the application has turned out to be.
pub struct Found {
    pub family: Family,
    pub kind: Kind,
    pub listening: bool,
    /// Whom it is connected to.
    pub peer: Option<Address>,
}

/// The name of a descriptor that the application has; it may be none.
pub fn named(number: i64) -> Option<RawDescriptor> {
    libc::c_int::try_from(number).ok().map(RawDescriptor)
}

/// What a descriptor is; none where it is no socket of a sort that is ours to use.
pub fn inspect(descriptor: RawDescriptor) -> Option<Found> {
    let ask = |name| get_int(descriptor, libc::SOL_SOCKET, name).ok();
    let family = match ask(libc::SO_DOMAIN)? {
        libc::AF_INET => Family::Ipv4,
        libc::AF_INET6 => Family::Ipv6,
        libc::AF_UNIX => Family::Unix,
        _ => return None,
    };
    let kind = match ask(libc::SO_TYPE)? {
        libc::SOCK_STREAM => Kind::Stream,
        libc::SOCK_DGRAM => Kind::Datagram,
        _ => return None,
    };
    let usual = match (family, kind, ask(libc::SO_PROTOCOL)?) {
        (Family::Unix, _, _) => true,
        // A connection over several paths behaves like any other.
        (_, Kind::Stream, protocol) => {
            matches!(protocol, libc::IPPROTO_TCP | libc::IPPROTO_MPTCP)
        }
        (_, Kind::Datagram, protocol) => protocol == libc::IPPROTO_UDP,
    };
    usual.then_some(Found {
        family,
        kind,
        listening: ask(libc::SO_ACCEPTCONN)? != 0,
        peer: peer_name(descriptor).ok(),
    })
}

/// Whether a socket has a local address.
pub fn is_bound(socket: RawDescriptor) -> bool {
    let name = local_name(socket).unwrap_or(Address::NONE);
    match name.family() {
        Family::Unix => name != Address::UNNAMED,
        _ => name.port() != 0,
    }
}

/// Makes a descriptor as those that are made here: not passed on by exec and, unless the driver waits by itself,
/// non-blocking.
pub fn prepare(descriptor: RawDescriptor, waits: bool) -> SysResult<()> {
    // SAFETY: neither call takes a pointer.
    checked(unsafe { libc::fcntl(descriptor.0, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    match waits {
        true => Ok(()),
        false => unblock(descriptor),
    }
}

fn unblock(descriptor: RawDescriptor) -> SysResult<()> {
    // SAFETY: neither call takes a pointer.
    let flags = checked(unsafe { libc::fcntl(descriptor.0, libc::F_GETFL) })?;
    if flags & libc::O_NONBLOCK == 0 {
        let flags = flags | libc::O_NONBLOCK;
        // SAFETY: as above.
        checked(unsafe { libc::fcntl(descriptor.0, libc::F_SETFL, flags) })?;
    }
    Ok(())
}

/// Takes over a descriptor that the application has given up.
pub fn claim(descriptor: RawDescriptor) -> Descriptor {
    Descriptor::owning(descriptor.0)
}

/// Gives a descriptor up, non-blocking whatever it was: its number is the application's.
pub fn give_up(descriptor: Descriptor) -> i64 {
    let raw = descriptor.raw();
    std::mem::forget(descriptor);
    let _ = unblock(raw); // It is open, so this cannot fail.
    raw.number()
}
