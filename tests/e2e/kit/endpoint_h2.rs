//! An endpoint that speaks HTTP/2 alone: plain by prior knowledge, or over TLS when the client offers `h2` by ALPN.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::wire::Stream;

/// A listening endpoint. Dropping it closes the listener and every connection.
///
/// Answers 200 with the request's body, or its name when that is empty; for `application/grpc` with `grpc-status` as a
/// trailer. `/paced` takes a permit of [`pace`](Self::pace) before its head, and another one before its body. `/large` is
/// answered with 64 MiB. The first request to `/refused-once` is refused unprocessed.
pub(crate) struct H2Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) pace: Arc<Semaphore>,
    requests: Arc<Requests>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Requests {
    seen: Mutex<Vec<Parts>>,
    reset: AtomicUsize,
    /// Bytes of `/large` that were handed to connections.
    large: AtomicUsize,
    /// True once `/refused-once` was refused.
    refused: AtomicBool,
}

impl Drop for H2Endpoint {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl H2Endpoint {
    /// With a certificate it speaks TLS and takes connections that agree on `h2` only.
    pub(crate) async fn start(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (pace, requests) = (Arc::new(Semaphore::new(0)), Arc::<Requests>::default());
        let accepting = tokio::spawn(accept(listener, tls.map(TlsAcceptor::from), (pace.clone(), requests.clone())));
        Self { address, pace, requests, accepting }
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Parts> {
        self.requests.seen.lock().expect("no test panics with the lock").clone()
    }

    /// True when bytes of `/large` were sent, and none for a while.
    pub(crate) async fn stands_still(&self) -> bool {
        let before = self.requests.large.load(Ordering::SeqCst);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        before > 0 && self.requests.large.load(Ordering::SeqCst) == before
    }

    /// Requests to `/paced` that were reset while they waited for their head.
    pub(crate) fn reset(&self) -> usize {
        self.requests.reset.load(Ordering::SeqCst)
    }
}

type Shared = (Arc<Semaphore>, Arc<Requests>);

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Shared) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("loopback accepts");
        let (tls, shared) = (tls.clone(), shared.clone());
        connections.spawn(async move {
            match tls {
                // A client that gives up is its own business.
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => serve(stream, shared).await,
                    _ => {}
                },
                None => serve(stream, shared).await,
            }
        });
    }
}

async fn serve(stream: impl Stream + Unpin + 'static, shared: Shared) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut requests = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        requests.spawn(answer(request, respond, shared.clone()));
    }
}

/// Ends early when the client resets the stream.
async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    (pace, requests): Shared,
) -> Result<(), h2::Error> {
    let (parts, mut body) = request.into_parts();
    let grpc = parts.headers.get("content-type").is_some_and(|kind| kind == "application/grpc");
    if parts.uri.path() == "/refused-once" && !requests.refused.swap(true, Ordering::SeqCst) {
        respond.send_reset(h2::Reason::REFUSED_STREAM);
        return Ok(());
    }
    let (paced, large) = (parts.uri.path() == "/paced", parts.uri.path() == "/large");
    requests.seen.lock().expect("no test panics with the lock").push(parts);
    let permit = async || {
        if paced {
            pace.acquire().await.expect("nobody closes the semaphore").forget();
        }
    };
    tokio::select! {
        () = permit() => {}
        reset = poll_fn(|cx| respond.poll_reset(cx)) => {
            requests.reset.fetch_add(1, Ordering::SeqCst);
            return reset.map(drop);
        }
    }
    let kind = if grpc { "application/grpc" } else { "text/plain" };
    let head = Response::builder().header("content-type", kind).body(()).expect("the head is well formed");
    let mut out = respond.send_response(head, false)?;
    if large {
        return send_large(&mut out, &requests.large).await;
    }
    permit().await;
    let mut echo = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        echo.extend_from_slice(&chunk);
    }
    out.send_data(if echo.is_empty() { Bytes::from_static(b"h2") } else { echo.into() }, !grpc)?;
    if grpc {
        out.send_trailers(HeaderMap::from_iter([(
            "grpc-status".parse().expect("a name"),
            HeaderValue::from_static("0"),
        )]))?;
    }
    Ok(())
}

/// Sends 64 MiB as fast as the client takes them.
async fn send_large(out: &mut h2::SendStream<Bytes>, sent: &AtomicUsize) -> Result<(), h2::Error> {
    const CHUNK: &[u8] = &[b'x'; 16_384];
    for left in (0..64 * 64).rev() {
        out.reserve_capacity(CHUNK.len());
        while out.capacity() < CHUNK.len() {
            // The client may reset the stream, which ends it.
            match poll_fn(|cx| out.poll_capacity(cx)).await {
                Some(capacity) => capacity?,
                None => return Ok(()),
            };
        }
        out.send_data(Bytes::from_static(CHUNK), left == 0)?;
        sent.fetch_add(CHUNK.len(), Ordering::SeqCst);
    }
    Ok(())
}
