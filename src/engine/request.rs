//! What a driver is asked to do for an operation.

use super::connect::FIRST_ATTEMPT;
use super::operation::{Flags, Kind, Operation, Payload};
use super::socket::{Engine, State};
use crate::address::Address;
use crate::driver::{Lane, Request, Token};
use crate::foreign::Buffer;
use crate::sys::Message;

impl Engine {
    /// The request that the driver has, or is to have, for a lane.
    pub fn request(&self, token: Token) -> Option<Request<'_>> {
        if token.socket >= FIRST_ATTEMPT {
            return self.attempt_address(token).map(Request::Connect);
        }
        let socket = self.sockets.get(token.socket)?;
        let queue = match (token.lane, socket.state) {
            (Lane::Output, State::Connecting) => &socket.connects,
            (Lane::Output, _) => &socket.sends,
            (Lane::Input, _) => &socket.receives,
        };
        let operation = &self.operations[queue.first()?];
        match operation.payload.as_deref() {
            Some(Payload::File(file)) => file.wants_room.then_some(Request::Writable),
            None if operation.flags.has(Flags::FILE) => None, // A thread for files has it.
            _ => Some(request_of(operation)),
        }
    }
}

/// The request for an operation's next move.
#[inline(always)]
pub(super) fn request_of(operation: &Operation) -> Request<'_> {
    let rest = operation.buffer.part(operation.bytes());
    let flags = operation.flags;
    let (datagram, empty) = (flags.has(Flags::DATAGRAM), operation.buffer.is_empty());
    // A receive of nothing takes nothing, so a datagram stays where it is.
    let peek = flags.has(Flags::PEEK) || (datagram && empty);
    match (&operation.kind, operation.payload.as_deref()) {
        (Kind::Connect, Some(Payload::Connect(address))) => Request::Connect(address),
        (Kind::Connect, Some(Payload::Found(left))) => {
            Request::Connect(left.last().unwrap_or(&Address::NONE))
        }
        (Kind::Accept, _) => Request::Accept,
        (Kind::Receive, _) if empty && !datagram => Request::Readable,
        (Kind::Receive, Some(Payload::Message(message))) if flags.has(Flags::OUT_OF_BAND) => {
            Request::Receive {
                buffer: message.piece(), // One byte comes, and goes into the first of them.
                peek,
                out_of_band: true,
                whole: false,
            }
        }
        (Kind::Receive | Kind::ReceiveFrom, Some(Payload::Message(message))) => {
            Request::ReceiveMessage { message, peek }
        }
        (Kind::Send, payload) if flags.has(Flags::OUT_OF_BAND) => {
            let pieces = payload.and_then(Payload::message);
            let piece = pieces.map_or(rest, Message::piece);
            urgent(piece, rest.len(), flags.has(Flags::MORE))
        }
        (Kind::Send | Kind::SendTo, Some(Payload::Message(message))) => Request::SendMessage {
            message,
            more: flags.has(Flags::MORE),
        },
        (Kind::Receive, _) => Request::Receive {
            buffer: rest,
            peek,
            out_of_band: flags.has(Flags::OUT_OF_BAND),
            whole: datagram,
        },
        _ => Request::Send {
            buffer: rest,
            more: flags.has(Flags::MORE),
            out_of_band: false,
        },
    }
}

/// What goes next of a send whose last byte is urgent: that byte goes by itself. Of whatever the
/// system takes at once it would mark the last byte, and the stream of the peer would lack it.
fn urgent(piece: Buffer, left: usize, more: bool) -> Request<'static> {
    let is_last = left == 1;
    Request::Send {
        buffer: piece.first(left - usize::from(!is_last)),
        more: more || !is_last,
        out_of_band: is_last,
    }
}
