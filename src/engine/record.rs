//! What the application's threads may ask and change of operations and sockets at any time. It
//! lies behind the seat's lock; what only the worker knows of a socket (`socket`) needs none, and
//! the rest of an operation goes to and fro (`operation`, `handover`).

use super::pins::Pins;
use crate::address::{Address, Family};
use crate::foreign;
use crate::status::{Answer, Status};
use crate::sys::server::BoundFile;
use crate::sys::{self, Descriptor, RawDescriptor, SocketOption, SysResult};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Where an operation stands, seen from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stage {
    /// Begun, and not finished.
    #[default]
    Pending,
    /// Its result is fixed and waits to be collected.
    Done,
    /// The worker has its record for the callback, which is due, is running, or has returned; see
    /// `calls`.
    Calling,
    /// Nobody can reach it any more; the slot waits for the inbox to let go of it.
    Retired,
}

/// Things that are so or not, a bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Marks(u8);

impl Marks {
    /// It is in the inbox.
    pub const LINKED: Marks = Marks(1 << 0);

    /// Of an operation: the worker has not seen it yet.
    pub const BEGUN: Marks = Marks(1 << 1);
    /// The worker has not seen that it was canceled, that its deadline was changed, or that the
    /// look-up of its name is over.
    pub const CANCELED: Marks = Marks(1 << 2);
    pub const DEADLINE: Marks = Marks(1 << 3);
    pub const ANSWERED: Marks = Marks(1 << 4);
    /// `asock_end` is to collect it.
    pub const COLLECTED: Marks = Marks(1 << 5);
    /// Nobody will: its record goes when it completes.
    pub const FORGOTTEN: Marks = Marks(1 << 6);
    /// A thread waits for it.
    pub const AWAITED: Marks = Marks(1 << 7);

    /// Of a socket: it is connected.
    pub const CONNECTED: Marks = Marks(1 << 1);
    /// Its peer is no IPv4 address and stands with the rare things.
    pub const PEER_IS_RARE: Marks = Marks(1 << 2);
    /// The worker has not heard of its descriptor yet; see `Event::Arrived`.
    pub const ARRIVED: Marks = Marks(1 << 3);
    /// It accepts connections.
    pub const LISTENING: Marks = Marks(1 << 4);
    /// Its descriptor came from the application.
    pub const ADOPTED: Marks = Marks(1 << 5);
    /// Its descriptor went to the application; see `Event::Released`.
    pub const RELEASED: Marks = Marks(1 << 6);

    /// Of an operation: there is something that the worker has not seen.
    pub const NEWS: Marks =
        Marks(Marks::BEGUN.0 | Marks::CANCELED.0 | Marks::DEADLINE.0 | Marks::ANSWERED.0);

    pub fn has(self, any: Marks) -> bool {
        self.0 & any.0 != 0
    }

    /// Takes those of them that are there.
    pub fn take(&mut self, marks: Marks) -> Marks {
        let taken = Marks(self.0 & marks.0);
        self.0 &= !marks.0;
        taken
    }

    /// Whether the mark was there before.
    pub fn set(&mut self, marks: Marks) -> bool {
        let before = self.has(marks);
        self.0 |= marks.0;
        before
    }

    /// As `set`.
    pub fn clear(&mut self, marks: Marks) -> bool {
        let before = self.has(marks);
        self.0 &= !marks.0;
        before
    }
}

/// What there is to know of an operation while the worker has its record.
#[derive(Default)]
pub struct OperationState {
    pub stage: Stage,
    pub marks: Marks,
    /// Its number among the calls of its seat.
    pub turn: u16,
    /// The slot of its socket, also while the worker has the record.
    pub socket: u32,
}

/// How many options of the system's there are.
pub const SYSTEM_OPTIONS: usize = SocketOption::ALL.len();

/// What was set on a socket, kept for the descriptors that are still to come.
#[derive(Clone, Default)]
pub struct Settings {
    /// By `SocketOption`.
    pub system: [Option<i64>; SYSTEM_OPTIONS],
    /// Rises with every change of `system`.
    pub version: u32,
    pub connect_timeout_ms: u64,
    pub send_timeout_ms: u64,
    pub receive_timeout_ms: u64,
    pub accept_timeout_ms: u64,
    pub send_queue_limit: u64,
    /// The file that a bind has made.
    pub file: Option<Box<BoundFile>>,
}

impl Settings {
    pub fn kept(&self) -> impl Iterator<Item = (SocketOption, i64)> + '_ {
        let pairs = SocketOption::ALL.iter().zip(&self.system);
        pairs.filter_map(|(&option, value)| Some((option, (*value)?)))
    }

    /// Sets on a descriptor what was kept for it.
    pub fn apply(
        &self,
        descriptor: RawDescriptor,
        family: Family,
        kind: sys::Kind,
    ) -> SysResult<()> {
        let set = |option, value| sys::option::set(descriptor, family, kind, option, value);
        if self.system[SocketOption::NoDelay as usize].is_none() {
            set(SocketOption::NoDelay, 1)?;
        }
        self.kept()
            .try_for_each(|(option, value)| set(option, value))
    }
}

