//! A client that has sent all it will send (FIN) and may still read: `printf … | nc -N`, and whoever shuts its side down after
//! the request. On the wire it looks the same as one that is gone.
//!
//! What is decided here, and why: the answer to a request that is whole is made and written, as HAProxy does (without
//! `abortonclose`) and RFC 9112, section 9.6, has it; nginx gives up. A client that has left answers the first write with a
//! reset, which ends the exchange. Two kinds of clients are taken to have left when they end their side: those of an answer
//! without an end of its own (an event stream), because nothing may be written for long; and those that end a TLS session,
//! because clients do so only to leave. A reset is noticed while an answer is awaited, too.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// How often the socket is asked for a reset. The runtime does not tell: the socket has been at its end since the FIN.
const LOOK: Duration = Duration::from_millis(100);

/// The watch over a half-closed connection.
#[derive(Debug)]
pub(super) struct HalfClosed {
    look: Pin<Box<Sleep>>,
}

impl HalfClosed {
    pub(super) fn new() -> Self {
        Self { look: Box::pin(sleep(LOOK)) }
    }

    /// Ready, with an error, when the client has reset the connection.
    pub(super) fn poll_reset(&mut self, tcp: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            match tcp.take_error() {
                Ok(None) => {}
                Ok(Some(error)) | Err(error) => return Poll::Ready(error),
            }
            ready!(self.look.as_mut().poll(cx));
            self.look.as_mut().reset(Instant::now() + LOOK);
        }
    }
}
