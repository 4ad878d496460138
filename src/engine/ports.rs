//! The real world for the engine's steps: the driver, the seat's records and the system's calls.

use super::arrival::Arrival;
use super::connect::FIRST_ATTEMPT;
use super::files;
use super::operation::{Fault, Payload};
use super::population::Population;
use super::prepared::Prepared;
use super::record::Marks;
use super::seat::Seat;
use super::socket::Steps;
use super::worker::tick_of;
use crate::address::{Address, Family};
use crate::driver::{Driver, Outcome, Request, Table, Token};
use crate::status::Status;
use crate::sys::socket::{self as system, ReceiveFlags};
use crate::sys::{clock, option, SocketOption, CONNECTION_REFUSED};
use std::sync::Arc;

/// What the rules ask of the world.
pub(super) struct Ports<'a> {
    pub(super) seat: &'static Seat,
    pub(super) driver: &'a mut Driver,
    pub(super) population: &'a Arc<Population>,
    pub(super) attempts: &'a mut Table<Option<Prepared>>,
}

impl Ports<'_> {
    /// Where nobody listens on a port of this machine, the system may choose that very port for
    /// our end too, and then TCP connects the socket with itself. That is a refusal.
    fn refuse_itself(&self, socket: u32, remote: &Address) -> Result<(), Fault> {
        match self.driver.descriptor(socket) {
            Some(descriptor) if system::is_its_own_peer(descriptor, remote.port()) => {
                Err(Fault::system(CONNECTION_REFUSED))
            }
            _ => Ok(()),
        }
    }
}

