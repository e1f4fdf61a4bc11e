//! The bytes of an invocation: a connection to one endpoint, the request, and the whole answer.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use bytes::Bytes;
use config::model::{Protocol, UpstreamTls};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Outgoing;
use crate::policy::exchange::AttemptFailure;
use crate::policy::exchange::attempting::{EndpointRequest, breaks_protocol};
use crate::policy::hop::hop_by_hop;
use crate::policy::{FieldName, HeaderEdit};
use crate::upstreams::{Authorities, Member};

/// Bytes of an answer.
const ANSWER: usize = 6 << 20;

/// The endpoint of one attempt.
pub(super) struct There {
    address: SocketAddr,
    authority: String,
    /// The name that its certificate must carry.
    name: String,
    tls: Option<UpstreamTls>,
    authorities: Option<Arc<Authorities>>,
    protocol: Protocol,
    connect: Duration,
    response: Duration,
    idle: Duration,
}

/// The system's certificate authorities, read when they are first needed.
#[derive(Default)]
pub(in crate::dialects) struct Trusted(OnceLock<Arc<RootCertStore>>);

/// A whole answer.
pub(super) struct Sent {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there is no answer.
pub(super) struct Unsent {
    /// [`AttemptFailure::Connect`] if nothing of the request can have been seen.
    pub(super) failure: AttemptFailure,
    pub(super) reason: String,
}

impl Unsent {
    fn new(failure: AttemptFailure, reason: impl ToString) -> Self {
        Self { failure, reason: reason.to_string() }
    }

    fn unconnected(reason: impl ToString) -> Self {
        Self::new(AttemptFailure::Connect, reason)
    }
}

/// The request as the endpoint gets it.
pub(super) struct EventRequest {
    method: String,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

impl EventRequest {
    /// Hop-by-hop fields go first, and then come the edits.
    ///
    /// # Errors
    /// A field that cannot be written.
    pub(super) fn new(outgoing: &Outgoing, edited: &EndpointRequest<'_>) -> Result<Self, Unsent> {
        let mut headers = outgoing.headers.clone();
        for name in hop_by_hop(&headers) {
            headers.remove(&*name);
        }
        headers.remove(header::CONNECTION);
        let name = |name: FieldName<'_>| HeaderName::from_bytes(name.as_str().as_bytes()).map_err(Unsent::unconnected);
        let value = |value: &[u8]| HeaderValue::from_bytes(value).map_err(Unsent::unconnected);
        for edit in edited.edits.iter() {
            match edit {
                HeaderEdit::Remove(gone) => drop(headers.remove(gone)),
                HeaderEdit::Set(to, text) => drop(headers.insert(name(to)?, value(text)?)),
                HeaderEdit::Add(to, text) => drop(headers.append(name(to)?, value(text)?)),
            }
        }
        let (method, target) = (outgoing.method.clone(), edited.target.clone().into_owned());
        Ok(Self { method, target, headers, body: outgoing.body.clone() })
    }

    /// In the form of this protocol.
    fn for_endpoint(mut self, there: &There) -> Result<http::Request<Full<Bytes>>, Unsent> {
        let host =
            self.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or(&there.authority).to_owned();
        let uri: Uri = self.target.parse().map_err(Unsent::unconnected)?;
        let uri = if there.protocol == Protocol::Http1 {
            let value = HeaderValue::from_str(&host).map_err(Unsent::unconnected)?;
            self.headers.insert(header::HOST, value);
            uri
        } else {
            self.headers.remove(header::HOST);
            let mut parts = uri.into_parts();
            parts.scheme = Some(if there.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP });
            parts.authority = Some(host.parse::<Authority>().map_err(Unsent::unconnected)?);
            Uri::from_parts(parts).map_err(Unsent::unconnected)?
        };
        self.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        let mut request = http::Request::new(Full::new(self.body));
        *request.method_mut() = self.method.parse().map_err(Unsent::unconnected)?;
        (*request.uri_mut(), *request.headers_mut()) = (uri, self.headers);
        Ok(request)
    }
}

impl There {
    pub(super) fn of(member: &Member) -> Self {
        let spec = member.spec();
        let named = spec.tls.as_ref().and_then(|tls| tls.sni.as_ref()).map(|name| name.as_str().to_owned());
        Self {
            address: member.address(),
            authority: member.authority().to_owned(),
            name: named.unwrap_or_else(|| member.host().to_owned()),
            tls: spec.tls.clone(),
            authorities: member.trust().authorities().cloned(),
            protocol: spec.protocol,
            connect: spec.timeouts.connect,
            response: spec.timeouts.response,
            idle: spec.timeouts.idle,
        }
    }
}

/// A connection for one request.
pub(super) enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Connects to an endpoint, TLS included.
///
/// # Errors
/// It did not come about within the version's time.
pub(super) async fn connect(there: &There, trusted: &Trusted) -> Result<Connection, Unsent> {
    let connecting = async {
        let stream = TcpStream::connect(there.address).await.map_err(Unsent::unconnected)?;
        stream.set_nodelay(true).map_err(Unsent::unconnected)?;
        let Some(tls) = &there.tls else { return handshake(stream, there.protocol).await };
        let config = trusted.config(tls, there)?;
        let name = ServerName::try_from(there.name.clone()).map_err(Unsent::unconnected)?;
        let secure = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(Unsent::unconnected)?;
        handshake(secure, there.protocol).await
    };
    let late = || Unsent::unconnected(format!("no connection within {:?}", there.connect));
    timeout(there.connect, connecting).await.unwrap_or_else(|_| Err(late()))
}

/// The connection's own task ends with the last of its senders and answers.
async fn handshake<S>(stream: S, protocol: Protocol) -> Result<Connection, Unsent>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(stream);
    if protocol == Protocol::Http1 {
        let (sender, connection) = http1::handshake(stream).await.map_err(Unsent::unconnected)?;
        tokio::spawn(connection);
        return Ok(Connection::Http1(sender));
    }
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.map_err(Unsent::unconnected)?;
    tokio::spawn(connection);
    Ok(Connection::Http2(sender))
}

