//! Names that the system gives to things of its own.

use std::ffi::CString;

/// The number of a network interface, for the scope of an address such as `fe80::1%eth0`.
pub fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the pointer is that of a text with its zero byte, and lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::interface_index;

    #[test]
    fn names_that_no_interface_has() {
        assert_eq!(interface_index(""), None);
        assert_eq!(interface_index("no such interface here"), None);
        assert_eq!(interface_index("l\0o"), None);
    }
}
