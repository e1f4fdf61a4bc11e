//! Answers on their way to the client: those of endpoints, read strictly and framed anew, and those of the gateway itself.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::body::{BodyFraming, BodyReader, passed_on};
use super::client_of;
use super::download::{AnswerStage, EndpointSide};
use super::exchange::{Exchange, ExchangeEnd, Stop};
use super::head::{HeadFields, MalformedLine};
use super::write::{Dropped, EditList, write_field, write_fields, write_number, write_status};
use crate::edge::Phase;
use crate::policy::answer::Answer;
use crate::policy::exchange::answered::{LongLived, with_response_edits};
use crate::policy::exchange::attempting::breaks_protocol;
use crate::policy::exchange::{Answered, AttemptFailure, HttpVersion, Next};
use crate::policy::framing::announced_trailers;
use crate::policy::hop::{Names, hop_by_hop};
use crate::policy::refusal::Refusal;
use crate::policy::upgrade;

const PROTOCOL: Stop = Stop::Failed(AttemptFailure::Protocol, "an answer that cannot be passed on");
const RESET: Stop = Stop::Failed(AttemptFailure::Reset, "the endpoint ended the connection");
const INTERNAL: Stop = Stop::Refused(Refusal::Internal);

impl Exchange<'_> {
    /// Passes the endpoint's answer on, until the client has all of it.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>, endpoint: &mut TcpStream) -> Poll<Result<(), Stop>> {
        loop {
            let taken = ready!(self.download.poll_out(cx, self.stream));
            if let Err(failure) = taken {
                return Poll::Ready(Err(Stop::Failed(failure, "the client takes no more")));
            }
            if self.download.stage == AnswerStage::Over {
                return Poll::Ready(Ok(()));
            }
            let relay = self.relay;
            let mut buffer = relay.buffer.borrow_mut();
            let (length, side) = ready!(self.download.poll_fill(cx, endpoint, &mut buffer));
            self.silence.touch();
            if let Err(stop) = self.pass(cx, &mut buffer[..length], side) {
                return Poll::Ready(Err(stop));
            }
        }
    }

    /// Passes on what was read.
    fn pass(&mut self, cx: &mut Context<'_>, bytes: &mut [u8], side: EndpointSide) -> Result<(), Stop> {
        let relay = self.relay;
        let mut before = relay.heads.borrow_mut();
        before.clear();
        let mut bytes = bytes;
        let mut head: &[u8] = &[];
        while self.download.stage == AnswerStage::Head {
            match self.download.head.read(bytes) {
                Err(MalformedLine) => return Err(PROTOCOL),
                Ok(None) => {
                    self.download.keep_partial(bytes);
                    // Interim answers go on, whatever follows them.
                    self.send(cx, [&before, &[], &[]])?;
                    return if side == EndpointSide::Open { Ok(()) } else { Err(RESET) };
                }
                Ok(Some(length)) => {
                    let (this, rest) = bytes.split_at_mut(length);
                    bytes = rest;
                    if self.download.head.is_interim() {
                        if !self.download.takes_interim() {
                            return Err(PROTOCOL);
                        }
                        self.write_interim(this, &mut before)?;
                    } else {
                        self.begin_answer(this)?;
                        head = this;
                    }
                }
            }
        }
        let piece = self.download.take(bytes, side).map_err(|_| PROTOCOL)?;
        let is_over = self.download.stage == AnswerStage::Over;
        let is_cut = !is_over && side != EndpointSide::Open;
        if is_cut && self.status.is_none() {
            return Err(RESET);
        }
        if !head.is_empty() {
            self.write_answer_head(head, &mut before)?;
        }
        if piece.content > 0 {
            self.answering();
        }
        let mut behind = Vec::new();
        let framing = self.download.framing;
        framing.before(piece.content, &mut before);
        if is_over {
            let trailers = passed_on(&self.download.announced, self.download.reader.trailers());
            framing.behind(piece.content, Some(&trailers), &mut behind);
        } else {
            framing.behind(piece.content, None, &mut behind);
        }
        let sent = self.send(cx, [&before, &bytes[..piece.content], &behind]);
        if is_cut { Err(RESET) } else { sent }
    }

    /// The endpoint's answer is under way, not just its head; or its head is all that need come for long.
    fn answering(&mut self) {
        if let (Some(resolved), Some(attempt)) = (self.reached.resolved_mut(), &self.attempt) {
            attempt.answering(&self.received, resolved);
        }
    }

    fn send(&mut self, cx: &mut Context<'_>, pieces: [&[u8]; 3]) -> Result<(), Stop> {
        let sent = self.download.send(cx, self.stream, &pieces);
        sent.map_err(|failure| Stop::Failed(failure, "the client takes no more"))
    }

    /// Writes an interim answer, for a client that knows them: without the endpoint's fields of its connection, and without a length,
    /// which such a head has not (RFC 9110, section 8.6).
    fn write_interim(&mut self, head: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
        let answer = &self.download.head;
        if answer.status == 100 {
            self.connection.client_side().expects(false);
        }
        if !self.request.version().knows_http11() {
            return Ok(());
        }
        let fields = HeadFields { bytes: head, table: &answer.table };
        let hop = hop_by_hop(&fields);
        let dropped = Dropped { hop: &hop, also: &[], keeps_upgrade: false };
        write_status(out, answer.status, &head[answer.reason.clone()]);
        write_fields(out, fields, dropped, &crate::policy::Edits::default(), "").map_err(|_| INTERNAL)?;
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Reads how the answer is framed, and decides whether the client gets it.
    fn begin_answer(&mut self, head: &[u8]) -> Result<(), Stop> {
        let download = &mut *self.download;
        let answer = &download.head;
        let fields = HeadFields { bytes: head, table: &answer.table };
        let status = answer.status;
        let is_asked = self.offer.as_deref().is_some_and(|offer| upgrade::is_of(&fields, offer));
        if breaks_protocol(status, &fields, is_asked) {
            return Err(PROTOCOL);
        }
        let length = fields.length().map_err(|MalformedLine| PROTOCOL)?;
        let is_chunked = fields.values("transfer-encoding").next().is_some();
        // Whoever frames a body in two ways is not to be believed about either (RFC 9112, section 6.3).
        if is_chunked && (length.is_some() || answer.version == HttpVersion::Http10) {
            return Err(PROTOCOL);
        }
        let view = self.request.view();
        let is_without = view.method == "HEAD" || matches!(status, 204 | 304);
        download.is_reusable = answer.version == HttpVersion::Http11 && !fields.lists("connection", b"close");
        download.announced.clear();
        download.reader = match (status, length) {
            (101, _) => BodyReader::UntilClose,
            _ if is_without => BodyReader::Empty,
            _ if is_chunked => BodyReader::chunked(&self.relay.worker.limits),
            (_, Some(0)) => BodyReader::Empty,
            (_, Some(length)) => BodyReader::Length(length),
            (_, None) => BodyReader::UntilClose,
        };
        if is_chunked && !is_without {
            download.announced = announced_trailers(&fields);
        }
        let is_unbounded = matches!(download.reader, BodyReader::Chunked(_) | BodyReader::UntilClose) && status != 101;
        let framed = is_unbounded && view.version.knows_http11();
        download.framing = if framed { BodyFraming::Chunked } else { BodyFraming::Plain };
        if is_unbounded && !framed {
            // The end of the connection is the end of the body.
            self.keeps = false;
            download.ends_with_connection = true;
        }
        download.stage = AnswerStage::Body;
        self.silence.enter(Phase::Body);
        let (Some(resolved), Some(attempt)) = (self.reached.resolved_mut(), &mut self.attempt) else {
            return Err(INTERNAL);
        };
        let body = self.upload.retry_body();
        match attempt.answered((&self.received, resolved), &view, status, || (body, false)) {
            Next::Again => Err(Stop::Again),
            Next::Over => Ok(()),
        }
    }

    /// Writes the head of the endpoint's answer as the client gets it.
    fn write_answer_head(&mut self, head: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
        let (relay, client) = (self.relay, client_of(self.connection));
        let answer = &self.download.head;
        let fields = HeadFields { bytes: head, table: &answer.table };
        let status = answer.status;
        let is_tunnel = status == 101;
        let hop = if is_tunnel { Names::new() } else { hop_by_hop(&fields) };
        write_status(out, status, &head[answer.reason.clone()]);
        let dropped = Dropped { hop: &hop, also: &[], keeps_upgrade: is_tunnel };
        let has_date = with_response_edits(&self.reached, &self.received, &client, Some(answer.version), |edits| {
            write_fields(out, fields, dropped, edits, "date")
        });
        if !has_date.map_err(|_| INTERNAL)? {
            relay.date.write(out);
        }
        let answered = Answered::by_endpoint(&relay.worker, &self.received, status, &fields);
        let length = fields.length().ok().flatten().filter(|_| status != 204 && !is_tunnel);
        match length.filter(|_| self.download.framing == BodyFraming::Plain) {
            Some(length) => write_number(out, "content-length", length),
            None if self.download.framing == BodyFraming::Chunked => {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n");
                if !self.download.announced.is_empty() {
                    write_field(out, "trailer", self.download.announced.as_bytes()).map_err(|_| INTERNAL)?;
                }
            }
            None => {}
        }
        let client = self.connection.client_side();
        if let Some(long_lived) = answered.long_lived {
            client.streams();
            if long_lived == LongLived::EventStream {
                self.connection.begin_endless_answer();
            }
        }
        let may_pause = matches!(answered.long_lived, Some(LongLived::EventStream | LongLived::Tunnel));
        self.status = Some(status);
        self.answered = Some(answered);
        if may_pause {
            self.answering();
        }
        if is_tunnel {
            self.keeps = false;
            self.connection.begin_tunnel();
            self.upload.open_tunnel();
        } else {
            // Before the end of the request nobody can tell if the client sends the rest of it.
            self.keeps &= self.upload.is_read() && !self.connection.is_closing();
            self.write_connection(out);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Tells the client whether its connection stays.
    fn write_connection(&self, out: &mut Vec<u8>) {
        let line: &[u8] = if self.keeps { b"connection: keep-alive\r\n" } else { b"connection: close\r\n" };
        out.extend_from_slice(line);
    }

    /// Answers instead of an endpoint.
    pub(super) async fn answer(&mut self, answer: Answer<'_>) -> ExchangeEnd {
        self.end = Some(answer.end());
        self.refusal = answer.refusal();
        // What is left of the body is not worth reading.
        self.keeps &= !answer.closes() && !self.connection.is_closing() && !self.has_body();
        let view = self.request.view();
        let accept = self.request.head_fields().values("accept").next();
        let reply = answer.reply(view.method, accept);
        // A part of an interim answer may be with the client.
        let mut out = self.download.take_unsent();
        let reason = http::StatusCode::from_u16(reply.status).ok().and_then(|status| status.canonical_reason());
        write_status(&mut out, reply.status, reason.unwrap_or_default().as_bytes());
        let client = client_of(self.connection);
        let written = with_response_edits(&self.reached, &self.received, &client, None, |edits| {
            let edits = EditList::of(edits);
            let mut has_date = false;
            for (name, value) in reply.headers.iter().filter(|(name, _)| !edits.replaces(name, 0)) {
                has_date |= *name == "date";
                write_field(&mut out, name, value.as_bytes())?;
            }
            edits.write(&mut out, "date").map(|written| written || has_date)
        });
        let Ok(has_date) = written else { return ExchangeEnd::Cut };
        if !has_date {
            self.relay.date.write(&mut out);
        }
        self.write_connection(&mut out);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&reply.body);
        self.answered = Some(Answered::by_gateway(&self.received));
        self.status = Some(reply.status);
        self.download.bytes = 0;
        self.own_bytes = reply.body.len() as u64;
        match self.write_all(&out).await {
            true if self.keeps => ExchangeEnd::Kept,
            true => ExchangeEnd::Over,
            false => ExchangeEnd::Cut,
        }
    }

    /// True if the client took everything.
    async fn write_all(&mut self, bytes: &[u8]) -> bool {
        let mut written = 0;
        poll_fn(|cx| {
            while written < bytes.len() {
                match ready!(self.stream.poll_send(cx, &[IoSlice::new(&bytes[written..])])) {
                    Ok(wrote) => written += wrote,
                    Err(_) => return Poll::Ready(false),
                }
            }
            Pin::new(&mut *self.stream).poll_flush(cx).map(|flushed| flushed.is_ok())
        })
        .await
    }
}