/// What few sockets need.
#[derive(Clone, Default)]
pub struct Rare {
    pub settings: Settings,
    /// The peer, where it is no IPv4 address.
    pub peer: Address,
}

/// The shared half of a socket. There are many of them, so it is kept small.
pub struct SocketRecord {
    pub kind: sys::Kind,
    pub marks: Marks,
    pub epoch: u8,
    pub family: Family,
    /// Connects that are pending.
    pub connecting: u16,
    /// The peer of a connection, remembered after it is gone. The default is none.
    peer: SocketAddrV4,
    pub descriptor: Option<Descriptor>,
    /// Bytes begun and not yet sent.
    pub queued: u64,
    pub rare: Option<Box<Rare>>,
}

const _: () = assert!(size_of::<SocketRecord>() <= 32 || cfg!(not(target_pointer_width = "64")));

impl Default for SocketRecord {
    fn default() -> SocketRecord {
        SocketRecord {
            kind: sys::Kind::default(),
            marks: Marks::default(),
            epoch: 0,
            family: Family::None,
            connecting: 0,
            peer: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            descriptor: None,
            queued: 0,
            rare: None,
        }
    }
}

impl SocketRecord {
    /// What was set on it.
    pub fn kept(&self) -> Option<&Settings> {
        self.rare.as_deref().map(|rare| &rare.settings)
    }

    /// What was set on it, made if nothing was.
    pub fn settings(&mut self) -> Answer<&mut Settings> {
        let rare = self.rare().ok_or(Status::OutOfMemory)?;
        Ok(&mut rare.settings)
    }

    /// What its accepted connections take over: what is the library's own, and how long a close
    /// lingers, which the library has to know. The system hands on all else by itself.
    pub fn heritage(&self) -> Option<Settings> {
        let kept = self.kept()?;
        let linger = SocketOption::LingerS as usize;
        let mut settings = Settings {
            send_timeout_ms: kept.send_timeout_ms,
            receive_timeout_ms: kept.receive_timeout_ms,
            send_queue_limit: kept.send_queue_limit,
            ..Settings::default()
        };
        settings.system[linger] = kept.system[linger];
        let times = settings.send_timeout_ms | settings.receive_timeout_ms;
        let any = times | settings.send_queue_limit != 0 || settings.system[linger].is_some();
        any.then_some(settings)
    }

    /// The place for its rare things, if nothing is in it.
    pub fn take_needless(&mut self) -> Option<Box<Rare>> {
        let is_needed = self.marks.has(Marks::PEER_IS_RARE) || self.heritage().is_some();
        self.rare.take_if(|_| !is_needed)
    }

    /// Closes what the worker has never heard of, or cannot close any more.
    pub fn let_go(&mut self, pins: &mut Pins) {
        if let (Some(descriptor), file) = self.take_descriptor() {
            if self.marks.has(Marks::CONNECTED) {
                // A child of fork may hold a copy; the peer is told all the same.
                let _ = sys::socket::shutdown(descriptor.raw(), true, true);
            }
            drop(pins.let_go(descriptor));
            if let Some(file) = file {
                file.remove();
            }
        }
    }

    /// Its descriptor, and the file that was made for it.
    pub fn take_descriptor(&mut self) -> (Option<Descriptor>, Option<Box<BoundFile>>) {
        let file = self
            .rare
            .as_mut()
            .and_then(|rare| rare.settings.file.take());
        (self.descriptor.take(), file)
    }

    /// The rare things, with room made for them; none when there is no room.
    pub fn rare(&mut self) -> Option<&mut Rare> {
        if self.rare.is_none() {
            self.rare = foreign::try_box(Rare::default());
        }
        self.rare.as_deref_mut()
    }

    pub fn peer(&self) -> Address {
        let address = Address::of_ipv4(*self.peer.ip(), self.peer.port());
        match (&self.rare, self.family) {
            (Some(rare), _) if self.marks.has(Marks::PEER_IS_RARE) => rare.peer,
            _ if self.peer.port() == 0 => Address::NONE,
            (_, Family::Unix) => Address::UNNAMED,
            (_, family) => address.for_family(family),
        }
    }

    /// Remembers the peer, mostly in place: an IPv4 address, also as a socket of both families says
    /// it, and a unix socket without a name. False when there is no room for another, which
    /// `begin_connect` has made.
    pub fn set_peer(&mut self, peer: &Address) -> bool {
        self.marks.clear(Marks::PEER_IS_RARE);
        let in_place = match self.family {
            Family::Ipv6 => peer.mapped_ipv4(),
            // Any port will do.
            Family::Unix => (*peer == Address::UNNAMED).then_some((Ipv4Addr::UNSPECIFIED, 1)),
            _ => peer.ipv4(),
        };
        if let Some((host, port)) = in_place {
            self.peer = SocketAddrV4::new(host, port);
            return true;
        }
        let Some(rare) = self.rare() else {
            return false;
        };
        rare.peer = *peer;
        self.marks.set(Marks::PEER_IS_RARE);
        true
    }
}
