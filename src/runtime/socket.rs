//! Sockets as the application's threads see them: open, close, options, addresses.

use super::setting::Setting;
use super::submit::{begin_shutdown, in_service};
use super::{runtime_of, seat_of, Kind};
use crate::address::{Address, Family};
use crate::engine::record::{Marks, SocketRecord};
use crate::engine::seat::Seat;
use crate::handle::HandleKind;
use crate::status::{Answer, OsError, Status};
use crate::sys::{multicast, option, socket as system, RawDescriptor, SocketOption};

pub fn open(runtime: u64, kind: Kind) -> Answer<u64> {
    let runtime = runtime_of(runtime)?;
    let seat = runtime.sockets.least_loaded()?;
    let mut shared = runtime.lock(seat)?;
    in_service(&shared)?;
    runtime.sockets.enter()?;
    let (slot, socket) = seat.new_socket(&mut shared).map_err(|_| {
        runtime.sockets.leave();
        Status::OutOfMemory
    })?;
    shared.sockets.at(slot).kind = kind;
    Ok(socket)
}

pub fn close(socket: u64) -> Answer<()> {
    let (seat, handle) = seat_of(socket, HandleKind::Socket)?;
    seat.close(handle)
}

pub fn shutdown(socket: u64, receive: bool, send: bool) -> Answer<()> {
    begin_shutdown(socket, receive, send)
}

/// Runs `body` on a socket's record.
pub(super) fn with_record<T>(
    socket: u64,
    body: impl FnOnce(&mut SocketRecord) -> Answer<T>,
) -> Answer<T> {
    let (seat, handle) = seat_of(socket, HandleKind::Socket)?;
    let mut shared = seat.lock();
    let record = shared.sockets.get(handle.slot, handle.generation);
    body(record.ok_or(Status::BadHandle)?)
}

/// A socket's descriptor, kept open for as long as it is looked at.
pub(super) struct Pinned {
    seat: &'static Seat,
    pub raw: RawDescriptor,
    pub family: Family,
    pub kind: Kind,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let left = self.seat.lock().pins.unpin(self.raw);
        drop(left); // Not under the lock: it is a system call.
    }
}

/// The descriptor of a socket, if it has one.
pub(super) fn pinned(socket: u64) -> Answer<Option<Pinned>> {
    let (seat, handle) = seat_of(socket, HandleKind::Socket)?;
    let mut shared = seat.lock();
    let record = shared.sockets.get(handle.slot, handle.generation);
    let record = record.ok_or(Status::BadHandle)?;
    let (family, kind) = (record.family, record.kind);
    let raw = shared.pin(handle.slot).map_err(|_| Status::OutOfMemory)?;
    Ok(raw.map(|raw| Pinned {
        seat,
        raw,
        family,
        kind,
    }))
}

fn failed(error: OsError) -> Status {
    Status::of_os(error)
}

pub fn set_option(socket: u64, setting: Setting, value: i64) -> Answer<()> {
    let number = with_record(socket, |_| setting.checked(value))?;
    let option = match setting {
        Setting::System(option) => option,
        Setting::SendQueued => return Err(Status::InvalidArgument),
        own => {
            return with_record(socket, |record| {
                let kept = record.settings()?;
                *match own {
                    Setting::ConnectTimeoutMs => &mut kept.connect_timeout_ms,
                    Setting::SendTimeoutMs => &mut kept.send_timeout_ms,
                    Setting::ReceiveTimeoutMs => &mut kept.receive_timeout_ms,
                    Setting::AcceptTimeoutMs => &mut kept.accept_timeout_ms,
                    _ => &mut kept.send_queue_limit,
                } = number;
                Ok(())
            })
        }
    };
    loop {
        let seen = pinned(socket)?;
        if let Some(pin) = &seen {
            option::set(pin.raw, pin.family, pin.kind, option, value).map_err(failed)?;
        }
        // Kept for the descriptors to come. If one has come meanwhile it knows nothing of it yet.
        let current = with_record(socket, |record| {
            let current = match (&seen, &record.descriptor) {
                (Some(seen), Some(now)) => seen.raw == now.raw(),
                (None, Some(_)) => false,
                (_, None) => true,
            };
            if current {
                keep(record, option, value)?;
            }
            Ok(current)
        })?;
        if current {
            return Ok(());
        }
    }
}

