//! A receive that the kernel has not got yet: while the worker looks for work, the driver tries it
//! by a call of its own, which is there sooner than a completion.

use super::{Held, UringDriver, EMPTY};
use crate::driver::{Done, Outcome, Request, Requests, Token, LOOKS_PER_EVENT};
use crate::foreign::Buffer;
use crate::sys::socket as system;
use crate::sys::{RawDescriptor, ReceiveFlags, SendFlags, SysResult, WOULD_BLOCK};
use io_uring::squeue;

/// The receive, as the kernel is to get it once the worker sleeps.
pub(super) struct Parked {
    token: Token,
    entry: squeue::Entry,
}

#[derive(Default)]
pub(super) struct Guess {
    parked: Option<Parked>,
    /// The worker looks before it sleeps.
    looks: bool,
    count: u32,
    /// The present look tries the receive.
    now: bool,
}

impl UringDriver {
    /// Mostly tries the receive that is parked, and only now and then asks the kernel. Where there is
    /// more to do than to wait for that one, the kernel gets it with the rest.
    pub fn look(&mut self) -> SysResult<()> {
        let guess = &mut self.guess;
        guess.looks = true;
        guess.count = guess.count.wrapping_add(1);
        let asks = guess.parked.is_none() || guess.count % LOOKS_PER_EVENT == 0;
        if !self.ring.submission().is_empty() || !self.ring.completion().is_empty() {
            return self.wait(0);
        }
        if asks {
            return self.ask(0);
        }
        self.guess.now = true;
        Ok(())
    }

    /// Keeps a receive that would find nothing now, if there is a place for it and somebody looks.
    pub(super) fn park(&mut self, token: Token, entry: &squeue::Entry) -> bool {
        let parks = self.guess.looks && self.guess.parked.is_none();
        if parks {
            let entry = entry.clone();
            self.guess.parked = Some(Parked { token, entry });
        }
        parks
    }

    /// The kernel gets what is parked.
    pub(super) fn unpark(&mut self) -> SysResult<()> {
        let Some(Parked { token, entry }) = &self.guess.parked else {
            return Ok(());
        };
        let (token, entry) = (*token, entry.clone());
        self.hand_over(token, entry, Held::Request)?;
        self.guess.parked = None;
        Ok(())
    }

    /// Where the answer is waited for by calls of our own, the question goes by one, too.
    pub(super) fn send_now(
        &self,
        token: Token,
        descriptor: RawDescriptor,
        buffer: Buffer,
        flags: SendFlags,
    ) -> Option<Outcome> {
        let parked = self.guess.parked.as_ref()?;
        if parked.token.socket != token.socket {
            return None;
        }
        match system::send(descriptor, buffer, flags) {
            Ok(bytes) => Some(Outcome::Done(bytes)),
            Err(WOULD_BLOCK) => None,
            Err(error) => Some(Outcome::Failed(error)),
        }
    }

    /// Gives a parked receive up; false if it is not that one.
    pub(super) fn drop_parked(&mut self, token: Token) -> bool {
        let parked = &mut self.guess.parked;
        parked.take_if(|parked| parked.token == token).is_some()
    }

    /// What the present look has found of the parked receive.
    pub(super) fn attempt_parked(&mut self, requests: &impl Requests) -> Option<Done> {
        if !std::mem::take(&mut self.guess.now) {
            return None;
        }
        let token = self.guess.parked.as_ref()?.token;
        let Request::Receive { buffer, .. } = requests.request(token)? else {
            return None;
        };
        let state = self.states.get_mut(token.socket)?;
        let flags = ReceiveFlags::default(); // What peeks, or has another flag, is not parked.
        let outcome = match system::receive(state.descriptor.get()?, buffer, flags) {
            Err(WOULD_BLOCK) => return None,
            Err(error) => Outcome::Failed(error),
            Ok(bytes) => {
                let emptied = bytes > 0 && bytes < buffer.len();
                state.marks = (state.marks & !EMPTY) | (EMPTY * u8::from(emptied));
                Outcome::Done(bytes)
            }
        };
        self.guess.parked = None;
        Some(Done { token, outcome })
    }
}
