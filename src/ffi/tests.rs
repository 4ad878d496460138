//! The checks of arguments, apart from any runtime: what is read of the caller's memory, and what is refused.

use super::*;
use crate::abi::{asock_runtime_config, asock_stats};

const BAD: Status = Status::InvalidArgument;

fn text(bytes: &[u8]) -> Answer<String> {
    // SAFETY: every test gives a final zero, or more than the longest host.
    unsafe { host_text(bytes.as_ptr().cast()) }.map(str::to_owned)
}

#[test]
fn hosts_are_bounded_texts() {
    let longest = [vec![b'x'; HOST_MAX], vec![0]].concat();
    assert_eq!(text(b"h\0"), Ok("h".to_owned()));
    assert_eq!(text(&longest).map(|host| host.len()), Ok(HOST_MAX));
    // One byte more, and no zero anywhere in the memory: nothing past it may be read.
    assert_eq!(text(&vec![b'x'; HOST_MAX + 1]), Err(BAD));
    assert_eq!(text(b"\0"), Err(BAD));
    assert_eq!(text(b"\xff\xfe\0"), Err(BAD));
    // SAFETY: NULL is allowed.
    assert_eq!(unsafe { host_text(std::ptr::null()) }, Err(BAD));
}

#[test]
fn only_unix_sockets_have_no_port() {
    let ask = |host: &std::ffi::CStr, port| {
        // SAFETY: the texts end with a zero.
        let host = unsafe { endpoint(host.as_ptr(), port) };
        host.map(|host| match host {
            Host::Address(address) => Some(address),
            Host::Name(..) => None,
        })
    };
    assert_eq!(ask(c"127.0.0.1", 0), Err(BAD));
    assert_eq!(ask(c"localhost", 0), Err(BAD));
    assert_eq!(ask(c"localhost", 80), Ok(None));
    assert_eq!(ask(c"unix:", 80), Err(BAD));
    assert!(ask(c"unix:/p", 0).is_ok_and(|address| address.is_some()));
    assert!(ask(c"::1", 80).is_ok_and(|address| address.is_some()));
}

#[test]
fn memory_that_cannot_be_is_refused() {
    let byte = 0_u8;
    let there = (&raw const byte).cast_mut().cast::<c_void>();
    let ask = |data, length| {
        // SAFETY: nothing follows the pointer here.
        unsafe { buffer(data, length) }.map(|buffer| buffer.len())
    };
    assert_eq!(ask(there, 1), Ok(1));
    assert_eq!(ask(std::ptr::null_mut(), 0), Ok(0));
    assert_eq!(ask(std::ptr::null_mut(), 1), Err(BAD));
    assert_eq!(ask(there, isize::MAX as usize + 1), Err(BAD));
    assert_eq!(ask(there, usize::MAX), Err(BAD));
    assert_eq!(array_of(std::ptr::null::<u64>(), 0), Ok(()));
    assert_eq!(
        array_of(std::ptr::dangling::<u64>(), usize::MAX / 8),
        Err(BAD)
    );
}

#[test]
fn limits_of_time() {
    assert_eq!(time_limit(-1), Ok(()));
    assert_eq!(time_limit(i32::MAX), Ok(()));
    assert_eq!(time_limit(-2), Err(BAD));
    assert_eq!(time_limit(i32::MIN), Err(BAD));
}

/// A struct of another version: words of a `size`, and whatever is in them.
fn sized(words: usize, size: usize, filler: u64) -> Vec<u64> {
    let mut memory = vec![filler; words];
    memory[0] = size as u64;
    memory
}

#[cfg(target_pointer_width = "64")]
#[test]
fn structs_of_other_versions() {
    const FULL: usize = size_of::<asock_runtime_config>();
    // SAFETY: the memory is as long as its size says, or the size is one that is refused unread.
    let read = |memory: &[u64], first| unsafe {
        read_sized(memory.as_ptr().cast::<asock_runtime_config>(), first)
    };

    let ours = read(&sized(4, FULL, 0x0000_0002_0000_0001), FULL);
    assert!(
        ours.is_ok_and(|config| config.size == FULL && config.delivery == 1 && config.spin_us == 2)
    );
    // An older caller's struct ends earlier: the rest is zero.
    let older = read(&sized(3, FULL - 8, 0x0000_0002_0000_0001), FULL - 8);
    assert!(older.is_ok_and(|config| config.resolvers == 2
        && config.max_sockets == 0
        && config.spin_us == 0));
    // A newer caller's struct goes on: with zeros, or with something that is not known here.
    assert!(read(&sized(9, 72, 0), FULL).is_ok());
    let mut wants_more = sized(9, 72, 0);
    wants_more[8] = 1 << 56;
    assert_eq!(read(&wants_more, FULL).err(), Some(BAD));
    for size in [0, 1, FULL - 1, STRUCT_MAX + 1, usize::MAX] {
        assert_eq!(read(&sized(4, size, 0), FULL).err(), Some(BAD), "{size}");
    }
    // SAFETY: NULL is allowed.
    let nothing = unsafe { declared_size(std::ptr::null::<asock_stats>(), FULL) };
    assert_eq!(nothing, Err(BAD));
}

#[test]
fn a_panic_becomes_a_status() {
    assert_eq!(guard(|| Ok(())), ASOCK_OK);
    assert_eq!(guard(|| Err(Status::QueueFull)), Status::QueueFull.code());
    assert_eq!(guard(|| panic!("a defect")), Status::Internal.code());
}

#[test]
fn a_text_fits_its_room_exactly() {
    let mut address = Address::NONE.to_abi();
    let mut text = [b'!' as c_char; 14];
    // SAFETY: every pointer is to a local, with the room that it is said to have.
    unsafe {
        assert_eq!(
            asock_address_parse(c"127.0.0.1".as_ptr(), 80, &mut address),
            ASOCK_OK
        );
        assert_eq!(
            asock_address_format(&address, text.as_mut_ptr(), 12),
            BAD.code()
        );
        assert_eq!(text, [b'!' as c_char; 14]);
        assert_eq!(
            asock_address_format(&address, text.as_mut_ptr(), 13),
            ASOCK_OK
        );
    }
    let bytes = text.map(|letter| letter as u8);
    assert_eq!(&bytes, b"127.0.0.1:80\0!");
}
