//! The client's side of a request: what is waited for there, and the place where its task can be told to give up.
//!
//! The transport notes which side it waits for, the lane what it learns of the message; the judge of a silence
//! reads both.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};

/// More of the request's body is to come.
const UPLOADING: u8 = 1;
/// Bytes of the client are waited for.
const READING: u8 = 1 << 1;
/// The client takes nothing of its answer.
const WRITING: u8 = 1 << 2;
/// The answer is a stream of events, messages or a tunnel, and its client may be silent.
const STREAMING: u8 = 1 << 3;
/// The request is to end.
const CUT: u8 = 1 << 4;
/// The client sends its body when the endpoint asks for it.
const EXPECTING: u8 = 1 << 5;
/// The client has no least rate.
const UNRATED: u8 = 1 << 6;
/// Bytes of the answer went to the socket.
const ANSWERED: u8 = 1 << 7;

/// The client's side of one HTTP/2 stream, or of the request under way on an HTTP/1 connection.
#[derive(Debug, Default)]
pub struct ClientSide {
    state: AtomicU8,
    /// The task that reads from the client, where it is not the one that cuts.
    reader: Mutex<Option<Waker>>,
}

impl ClientSide {
    /// The whole request has been read.
    pub fn uploaded(&self) {
        self.set(UPLOADING | READING, false);
    }

    /// The client waits for the endpoint to ask for the body (`Expect: 100-continue`), or does so no longer.
    pub fn expects(&self, waits: bool) {
        self.set(EXPECTING, waits);
    }

    /// The answer has begun, and either side may be as slow as it likes.
    pub fn streams(&self) {
        self.set(STREAMING | UNRATED, true);
    }

    /// The request is a stream of messages.
    pub fn unrated(&self) {
        self.set(UNRATED, true);
    }

    /// True while the client is waited for, with its body or to take its answer.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.is_reading() || self.is_writing()
    }

    /// True if bytes of the answer went to the socket. Only known of HTTP/1 connections.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.has(ANSWERED)
    }

    /// Bytes of the answer went to the socket.
    pub(super) fn answered(&self) {
        self.set(ANSWERED, true);
    }

    /// A request begins.
    pub(super) fn begin(&self, has_body: bool) {
        self.state.store(if has_body { UPLOADING } else { 0 }, Ordering::Relaxed);
    }

    /// Sets whether bytes of the client are waited for.
    pub(super) fn reading(&self, waits: bool) {
        self.set(READING, waits);
    }

    /// Sets whether the client is to take bytes.
    pub(super) fn writing(&self, waits: bool) {
        self.set(WRITING, waits);
    }

    /// True if more of the request's body is to come.
    #[must_use]
    pub fn is_uploading(&self) -> bool {
        self.has(UPLOADING)
    }

    pub(super) fn is_reading(&self) -> bool {
        self.has(READING)
    }

    pub(super) fn is_writing(&self) -> bool {
        self.has(WRITING)
    }

    pub(super) fn is_expecting(&self) -> bool {
        self.has(EXPECTING)
    }

    pub(super) fn is_rated(&self) -> bool {
        !self.has(UNRATED)
    }

    pub(super) fn is_streaming(&self) -> bool {
        self.has(STREAMING)
    }

    /// Makes the next read fail.
    pub(super) fn cut(&self) {
        self.set(CUT, true);
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Lets reads pass again.
    pub(super) fn mend(&self) {
        self.set(CUT, false);
    }

    /// True if this read is to fail; the next one passes again.
    pub(super) fn take_cut(&self) -> bool {
        self.has(CUT) && self.state.fetch_and(!CUT, Ordering::AcqRel) & CUT != 0
    }

    /// Does the same for a task that another one cuts: the task is woken by the cut.
    pub(super) fn poll_cut(&self, cx: &Context<'_>) -> bool {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if !reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            *reader = Some(cx.waker().clone());
        }
        drop(reader);
        self.take_cut()
    }

    fn has(&self, flag: u8) -> bool {
        self.state.load(Ordering::Acquire) & flag != 0
    }

    fn set(&self, flags: u8, on: bool) {
        // Most of the time nothing changes, and a load is cheaper.
        if on && self.state.load(Ordering::Acquire) & flags != flags {
            self.state.fetch_or(flags, Ordering::AcqRel);
        } else if !on && self.has(flags) {
            self.state.fetch_and(!flags, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_cut_wakes_the_reader_and_fails_one_read() {
        let (side, woken) = (ClientSide::default(), Arc::<Woken>::default());
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        assert!(!side.poll_cut(&cx));
        side.cut();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(side.poll_cut(&cx));
        assert!(!side.poll_cut(&cx), "once");
        side.cut();
        side.mend();
        assert!(!side.take_cut());
    }

    #[test]
    fn a_request_leaves_nothing_to_the_next_one() {
        let side = ClientSide::default();
        side.begin(true);
        side.reading(true);
        side.streams();
        side.writing(true);
        assert!(side.is_uploading() && side.is_reading() && side.is_writing() && side.is_streaming());
        side.uploaded();
        assert!(!side.is_uploading() && !side.is_reading() && side.is_writing());
        side.cut();
        side.begin(false);
        assert!(!side.is_writing() && !side.is_streaming() && side.is_rated() && !side.take_cut());
    }
}
