//! The system's options of a socket, as whole numbers.

use super::socket::{get_int, get_linger, set_value, Kind, RawDescriptor};
use super::{multicast, SysResult};
use crate::address::Family;
use crate::status::OsError;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SocketOption {
    NoDelay,
    KeepAlive,
    KeepAliveIdleS,
    KeepAliveIntervalS,
    KeepAliveCount,
    /// Seconds; -1 is off.
    LingerS,
    /// Bytes. Linux doubles what is set, to have room for its own records, and gives the doubled number back.
    SendBuffer,
    /// Bytes; see `SendBuffer`.
    ReceiveBuffer,
    ReuseAddress,
    ReusePort,
    Broadcast,
    Ttl,
    V6Only,
    /// What is sent to a group is received on this machine, too.
    MulticastLoop,
    MulticastTtl,
    /// The number of an interface; 0 lets the system choose.
    MulticastInterface,
}

impl SocketOption {
    /// Every option, in the order of the contract.
    pub const ALL: [SocketOption; 16] = [
        SocketOption::NoDelay,
        SocketOption::KeepAlive,
        SocketOption::KeepAliveIdleS,
        SocketOption::KeepAliveIntervalS,
        SocketOption::KeepAliveCount,
        SocketOption::LingerS,
        SocketOption::SendBuffer,
        SocketOption::ReceiveBuffer,
        SocketOption::ReuseAddress,
        SocketOption::ReusePort,
        SocketOption::Broadcast,
        SocketOption::Ttl,
        SocketOption::V6Only,
        SocketOption::MulticastLoop,
        SocketOption::MulticastTtl,
        SocketOption::MulticastInterface,
    ];

    fn is_multicast(self) -> bool {
        matches!(
            self,
            SocketOption::MulticastLoop
                | SocketOption::MulticastTtl
                | SocketOption::MulticastInterface
        )
    }
}

/// Sets an option. One that the family does not know, or that datagrams have no use for, is accepted and does nothing,
/// so that a caller need not know to which family a name leads. The number is checked by the system, save that it must fit its type.
pub fn set(
    socket: RawDescriptor,
    family: Family,
    kind: Kind,
    option: SocketOption,
    value: i64,
) -> SysResult<()> {
    let number = libc::c_int::try_from(value).map_err(|_| OsError(libc::EINVAL));
    if option.is_multicast() && kind == Kind::Datagram {
        return multicast::set(socket, family, option, number?);
    }
    let Some((level, name)) = place(family, kind, option) else {
        return Ok(());
    };
    let value = number?;
    if option == SocketOption::LingerS {
        let linger = libc::linger {
            l_onoff: libc::c_int::from(value >= 0),
            l_linger: value.max(0),
        };
        return set_value(socket, level, name, &linger);
    }
    set_value(socket, level, name, &value)
}

/// Reads an option; one that `set` would only accept is 0.
pub fn get(
    socket: RawDescriptor,
    family: Family,
    kind: Kind,
    option: SocketOption,
) -> SysResult<i64> {
    if option.is_multicast() && kind == Kind::Datagram {
        return multicast::get(socket, family, option);
    }
    let Some((level, name)) = place(family, kind, option) else {
        return Ok(0);
    };
    if option == SocketOption::LingerS {
        let linger = get_linger(socket)?;
        let on = linger.l_onoff != 0;
        return Ok(if on { i64::from(linger.l_linger) } else { -1 });
    }
    get_int(socket, level, name).map(i64::from)
}

