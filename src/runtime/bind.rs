//! Local addresses: a socket gets its descriptor here, on the application's thread, and its worker
//! hears of that before anything that is begun on the socket later.

use super::seat_of;
use super::socket::{pinned, with_record};
use crate::address::{Address, Family};
use crate::engine::record::{Marks, Settings, SocketRecord};
use crate::foreign;
use crate::handle::HandleKind;
use crate::status::{Answer, Status};
use crate::sys::outside;
use crate::sys::server::{self, BoundFile};
use crate::sys::{
    option, socket as system, Descriptor, Kind, SocketOption, SysResult, NO_SUCH_ADDRESS,
    NO_SUCH_FAMILY,
};

/// What a socket is bound to.
#[derive(Clone, Copy)]
pub enum Local {
    Address(Address),
    /// Any address, of both families, and that port.
    Any(u16),
}

/// What a descriptor is to be like.
struct Wish {
    kind: Kind,
    settings: Settings,
    waits: bool,
}

/// A descriptor that is bound, while its socket does not have it yet.
struct Bound {
    descriptor: Descriptor,
    family: Family,
    file: Unclaimed,
    /// The options that it has, by their version.
    version: u32,
}

/// The file of a socket that may not come to be.
struct Unclaimed(Option<Box<BoundFile>>);

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(file) = self.0.take() {
            file.remove();
        }
    }
}

pub fn bind(socket: u64, local: Local) -> Answer<()> {
    if bind_own(socket, local)? {
        return Ok(());
    }
    let mut wish = settle(socket, local, &mut None)?;
    let mut bound = None;
    while let Some(wanted) = wish {
        match &mut bound {
            None => bound = Some(bound_to(local, &wanted)?),
            Some(bound) => bound.change(&wanted).map_err(Status::of_os)?,
        }
        wish = settle(socket, local, &mut bound)?;
    }
    Ok(())
}

/// Binds the descriptor that a socket has already, as an adopted one may; false where it has none.
fn bind_own(socket: u64, local: Local) -> Answer<bool> {
    with_record(socket, |record| {
        if record.marks.has(Marks::LISTENING) || !is_idle(record) {
            return Err(Status::InvalidState);
        }
        if matches!(local, Local::Address(address) if address.path().is_some()) {
            record.settings()?; // As in `settle`.
        }
        Ok(())
    })?;
    let Some(pinned) = pinned(socket)? else {
        return Ok(false);
    };
    if outside::is_bound(pinned.raw) {
        return Err(Status::InvalidState);
    }
    let address = match local {
        Local::Any(_) if pinned.family == Family::Unix => return Err(Status::InvalidArgument),
        Local::Any(port) => Address::any(pinned.family, port),
        Local::Address(address) => address.for_family(pinned.family),
    };
    server::bind(pinned.raw, &address).map_err(Status::of_os)?;
    let mut file = file_of(&address)?;
    with_record(socket, |record| {
        if let Some(file) = file.0.take() {
            record.settings()?.file = Some(file);
        }
        Ok(true)
    })
}

/// Neither connected nor about to be.
fn is_idle(record: &SocketRecord) -> bool {
    !record.marks.has(Marks::CONNECTED) && record.connecting == 0
}

/// The file of an address that was just bound, with room to note it.
fn file_of(address: &Address) -> Answer<Unclaimed> {
    let Some(file) = BoundFile::of(address) else {
        return Ok(Unclaimed(None));
    };
    let kept = foreign::try_box(file.clone());
    if kept.is_none() {
        file.remove();
        return Err(Status::OutOfMemory);
    }
    Ok(Unclaimed(kept))
}

