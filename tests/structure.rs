//! The shape of the house, read from its sources: imports run one way, unsafe code stays where it is walled in, files
//! and functions stay short. What a reader may rely on must not erode line by line.
//!
//! The order of the modules is read from the map itself, the last line of `src/lib.rs`'s comment, so that map and
//! sources cannot drift apart.
//!
//! Lines are counted without blank lines and lines that are only a comment: the limits are there to keep code in view,
//! and must not make anybody explain less. `mod tests { ... }` at the end of a file is counted by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

/// Where unsafe code is allowed, with a reason each beside its `allow(unsafe_code)`. The simulated driver stands for the
/// system in tests, so it follows the application's pointers as the system would.
const UNSAFE_PLACES: [&str; 6] = [
    "src/engine/handover.rs",
    "src/ffi/",
    "src/foreign.rs",
    "src/sys/",
    "src/driver/uring",
    "src/driver/sim.rs",
];

/// A source file: which module of the ground plan it belongs to, and its text.
struct Source {
    path: PathBuf,
    module: String,
    /// Whether `super` is the root of the crate here.
    at_the_top: bool,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    collect(&root, &root, &mut sources);
    assert!(sources.len() > 20, "the sources were not found");
    sources
}

fn collect(root: &Path, directory: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).expect("the sources are there") {
        let path = entry.expect("the sources can be listed").path();
        if path.is_dir() {
            collect(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let inside = path
                .strip_prefix(root)
                .expect("it is inside")
                .with_extension("");
            let parts: Vec<_> = inside
                .iter()
                .map(|part| part.to_string_lossy().into_owned())
                .collect();
            let text = fs::read_to_string(&path).expect("sources are text");
            sources.push(Source {
                at_the_top: parts.len() == 1 || parts[1..] == ["mod"],
                module: parts[0].clone(),
                text,
                path,
            });
        }
    }
}

/// The rank of each module, from the map: 0 is the top. What stands in braces shares a rank.
fn ranks() -> BTreeMap<String, usize> {
    let map = include_str!("../src/lib.rs");
    let line = map.lines().rfind(|line| line.starts_with("//!"));
    let line = line
        .expect("src/lib.rs has a map")
        .trim_start_matches("//!");
    let mut ranks = BTreeMap::new();
    for (rank, floor) in line
        .trim()
        .trim_matches(['`', '.'])
        .split(" -> ")
        .enumerate()
    {
        for module in floor.trim_matches(['{', '}']).split(", ") {
            assert!(
                module.chars().all(is_word),
                "the map's last line was not understood: {line}"
            );
            ranks.insert(module.to_owned(), rank);
        }
    }
    ranks
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The code of a line: what stands before a comment.
fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

/// The code of a whole file, on one line, so that imports in braces over several lines are in one piece.
fn code_of(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(|line| code(line).trim()).collect();
    lines.join(" ")
}

/// The first words of what an import or a path names: `x::y` gives x, `{x::{y, z}, w}` gives x and w.
fn heads(path: &str) -> Vec<String> {
    let Some(list) = path.strip_prefix('{') else {
        return vec![path.chars().take_while(|c| is_word(*c)).collect()];
    };
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut starts = true;
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => starts = true,
            c if starts && is_word(c) => {
                heads.extend(heads_of_word(&list[at..]));
                starts = false;
            }
            _ => {}
        }
    }
    heads
}

fn heads_of_word(text: &str) -> Option<String> {
    Some(text.chars().take_while(|c| is_word(*c)).collect())
}

/// The modules that a source names, by `crate::` in an import or in the middle of the code, or by a `super::` that
/// leads to the root.
fn named(source: &Source, ranks: &BTreeMap<String, usize>) -> BTreeSet<String> {
    let code = code_of(&source.text);
    let mut names = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        names.extend(heads(&code[at + found.len()..]));
    }
    if source.at_the_top {
        for (at, found) in code.match_indices("super::") {
            let known = heads(&code[at + found.len()..]);
            names.extend(known.into_iter().filter(|name| ranks.contains_key(name)));
        }
    }
    names
}

