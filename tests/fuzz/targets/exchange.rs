//! Requests one after another on a connection, held to two other readers.
#![no_main]

#[path = "../../e2e/kit/message.rs"]
#[expect(dead_code, reason = "of the strict reader this target needs a part")]
mod message;
#[path = "../../codecs/oracle.rs"]
#[expect(dead_code, reason = "one property for each target")]
mod oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oracle::exchange(bytes));
