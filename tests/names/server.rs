//! A name server of a few lines, and one that is dead. It answers over UDP what a test has told it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What becomes of a question.
#[derive(Clone, Debug)]
pub enum Answer {
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NotFound,
    /// The server says that it has failed (SERVFAIL).
    Failure,
    /// No answer ever comes.
    Silence,
    /// None comes before the test has said another one.
    Held,
}

impl Answer {
    pub fn addresses(texts: &[&str]) -> Answer {
        let parse = |text: &&str| text.parse().expect("an address");
        Answer::Addresses(texts.iter().map(parse).collect())
    }
}

/// What the server knows: an answer for each name, and when it gives it.
pub type Table = Arc<Mutex<HashMap<String, (Duration, Answer)>>>;

/// How soon the server looks whether an answer is held no more.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

const HEADER: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const NO_ERROR: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;

/// Answers on this address for as long as the process lives.
pub fn serve(address: &str, table: Table) {
    let socket = UdpSocket::bind(address).expect("the namespace is this test's own");
    let socket = Arc::new(socket);
    std::thread::spawn(move || {
        let mut room = [0; 512];
        loop {
            let Ok((length, client)) = socket.recv_from(&mut room) else {
                continue; // An ICMP error of an answer that nobody waited for.
            };
            answer_to(&socket, &table, &room[..length], client);
        }
    });
}

/// Takes every question and says nothing.
pub fn play_dead(address: &str) {
    let socket = UdpSocket::bind(address).expect("the namespace is this test's own");
    std::mem::forget(socket); // For as long as the process lives.
}

fn answer_to(socket: &Arc<UdpSocket>, table: &Table, question: &[u8], client: SocketAddr) {
    let Some((name, kind, length)) = parse(question) else {
        return;
    };
    let known = table.lock().unwrap_or_else(PoisonError::into_inner);
    let (delay, answer) = known
        .get(&name)
        .cloned()
        .unwrap_or((Duration::ZERO, Answer::NotFound));
    drop(known);
    let (code, addresses) = match answer {
        Answer::Silence => return,
        Answer::Held => {
            let (socket, table, question) = (Arc::clone(socket), table.clone(), question.to_vec());
            std::thread::spawn(move || {
                std::thread::sleep(LOOK_AGAIN);
                answer_to(&socket, &table, &question, client);
            });
            return;
        }
        Answer::Failure => (SERVER_FAILURE, Vec::new()),
        Answer::NotFound => (NO_SUCH_NAME, Vec::new()),
        Answer::Addresses(addresses) => (NO_ERROR, addresses),
    };
    let message = compose(&question[..length], kind, code, &addresses);
    if delay.is_zero() {
        let _ = socket.send_to(&message, client); // Who asked may be gone.
        return;
    }
    let socket = Arc::clone(socket);
    std::thread::spawn(move || {
        std::thread::sleep(delay); // This is the slowness that the test has asked for.
        let _ = socket.send_to(&message, client);
    });
}

/// The name and the type that a message asks for, and where its question ends.
fn parse(message: &[u8]) -> Option<(String, u16, usize)> {
    let mut name = String::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if !name.is_empty() {
            name.push('.');
        }
        let label = message.get(at..at + length)?;
        name.push_str(&String::from_utf8_lossy(label).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]);
    Some((name, kind, at + 4))
}

/// The question with its answer behind it.
fn compose(question: &[u8], kind: u16, code: u8, addresses: &[IpAddr]) -> Vec<u8> {
    let records: Vec<Vec<u8>> = addresses
        .iter()
        .filter_map(|address| match address {
            IpAddr::V4(address) if kind == TYPE_A => Some(address.octets().to_vec()),
            IpAddr::V6(address) if kind == TYPE_AAAA => Some(address.octets().to_vec()),
            _ => None,
        })
        .collect();
    let mut message = question.to_vec();
    message[2] = 0x81; // An answer, and recursion was asked for.
    message[3] = 0x80 | code; // There is recursion.
    message[4..HEADER].fill(0);
    message[5] = 1; // One question,
    message[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes()); // so many answers.
    for record in records {
        message.extend([0xc0, HEADER as u8]); // The name is that of the question.
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 0]); // Of the internet, and for this once.
        message.extend((record.len() as u16).to_be_bytes());
        message.extend(record);
    }
    message
}
