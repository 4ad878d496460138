//! After a mistake of our own on a worker: what was begun still completes, what is begun later is
//! told, and the runtime can be stopped. Nothing is printed; a test of the log hook would see it.

use super::*;
use crate::abi::{
    asock_result, ASOCK_INTERNAL, ASOCK_KIND_ACCEPT, ASOCK_KIND_RECEIVE, ASOCK_KIND_SEND,
    ASOCK_KIND_TIMER,
};
use crate::foreign::{Buffer, HandleOut, Notify, UserData};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

fn collected(op: &mut u64) -> Notify {
    Notify {
        callback: None,
        user_data: UserData::NONE,
        op: HandleOut::of(op),
    }
}

/// Has the first worker of a runtime make a mistake.
fn mislead(runtime: u64) {
    let seat = runtime_of(runtime).expect("it runs").seats[0];
    let mut shared = seat.lock();
    shared.mistaken = true;
    seat.hand_over(shared);
}

static CALLS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: *const asock_result, _: *mut std::ffi::c_void) {
    CALLS.fetch_add(1, Ordering::Release);
}

/// Also where several of them stand in one queue.
#[test]
fn after_a_panic_each_is_told_as_it_wanted() {
    const COUNT: usize = 5;
    let counted = || Notify {
        callback: Some(count),
        ..Notify::NONE
    };
    for delivery in [Delivery::OnWorker, Delivery::OnPoll] {
        let config = Config {
            delivery,
            workers: 2,
            ..Config::default()
        };
        let handle = start(&config).expect("it starts");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let address = crate::address::Address::of_ipv4([127, 0, 0, 1].into(), port);
        let socket = open(handle, Kind::Stream).expect("there is room");
        let mut connect = 0;
        let host = Host::Address(address);
        begin_connect(socket, host, collected(&mut connect)).expect("begins");
        wait(connect, -1).expect("it comes");
        let mut bytes: Box<[u8]> = Box::new([0; 8]);
        let before = CALLS.load(Ordering::Acquire);
        for _ in 0..COUNT {
            let room = Buffer::of_box(&mut bytes);
            begin_receive(socket, room, 0, counted()).expect("begins");
        }
        mislead(handle);
        let mut told: Vec<asock_result> = Vec::new();
        if delivery == Delivery::OnPoll {
            let mut next = |ms| poll(handle, ms, 2, &mut |_, result| told.push(result));
            let mut left = COUNT + 1; // The connect, too.
            while left > 0 {
                let count = next(10_000).expect("it runs");
                assert_ne!(count, 0, "{left} are not told");
                left -= count;
            }
            assert_eq!(next(0), Ok(0));
        }
        assert_eq!(stop(handle), Ok(()));
        let called = CALLS.load(Ordering::Acquire) - before;
        match delivery {
            Delivery::OnWorker => assert_eq!(called, COUNT),
            Delivery::OnPoll => {
                let receives = told.iter().filter(|one| one.kind == ASOCK_KIND_RECEIVE);
                assert!(receives.clone().all(|one| one.status == ASOCK_INTERNAL));
                assert_eq!(
                    (receives.count(), told.len(), called),
                    (COUNT, COUNT + 1, 0)
                );
            }
        }
    }
}

#[test]
fn a_panic_on_a_worker_completes_everything() {
    // A worker that looks before it sleeps tries the receive by itself when it meets the mistake.
    let spins = [0, 60_000_000];
    let backends = [Backend::Epoll, Backend::IoUring];
    for (backend, spin_us) in backends
        .into_iter()
        .flat_map(|one| spins.map(|us| (one, us)))
    {
        let config = Config {
            backend,
            spin_us,
            ..Config::default()
        };
        let handle = match start(&config) {
            Err(Status::NotSupported) if backend == Backend::IoUring => continue,
            started => started.expect("it starts"),
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let address = crate::address::Address::of_ipv4([127, 0, 0, 1].into(), port);
        let socket = open(handle, Kind::Stream).expect("there is room");
        let (mut connect, mut receive, mut timer) = (0, 0, 0);
        begin_connect(socket, Host::Address(address), collected(&mut connect)).expect("begins");
        assert_eq!(end(connect).expect("ends").status, 0);
        let mut peer = listener.accept().expect("it has come").0;
        let mut bytes: Box<[u8]> = Box::new([0; 8]);
        let room = Buffer::of_box(&mut bytes);
        begin_receive(socket, room, 0, collected(&mut receive)).expect("begins");
        peer.write_all(b"1").expect("connected");
        assert_eq!(end(receive).expect("ends").bytes, 1);
        begin_receive(socket, room, 0, collected(&mut receive)).expect("begins");
        begin_timer(handle, 3_600_000, collected(&mut timer)).expect("begins");
        // It is longer than what the line holds, and goes in parts of a few bytes: mostly one is with a thread.
        let file = std::env::current_exe().and_then(std::fs::File::open);
        let file = file.expect("this program can be read");
        let (number, mut sent) = (crate::sys::file::number_of(&file), 0);
        begin_send_file(socket, number, 0, 100_000_000, &collected(&mut sent)).expect("begins");

        let (server, mut accept) = (open(handle, Kind::Stream).expect("there is room"), 0);
        let own = crate::address::Address::of_ipv4([127, 0, 0, 1].into(), 0);
        bind(server, Local::Address(own)).expect("binds");
        listen(server, 0).expect("listens");
        begin_accept(server, collected(&mut accept)).expect("begins");

        mislead(handle);
        for (op, kind) in [
            (receive, ASOCK_KIND_RECEIVE),
            (timer, ASOCK_KIND_TIMER),
            (sent, ASOCK_KIND_SEND),
            (accept, ASOCK_KIND_ACCEPT),
        ] {
            let result = end(op).expect("it completes");
            assert_eq!((result.kind, result.status), (kind, ASOCK_INTERNAL));
        }
        let _ = peer.write_all(b"late"); // It may be reset by now.
        assert_eq!(bytes[0], b'1', "it was given back");
        let refused = begin_timer(handle, 0, Notify::NONE);
        assert_eq!(refused, Err(Status::Internal));
        assert_eq!(open(handle, Kind::Stream), Err(Status::Internal));
        assert_eq!(close(socket), Ok(()));
        assert_eq!(stop(handle), Ok(()));
    }
}
