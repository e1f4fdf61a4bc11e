//! Heads of answers, and answers that the gateway makes itself.

use bytes::Bytes;
use config::model::KeySource;
use config::name::AliasName;
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{FailToProxy, Session};
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use prometheus::IntGauge;

use super::Proxy;
use super::charge;
use super::ctx::{Ctx, OpenStream};
use crate::live::Served;
use crate::log::EndReason;
use crate::policy::answer::{Answer, Reply};
use crate::policy::context::{IssuedCookie, ResponseContext};
use crate::policy::headers::response_edits;
use crate::policy::{FieldName, HeaderEdit};

/// Drops what the endpoint said about its own connection alone (RFC 9110, 7.6.1). pingora does so for requests only.
fn drop_hop_by_hop(head: &mut ResponseHeader) {
    const OWN: [&str; 4] = ["keep-alive", "proxy-connection", "te", "upgrade"];
    // Most answers have none of these, and looking once is cheaper than removing each.
    if !head.headers.keys().any(|name| *name == CONNECTION || OWN.contains(&name.as_str())) {
        return;
    }
    let nominated: Vec<String> = head
        .headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !matches!(&**name, "" | "close" | "content-length" | "transfer-encoding"))
        .collect();
    for name in nominated.iter().map(String::as_str).chain(OWN) {
        head.remove_header(name);
    }
}

fn edit(head: &mut ResponseHeader, ctx: &Ctx, received_by: Option<&'static str>) -> Result<()> {
    let served = ctx.served.as_ref();
    let key = served.and_then(|served| served.resolution.issued).map(|issued| issued.to_string());
    let response = ResponseContext {
        version: served.map(|served| served.destination.version()),
        shielded_from: served.and_then(Served::shielded_from),
        version_header: ctx
            .way
            .as_ref()
            .is_some_and(|way| way.domain.as_ref().is_none_or(|domain| domain.version_header)),
        dialects: served.map_or(&[], |served| &served.destination.function.dialects),
        request_id: ctx.request_id(),
        cookie: served.zip(key.as_deref()).and_then(|(served, key)| cookie(served, key, ctx.is_tls())),
        received_by,
    };
    apply(head, response_edits(&response).iter())
}

/// The cookie with the routing key that was issued to this client.
fn cookie<'a>(served: &'a Served, key: &'a str, secure: bool) -> Option<IssuedCookie<'a>> {
    let alias: AliasName = served.destination.alias()?.parse().ok()?;
    let alias = served.destination.function.aliases.get(&alias)?;
    match alias.key.get(served.resolution.issued?.source as usize)? {
        KeySource::IssueCookie { name, max_age } => {
            Some(IssuedCookie { name, key, max_age: max_age.as_secs(), secure })
        }
        _ => None,
    }
}

impl Proxy {
    /// Edits the head of an endpoint's answer for the client.
    pub(super) fn edit_head(&self, session: &mut Session, head: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        if head.status.is_informational() && head.status != 101 {
            return Ok(());
        }
        if ctx.connection.as_ref().is_some_and(|connection| connection.is_closing()) {
            session.set_keepalive(None);
        }
        if head.status != 101 {
            drop_hop_by_hop(head);
        }
        let received_by = if head.version == http::Version::HTTP_2 { "2" } else { "1.1" };
        edit(head, ctx, Some(received_by))?;
        ctx.stream = self.long_lived(head).map(OpenStream::new);
        charge::head(head, ctx);
        Ok(())
    }

    /// The gauge that counts answers of this kind, if they live long.
    fn long_lived(&self, head: &ResponseHeader) -> Option<&IntGauge> {
        let kind = head.headers.get(CONTENT_TYPE).map_or(&b""[..], http::HeaderValue::as_bytes);
        if head.status == 101 {
            Some(&self.metrics.websockets)
        } else if kind.starts_with(b"text/event-stream") {
            Some(&self.metrics.event_streams)
        } else if kind.starts_with(b"application/grpc") {
            Some(&self.metrics.grpc_calls)
        } else {
            None
        }
    }

    /// Answers instead of an endpoint.
    pub(super) async fn answer(&self, session: &mut Session, ctx: &mut Ctx, answer: Answer<'_>) -> Result<()> {
        ctx.end = Some(answer.end);
        // What is left of the body is not worth reading.
        if answer.closes() || !session.is_body_empty() {
            session.set_keepalive(None);
        }
        let request = session.req_header();
        let accept = request.headers.get(ACCEPT).map(http::HeaderValue::as_bytes);
        let reply = answer.reply(request.method.as_str(), accept);
        let (head, body) = self.write_reply(&reply, ctx)?;
        ctx.first_byte = Some(ctx.started.elapsed());
        ctx.sent_bytes = body.len() as u64;
        session.write_response_header(Box::new(head), body.is_empty()).await?;
        if !body.is_empty() {
            session.write_response_body(Some(body), true).await?;
        }
        Ok(())
    }

