//! Questions whose answer comes later, each with a token that is good once and as long as somebody waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::Answer;

/// No open question has this token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no hook waits for this callback: it was answered before, its time is over, the question was taken back, or the gateway has \
     restarted since and has asked again, with another callback"
)]
pub struct UnknownToken;

/// By the hash of the token, so that how long a lookup takes tells nothing about tokens.
#[derive(Clone, Default)]
pub(super) struct Callbacks(Arc<Mutex<HashMap<[u8; 32], oneshot::Sender<Answer>>>>);

/// One open question; closed when it is dropped.
pub(super) struct Open {
    callbacks: Callbacks,
    token: String,
    answer: oneshot::Receiver<Answer>,
}

impl Callbacks {
    pub(super) fn open(&self) -> Open {
        let [high, low]: [u128; 2] = rand::random();
        let token = format!("{high:032x}{low:032x}");
        let (sender, answer) = oneshot::channel();
        self.lock().insert(hash(&token), sender);
        Open { callbacks: self.clone(), token, answer }
    }

    pub(super) fn answer(&self, token: &str, answer: Answer) -> Result<(), UnknownToken> {
        let sender = self.lock().remove(&hash(token)).ok_or(UnknownToken)?;
        sender.send(answer).map_err(|_| UnknownToken)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], oneshot::Sender<Answer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    pub(super) fn url(&self, base: &str) -> String {
        format!("{}/v1/callbacks/{}", base.trim_end_matches('/'), self.token)
    }

    /// Once.
    pub(super) async fn answer(&mut self) -> Answer {
        (&mut self.answer).await.expect("the sender leaves the map only to send, or when this is dropped")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.callbacks.lock().remove(&hash(&self.token));
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
