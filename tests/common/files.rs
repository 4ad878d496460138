//! Files to be sent, and the call that sends them.

use super::calls::{get, have_a_turn};
use super::{record, until, Random, Recorder, Runtime};
use asock::*;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A file that has no name any more, so that nothing of it is left whatever becomes of the test.
pub fn empty_file() -> File {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::SeqCst);
    let name = format!("asock-test-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .expect("a file can be made");
    std::fs::remove_file(&path).expect("it was just made");
    file
}

/// The same with these bytes, its position behind them.
pub fn file_of(bytes: &[u8]) -> File {
    let mut file = empty_file();
    file.write_all(bytes).expect("there is room");
    file
}

/// Bytes that look random; what is missing, doubled or misplaced shows.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let words = std::iter::repeat_with(|| random.next().to_ne_bytes());
    // A prime: what repeats does not line up with anything that the system counts in.
    let some: Vec<u8> = words.flatten().take(65_521.min(length)).collect();
    let mut bytes = some.repeat(length / some.len().max(1) + 1);
    bytes.truncate(length);
    bytes
}

/// Waits until a part of what is queued is sent and no more leaves, since the peer does not read: the system has had some
/// time to take more, and behind that the worker a turn to give it.
pub fn wait_stuck(runtime: &Runtime, socket: asock_socket, length: usize) {
    let queued = || get(socket, ASOCK_OPTION_SEND_QUEUED).expect("a socket");
    until("a part is sent", || queued() < length as i64);
    let mut last = (queued(), Instant::now());
    until("the line is full", || {
        if last.1.elapsed() > Duration::from_millis(50) {
            have_a_turn(runtime);
        }
        let now = queued();
        if now != last.0 {
            last = (now, Instant::now());
        }
        last.1.elapsed() > Duration::from_millis(50)
    });
}

/// Whether this process has that file open besides `file` itself.
pub fn is_open_elsewhere(file: &File) -> bool {
    let links = std::fs::read_dir("/proc/self/fd").expect("Linux has it");
    let own = number_of(file).to_string();
    let inode = file.metadata().expect("it is open").ino();
    links.flatten().any(|link| {
        let same = std::fs::metadata(link.path()).is_ok_and(|about| about.ino() == inode);
        same && link.file_name().to_str() != Some(&own)
    })
}

/// The number of something's descriptor.
pub fn number_of(file: &impl AsRawFd) -> i64 {
    i64::from(file.as_raw_fd())
}

impl Recorder {
    #[track_caller]
    pub fn send_file(
        &self,
        socket: asock_socket,
        file: &File,
        offset: u64,
        length: usize,
    ) -> asock_op {
        let (status, op) = self.try_send_file(socket, number_of(file), offset, length as u64);
        assert_eq!(status, ASOCK_OK);
        op
    }

    pub fn try_send_file(
        &self,
        socket: asock_socket,
        file: i64,
        offset: u64,
        length: u64,
    ) -> (asock_status, asock_op) {
        let mut op = 0;
        // SAFETY: the recorder outlives the operation.
        let status = unsafe {
            asock_begin_send_file(
                socket,
                file,
                offset,
                length,
                Some(record),
                self.user_data(),
                &raw mut op,
            )
        };
        (status, op)
    }
}