/// Notes an option for the descriptors to come. A connected stream has its last one, and then
/// only that is kept which is read here again: the close looks at the lingering.
fn keep(record: &mut SocketRecord, option: SocketOption, value: i64) -> Answer<()> {
    let is_read = matches!(
        option,
        SocketOption::LingerS | SocketOption::MulticastInterface
    );
    if record.marks.has(Marks::CONNECTED) && !is_read {
        return Ok(());
    }
    if record.kept().is_none() && default_of(option) == Some(value) {
        return Ok(());
    }
    let kept = record.settings()?;
    kept.system[option as usize] = Some(value);
    kept.version = kept.version.wrapping_add(1);
    Ok(())
}

/// What an option is unless it is set, where the library and not the system decides.
fn default_of(option: SocketOption) -> Option<i64> {
    match option {
        SocketOption::NoDelay => Some(1),
        SocketOption::LingerS => Some(-1),
        SocketOption::MulticastInterface => Some(0),
        _ => None,
    }
}

pub fn get_option(socket: u64, setting: Setting) -> Answer<i64> {
    let option = match setting {
        Setting::System(option) => option,
        own => {
            return with_record(socket, |record| {
                let kept = record.kept();
                let value = match own {
                    Setting::SendQueued => Some(record.queued),
                    Setting::ConnectTimeoutMs => kept.map(|kept| kept.connect_timeout_ms),
                    Setting::SendTimeoutMs => kept.map(|kept| kept.send_timeout_ms),
                    Setting::ReceiveTimeoutMs => kept.map(|kept| kept.receive_timeout_ms),
                    Setting::AcceptTimeoutMs => kept.map(|kept| kept.accept_timeout_ms),
                    _ => kept.map(|kept| kept.send_queue_limit),
                };
                Ok(value.unwrap_or(0) as i64)
            })
        }
    };
    let (kept, kind) = with_record(socket, |record| {
        let kept = record.kept();
        let value = kept.and_then(|kept| kept.system[option as usize]);
        Ok((value, record.kind))
    })?;
    match (pinned(socket)?, kept.or(default_of(option))) {
        // The system does not tell.
        (_, Some(value)) if option == SocketOption::MulticastInterface => Ok(value),
        (Some(pin), _) => option::get(pin.raw, pin.family, pin.kind, option).map_err(failed),
        (None, Some(value)) => Ok(value),
        (None, None) => {
            // Nothing was set, so it is what the system gives to every new socket.
            let family = match option {
                SocketOption::V6Only => Family::Ipv6,
                _ => Family::Ipv4,
            };
            let fresh = system::open(family, kind, false).map_err(failed)?;
            option::get(fresh.raw(), family, kind, option).map_err(failed)
        }
    }
}

/// Joins or leaves a group of receivers.
pub fn change_group(socket: u64, group: &Address, interface_index: u32, join: bool) -> Answer<()> {
    let kind = with_record(socket, |record| Ok(record.kind))?;
    if kind != Kind::Datagram {
        return Err(Status::InvalidArgument);
    }
    let pin = pinned(socket)?.ok_or(Status::InvalidState)?;
    multicast::change(pin.raw, group, interface_index, join).map_err(failed)
}

pub fn local_address(socket: u64) -> Answer<Address> {
    match pinned(socket)? {
        None => Ok(Address::NONE),
        Some(pinned) => {
            let name = system::local_name(pinned.raw).map_err(failed)?;
            // One that was adopted may be bound to nothing.
            let is_bound = pinned.family == Family::Unix || name.port() != 0;
            Ok(if is_bound { name } else { Address::NONE })
        }
    }
}

pub fn remote_address(socket: u64) -> Answer<Address> {
    with_record(socket, |record| Ok(record.peer()))
}
