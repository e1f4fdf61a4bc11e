//! The way out: small writes are gathered so that a head and its body leave together, and a client that does not read is
//! given up on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::ClientSide;
use super::pace::Patience;

/// Gathered before the first write to the socket.
const GATHER: usize = 4096;

/// A buffer that exists only while there is something in it, and the patience with the client that is to read it.
#[derive(Debug)]
pub(super) struct Writer {
    gathered: Vec<u8>,
    /// Part of `gathered` that is already with the socket.
    written: usize,
    /// True while a flush waits for the client. TLS takes bytes into a buffer of its own meanwhile, which is no progress.
    flushing: bool,
    patience: Patience,
    client: Arc<ClientSide>,
}

impl Writer {
    /// Writes to this client.
    pub(super) fn new(patience: Patience, client: Arc<ClientSide>) -> Self {
        Self { gathered: Vec::new(), written: 0, flushing: false, patience, client }
    }

    /// The next message begins.
    pub(super) fn begin(&mut self) {
        self.patience.reset();
    }

    /// Puts `answer` in the place of what is gathered, of which nothing went to the socket.
    pub(super) fn replace(&mut self, answer: Vec<u8>) {
        debug_assert!(!self.client.is_answered(), "the client has seen a part of the answer before");
        self.gathered = answer;
        self.written = 0;
    }

    /// As [`AsyncWrite::poll_write`].
    pub(super) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        to: &mut W,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.flushing {
            ready!(self.poll_flush(to, cx))?;
        }
        if self.gathered.len() + buf.len() <= GATHER {
            if self.gathered.capacity() == 0 {
                self.gathered.reserve_exact(GATHER);
            }
            self.gathered.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        loop {
            let pending = &self.gathered[self.written..];
            let before = pending.len();
            let polled = if before == 0 {
                Pin::new(&mut *to).poll_write(cx, buf)
            } else {
                Pin::new(&mut *to).poll_write_vectored(cx, &[io::IoSlice::new(pending), io::IoSlice::new(buf)])
            };
            let wrote = ready!(self.patiently(polled, |wrote| *wrote, cx))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if wrote < before {
                self.written += wrote;
                continue;
            }
            self.release();
            if wrote > before {
                return Poll::Ready(Ok(wrote - before));
            }
        }
    }

