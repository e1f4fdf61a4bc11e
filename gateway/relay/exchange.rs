//! One request of a client, from its head to its line in the log: [`policy::exchange`](crate::policy::exchange) decides, this drives
//! it and moves the bytes.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use config::route::table::Answers;
use tokio::net::TcpStream;

use super::dial::connect;
use super::download::Download;
use super::head::RequestHead;
use super::pool::PoolKey;
use super::silence::{Silence, SilenceTimer};
use super::upload::{Upload, Uploaded, client_failure};
use super::write::{Dropped, write_field, write_fields, write_number};
use super::{RelayWorker, Scratch, client_of};
use crate::edge::head::{Body, Head};
use crate::edge::{ClientSide, Connection, EdgeStream, Fault, Phase, Silences};
use crate::log::EndReason;
use crate::policy::answer::Answer;
use crate::policy::exchange::{
    Admission, Answered, AttemptFailure, Attempting, Ending, Finished, Handed, HttpVersion, Next, Reached, Received,
};
use crate::policy::hop::hop_by_hop;
use crate::policy::refusal::Refusal;
use crate::policy::upgrade;
use crate::upstreams::Pick;

/// The end of a request on its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExchangeEnd {
    /// Another request may follow.
    Kept,
    /// The connection is over.
    Over,
    /// The connection is over, and its client has less than a whole answer.
    Cut,
    /// The same, where only a reset tells the client so.
    Reset,
    /// Another lane serves the request, whose head is unread.
    HandedOver,
}

/// Why an attempt brought no whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// It failed, for a reason that operators read.
    Failed(AttemptFailure, &'static str),
    /// Another attempt follows.
    Again,
    /// The request ends with this refusal.
    Refused(Refusal),
    /// The failure was told, and the request ends with it.
    Over(AttemptFailure),
}

/// A request that is served.
pub(super) struct Exchange<'x> {
    pub(super) relay: &'x RelayWorker,
    pub(super) stream: &'x mut EdgeStream,
    pub(super) connection: &'x Arc<Connection>,
    pub(super) request: &'x RequestHead,
    pub(super) upload: &'x mut Upload,
    pub(super) download: &'x mut Download,
    timer: &'x mut SilenceTimer,
    pub(super) silence: Silence,
    pub(super) received: Received,
    pub(super) reached: Reached,
    pub(super) attempt: Option<Attempting>,
    pub(super) answered: Option<Answered>,
    body: Body,
    /// The protocols that the client may change to with this attempt.
    pub(super) offer: Option<String>,
    /// The client's connection may serve another request.
    pub(super) keeps: bool,
    /// The status of the answer whose head went to the client.
    pub(super) status: Option<u16>,
    /// The end reason, where the gateway answered or gave up.
    pub(super) end: Option<EndReason>,
    pub(super) refusal: Option<Refusal>,
    /// Bytes of the body of an answer of our own.
    pub(super) own_bytes: u64,
}

/// Serves the request whose head is the unread one of the stream.
pub(super) async fn serve(
    relay: &RelayWorker,
    stream: &mut EdgeStream,
    head: Head,
    scratch: &mut Scratch,
    timer: &mut SilenceTimer,
) -> ExchangeEnd {
    let connection = Arc::clone(stream.connection());
    let Scratch { request, upload, download } = scratch;
    if request.copy(stream.unread(), &head).is_err() {
        debug_assert!(false, "the edge takes no head that this reader does not");
        return ExchangeEnd::Cut;
    }
    let (received, admission) = admit(relay, &connection, request);
    let (reached, answer) = match admission {
        Admission::Forward(resolved) if !super::carries(&resolved) => {
            connection.hand_over(Handed { received, resolved });
            return ExchangeEnd::HandedOver;
        }
        Admission::Forward(resolved) | Admission::Fixed(resolved) => (Reached::Version(resolved), None),
        Admission::Answer(answer, reached) => (reached, Some(answer)),
    };
    let ahead = stream.take_head(&head, &relay.spare);
    upload.begin(relay, head.body, request);
    download.begin();
    let keeps = request.keeps();
    let idle = Silences { response: relay.worker.limits.idle_timeout, idle: relay.worker.limits.idle_timeout };
    let mut exchange = Exchange {
        relay,
        stream,
        connection: &connection,
        request,
        upload,
        download,
        timer,
        silence: Silence::new(idle),
        received,
        reached,
        attempt: None,
        answered: None,
        body: head.body,
        offer: None,
        keeps,
        status: None,
        end: None,
        refusal: None,
        own_bytes: 0,
    };
    let end = match answer {
        Some(answer) => exchange.answer(answer).await,
        None => exchange.forward(ahead).await,
    };
    exchange.record();
    end
}

