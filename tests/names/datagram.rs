//! Datagram sockets that connect by name: the first address that the socket's system can reach is the peer.

use super::common::calls::{local, remote, text};
use super::common::datagram::{bound, open, plain};
use super::common::*;
use super::server::Answer;
use super::world::{within, Setup};
use asock::*;

#[test]
fn the_first_address_that_fits_the_socket_is_the_peer() {
    within(Setup::default(), |world| {
        // Connects by a name, with a send behind it, which waits for the name: it is answered only then.
        let begin = |recorder: &Recorder, socket, port, name: &str, addresses: &[&str]| {
            world.answers(name, Answer::Held);
            let connect = recorder.connect_to(socket, name, port);
            let send = recorder.send(socket, &Memory::of(b"hello"), 0);
            world.answers(name, Answer::addresses(addresses));
            (connect, send)
        };
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let (_peer, peer_address) = plain("127.0.0.1");
            // SAFETY: it is an address.
            let port = unsafe { asock_address_port(&raw const peer_address) };
            // Without a descriptor it takes whichever comes first; with one for IPv4, that of IPv4.
            let (ipv4, _) = bound(&runtime, "127.0.0.1");
            let sent = open(&runtime);
            recorder.put_to(sent, b"first", &peer_address);
            for (socket, peer) in [
                (open(&runtime), format!("[::1]:{port}")),
                (ipv4, format!("127.0.0.1:{port}")),
                (sent, format!("127.0.0.1:{port}")),
            ] {
                let both = ["::1", "127.0.0.1"];
                let (connect, send) = begin(&recorder, socket, port, "both.test", &both);
                let connected = recorder.completion_of(connect);
                connected.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
                recorder
                    .completion_of(send)
                    .expect(ASOCK_KIND_SEND, ASOCK_OK);
                assert_eq!(remote(socket).map(|it| text(&it)), Ok(peer));
            }
            // Where none fits, all that has waited hears of it, and the peer is who it was.
            let before = local(ipv4);
            let neither = ["::1", "::2"];
            let (connect, send) = begin(&recorder, ipv4, port, "none.test", &neither);
            let send = recorder.completion_of(send);
            send.expect(ASOCK_KIND_SEND, ASOCK_NOT_SUPPORTED);
            let failed = recorder.completion_of(connect);
            failed.expect(ASOCK_KIND_CONNECT, ASOCK_NOT_SUPPORTED);
            assert_eq!(local(ipv4), before);
            assert_eq!(remote(ipv4), Ok(peer_address));
            let op = recorder.send(ipv4, &Memory::of(b"again"), 0);
            recorder.completion_of(op).expect(ASOCK_KIND_SEND, ASOCK_OK);
        });
    });
}
