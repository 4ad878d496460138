//! The seat's inbox, which the schedules only imitate: what they take for granted of a drain.

use crate::engine::inbox::Event;
use crate::engine::operation::{Kind, NONE};
use crate::engine::seat::Seat;
use crate::engine::shared::Service;
use crate::engine::socket::Engine;

/// The worker takes a few entries at a time. If it saw the drain before the last of them, those
/// left would begin after it and never be ended, and a stop would wait for them for ever.
#[test]
fn a_drain_is_over_all_that_was_begun_before_it() {
    const COUNT: usize = 40;
    let seat = Seat::new(0, 1);
    let mut engine = Engine::new(0);
    let mut shared = seat.lock();
    for _ in 0..COUNT {
        let room = shared.make_room().expect("there is memory");
        let id = shared.new_operation(room).slot;
        shared.records.hand(id, |record| record.kind = Kind::Timer);
        shared.link_begun(id, NONE, false);
    }
    shared.service = Service::Open;
    shared.drain();
    drop(shared);
    let mut begun = 0;
    loop {
        let mut events = Vec::new();
        let taken = seat.take(seat.lock(), &mut engine, &mut events, true);
        let begins = |event: &&Event| matches!(event, Event::Begin(..));
        begun += events.iter().filter(begins).count();
        if taken.drain {
            break;
        }
    }
    assert_eq!(begun, COUNT);
}