impl Connection {
    /// Sends the request and takes the whole answer.
    ///
    /// # Errors
    /// There is none, or not a whole one.
    pub(super) async fn send(self, request: EventRequest, there: &There) -> Result<Sent, Unsent> {
        let request = request.for_endpoint(there)?;
        let late = |time: Duration| Unsent::new(AttemptFailure::Timeout, format!("no answer within {time:?}"));
        // The sender is kept: a connection without one ends.
        let (answered, _sender) = match self {
            Self::Http1(mut sender) => {
                (timeout(there.response, sender.send_request(request)).await, Self::Http1(sender))
            }
            Self::Http2(mut sender) => {
                (timeout(there.response, sender.send_request(request)).await, Self::Http2(sender))
            }
        };
        let answer = answered.map_err(|_| late(there.response))?.map_err(|error| broken(&error))?;
        let status = answer.status().as_u16();
        let (parts, body) = answer.into_parts();
        if breaks_protocol(status, &parts.headers, false) {
            return Err(Unsent::new(AttemptFailure::Protocol, "the answer breaks HTTP"));
        }
        let body = whole(body, there).await?;
        Ok(Sent { status, headers: parts.headers, body })
    }
}

async fn whole(mut body: Incoming, there: &There) -> Result<Bytes, Unsent> {
    let mut whole = Vec::new();
    loop {
        let frame = timeout(there.idle, body.frame()).await;
        let late = |_| Unsent::new(AttemptFailure::Timeout, format!("silent for {:?}", there.idle));
        let Some(frame) = frame.map_err(late)? else { return Ok(whole.into()) };
        let frame = frame.map_err(|error| broken(&error))?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > ANSWER {
                return Err(Unsent::new(AttemptFailure::BodyTooLarge, "the answer is too large"));
            }
            whole.extend_from_slice(&data);
        }
    }
}

fn broken(error: &hyper::Error) -> Unsent {
    let failure = if error.is_canceled() {
        // It never left.
        AttemptFailure::Connect
    } else if error.is_parse() {
        AttemptFailure::Protocol
    } else {
        AttemptFailure::Reset
    };
    Unsent::new(failure, error)
}

impl Trusted {
    /// The settings of a connection to this endpoint.
    fn config(&self, tls: &UpstreamTls, there: &There) -> Result<ClientConfig, Unsent> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(Unsent::unconnected)?;
        let mut config = if tls.verify {
            let roots = match &there.authorities {
                Some(own) => {
                    let mut roots = RootCertStore::empty();
                    for certificate in own.iter() {
                        roots.add(certificate.clone()).map_err(Unsent::unconnected)?;
                    }
                    Arc::new(roots)
                }
                None => Arc::clone(self.0.get_or_init(system_roots)),
            };
            builder.with_root_certificates(roots).with_no_client_auth()
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider))).with_no_client_auth()
        };
        let protocol: &[u8] = if there.protocol == Protocol::Http1 { b"http/1.1" } else { b"h2" };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(config)
    }
}

fn system_roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!("certificate authorities of the system: {error}");
    }
    roots.add_parsable_certificates(found.certs);
    Arc::new(roots)
}

/// Takes any certificate, for versions with `verify: false`.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
