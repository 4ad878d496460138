//! Groups of receivers: joining and leaving them, and how datagrams to them are sent.

use super::option::SocketOption;
use super::socket::{get_int, set_value, RawDescriptor};
use super::SysResult;
use crate::address::{Address, Family};
use crate::status::OsError;
use std::net::Ipv4Addr;

/// Joins or leaves a group on an interface; on 0 the system chooses one. A socket for both families joins those of either.
pub fn change(
    socket: RawDescriptor,
    group: &Address,
    interface_index: u32,
    join: bool,
) -> SysResult<()> {
    if join {
        receive_own_groups(socket);
    }
    if let Some(group) = group.ipv4_group() {
        let name = match join {
            true => libc::IP_ADD_MEMBERSHIP,
            false => libc::IP_DROP_MEMBERSHIP,
        };
        return set_value(
            socket,
            libc::IPPROTO_IP,
            name,
            &ipv4_request(group, interface_index)?,
        );
    }
    let Some((group, scope)) = group.ipv6_group() else {
        return Err(OsError(libc::EINVAL));
    };
    let request = libc::ipv6_mreq {
        ipv6mr_multiaddr: libc::in6_addr {
            s6_addr: group.octets(),
        },
        ipv6mr_interface: match interface_index {
            0 => scope,
            index => index,
        },
    };
    let name = match join {
        true => libc::IPV6_ADD_MEMBERSHIP,
        false => libc::IPV6_DROP_MEMBERSHIP,
    };
    set_value(socket, libc::IPPROTO_IPV6, name, &request)
}

/// Unless told otherwise, Linux gives a socket that is bound to any address what is sent to every group that anybody on
/// this machine has joined. That fails on a system, or on a socket, that does no such thing.
fn receive_own_groups(socket: RawDescriptor) {
    let no: libc::c_int = 0;
    let _ = set_value(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, &no);
    let _ = set_value(socket, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_ALL, &no);
}

fn ipv4_request(group: Ipv4Addr, interface_index: u32) -> SysResult<libc::ip_mreqn> {
    Ok(libc::ip_mreqn {
        imr_multiaddr: libc::in_addr {
            s_addr: u32::from_ne_bytes(group.octets()),
        },
        imr_address: libc::in_addr { s_addr: 0 },
        imr_ifindex: libc::c_int::try_from(interface_index).map_err(|_| OsError(libc::ENODEV))?,
    })
}

/// Sets one of the options of multicast. A socket for both families sends to groups of either, so both are told; that for
/// IPv4 may fail on a socket for IPv6 alone.
pub(super) fn set(
    socket: RawDescriptor,
    family: Family,
    option: SocketOption,
    value: libc::c_int,
) -> SysResult<()> {
    match family {
        Family::Ipv4 => set_ipv4(socket, option, value),
        Family::Ipv6 => {
            set_value(socket, libc::IPPROTO_IPV6, ipv6_name(option), &value)?;
            let _ = set_ipv4(socket, option, value);
            Ok(())
        }
        Family::Unix | Family::None => Ok(()),
    }
}

fn set_ipv4(socket: RawDescriptor, option: SocketOption, value: libc::c_int) -> SysResult<()> {
    let level = libc::IPPROTO_IP;
    match option {
        SocketOption::MulticastInterface => {
            let request = ipv4_request(Ipv4Addr::UNSPECIFIED, value.unsigned_abs())?;
            set_value(socket, level, libc::IP_MULTICAST_IF, &request)
        }
        option => set_value(socket, level, ipv4_name(option), &value),
    }
}

/// Reads one of them; the system does not tell all of that for IPv4, where what was set is kept above.
pub(super) fn get(socket: RawDescriptor, family: Family, option: SocketOption) -> SysResult<i64> {
    let value = match (family, option) {
        (Family::Ipv6, option) => get_int(socket, libc::IPPROTO_IPV6, ipv6_name(option))?,
        (Family::Ipv4, SocketOption::MulticastLoop | SocketOption::MulticastTtl) => {
            get_int(socket, libc::IPPROTO_IP, ipv4_name(option))?
        }
        _ => 0,
    };
    Ok(i64::from(value))
}

fn ipv4_name(option: SocketOption) -> libc::c_int {
    match option {
        SocketOption::MulticastLoop => libc::IP_MULTICAST_LOOP,
        _ => libc::IP_MULTICAST_TTL,
    }
}

fn ipv6_name(option: SocketOption) -> libc::c_int {
    match option {
        SocketOption::MulticastLoop => libc::IPV6_MULTICAST_LOOP,
        SocketOption::MulticastTtl => libc::IPV6_MULTICAST_HOPS,
        _ => libc::IPV6_MULTICAST_IF,
    }
}

#[cfg(test)]
mod tests {
    //! What is set is read back, on a datagram socket of each family that this machine has.

    use super::*;
    use crate::sys::option::{get, set};
    use crate::sys::socket::{open, Kind};

    #[test]
    fn what_is_set_is_read_back() {
        for family in [Family::Ipv4, Family::Ipv6] {
            let Ok(socket) = open(family, Kind::Datagram, false) else {
                assert_eq!(family, Family::Ipv6, "a machine without IPv6");
                continue;
            };
            let raw = socket.raw();
            for (option, usual, other) in [
                (SocketOption::MulticastLoop, 1, 0),
                (SocketOption::MulticastTtl, 1, 255),
            ] {
                assert_eq!(get(raw, family, Kind::Datagram, option), Ok(usual));
                assert_eq!(set(raw, family, Kind::Datagram, option, other), Ok(()));
                assert_eq!(get(raw, family, Kind::Datagram, option), Ok(other));
                // To streams they mean nothing.
                assert_eq!(set(raw, family, Kind::Stream, option, usual), Ok(()));
                assert_eq!(get(raw, family, Kind::Datagram, option), Ok(other));
            }
        }
    }

    #[test]
    fn only_groups_are_joined() {
        let socket = open(Family::Ipv4, Kind::Datagram, false).expect("opens");
        let address = Address::parse("192.0.2.1", 0, &|_| None).expect("is an address");
        assert!(!address.is_group());
        let answer = change(socket.raw(), &address, 1, true);
        assert_eq!(answer, Err(OsError(libc::EINVAL)));
    }
}
