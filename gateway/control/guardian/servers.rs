//! What servers say: each is asked by a task of its own, so that a dead one holds nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use config::model::{Check, PrometheusCheck};
use config::release::rollout::{Answer, Phase, Rollout, RolloutId};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time;

use crate::query::Queries;

/// The servers that running rollouts ask.
pub(super) struct Servers {
    queries: Queries,
    /// The runtime on which they are asked.
    runtime: Handle,
    asked: BTreeMap<RolloutId, Asked>,
}

/// The servers of one step; dropped with the tasks that ask them.
struct Asked {
    step: usize,
    /// By the place of the gate.
    answers: Vec<(usize, Arc<Mutex<Answer>>)>,
    _tasks: JoinSet<()>,
}

impl Servers {
    /// Nobody is asked yet.
    pub(super) fn new(queries: Queries, runtime: Handle) -> Self {
        Self { queries, runtime, asked: BTreeMap::new() }
    }

    /// What the servers of the current step say, by the place of their gate; asks them from now on.
    pub(super) fn answers(&mut self, rollout: &Rollout) -> Vec<(usize, Answer)> {
        let (Phase::Baking { step, .. } | Phase::Deciding { step, .. }) = rollout.phase else { return Vec::new() };
        let is_asked = self.asked.get(&rollout.id).is_some_and(|asked| asked.step == step);
        if !is_asked {
            let asked = self.ask(rollout, step);
            self.asked.insert(rollout.id, asked);
        }
        let answers = &self.asked[&rollout.id].answers;
        let answer = |answer: &Mutex<Answer>| answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        answers.iter().map(|(place, shared)| (*place, answer(shared))).collect()
    }

    /// Stops asking for those that are not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(RolloutId) -> bool) {
        self.asked.retain(|id, _| keep(*id));
    }

    fn ask(&self, rollout: &Rollout, step: usize) -> Asked {
        let (mut answers, mut tasks) = (Vec::new(), JoinSet::new());
        for (place, gate) in rollout.gates(step).enumerate() {
            let Check::Prometheus(check) = &gate.check else { continue };
            let shared = Arc::new(Mutex::new(Answer::None("the server was not asked yet".to_owned())));
            answers.push((place, Arc::clone(&shared)));
            let query = with_names(check, rollout);
            tasks.spawn_on(follow(self.queries.clone(), query, Arc::clone(&shared)), &self.runtime);
        }
        Asked { step, answers, _tasks: tasks }
    }
}

/// The query with the names that it mentions; of a train, those of its first member.
fn with_names(check: &PrometheusCheck, rollout: &Rollout) -> PrometheusCheck {
    let member = &rollout.members[0];
    let stable = member.stable.map(|stable| stable.to_string()).unwrap_or_default();
    let query = check
        .query
        .replace("${function}", member.function.as_str())
        .replace("${alias}", member.alias.as_str())
        .replace("${candidate}", &member.candidate.to_string())
        .replace("${stable}", &stable);
    PrometheusCheck { query, ..check.clone() }
}

async fn follow(queries: Queries, check: PrometheusCheck, shared: Arc<Mutex<Answer>>) {
    let mut every = time::interval(check.every);
    loop {
        every.tick().await;
        let answer = match check.url.fixed() {
            None => Answer::None("the server's URL is not known".to_owned()),
            Some(url) => match queries.instant(url, &check.query).await {
                Ok(value) => check.answer(value),
                Err(none) => Answer::None(none.to_string()),
            },
        };
        *shared.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}
