//! Descriptors that a worker makes for connections, with the options that were kept, also those
//! that the application sets meanwhile; and those that come from elsewhere.

use super::arrival::{Arrival, Standing};
use super::operation::Fault;
use super::population::Arriving;
use super::ports::Ports;
use super::record::Marks;
use super::shared::Shared;
use crate::address::Family;
use crate::status::Status;
use crate::sys::{outside, server, Descriptor, Kind, SysResult};
use std::sync::MutexGuard;

/// A descriptor with the options of a socket, as they were at some version.
pub(super) struct Prepared {
    pub descriptor: Descriptor,
    pub family: Family,
    pub kind: Kind,
    pub version: Option<u32>,
}

impl Ports<'_> {
    /// Brings the options of a descriptor up to date. The application may set more meanwhile,
    /// hence the second look under the lock, which is given back with all as it should be.
    fn prepare(
        &self,
        socket: u32,
        prepared: &mut Prepared,
    ) -> SysResult<MutexGuard<'static, Shared>> {
        loop {
            let mut shared = self.seat.lock();
            let settings = shared.sockets.at(socket).kept();
            let version = settings.map_or(0, |kept| kept.version);
            if prepared.version == Some(version) {
                return Ok(shared);
            }
            let kept = settings.cloned().unwrap_or_default();
            drop(shared);
            kept.apply(prepared.descriptor.raw(), prepared.family, prepared.kind)?;
            prepared.version = Some(version);
        }
    }

    /// Makes a prepared descriptor the socket's own.
    pub(super) fn settle_in(&self, socket: u32, mut prepared: Prepared) -> SysResult<()> {
        let mut shared = self.prepare(socket, &mut prepared)?;
        let record = shared.sockets.at(socket);
        record.family = prepared.family;
        record.descriptor = Some(prepared.descriptor);
        Ok(())
    }

    /// Keeps the descriptor of an attempt.
    pub(super) fn keep_attempt(
        &mut self,
        number: u32,
        mut prepared: Prepared,
        socket: u32,
    ) -> SysResult<()> {
        drop(self.prepare(socket, &mut prepared)?);
        *self.attempts.entry(number)? = Some(prepared);
        Ok(())
    }

    pub(super) fn take_attempt(&mut self, number: u32) -> Option<Prepared> {
        self.attempts.get_mut(number)?.take()
    }

    /// A descriptor that was made elsewhere becomes the driver's.
    pub(super) fn take_in(&mut self, socket: u32) -> Result<Arrival, Fault> {
        let mut shared = self.seat.lock();
        let record = shared.sockets.at(socket);
        let family = record.family;
        let Some(descriptor) = &record.descriptor else {
            return Err(Fault::of(Status::Internal));
        };
        let raw = descriptor.raw();
        let standing = match record {
            record if record.marks.has(Marks::LISTENING) => Standing::Listening,
            record if record.marks.has(Marks::CONNECTED) => Standing::Connected,
            _ => Standing::Open,
        };
        drop(shared);
        if self.driver.descriptor(socket).is_none() {
            self.driver.attach(socket, raw).map_err(Fault::system)?;
            if family == Family::Unix {
                self.driver.reads_may_stop(socket);
            }
        }
        Ok(Arrival { family, standing })
    }

    /// An accepted descriptor takes its place, or is closed.
    pub(super) fn house(&mut self, listener: u32, place: u64, number: usize) -> Result<(), Fault> {
        let descriptor = server::accepted(number);
        let arriving = Arriving {
            descriptor,
            family: self.seat.lock().sockets.at(listener).family,
            kind: Kind::Stream,
            standing: Standing::Connected,
            peer: self.driver.peer(),
            adopted: false,
        };
        self.population.fill(place, arriving).map_err(|status| {
            drop(outside::claim(descriptor));
            Fault::of(status)
        })
    }
}