    /// Answers for a request that failed, if there is still somebody to answer and nothing was said yet.
    pub(super) async fn answer_failure(&self, session: &mut Session, ctx: &mut Ctx, error: &Error) -> FailToProxy {
        let end = ctx.end.unwrap_or_else(|| end_of(error));
        ctx.end = Some(end);
        let unsaid = session.response_written().is_none_or(|sent| sent.status.is_informational() && sent.status != 101);
        let answer = match end {
            EndReason::NoHealthy => Answer::retry_after(end, 1),
            end => Answer::of(end),
        };
        let error_code = answer.status();
        if unsaid && end != EndReason::ClientLeft {
            session.set_keepalive(None);
            if let Err(error) = self.answer(session, ctx, answer).await {
                tracing::debug!("the client left before its answer: {error}");
            }
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    fn write_reply(&self, reply: &Reply<'_>, ctx: &Ctx) -> Result<(ResponseHeader, Bytes)> {
        let mut head = ResponseHeader::build(reply.status, Some(reply.headers.len() + 4))?;
        for (name, value) in &reply.headers {
            head.append(FieldName::Given(name), value.as_bytes())?;
        }
        edit(&mut head, ctx, None)?;
        Ok((head, Bytes::copy_from_slice(&reply.body)))
    }
}

/// Why a request ended that failed with this error.
pub(super) fn end_of(error: &Error) -> EndReason {
    use ErrorType::{
        ConnectError, ConnectNoRoute, ConnectRefused, ConnectTimedout, HTTPStatus, InvalidCert, InvalidH2,
        InvalidHTTPHeader, ReadTimedout, TLSHandshakeFailure, TLSHandshakeTimedout, WriteTimedout,
    };
    match (error.esource(), error.etype()) {
        (_, HTTPStatus(413)) => EndReason::BodyTooLarge,
        (ErrorSource::Downstream, ReadTimedout) => EndReason::SlowClient,
        (ErrorSource::Downstream, InvalidHTTPHeader) => EndReason::BadRequest,
        (ErrorSource::Downstream, _) => EndReason::ClientLeft,
        (ErrorSource::Upstream, ReadTimedout | WriteTimedout) => EndReason::UpstreamTimeout,
        (
            ErrorSource::Upstream,
            ConnectError | ConnectNoRoute | ConnectRefused | ConnectTimedout | InvalidCert | TLSHandshakeFailure
            | TLSHandshakeTimedout,
        ) => EndReason::ConnectFailed,
        (ErrorSource::Upstream, InvalidHTTPHeader | InvalidH2) => EndReason::UpstreamProtocol,
        (ErrorSource::Upstream, _) => EndReason::UpstreamReset,
        _ => EndReason::Internal,
    }
}

/// A head that edits can be applied to.
pub(super) trait Editable {
    fn remove(&mut self, name: &str);
    fn insert(&mut self, name: FieldName<'_>, value: &[u8]) -> Result<()>;
    fn append(&mut self, name: FieldName<'_>, value: &[u8]) -> Result<()>;
}

macro_rules! editable {
    ($head:ty) => {
        impl Editable for $head {
            fn remove(&mut self, name: &str) {
                self.remove_header(name);
            }
            // pingora keeps a static name as it is; any other one is copied, and copied again for its other map.
            fn insert(&mut self, name: FieldName<'_>, value: &[u8]) -> Result<()> {
                match name {
                    FieldName::Own(name) => self.insert_header(name, value),
                    FieldName::Given(name) => self.insert_header(name.to_owned(), value),
                }
            }
            fn append(&mut self, name: FieldName<'_>, value: &[u8]) -> Result<()> {
                match name {
                    FieldName::Own(name) => self.append_header(name, value),
                    FieldName::Given(name) => self.append_header(name.to_owned(), value),
                }
                .map(|_| ())
            }
        }
    };
}

editable!(RequestHeader);
editable!(ResponseHeader);

/// Applies the edits of policy to one of pingora's heads.
pub(super) fn apply<'e>(head: &mut impl Editable, edits: impl Iterator<Item = HeaderEdit<'e>>) -> Result<()> {
    for edit in edits {
        match edit {
            HeaderEdit::Remove(name) => head.remove(name),
            HeaderEdit::Set(name, value) => head.insert(name, value)?,
            HeaderEdit::Add(name, value) => head.append(name, value)?,
        }
    }
    Ok(())
}
