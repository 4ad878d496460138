//! The options of a socket by their numbers, and what values they take.

use crate::abi;
use crate::status::{Answer, Status};
use crate::sys::SocketOption;

/// An option: the system's, or the library's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setting {
    System(SocketOption),
    ConnectTimeoutMs,
    SendTimeoutMs,
    ReceiveTimeoutMs,
    AcceptTimeoutMs,
    SendQueueLimit,
    /// To read only.
    SendQueued,
}

/// Number, setting, smallest and largest value.
const TABLE: [(u32, Setting, i64, i64); 22] = [
    (
        abi::ASOCK_OPTION_NODELAY,
        Setting::System(SocketOption::NoDelay),
        0,
        1,
    ),
    (
        abi::ASOCK_OPTION_KEEPALIVE,
        Setting::System(SocketOption::KeepAlive),
        0,
        1,
    ),
    (
        abi::ASOCK_OPTION_KEEPALIVE_IDLE_S,
        Setting::System(SocketOption::KeepAliveIdleS),
        1,
        32767,
    ),
    (
        abi::ASOCK_OPTION_KEEPALIVE_INTERVAL_S,
        Setting::System(SocketOption::KeepAliveIntervalS),
        1,
        32767,
    ),
    (
        abi::ASOCK_OPTION_KEEPALIVE_COUNT,
        Setting::System(SocketOption::KeepAliveCount),
        1,
        127,
    ),
    (
        abi::ASOCK_OPTION_LINGER_S,
        Setting::System(SocketOption::LingerS),
        -1,
        65535,
    ),
    (
        abi::ASOCK_OPTION_SEND_BUFFER,
        Setting::System(SocketOption::SendBuffer),
        0,
        i32::MAX as i64,
    ),
    (
        abi::ASOCK_OPTION_RECEIVE_BUFFER,
        Setting::System(SocketOption::ReceiveBuffer),
        0,
        i32::MAX as i64,
    ),
    (
        abi::ASOCK_OPTION_REUSE_ADDRESS,
        Setting::System(SocketOption::ReuseAddress),
        0,
        1,
    ),
    (
        abi::ASOCK_OPTION_REUSE_PORT,
        Setting::System(SocketOption::ReusePort),
        0,
        1,
    ),
    (
        abi::ASOCK_OPTION_BROADCAST,
        Setting::System(SocketOption::Broadcast),
        0,
        1,
    ),
    (
        abi::ASOCK_OPTION_TTL,
        Setting::System(SocketOption::Ttl),
        1,
        255,
    ),
    (
        abi::ASOCK_OPTION_V6_ONLY,
        Setting::System(SocketOption::V6Only),
        0,
        1,
    ),
    (
        abi::ASOCK_OPTION_MULTICAST_LOOP,
        Setting::System(SocketOption::MulticastLoop),
        0,
        1,
    ),
    (
        abi::ASOCK_OPTION_MULTICAST_TTL,
        Setting::System(SocketOption::MulticastTtl),
        0,
        255,
    ),
    (
        abi::ASOCK_OPTION_MULTICAST_INTERFACE,
        Setting::System(SocketOption::MulticastInterface),
        0,
        i32::MAX as i64,
    ),
    (
        abi::ASOCK_OPTION_CONNECT_TIMEOUT_MS,
        Setting::ConnectTimeoutMs,
        0,
        i64::MAX,
    ),
    (
        abi::ASOCK_OPTION_SEND_TIMEOUT_MS,
        Setting::SendTimeoutMs,
        0,
        i64::MAX,
    ),
    (
        abi::ASOCK_OPTION_RECEIVE_TIMEOUT_MS,
        Setting::ReceiveTimeoutMs,
        0,
        i64::MAX,
    ),
    (
        abi::ASOCK_OPTION_ACCEPT_TIMEOUT_MS,
        Setting::AcceptTimeoutMs,
        0,
        i64::MAX,
    ),
    (
        abi::ASOCK_OPTION_SEND_QUEUE_LIMIT,
        Setting::SendQueueLimit,
        0,
        i64::MAX,
    ),
    (abi::ASOCK_OPTION_SEND_QUEUED, Setting::SendQueued, 0, -1),
];

impl Setting {
    pub fn of(number: u32) -> Option<Setting> {
        let row = TABLE.iter().find(|row| row.0 == number);
        row.map(|row| row.1)
    }

    /// The value, if the setting takes it; for the library's own it is never negative.
    pub fn checked(self, value: i64) -> Answer<u64> {
        let row = TABLE.iter().find(|row| row.1 == self);
        match row {
            Some(&(_, _, least, most)) if least <= value && value <= most => Ok(value as u64),
            _ => Err(Status::InvalidArgument),
        }
    }
}
