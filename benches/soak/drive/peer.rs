//! The other ends: blocking servers on loopback that do what a connection's first bytes ask for.

use super::{byte_at, stretch};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// What a peer is asked to do. The header of a connection: this, the seed of its streams, and a count.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Part {
    /// Sends back what it receives, and ends when the other side has.
    Echo,
    /// Sends so many bytes, and ends.
    Source,
    /// Receives until the end, then says how many bytes came; all ones if one of them was not what it should be.
    Sink,
    /// Receives so many bytes, and resets the connection.
    Reset,
    /// Does nothing for so many milliseconds, and goes.
    Silent,
}

pub const HEADER: usize = 6;

pub fn header(part: Part, seed: u8, count: u32) -> Vec<u8> {
    let mut header = vec![part as u8, seed];
    header.extend(count.to_le_bytes());
    header
}

struct Shared {
    ending: AtomicBool,
    /// Connections that are being served.
    active: AtomicUsize,
}

/// Several addresses, so that the system does not run short of ports.
pub struct Peers {
    addresses: Vec<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Peers {
    pub fn start() -> Peers {
        let shared = Arc::new(Shared {
            ending: AtomicBool::new(false),
            active: AtomicUsize::new(0),
        });
        let (mut addresses, mut threads) = (Vec::new(), Vec::new());
        for last in 1..=8 {
            let listener =
                TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), 0)).expect("loopback is there");
            addresses.push(listener.local_addr().expect("has one"));
            let shared = Arc::clone(&shared);
            threads.push(std::thread::spawn(move || accept(&listener, &shared)));
        }
        Peers {
            addresses,
            threads,
            shared,
        }
    }

    pub fn address(&self, number: usize) -> SocketAddr {
        self.addresses[number % self.addresses.len()]
    }

    /// Waits for all that is being served.
    pub fn end(self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        for address in &self.addresses {
            drop(TcpStream::connect(address)); // Wakes the thread.
        }
        for thread in self.threads {
            thread.join().expect("no panic");
        }
        while self.shared.active.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.ending.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        shared.active.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // Errors are the other side's doing: it closes and resets as it likes.
            let _ = serve(stream);
            shared.active.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header)?;
    let [part, seed, count @ ..] = header;
    let count = u32::from_le_bytes(count) as usize;
    let mut room = vec![0; 32 * 1024];
    match part {
        0 => loop {
            match stream.read(&mut room)? {
                0 => return stream.shutdown(Shutdown::Write),
                bytes => stream.write_all(&room[..bytes])?,
            }
        },
        1 => {
            let mut place = 0;
            while place < count {
                let length = (count - place).min(1 + place * 7 % 9000);
                stream.write_all(&stretch(seed, place, length))?;
                place += length;
            }
        }
        2 => {
            let (mut place, mut right) = (0, true);
            loop {
                let bytes = stream.read(&mut room)?;
                let told = &room[..bytes];
                right &= told
                    .iter()
                    .enumerate()
                    .all(|(at, byte)| *byte == byte_at(seed, place + at));
                place += bytes;
                if bytes == 0 {
                    break;
                }
            }
            let answer = if right { place as u64 } else { u64::MAX };
            stream.write_all(&answer.to_le_bytes())?;
        }
        3 => {
            stream.read_exact(&mut room[..count.min(1000)])?;
            reset(stream);
        }
        _ => std::thread::sleep(Duration::from_millis(count as u64)),
    }
    Ok(())
}

/// Ends a connection with RST instead of FIN.
fn reset(stream: TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: an open descriptor, and a struct of the option's type and size.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
}
