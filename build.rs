//! Two things that the compiler does not do by itself: the C header, and how the shared library is linked.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the header's contents come from, in the order in which it shows them.
const SOURCES: [&str; 6] = [
    "src/abi.rs",
    "src/ffi/library.rs",
    "src/ffi/runtime.rs",
    "src/ffi/socket.rs",
    "src/ffi/operation.rs",
    "src/ffi/address.rs",
];
const CONFIG: &str = "include/cbindgen.toml";
const HEADER: &str = "include/asock.h";

fn main() {
    let root = PathBuf::from(
        env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the package's directory"),
    );
    for source in SOURCES.iter().chain(&[CONFIG, HEADER, "build.rs"]) {
        println!("cargo:rerun-if-changed={source}");
    }
    link_arguments();
    write_header(&root);
}

fn link_arguments() {
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // The name that programs look for at run time; the number rises when the binary interface breaks.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libasock.so.0");
        // A thread that was in the library has destructors of the library's to run when it ends, so the code must stay
        // mapped even after dlclose.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}

/// Writes the header, but only if it says something new: a build must leave a clean tree clean, and must work where the
/// sources cannot be written.
fn write_header(root: &Path) {
    let config = cbindgen::Config::from_file(root.join(CONFIG))
        .expect("include/cbindgen.toml is well formed");
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(root.join(source));
    }
    let bindings = match builder.generate() {
        Ok(bindings) => bindings,
        Err(error @ cbindgen::Error::ParseSyntaxError { .. }) => {
            // The compiler is about to say this better.
            println!("cargo:warning=include/asock.h was not generated: {error}");
            return;
        }
        Err(error) => panic!("include/asock.h cannot be generated: {error}"),
    };
    let mut text = Vec::new();
    bindings.write(&mut text);
    let text = parenthesise(&String::from_utf8(text).expect("a header is text"));

    let path = root.join(HEADER);
    if fs::read(&path).is_ok_and(|present| present == text.as_bytes()) {
        return;
    }
    if let Err(error) = fs::write(&path, text) {
        panic!("include/asock.h is out of date and cannot be written: {error}");
    }
}

/// Puts parentheses around negative constants, so that they mean the same wherever a macro is put.
fn parenthesise(header: &str) -> String {
    let mut text = String::with_capacity(header.len() + 256);
    for line in header.lines() {
        let constant = line
            .strip_prefix("#define ")
            .and_then(|rest| rest.split_once(' '));
        match constant {
            Some((name, value)) if value.starts_with('-') => {
                text.push_str(&format!("#define {name} ({value})\n"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}
