//! Taking requests back. A cancel only asks the kernel, and may find nothing because its request was
//! between two places; then it is made again.

use super::guess::Guess;
use super::{bit_of, pack, unpack, Held, UringDriver, CANCEL, GET_EVENTS, MISSED};
use crate::driver::{Lane, Outcome, Token};
use crate::sys::{outside, server};
use io_uring::opcode;
use io_uring::types::CancelBuilder;

impl UringDriver {
    pub fn cancel(&mut self, token: Token) -> Option<Outcome> {
        if self.drop_parked(token) {
            return Some(Outcome::Canceled);
        }
        if let Some(state) = self.states.get_mut(token.socket) {
            state.marks |= bit_of(token.lane);
        }
        let entry = opcode::AsyncCancel::new(pack(token)).build();
        if self.push(entry.user_data(CANCEL | pack(token))).is_err() {
            self.note_missed(token);
        }
        None
    }

    /// A cancel has come to nothing. Where its lane is over meanwhile, that is as it should be.
    pub(super) fn note_missed(&mut self, token: Token) {
        if let Some(state) = self.states.get_mut(token.socket) {
            if state.is_canceled(token.lane) {
                state.marks |= MISSED;
                self.missed = true;
            }
        }
    }

    /// Tries the cancels again that came to nothing.
    pub(super) fn cancel_again(&mut self) {
        if !std::mem::take(&mut self.missed) {
            return;
        }
        // It is rare, so it may take a look at all of them; and it must not need memory.
        let mut from = 0;
        while let Some(socket) = self.states.find(from, |state| state.marks & MISSED != 0) {
            from = socket + 1;
            if let Some(state) = self.states.get_mut(socket) {
                state.marks &= !MISSED;
            }
            for lane in [Lane::Output, Lane::Input] {
                let state = self.states.get(socket);
                if state.is_some_and(|state| state.is_canceled(lane)) {
                    self.cancel(Token { socket, lane });
                }
            }
        }
    }

    /// Has the kernel let go of everything at once, after a panic.
    pub fn abandon(&mut self) {
        self.guess = Guess::default();
        let everything = CancelBuilder::any();
        let _ = self.ring.submitter().register_sync_cancel(None, everything);
        // What still stands in the queue must not begin now that it is told to be over.
        // SAFETY: no argument, and nothing that the kernel would keep.
        let _ = unsafe {
            let submitter = self.ring.submitter();
            submitter.enter::<libc::sigset_t>(0, 0, GET_EVENTS, None)
        };
        // A connection that came and that nobody will be told of shall not stay open.
        while let Some(completion) = self.ring.completion().next() {
            let (data, result) = (completion.user_data(), completion.result());
            let token = unpack(data);
            let state = self.states.get(token.socket);
            let lane = state.map(|state| state.lanes[token.lane as usize]);
            let accepts = self.callers.iter().any(|own| own.0 == token.socket);
            let ours = data & CANCEL == 0 && token.lane == Lane::Input;
            if let (true, Some(Held::Request), Ok(number)) =
                (ours && accepts, lane, usize::try_from(result))
            {
                drop(outside::claim(server::accepted(number)));
            }
        }
    }
}
