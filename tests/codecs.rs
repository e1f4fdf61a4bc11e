//! The codecs of the edge against a second strict reader and httparse: every file of the fuzzers' corpora, every prefix of it, and
//! some thousand mutations, the same ones each time. `make fuzz` looks for more.

#[path = "e2e/kit/message.rs"]
#[expect(dead_code, reason = "of the strict reader requests alone are needed here")]
mod message;
#[path = "codecs/oracle.rs"]
mod oracle;

use std::path::Path;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Mutations of each file.
const MUTATIONS: usize = 2000;

/// Bytes that decide something.
const TELLING: &[u8] = b"\r\n :;,\t\0+-0aAfF9xchunked\x7f\x80\xff";

#[test]
fn heads_have_one_reading() {
    replay("head", oracle::head);
}

#[test]
fn chunked_bodies_have_one_reading() {
    replay("chunked", oracle::chunked);
}

#[test]
fn rows_of_requests_have_one_reading() {
    replay("exchange", oracle::exchange);
}

fn replay(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).expect("the corpus is part of the project");
    let mut files: Vec<_> = files.map(|file| file.expect("its entries too").path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{} files in {}", files.len(), folder.display());
    let mut random = SmallRng::seed_from_u64(7);
    for file in files {
        let bytes = std::fs::read(&file).expect("a file of the corpus can be read");
        (0..=bytes.len()).for_each(|end| property(&bytes[..end]));
        (0..MUTATIONS).for_each(|_| property(&mutated(&bytes, &mut random)));
    }
}

/// The bytes with up to three bytes changed, taken out, put in or doubled.
fn mutated(bytes: &[u8], random: &mut SmallRng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..=3) {
        let at = random.random_range(0..=bytes.len());
        let telling = TELLING[random.random_range(0..TELLING.len())];
        match (random.random_range(0..4), at < bytes.len()) {
            (0, true) => bytes[at] = telling,
            (1, true) => {
                bytes.remove(at);
            }
            (2, true) => bytes.insert(at, bytes[at]),
            _ => bytes.insert(at, telling),
        }
    }
    bytes
}
