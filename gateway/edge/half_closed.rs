//! Clients that have ended their side of the connection (FIN) after a request and may still read, such as `printf … | nc -N`.
//! On the wire such a client looks the same as one that is gone.
//!
//! The answer to a whole request is made and written all the same, as HAProxy does without `abortonclose` (nginx gives up). A
//! client that is gone answers the first write with a reset, which ends the exchange. Two kinds of clients are taken to have
//! left when they end their side: those of an answer without an end of its own (an event stream), because the next write may
//! be long in coming; and those that end a TLS session, because clients do so to leave. A reset is noticed within a second while an answer is awaited, too.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// The first and the longest pause between two looks for a reset; each is twice the one before. The runtime does not tell: to
/// it the socket has been at its end since the FIN.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// The watch over a half-closed connection.
#[derive(Debug)]
pub(super) struct HalfClosed {
    pause: Duration,
    look: Pin<Box<Sleep>>,
}

impl HalfClosed {
    pub(super) fn new() -> Self {
        Self { pause: PAUSE.0, look: Box::pin(sleep(PAUSE.0)) }
    }

    /// Ready, with an error, when the client has reset the connection.
    pub(super) fn poll_reset(&mut self, tcp: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            match tcp.take_error() {
                Ok(None) => {}
                Ok(Some(error)) | Err(error) => return Poll::Ready(error),
            }
            ready!(self.look.as_mut().poll(cx));
            self.pause = (self.pause * 2).min(PAUSE.1);
            self.look.as_mut().reset(Instant::now() + self.pause);
        }
    }
}
