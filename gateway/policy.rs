//! What is done to a request and to a response, written once for every lane.
//!
//! Nothing here touches a socket or knows a proxy engine: a lane shows the header fields it received ([`Fields`]), gets
//! a list of edits back ([`Edits`]) and applies it to its own head, in order. The list and the short values written for
//! it live on the stack of the caller; only an unusually long one allocates. Nothing here awaits.
//!
//! Order for a request: hop-by-hop fields are dropped by the lane first (a client may nominate any field in
//! `Connection`), then these edits are applied, so that nothing a client nominates removes what Weir sets.
//!
//! - [`exchange`]: the life of a request, from its head to its line in the log
//! - [`refusal`]: one table of every way in which a request is turned away
//! - [`answer`]: answers that Weir makes itself
//! - [`forwarded`]: the address of the client, and the forwarding fields that endpoints get
//! - [`context`]: the facts of one request that the edits are made of
//! - [`headers`]: the edits of requests and of answers
//! - [`hop`]: hop-by-hop fields, which no next hop gets
//! - [`upgrade`]: offers of clients to upgrade a connection
//! - [`target`]: the request target that an endpoint sees
//! - [`framing`]: bodies that a client of an older HTTP can read
//! - [`retry`]: another attempt inside the version
//! - [`shield`]: an answer by the spare in place of a failure
//! - [`outcome`]: the class of a request with which its version is charged

pub mod answer;
pub mod context;
pub mod exchange;
pub mod forwarded;
pub mod framing;
pub mod headers;
pub mod hop;
pub mod outcome;
pub mod refusal;
pub mod retry;
pub mod shield;
pub mod target;
pub mod upgrade;

use std::fmt::{self, Write};

use smallvec::SmallVec;

/// The header fields of a message in the order received. Names in any case.
pub trait Fields {
    /// Name and value of every field; a name that occurs twice comes twice.
    fn fields(&self) -> impl Iterator<Item = (&str, &[u8])>;
}

impl Fields for http::HeaderMap {
    fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }
}

impl Fields for [(&str, &[u8])] {
    fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter().copied()
    }
}

/// One change to a head. Names that Weir sets are lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderEdit<'e> {
    /// Drops every field of this name, in any case.
    Remove(&'e str),
    /// Replaces every field of this name by one.
    Set(FieldName<'e>, &'e [u8]),
    /// Adds a field and keeps those that are there.
    Add(FieldName<'e>, &'e [u8]),
}

/// The name of a field that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldName<'e> {
    /// One of Weir's own: nobody has to copy it.
    Own(&'static str),
    /// One of the configuration, which has checked it.
    Given(&'e str),
}

impl<'e> FieldName<'e> {
    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'e str {
        match self {
            Self::Own(name) => name,
            Self::Given(name) => name,
        }
    }
}

/// Edits in the order they are to be applied.
#[derive(Default)]
pub struct Edits<'a> {
    edits: SmallVec<[Change<'a>; 24]>,
    text: Text,
}

#[derive(Clone, Copy)]
enum Change<'a> {
    Remove(&'a str),
    Set(Name<'a>, Value<'a>),
    Add(Name<'a>, Value<'a>),
}

/// A name that somebody else holds, or a part of `Edits::text` from..to.
#[derive(Clone, Copy)]
enum Name<'a> {
    Held(FieldName<'a>),
    Written(u32, u32),
}

/// A value that somebody else holds, or a part of `Edits::text` from..to.
#[derive(Clone, Copy)]
enum Value<'a> {
    Held(&'a [u8]),
    Written(u32, u32),
}