#[test]
fn imports_run_one_way() {
    let ranks = ranks();
    let mut wrong = Vec::new();
    let mut edges = BTreeSet::new();
    for source in sources().iter().filter(|source| source.module != "lib") {
        let path = source.path.display();
        assert!(
            ranks.contains_key(&source.module),
            "{path}: the map does not name this module"
        );
        assert!(
            !code_of(&source.text).contains("super::super::"),
            "{path}: name it from the root instead"
        );
        for name in named(source, &ranks) {
            match ranks.get(&name) {
                Some(rank) if *rank < ranks[&source.module] => {
                    wrong.push(format!(
                        "{path}: {} uses {name}, which stands before it",
                        source.module
                    ));
                }
                Some(_) => {
                    edges.insert((source.module.clone(), name));
                }
                None => wrong.push(format!("{path}: crate::{name} is not on the map")),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(
        edges.contains(&("ffi".to_owned(), "runtime".to_owned())),
        "the imports were not understood: {edges:?}"
    );

    // Modules that share a floor may use each other, but not in a circle.
    edges.retain(|(user, used)| user != used && ranks[user] == ranks[used]);
    while let Some(free) = edges
        .iter()
        .find(|edge| edges.iter().all(|other| other.0 != edge.1))
        .cloned()
    {
        edges.remove(&free);
    }
    assert!(
        edges.is_empty(),
        "modules use each other in a circle: {edges:?}"
    );
}

#[test]
fn unsafe_code_stays_within_its_walls() {
    for source in sources() {
        let path = source.path.to_string_lossy();
        let allowed = UNSAFE_PLACES.iter().any(|place| path.contains(place));
        let opens = code_of(&source.text).contains("allow(unsafe_code");
        assert!(
            allowed || !opens,
            "{path}: unsafe code belongs into {UNSAFE_PLACES:?}"
        );
    }
}

/// Nothing above `driver` and `sys` knows the system: another one comes next.
#[test]
fn the_upper_floors_do_not_know_the_system() {
    for source in sources() {
        let upper = ["runtime", "engine"].contains(&source.module.as_str());
        // The simulated world stands for the system in tests, so it gives the system's errors.
        let upper = upper && !source.path.to_string_lossy().contains("/simulation/");
        let code = code_of(&source.text);
        for word in ["libc::", "std::os::", "RawFd", "epoll_", "EPOLL"] {
            assert!(
                !upper || !code.contains(word),
                "{}: `{word}` belongs below the engine",
                source.path.display()
            );
        }
    }
}

fn counts(line: &str) -> bool {
    !code(line).trim().is_empty()
}

#[test]
fn files_stay_within_their_limit() {
    let mut long = Vec::new();
    for source in sources() {
        let (code, tests) = source
            .text
            .split_once("\nmod tests {")
            .unwrap_or((&source.text, ""));
        let lines = [code, tests].map(|part| part.lines().filter(|line| counts(line)).count());
        if lines.iter().any(|lines| *lines > FILE_LINES) {
            long.push(format!(
                "{}: {} lines of code, {} of tests",
                source.path.display(),
                lines[0],
                lines[1]
            ));
        }
    }
    assert!(long.is_empty(), "more than {FILE_LINES} lines: {long:#?}");
}

/// Where the functions of a file begin and end. rustfmt puts the brace that ends one under its beginning.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut functions = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let words: Vec<&str> = code(line).split([' ', '(', '<']).collect();
        let indent = &line[..line.len() - line.trim_start().len()];
        let Some(name) = words
            .iter()
            .position(|word| *word == "fn")
            .and_then(|at| words.get(at + 1))
        else {
            continue;
        };
        let starts = ["fn ", "pub", "unsafe ", "extern ", "const "];
        if !starts
            .iter()
            .any(|start| line.trim_start().starts_with(start))
            || line.trim_end().ends_with(';')
        {
            continue;
        }
        let end = lines[at..]
            .iter()
            .position(|line| line.trim_end() == format!("{indent}}}"));
        // One on a single line, or a declaration without a body, has no such brace.
        let Some(end) = end.filter(|_| !line.trim_end().ends_with('}')) else {
            continue;
        };
        let length = lines[at..=at + end]
            .iter()
            .filter(|line| counts(line))
            .count();
        functions.push(((*name).to_owned(), length));
    }
    functions
}

#[test]
fn functions_stay_within_their_limit() {
    let mut long = Vec::new();
    let mut seen = 0;
    for source in sources() {
        for (name, lines) in functions(&source.text) {
            seen += 1;
            // One that is a single honest `match` may be longer; none is yet.
            if lines > FUNCTION_LINES {
                long.push(format!(
                    "{}: {name} has {lines} lines",
                    source.path.display()
                ));
            }
        }
    }
    assert!(seen > 200, "the functions were not found: {seen}");
    assert!(
        long.is_empty(),
        "more than {FUNCTION_LINES} lines: {long:#?}"
    );
}
