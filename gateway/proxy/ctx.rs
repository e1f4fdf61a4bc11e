//! What a request carries from hook to hook.

use std::sync::Arc;

use crate::edge::{Connection, Cut, HeadWait};
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
    /// Where the wait for the head of the answer can be cut.
    pub(super) cut: Option<Cut>,
    /// From the request's last byte to the head of the answer.
    pub(super) wait: Option<HeadWait>,
    /// Bytes of the request's body so far.
    pub(super) body_bytes: u64,
    /// Bytes of the answer's body so far.
    pub(super) sent_bytes: u64,
    /// How the last attempt broke, if it did.
    pub(super) failure: Option<AttemptFailure>,
    /// Why the gateway gave up by itself.
    pub(super) refusal: Option<Refusal>,
    /// Why it ended as it did, where the gateway answered.
    pub(super) end: Option<EndReason>,
}