/// The level and the name of an option, and nothing where it has no meaning.
fn place(family: Family, kind: Kind, option: SocketOption) -> Option<(libc::c_int, libc::c_int)> {
    let is_tcp = matches!(family, Family::Ipv4 | Family::Ipv6) && kind == Kind::Stream;
    let tcp = |name| is_tcp.then_some((libc::IPPROTO_TCP, name));
    let any = |name| Some((libc::SOL_SOCKET, name));
    match option {
        SocketOption::NoDelay => tcp(libc::TCP_NODELAY),
        SocketOption::KeepAlive => any(libc::SO_KEEPALIVE),
        SocketOption::KeepAliveIdleS => tcp(libc::TCP_KEEPIDLE),
        SocketOption::KeepAliveIntervalS => tcp(libc::TCP_KEEPINTVL),
        SocketOption::KeepAliveCount => tcp(libc::TCP_KEEPCNT),
        SocketOption::LingerS => any(libc::SO_LINGER),
        SocketOption::SendBuffer => any(libc::SO_SNDBUF),
        SocketOption::ReceiveBuffer => any(libc::SO_RCVBUF),
        SocketOption::ReuseAddress => any(libc::SO_REUSEADDR),
        SocketOption::ReusePort => any(libc::SO_REUSEPORT),
        SocketOption::Broadcast => any(libc::SO_BROADCAST),
        SocketOption::Ttl => match family {
            Family::Ipv4 => Some((libc::IPPROTO_IP, libc::IP_TTL)),
            Family::Ipv6 => Some((libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS)),
            Family::Unix | Family::None => None,
        },
        SocketOption::V6Only => {
            (family == Family::Ipv6).then_some((libc::IPPROTO_IPV6, libc::IPV6_V6ONLY))
        }
        SocketOption::MulticastLoop
        | SocketOption::MulticastTtl
        | SocketOption::MulticastInterface => None,
    }
}

#[cfg(test)]
mod tests {
    //! Every option is set and read back on a socket of each family that this machine has.

    use super::*;
    use crate::sys::socket::{open, Kind};

    const FAMILIES: [Family; 3] = [Family::Ipv4, Family::Ipv6, Family::Unix];

    #[test]
    fn what_is_set_is_read_back() {
        for family in FAMILIES {
            let Ok(socket) = open(family, Kind::Stream, false) else {
                // A machine without IPv6.
                assert_eq!(family, Family::Ipv6);
                continue;
            };
            let internet = family != Family::Unix;
            let ipv6 = family == Family::Ipv6;
            for (option, value, known) in [
                (SocketOption::NoDelay, 1, internet),
                (SocketOption::NoDelay, 0, internet),
                (SocketOption::KeepAlive, 1, true),
                (SocketOption::KeepAliveIdleS, 77, internet),
                (SocketOption::KeepAliveIntervalS, 7, internet),
                (SocketOption::KeepAliveCount, 3, internet),
                (SocketOption::LingerS, 5, true),
                (SocketOption::LingerS, 0, true),
                (SocketOption::LingerS, -1, true),
                (SocketOption::ReuseAddress, 1, true),
                (SocketOption::Broadcast, 1, true),
                (SocketOption::Ttl, 9, internet),
                (SocketOption::V6Only, 1, ipv6),
                (SocketOption::V6Only, 0, ipv6),
            ] {
                let context = format!("{family:?} {option:?} {value}");
                assert_eq!(
                    set(socket.raw(), family, Kind::Stream, option, value),
                    Ok(()),
                    "{context}"
                );
                let expected = if known { value } else { 0 };
                assert_eq!(
                    get(socket.raw(), family, Kind::Stream, option),
                    Ok(expected),
                    "{context}"
                );
            }
            for option in [SocketOption::SendBuffer, SocketOption::ReceiveBuffer] {
                assert_eq!(
                    set(socket.raw(), family, Kind::Stream, option, 20_000),
                    Ok(())
                );
                assert_eq!(get(socket.raw(), family, Kind::Stream, option), Ok(40_000));
            }
            if internet {
                assert_eq!(
                    set(
                        socket.raw(),
                        family,
                        Kind::Stream,
                        SocketOption::ReusePort,
                        1
                    ),
                    Ok(())
                );
                assert_eq!(
                    get(socket.raw(), family, Kind::Stream, SocketOption::ReusePort),
                    Ok(1)
                );
            }
        }
    }

    #[test]
    fn a_number_too_large_is_an_error() {
        let socket = open(Family::Ipv4, Kind::Stream, false).expect("opens");
        let answer = set(
            socket.raw(),
            Family::Ipv4,
            Kind::Stream,
            SocketOption::Ttl,
            1 << 40,
        );
        assert_eq!(answer, Err(OsError(libc::EINVAL)));
        let answer = set(
            socket.raw(),
            Family::Ipv4,
            Kind::Stream,
            SocketOption::Ttl,
            1 << 20,
        );
        assert_eq!(answer, Err(OsError(libc::EINVAL)));
    }
}