/// Makes a bound descriptor the socket's, or says what it is to be like: the application may set
/// more options at any time.
fn settle(socket: u64, local: Local, bound: &mut Option<Bound>) -> Answer<Option<Wish>> {
    let (seat, handle) = seat_of(socket, HandleKind::Socket)?;
    let mut shared = seat.lock();
    let waits = shared.waits_itself;
    let record = shared.sockets.get(handle.slot, handle.generation);
    let record = record.ok_or(Status::BadHandle)?;
    if record.descriptor.is_some() || !is_idle(record) {
        return Err(Status::InvalidState);
    }
    if matches!(local, Local::Address(address) if address.path().is_some()) {
        record.settings()?; // The place for the name of a file, before there is one.
    }
    let version = record.kept().map_or(0, |kept| kept.version);
    match bound.take_if(|bound| bound.version == version) {
        Some(bound) => {
            bound.install(record);
            Ok(None)
        }
        None => Ok(Some(Wish {
            kind: record.kind,
            settings: record.kept().cloned().unwrap_or_default(),
            waits,
        })),
    }
}

fn bound_to(local: Local, wish: &Wish) -> Answer<Bound> {
    let bound = match local {
        Local::Address(address) => Bound::new(&address, wish),
        Local::Any(port) => match Bound::new(&Address::any(Family::Ipv6, port), wish) {
            // A machine without IPv6.
            Err(NO_SUCH_FAMILY | NO_SUCH_ADDRESS) => {
                Bound::new(&Address::any(Family::Ipv4, port), wish)
            }
            bound => bound,
        },
    }
    .map_err(Status::of_os)?;
    let file = match local {
        Local::Address(address) => file_of(&address)?,
        Local::Any(_) => Unclaimed(None),
    };
    Ok(Bound { file, ..bound })
}

impl Bound {
    fn new(address: &Address, wish: &Wish) -> SysResult<Bound> {
        let family = address.family();
        let descriptor = system::open(family, wish.kind, wish.waits)?;
        let mut bound = Bound {
            descriptor,
            family,
            file: Unclaimed(None),
            version: 0,
        };
        let raw = bound.descriptor.raw();
        let set = |option, value| option::set(raw, family, wish.kind, option, value);
        if *address == Address::any(Family::Ipv6, address.port()) {
            set(SocketOption::V6Only, 0)?; // The system's own default may be another.
        }
        if wish.kind == Kind::Stream && family != Family::Unix {
            // A server that starts again shall not wait for the connections of the one before.
            set(SocketOption::ReuseAddress, 1)?;
        }
        bound.change(wish)?;
        server::bind(raw, address)?;
        Ok(bound)
    }

    fn change(&mut self, wish: &Wish) -> SysResult<()> {
        self.version = wish.settings.version;
        let raw = self.descriptor.raw();
        wish.settings.apply(raw, self.family, wish.kind)
    }

    fn install(mut self, record: &mut SocketRecord) {
        record.family = self.family;
        record.marks.set(Marks::ARRIVED);
        if let Some(file) = self.file.0.take() {
            if let Ok(kept) = record.settings() {
                kept.file = Some(file);
            }
        }
        record.descriptor = Some(self.descriptor);
    }
}

/// Lets connections come to a bound socket; the worker hears of it with the first accept.
pub fn listen(socket: u64, backlog: i32) -> Answer<()> {
    let pinned = pinned(socket)?.ok_or(Status::InvalidState)?;
    if !outside::is_bound(pinned.raw) {
        return Err(Status::InvalidState); // The system would choose an address.
    }
    if pinned.kind == Kind::Datagram {
        return Err(Status::NotSupported);
    }
    let first = with_record(socket, |record| {
        if !is_idle(record) {
            return Err(Status::InvalidState);
        }
        let first = !record.marks.set(Marks::LISTENING);
        if first {
            record.marks.set(Marks::ARRIVED);
        }
        Ok(first)
    })?;
    let backlog = (backlog > 0).then_some(backlog);
    server::listen(pinned.raw, backlog).map_err(|error| {
        // It may be closed meanwhile, and then nobody cares.
        let _ = with_record(socket, |record| {
            if first {
                record.marks.clear(Marks::LISTENING);
                record.marks.set(Marks::ARRIVED);
            }
            Ok(())
        });
        Status::of_os(error)
    })
}