/// Decides where a request goes. Nothing here awaits.
fn admit(relay: &RelayWorker, connection: &Connection, request: &RequestHead) -> (Received, Admission) {
    let (client, view) = (client_of(connection), request.view());
    let snapshot = relay.worker.live.load();
    let received = relay.worker.receive(&snapshot, &client, &view);
    let admission = relay.worker.admit(&snapshot, &received, &client, &view);
    (received, admission)
}

impl Exchange<'_> {
    /// Brings the answer of an endpoint, by as many attempts as policy wants, or of the version itself.
    async fn forward(&mut self, ahead: usize) -> ExchangeEnd {
        let destination = self.reached.resolved().map(|resolved| &resolved.served.destination);
        let fixed = destination.filter(|destination| matches!(destination.upstream.answers, Answers::Response(_)));
        if let Some(destination) = fixed.map(Arc::clone)
            && let Answers::Response(response) = &destination.upstream.answers
        {
            return self.answer(Answer::fixed(response)).await;
        }
        let mut ahead = ahead;
        loop {
            match self.attempt(mem::take(&mut ahead)).await {
                Ok(()) => return self.completed(),
                Err(Stop::Again) => {}
                Err(Stop::Refused(refusal)) => return self.give_up(Some(refusal)).await,
                Err(Stop::Failed(failure, _) | Stop::Over(failure)) => return self.give_up(failure.refusal()).await,
            }
        }
    }

    /// Makes one attempt at an endpoint. `ahead` bytes of the body came with the head.
    async fn attempt(&mut self, ahead: usize) -> Result<(), Stop> {
        let view = self.request.view();
        let resolved = self.reached.resolved_mut().ok_or(Stop::Refused(Refusal::Internal))?;
        let has_body = self.body != Body::Length(0);
        let begun = resolved.begin(&self.received, &view, has_body, &mut rand::rng());
        let attempt = self.attempt.insert(begun.map_err(Stop::Refused)?);
        let pick = attempt.pick().ok_or(Stop::Refused(Refusal::Internal))?;
        let (mut endpoint, is_reused) = match connect(self.relay, pick.member(), attempt.began()).await {
            Ok(connection) => connection,
            Err(error) => return Err(self.failed(error.failure(), &error)),
        };
        attempt.connected(is_reused);
        self.begin_watch();
        self.download.begin();
        self.write_request()?;
        if ahead > 0 {
            let read = self.upload.read_ahead(self.relay, self.stream, ahead);
            read.map_err(|failure| self.failed(failure, &"the client's body"))?;
        }
        match poll_fn(|cx| self.poll(cx, &mut endpoint)).await {
            Ok(()) => {
                self.keep(endpoint);
                Ok(())
            }
            Err(Stop::Failed(failure, reason)) => Err(self.failed(failure, &reason)),
            Err(stop) => Err(stop),
        }
    }

    /// Begins to watch the silence of the endpoint, and notes what is waited for at the client.
    fn begin_watch(&mut self) {
        let Some(pick) = self.attempt.as_ref().and_then(Attempting::pick) else { return };
        let client = self.connection.client_side();
        if client.is_uploading() {
            client.expects(self.upload.bytes() == 0 && self.request.holds_body_back());
            if self.request.view().is_grpc() {
                client.unrated();
            }
        }
        let timeouts = &pick.spec().timeouts;
        self.silence = Silence::new(Silences { response: timeouts.response, idle: timeouts.idle });
    }

    /// Writes the head for the endpoint, and what was read of the body before.
    fn write_request(&mut self) -> Result<(), Stop> {
        let internal = Stop::Refused(Refusal::Internal);
        let (view, client) = (self.request.view(), client_of(self.connection));
        let (Some(resolved), Some(attempt)) = (self.reached.resolved(), &self.attempt) else { return Err(internal) };
        let Answers::Endpoints(rendered) = &resolved.served.destination.upstream.answers else { return Err(internal) };
        let endpoint = attempt.request(&self.relay.worker, (&self.received, resolved), &client, &view);
        let endpoint = endpoint.map_err(Stop::Refused)?;
        let fields = self.request.head_fields();
        let hop = hop_by_hop(self.request);
        let is_offered = hop.iter().any(|name| **name == *"upgrade");
        let is_new = is_offered && view.version == HttpVersion::Http11;
        self.offer = if is_new { upgrade::offered(self.request, &rendered.upgrade, rendered.protocol) } else { None };
        // It speaks to who upgrades to h2c, which nobody does (RFC 9113, section 3.1).
        let also: &[&str] = if is_offered { &["http2-settings"] } else { &[] };
        let is_chunked = self.upload.is_chunked();
        let announced = self.upload.announced().to_owned();
        let out = self.upload.rewind();
        for part in [view.method, " ", &endpoint.target, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        let dropped = Dropped { hop: &hop, also, keeps_upgrade: false };
        let has_host = write_fields(out, fields, dropped, &endpoint.edits, "host").map_err(|_| internal)?;
        if !has_host {
            let authority = attempt.pick().map_or("", |pick| pick.authority());
            write_field(out, "host", authority.as_bytes()).map_err(|_| internal)?;
        }
        if is_chunked {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        } else if let Ok(Some(length)) = fields.length() {
            write_number(out, "content-length", length);
        }
        if !announced.is_empty() {
            write_field(out, "trailer", announced.as_bytes()).map_err(|_| internal)?;
        }
        if let Some(offer) = &self.offer {
            write_field(out, "connection", b"upgrade").map_err(|_| internal)?;
            write_field(out, "upgrade", offer.as_bytes()).map_err(|_| internal)?;
        }
        out.extend_from_slice(b"\r\n");
        self.upload.replay();
        Ok(())
    }

    /// Moves bytes in both directions until the answer is with the client.
    fn poll(&mut self, cx: &mut Context<'_>, endpoint: &mut TcpStream) -> Poll<Result<(), Stop>> {
        if let Err(stop) = self.poll_request(cx, endpoint) {
            return Poll::Ready(Err(stop));
        }
        if let Poll::Ready(over) = self.poll_answer(cx, endpoint) {
            return Poll::Ready(over);
        }
        let fault = ready!(self.silence.poll(self.timer, self.connection.client_side(), cx));
        let failure = match fault {
            Fault::Endpoint => AttemptFailure::Timeout,
            Fault::NoContinue => AttemptFailure::NoContinue,
            Fault::Client => AttemptFailure::SlowClient,
        };
        Poll::Ready(Err(Stop::Failed(failure, "a silence was too long")))
    }

    /// Sends the request on, and watches for the departure of its client behind it.
    fn poll_request(&mut self, cx: &mut Context<'_>, endpoint: &mut TcpStream) -> Result<(), Stop> {
        let client: &ClientSide = self.connection.client_side();
        let silence = &mut self.silence;
        let mut passed = || silence.touch();
        match self.upload.poll(cx, (self.relay, self.stream), endpoint, &mut passed) {
            Poll::Ready(Ok(Uploaded::All)) => {
                if let Some(attempt) = &mut self.attempt {
                    attempt.sent();
                }
                client.uploaded();
                self.silence.enter(Phase::Head);
            }
            Poll::Ready(Ok(Uploaded::Refused)) => {}
            Poll::Ready(Err(failure)) => return Err(Stop::Failed(failure, "the client's request broke off")),
            Poll::Pending => {}
        }
        if self.upload.bytes() > 0 {
            client.expects(false);
        }
        if self.upload.is_read() && self.stream.is_request_read() {
            let mut one = [0];
            let mut read = tokio::io::ReadBuf::new(&mut one);
            let departed = std::pin::Pin::new(&mut *self.stream);
            match tokio::io::AsyncRead::poll_read(departed, cx, &mut read) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => return Err(Stop::Failed(AttemptFailure::ClientLeft, "the client left")),
                Poll::Ready(Err(error)) => return Err(Stop::Failed(client_failure(&error), "the client left")),
            }
        }
        Ok(())
    }

    /// Tells the endpoint's health of a failure, and decides whether another attempt follows.
    fn failed(&mut self, failure: AttemptFailure, reason: &dyn fmt::Display) -> Stop {
        let failure = failure.in_answer(self.answered.as_ref().and_then(|answered| answered.long_lived));
        let (Some(resolved), Some(attempt)) = (self.reached.resolved_mut(), &self.attempt) else {
            return Stop::Over(failure);
        };
        let (view, body, answered) = (self.request.view(), self.upload.retry_body(), self.status.is_some());
        match attempt.failed((&self.received, resolved), &view, (failure, reason), || (body, answered)) {
            Next::Again => Stop::Again,
            Next::Over => Stop::Over(failure),
        }
    }

    /// Gives the connection of a whole exchange back to the pool.
    fn keep(&mut self, endpoint: TcpStream) {
        let pick: Option<&Pick> = self.attempt.as_ref().and_then(Attempting::pick);
        if let Some(pick) = pick.filter(|_| self.download.is_reusable && self.upload.is_sent()) {
            self.relay.pool.put(PoolKey::of(pick.member()), endpoint, pick.spec().timeouts.keep_alive);
        }
    }

    /// The whole answer is with the client.
    fn completed(&mut self) -> ExchangeEnd {
        if let Some(attempt) = &self.attempt {
            attempt.completed();
        }
        if self.keeps && self.upload.is_read() { ExchangeEnd::Kept } else { ExchangeEnd::Over }
    }

    /// Answers for a request that failed, if there is still somebody to answer and nothing was said yet.
    async fn give_up(&mut self, refusal: Option<Refusal>) -> ExchangeEnd {
        self.refusal = refusal;
        self.end = Some(refusal.map_or(EndReason::ClientLeft, Refusal::end));
        match refusal.map(Answer::of) {
            Some(answer) if self.status.is_none() => self.answer(answer).await,
            _ if self.status.is_some() && self.download.ends_with_connection => ExchangeEnd::Reset,
            _ => ExchangeEnd::Cut,
        }
    }

    /// Counts the request and writes it down.
    fn record(&mut self) {
        let target = self.connection.take_received_target();
        let ending = Ending {
            end: self.end.unwrap_or(EndReason::Answered),
            refusal: self.refusal,
            status: self.status,
            bytes_in: self.upload.bytes(),
            bytes_out: self.download.bytes + self.own_bytes,
            head_time: self.connection.head_time(),
            target: target.as_deref(),
        };
        let finished = Finished {
            received: &self.received,
            reached: &mut self.reached,
            attempt: self.attempt.as_mut(),
            answered: self.answered.as_mut(),
        };
        let (client, view) = (client_of(self.connection), self.request.view());
        self.relay.worker.record(&client, &view, finished, &ending);
    }

    /// True if the request has a body, or may still get one.
    pub(super) fn has_body(&self) -> bool {
        self.body != Body::Length(0)
    }
}