impl<'a> Edits<'a> {
    /// What to apply, in order.
    pub fn iter(&self) -> impl Iterator<Item = HeaderEdit<'_>> {
        self.edits.iter().map(|change| match *change {
            Change::Remove(name) => HeaderEdit::Remove(name),
            Change::Set(name, value) => HeaderEdit::Set(self.name(name), self.value(value)),
            Change::Add(name, value) => HeaderEdit::Add(self.name(name), self.value(value)),
        })
    }

    /// Bytes of all values.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        self.edits
            .iter()
            .map(|change| match *change {
                Change::Remove(_) => 0,
                Change::Set(_, value) | Change::Add(_, value) => self.value(value).len(),
            })
            .sum()
    }

    /// Drops every field of this name.
    pub fn remove(&mut self, name: &'a str) {
        self.edits.push(Change::Remove(name));
    }

    /// Replaces every field of this name.
    pub fn set(&mut self, name: FieldName<'a>, value: &'a [u8]) {
        self.edits.push(Change::Set(Name::Held(name), Value::Held(value)));
    }

    /// Adds one field.
    pub fn add(&mut self, name: FieldName<'a>, value: &'a [u8]) {
        self.edits.push(Change::Add(Name::Held(name), Value::Held(value)));
    }

    /// Replaces every field of this name by the text that `write` writes.
    pub fn set_written(&mut self, name: &'static str, write: impl FnOnce(&mut Text)) {
        let value = self.written(write);
        self.edits.push(Change::Set(Name::Held(FieldName::Own(name)), value));
    }

    /// Adds one field with the text that `write` writes.
    pub fn add_written(&mut self, name: &'static str, write: impl FnOnce(&mut Text)) {
        let value = self.written(write);
        self.edits.push(Change::Add(Name::Held(FieldName::Own(name)), value));
    }

    /// Replaces every field named `prefix` + `name`, in lower case. Both are ASCII.
    pub fn set_prefixed(&mut self, prefix: &str, name: &str, value: &'a [u8]) {
        let from = self.text.position();
        self.text.bytes(prefix.as_bytes()).bytes(name.as_bytes());
        self.text.0[from as usize..].make_ascii_lowercase();
        self.edits.push(Change::Set(Name::Written(from, self.text.position()), Value::Held(value)));
    }

    fn written(&mut self, write: impl FnOnce(&mut Text)) -> Value<'a> {
        let from = self.text.position();
        write(&mut self.text);
        Value::Written(from, self.text.position())
    }

    fn name<'s>(&'s self, name: Name<'a>) -> FieldName<'s> {
        match name {
            Name::Held(name) => name,
            Name::Written(from, to) => {
                let written = str::from_utf8(&self.text.0[from as usize..to as usize]);
                FieldName::Given(written.expect("names are written from texts"))
            }
        }
    }

    fn value<'s>(&'s self, value: Value<'a>) -> &'s [u8] {
        match value {
            Value::Held(bytes) => bytes,
            Value::Written(from, to) => &self.text.0[from as usize..to as usize],
        }
    }
}

/// Values being written: bytes, because a forwarded chain may hold any.
#[derive(Default)]
pub struct Text(SmallVec<[u8; 384]>);

impl Text {
    /// Appends these bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends what `value` displays.
    pub fn display(&mut self, value: impl fmt::Display) -> &mut Self {
        write!(self, "{value}").expect("writing to memory cannot fail");
        self
    }

    /// Where the next byte goes. Heads are bounded far below 4 GiB.
    fn position(&self) -> u32 {
        u32::try_from(self.0.len()).expect("a head is bounded by limits.head_bytes")
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::FieldName::{Given, Own};
    use super::*;

    /// Whether the list needed memory from the heap.
    pub(crate) fn allocated(edits: &Edits<'_>) -> bool {
        edits.edits.spilled() || edits.text.0.spilled()
    }

    /// Applies edits to a list of fields as a lane does.
    pub(crate) fn apply(fields: &[(&str, &[u8])], edits: &Edits<'_>) -> Vec<(String, Vec<u8>)> {
        let mut head: Vec<_> = fields.iter().map(|(n, v)| (n.to_ascii_lowercase(), v.to_vec())).collect();
        for edit in edits.iter() {
            match edit {
                HeaderEdit::Remove(name) => head.retain(|(n, _)| !n.eq_ignore_ascii_case(name)),
                HeaderEdit::Set(name, value) => {
                    head.retain(|(n, _)| !n.eq_ignore_ascii_case(name.as_str()));
                    head.push((name.as_str().to_owned(), value.to_vec()));
                }
                HeaderEdit::Add(name, value) => head.push((name.as_str().to_owned(), value.to_vec())),
            }
        }
        head
    }

    #[test]
    fn edits_keep_their_order_and_their_values() {
        let mut edits = Edits::default();
        edits.remove("a");
        edits.set(Given("b"), b"1");
        edits.add(Own("e"), b"3");
        edits.add_written("c", |t| {
            t.display(7).bytes(b"\xff");
        });
        edits.set_written("d", |_| {});
        edits.set_prefixed("x-", "E_f", b"2");
        let seen: Vec<_> = edits.iter().collect();
        assert_eq!(
            seen,
            [
                HeaderEdit::Remove("a"),
                HeaderEdit::Set(Given("b"), b"1"),
                HeaderEdit::Add(Own("e"), b"3"),
                HeaderEdit::Add(Own("c"), b"7\xff"),
                HeaderEdit::Set(Own("d"), b""),
                HeaderEdit::Set(Given("x-e_f"), b"2"),
            ]
        );
    }
}
