//! What a person says to a rollout, or to all of them at once.

use config::text::problem::visible;
use reqwest::Method;
use serde_json::{Value, json};

use super::Exit;
use super::ask::{Ask, Asking, Form, Why, at, warn_unsaved};
use super::failure::Failure;
use super::local::print;
use super::remote::{Call, Remote};
use super::rollout::{Target, newest, path, read};

/// One word to one rollout.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Word {
    /// Pass the gate of a rollout that waits for somebody's word
    Approve(Asking<Say>),
    /// Say no to the gate that waits for somebody's word: stable takes everything
    Reject(Asking<Say>),
    /// Keep a rollout where it is; gates still watch
    Pause(Asking<Say>),
    /// Let a paused rollout go on
    Resume(Asking<Say>),
    /// End this bake of a rollout now
    Advance(Asking<Say>),
    /// Give the candidate everything now, and make it stable
    Promote(Asking<Say>),
    /// End a rollout where it is: the split that requests see stays, as the alias's own
    Stop(Asking<Say>),
    /// Stop a rollout: stable takes everything now
    Abort(Asking<Say>),
}

/// To whom, and why.
#[derive(Debug, clap::Args)]
pub(super) struct Say {
    /// The alias, such as `shop:prod`, or the id of its rollout, such as `r12`
    #[arg(value_name = "FUNCTION:ALIAS|ROLLOUT")]
    target: Target,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    form: Form,
}

impl Word {
    pub(super) fn run(&self) -> Exit {
        let (word, asking) = match self {
            Self::Approve(asking) => ("approve", asking),
            Self::Reject(asking) => ("reject", asking),
            Self::Pause(asking) => ("pause", asking),
            Self::Resume(asking) => ("resume", asking),
            Self::Advance(asking) => ("advance", asking),
            Self::Promote(asking) => ("promote", asking),
            Self::Stop(asking) => ("stop", asking),
            Self::Abort(asking) => ("abort", asking),
        };
        asking.run_with(|say, remote| say.tell(remote, word))
    }
}

impl Say {
    fn tell(&self, remote: &Remote, word: &str) -> Result<Exit, Failure> {
        let id = match &self.target {
            Target::Id(id) => id.to_string(),
            Target::Alias(alias) => match newest(remote, alias, true)? {
                Some(rollout) => rollout.id,
                None if word == "abort" => {
                    let told = || format!("no rollout is running on {alias}: there is nothing to abort\n");
                    return Ok(self.form.show(&Value::Null, told));
                }
                None => {
                    let failure = Failure::new(Exit::Refused, format!("no rollout is running on {alias}"));
                    return Err(failure.hint(format!("`weir rollouts {alias}` shows those that ran")));
                }
            },
        };
        let call = Call::new(Method::POST, format!("{}/{word}", path(&id))).why(self.why.why.as_deref());
        let answer = remote.call(call)?;
        warn_unsaved(&answer);
        let rollout = read(&answer.json)?;
        Ok(self.form.show(&answer.json, || format!("{rollout}{}\n", at(answer.revision))))
    }
}

/// `weir freeze`
#[derive(Debug, clap::Args)]
pub(super) struct Freeze {
    /// For how long, such as `2h` or `3d`; 24 hours without it, 30 days at most
    #[arg(long = "for", value_name = "TIME")]
    length: Option<String>,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    form: Form,
}

impl Ask for Freeze {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        let body = self.length.as_ref().map_or_else(|| json!({}), |length| json!({ "for": length }));
        let call = Call::new(Method::PUT, "/v1/freeze").json(&body).why(self.why.why.as_deref());
        let answer = remote.call(call)?;
        Ok(self.form.show(&answer.json, || {
            let until = visible(answer.json["until"].as_str().unwrap_or("-"));
            format!("until {until} nothing but going back happens to any rollout{}\n", at(answer.revision))
        }))
    }
}

/// `weir unfreeze`
#[derive(Debug, clap::Args)]
pub(super) struct Unfreeze {
    #[command(flatten)]
    why: Why,
}

impl Ask for Unfreeze {
    fn ask(&self, remote: &Remote) -> Result<Exit, Failure> {
        let answer = remote.call(Call::new(Method::DELETE, "/v1/freeze").why(self.why.why.as_deref()))?;
        Ok(print(&format!("rollouts go on{}\n", at(answer.revision))))
    }
}
