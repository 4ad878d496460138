//! Readiness from the kernel, edge-triggered: an event tells that something changed since the last one.

use super::direct;
use super::socket::{Descriptor, RawDescriptor};
use super::{checked, SysResult};
use crate::status::OsError;

/// What the kernel has to say about one descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// What the descriptor was added with.
    pub data: u64,
    flags: u32,
}

impl Event {
    fn has(self, flags: libc::c_int) -> bool {
        self.flags & flags as u32 != 0
    }

    /// There is something to read, or the end of it.
    pub fn is_readable(self) -> bool {
        self.has(libc::EPOLLIN | libc::EPOLLRDHUP)
    }

    pub fn is_writable(self) -> bool {
        self.has(libc::EPOLLOUT)
    }

    /// The peer has shut down its sending side.
    pub fn has_ended(self) -> bool {
        self.has(libc::EPOLLRDHUP)
    }

    /// Both sides are shut down, or there is an error.
    pub fn is_gone(self) -> bool {
        self.has(libc::EPOLLHUP | libc::EPOLLERR)
    }

    /// Out-of-band data has arrived.
    pub fn is_urgent(self) -> bool {
        self.has(libc::EPOLLPRI)
    }
}

/// Room for the events of one wait; made once, so that waiting allocates nothing.
pub struct Events {
    list: Vec<libc::epoll_event>,
}

impl Events {
    /// Room for `capacity` events, at least one.
    pub fn with_capacity(capacity: usize) -> SysResult<Events> {
        let mut list = Vec::new();
        list.try_reserve_exact(capacity.max(1))
            .map_err(|_| OsError(libc::ENOMEM))?;
        Ok(Events { list })
    }

    /// The event at a place, until there is none.
    pub fn get(&self, index: usize) -> Option<Event> {
        let event = self.list.get(index)?;
        Some(Event {
            data: event.u64,
            flags: event.events,
        })
    }
}

/// A set of descriptors that the kernel watches.
#[derive(Debug)]
pub struct Epoll {
    descriptor: Descriptor,
}

impl Epoll {
    pub fn new() -> SysResult<Epoll> {
        // SAFETY: the call takes no pointer.
        let number = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Epoll {
            descriptor: Descriptor::owning(number),
        })
    }

    /// Watches a socket for everything, once and for all: with edges there is nothing to change later. One that is watched
    /// already is looked at anew.
    pub fn add(&self, descriptor: RawDescriptor, data: u64) -> SysResult<()> {
        let flags = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLPRI;
        match self.control(libc::EPOLL_CTL_ADD, descriptor, flags | libc::EPOLLET, data) {
            Err(OsError(libc::EEXIST)) => self.relabel(descriptor, data),
            added => added,
        }
    }

    /// Gives a registered descriptor other data; what is ready by now is reported anew.
    pub fn relabel(&self, descriptor: RawDescriptor, data: u64) -> SysResult<()> {
        let flags = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLPRI;
        self.control(libc::EPOLL_CTL_MOD, descriptor, flags | libc::EPOLLET, data)
    }

    /// Watches the event that wakes a worker; every signal is a new edge, also before it is cleared.
    pub fn add_waker(&self, descriptor: RawDescriptor, data: u64) -> SysResult<()> {
        let flags = libc::EPOLLIN | libc::EPOLLET;
        self.control(libc::EPOLL_CTL_ADD, descriptor, flags, data)
    }

    /// Watches a descriptor no longer. Closing it is not enough where a forked child holds a copy.
    pub fn remove(&self, descriptor: RawDescriptor) -> SysResult<()> {
        self.control(libc::EPOLL_CTL_DEL, descriptor, 0, 0)
    }

    /// Waits for events; 0 ms looks only, and a negative limit waits for ever. A signal ends it with no event.
    pub fn wait(&self, events: &mut Events, timeout_ms: i32) -> SysResult<()> {
        events.list.clear();
        let room = i32::try_from(events.list.capacity()).unwrap_or(i32::MAX);
        // SAFETY: the list has room for `room` events, and the call writes no more.
        let answer = checked(unsafe {
            direct::epoll_wait(
                self.descriptor.raw(),
                events.list.as_mut_ptr(),
                room,
                timeout_ms,
            )
        });
        let count = match answer {
            Err(OsError(libc::EINTR)) => return Ok(()),
            other => other?,
        };
        // SAFETY: the kernel has written `count` events, and `count` is at most `room`.
        unsafe { events.list.set_len(count as usize) };
        Ok(())
    }

    fn control(
        &self,
        operation: libc::c_int,
        descriptor: RawDescriptor,
        flags: libc::c_int,
        data: u64,
    ) -> SysResult<()> {
        let mut event = libc::epoll_event {
            events: flags as u32,
            u64: data,
        };
        // SAFETY: `event` is a local that the call reads.
        checked(unsafe {
            libc::epoll_ctl(self.descriptor.raw().0, operation, descriptor.0, &mut event)
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    //! One event descriptor and one epoll: an edge a signal, silence without one, nothing after the removal.

    use super::*;
    use crate::sys::EventFd;

    fn look(epoll: &Epoll, events: &mut Events) -> Option<Event> {
        epoll.wait(events, 0).expect("waits");
        assert_eq!(events.get(1), None);
        events.get(0)
    }

    #[test]
    fn a_signal_is_an_edge() {
        let epoll = Epoll::new().expect("makes an epoll");
        let mut events = Events::with_capacity(4).expect("makes room");
        let event = EventFd::new().expect("makes an event");
        epoll.add_waker(event.raw(), u64::MAX - 1).expect("adds");
        assert_eq!(look(&epoll, &mut events), None);

        event.signal();
        let seen = look(&epoll, &mut events).expect("the edge");
        assert_eq!(seen.data, u64::MAX - 1);
        assert!(seen.is_readable() && !seen.is_writable() && !seen.is_gone());
        assert_eq!(look(&epoll, &mut events), None);

        event.signal();
        assert!(look(&epoll, &mut events).is_some());

        event.clear();
        event.clear();
        assert_eq!(look(&epoll, &mut events), None);

        epoll.remove(event.raw()).expect("removes");
        event.signal();
        assert_eq!(look(&epoll, &mut events), None);
        assert_eq!(epoll.remove(event.raw()), Err(OsError(libc::ENOENT)));
    }
}