    /// Writes some of these pieces at once. Nothing may be gathered.
    pub(super) fn poll_send<W: AsyncWrite + Unpin>(
        &mut self,
        to: &mut W,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.gathered.is_empty(), "an answer is gathered or sent at once");
        let polled = Pin::new(&mut *to).poll_write_vectored(cx, pieces);
        match ready!(self.patiently(polled, |wrote| *wrote, cx))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            wrote => Poll::Ready(Ok(wrote)),
        }
    }

    /// As [`AsyncWrite::poll_flush`].
    pub(super) fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        to: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.written < self.gathered.len() {
            let polled = Pin::new(&mut *to).poll_write(cx, &self.gathered[self.written..]);
            match ready!(self.patiently(polled, |wrote| *wrote, cx))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                wrote => self.written += wrote,
            }
        }
        self.release();
        let polled = Pin::new(to).poll_flush(cx);
        self.flushing = polled.is_pending();
        self.patiently(polled, |()| 0, cx)
    }

    fn release(&mut self) {
        self.gathered = Vec::new();
        self.written = 0;
    }

    /// Fails what has been pending for too long, or passes too little.
    fn patiently<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        self.client.writing(polled.is_pending());
        match polled {
            Poll::Ready(Ok(done)) => {
                let bytes = bytes(&done);
                if bytes > 0 {
                    self.client.answered();
                }
                self.patience.passed(bytes, self.client.is_rated())?;
                Poll::Ready(Ok(done))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.patience.poll_stalled(cx).map(|slow| Err(slow.into())),
        }
    }

    #[cfg(test)]
    pub(super) fn holds_buffer(&self) -> bool {
        self.gathered.capacity() > 0
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::AsyncReadExt;

    use super::*;

    fn patient(seconds: u64) -> Writer {
        Writer::new(Patience::new(Duration::from_secs(seconds), None, Duration::ZERO), Arc::default())
    }

    /// Takes at most `step` bytes a write and remembers them.
    struct Narrow {
        step: usize,
        writes: Vec<Vec<u8>>,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let len = buf.len().min(self.step);
            self.writes.push(buf[..len].to_vec());
            Poll::Ready(Ok(len))
        }
        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
            let len = all.len().min(self.step);
            self.writes.push(all[..len].to_vec());
            Poll::Ready(Ok(len))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn write_all(writer: &mut Writer, to: &mut Narrow, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let wrote = poll_fn(|cx| writer.poll_write(to, cx, bytes)).await.unwrap();
            bytes = &bytes[wrote..];
        }
    }

    #[tokio::test]
    async fn head_and_body_leave_together() {
        for body in [100, 100_000] {
            let mut to = Narrow { step: usize::MAX, writes: Vec::new() };
            let mut writer = patient(1);
            assert!(!writer.holds_buffer());
            write_all(&mut writer, &mut to, &[b'h'; 200]).await;
            write_all(&mut writer, &mut to, &vec![b'b'; body]).await;
            poll_fn(|cx| writer.poll_flush(&mut to, cx)).await.unwrap();
            assert_eq!(to.writes.len(), 1);
            assert_eq!(to.writes[0].len(), 200 + body);
            assert!(!writer.holds_buffer());
        }
    }

    proptest::proptest! {
        #[test]
        fn every_byte_arrives_once_and_in_order(
            writes in proptest::collection::vec((0usize..9000, proptest::bool::ANY), 1..12), step in 1usize..6000,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let mut to = Narrow { step, writes: Vec::new() };
                let mut writer = patient(1);
                let mut expected = Vec::new();
                for (index, (len, flush)) in writes.into_iter().enumerate() {
                    let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + index) as u8).collect();
                    write_all(&mut writer, &mut to, &bytes).await;
                    expected.extend(bytes);
                    if flush {
                        poll_fn(|cx| writer.poll_flush(&mut to, cx)).await.unwrap();
                        assert_eq!(to.writes.concat(), expected);
                    }
                }
                poll_fn(|cx| writer.poll_flush(&mut to, cx)).await.unwrap();
                assert_eq!(to.writes.concat(), expected);
            });
        }
    }

    /// Takes whatever is written into a buffer of its own, as TLS does, and never gets rid of it.
    struct Buffering;

    impl AsyncWrite for Buffering {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_only_tls_took_are_no_progress() {
        let (mut writer, mut to) = (patient(60), Buffering);
        let began = tokio::time::Instant::now();
        let frame = [0; 16_384];
        let error = loop {
            if let Err(error) = poll_fn(|cx| writer.poll_write(&mut to, cx, &frame)).await {
                break error;
            }
            // As the h2 crate does: it tries to flush, and writes its next frame when it is woken.
            let flush = poll_fn(|cx| writer.poll_flush(&mut to, cx));
            if let Ok(flushed) = tokio::time::timeout(Duration::from_secs(10), flush).await {
                break flushed.unwrap_err();
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < Duration::from_secs(61), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up_on() {
        let (mut near, mut far) = tokio::io::duplex(10);
        let mut writer = patient(60);
        let began = tokio::time::Instant::now();
        let bytes = vec![0; 10_000];
        assert_eq!(poll_fn(|cx| writer.poll_write(&mut near, cx, &bytes)).await.unwrap(), 10);
        let slow = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(40)).await;
            let mut some = [0; 10];
            far.read_exact(&mut some).await.unwrap();
            far
        });
        // A client that reads in time is waited for; the wait starts anew after each progress.
        assert_eq!(poll_fn(|cx| writer.poll_write(&mut near, cx, &bytes)).await.unwrap(), 10);
        let _far = slow.await.unwrap();
        let error = poll_fn(|cx| writer.poll_write(&mut near, cx, &bytes)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= Duration::from_secs(100) && began.elapsed() < Duration::from_secs(101));
    }
}