impl Steps for Ports<'_> {
    fn open(&mut self, number: u32, socket: u32, family: Family) -> Result<(), Fault> {
        let kind = self.seat.lock().sockets.at(socket).kind;
        let descriptor =
            system::open(family, kind, self.driver.waits_itself()).map_err(Fault::system)?;
        let raw = descriptor.raw();
        let prepared = Prepared {
            descriptor,
            family,
            kind,
            version: None,
        };
        let opened = match number {
            attempt if attempt >= FIRST_ATTEMPT => self.keep_attempt(attempt, prepared, socket),
            _ => self.settle_in(socket, prepared),
        };
        let opened = opened.and_then(|()| self.driver.attach(number, raw));
        opened.map_err(|error| {
            self.discard(number);
            Fault::system(error)
        })
    }

    fn now(&self) -> u64 {
        tick_of(clock::now_ns())
    }

    fn adopt(&mut self, socket: u32, attempt: u32, remote: &Address) -> Result<(), Fault> {
        self.refuse_itself(attempt, remote)?;
        let Some(prepared) = self.take_attempt(attempt) else {
            return Err(Fault::of(Status::Internal));
        };
        let moved = self.driver.move_to(attempt, socket);
        let settled = moved.and_then(|()| self.settle_in(socket, prepared));
        settled.map_err(|error| {
            self.driver.detach(socket);
            Fault::system(error)
        })
    }

    fn start(&mut self, token: Token, request: Request<'_>) -> Option<Outcome> {
        self.driver.start(token, request)
    }

    fn cancel(&mut self, token: Token) -> Option<Outcome> {
        self.driver.cancel(token)
    }

    fn send_file(&mut self, socket: u32, payload: Box<Payload>) -> Option<Box<Payload>> {
        files::send(self.seat, socket, payload)
    }

    fn recall_file(&mut self, operation: u32) -> Option<Box<Payload>> {
        files::recall(self.seat, operation)
    }

    fn receive_urgent(&mut self, socket: u32, request: Request<'_>) -> Outcome {
        let Request::Receive { buffer, peek, .. } = request else {
            return Outcome::Done(0);
        };
        let flags = ReceiveFlags {
            peek,
            out_of_band: true,
            whole: false,
        };
        match self.driver.descriptor(socket) {
            None => Outcome::Canceled,
            Some(descriptor) => match system::receive(descriptor, buffer, flags) {
                Ok(bytes) => {
                    self.driver.reads_may_stop(socket);
                    Outcome::Done(bytes)
                }
                Err(error) => Outcome::Failed(error),
            },
        }
    }

    fn shutdown(&mut self, socket: u32, receive: bool, send: bool) {
        if let Some(descriptor) = self.driver.descriptor(socket) {
            // It fails when the peer has reset the connection, and then the next operation says so.
            let _ = system::shutdown(descriptor, receive, send);
        }
    }

    fn connected(&mut self, socket: u32, remote: Option<Box<Payload>>) -> Result<(), Fault> {
        if let Some(Payload::Connect(address)) = remote.as_deref() {
            self.refuse_itself(socket, address)?;
            if !self.seat.lock().sockets.at(socket).set_peer(address) {
                return Err(Fault::of(Status::OutOfMemory));
            }
        }
        Ok(())
    }

    fn sent(&mut self, socket: u32, bytes: usize) {
        self.seat.lock().sockets.at(socket).queued -= bytes as u64;
    }

    fn arrived(&mut self, socket: u32) -> Result<Arrival, Fault> {
        self.take_in(socket)
    }

    fn accepted(&mut self, listener: u32, place: u64, number: usize) -> Result<(), Fault> {
        self.house(listener, place, number)
    }

    fn forget(&mut self, socket: u32) {
        self.driver.forget(socket);
    }

    fn renew(&mut self, socket: u32) -> Result<(), Fault> {
        let Some(descriptor) = self.driver.descriptor(socket) else {
            return Err(Fault::of(Status::Internal));
        };
        self.driver.detach(socket);
        // It fails where nothing had begun.
        let _ = system::disconnect(descriptor);
        let attached = self.driver.attach(socket, descriptor);
        attached.map_err(Fault::system)
    }

    fn discard(&mut self, number: u32) {
        self.driver.detach(number);
        if number >= FIRST_ATTEMPT {
            drop(self.take_attempt(number));
        } else {
            let mut shared = self.seat.lock();
            let descriptor = shared.sockets.at(number).descriptor.take();
            let unseen = descriptor.and_then(|descriptor| shared.pins.let_go(descriptor));
            drop(shared);
            drop(unseen); // Not under the lock: it is a system call.
        }
    }

    fn close(&mut self, socket: u32, reset: bool) {
        let mut shared = self.seat.lock();
        let record = shared.sockets.at(socket);
        let (descriptor, file) = record.take_descriptor();
        // Others may listen with a descriptor that came from them; a shutdown would be for all.
        let marks = record.marks;
        let shared_listener = marks.has(Marks::ADOPTED) && marks.has(Marks::LISTENING);
        let (kind, linger) = (record.kind, record.kept());
        let linger = linger.and_then(|kept| kept.system[SocketOption::LingerS as usize]);
        drop(shared);
        let Some(descriptor) = descriptor else {
            return;
        };
        if let Some(file) = file {
            file.remove();
        }
        let raw = descriptor.raw();
        // A child of fork may hold a copy of the descriptor, so the peer is told by a call of its
        // own and not by the close, which would then say nothing. Errors mean that the peer knows.
        // Where the peer's data was not taken, the system's close resets the connection.
        let resets = reset
            || linger == Some(0)
            || (self.driver.may_have_input(socket) && system::unread(raw));
        self.driver.detach(socket);
        if !shared_listener && (!resets || system::disconnect(raw).is_err()) {
            let _ = system::shutdown(raw, true, true);
        }
        if linger.is_some_and(|seconds| seconds > 0) {
            // A close that lingers would stop the worker; the system goes on sending anyway.
            let _ = option::set(raw, Family::Ipv4, kind, SocketOption::LingerS, -1);
        }
        let unseen = self.seat.lock().pins.let_go(descriptor);
        drop(unseen);
    }
}
