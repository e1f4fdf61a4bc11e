//! The state of a request from hook to hook.

use std::sync::Arc;

use crate::edge::{ClientSide, Connection, Watch};
use crate::log::EndReason;
use crate::policy::exchange::{Answered, AttemptFailure, Attempting, Reached, Received};
use crate::policy::refusal::Refusal;

/// One request, from its head to its line in the access log.
#[derive(Default)]
pub struct Ctx {
    pub(super) connection: Option<Arc<Connection>>,
    /// Set by `request_filter`, before anything else can happen.
    pub(super) received: Option<Received>,
    pub(super) reached: Reached,
    /// The attempt under way, or the last one.
    pub(super) attempt: Option<Attempting>,
    pub(super) answered: Option<Answered>,
    /// The client's side of the request, as the transport sees it.
    pub(super) client_side: Option<Arc<ClientSide>>,
    /// The watch of the attempt, until that ends or pingora's own limits are enough.
    pub(super) watch: Option<Watch>,
    /// True if the watch goes on behind the head of the answer, because pingora's own limit on reads is longer than
    /// `timeouts.idle`.
    pub(super) watches_body: bool,
    /// Bytes of the request's body so far.
    pub(super) body_bytes: u64,
    /// Bytes of the answer's body so far.
    pub(super) sent_bytes: u64,
    /// The failure of the last attempt, if it broke.
    pub(super) failure: Option<AttemptFailure>,
    /// The reason why the gateway gave up by itself.
    pub(super) refusal: Option<Refusal>,
    /// The status of an answer that took the place of an endpoint's of which nothing was sent.
    pub(super) substituted: Option<u16>,
    /// The end reason, where the gateway answered.
    pub(super) end: Option<EndReason>,
}
