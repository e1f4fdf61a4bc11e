//! The listener of the clouds' own clients, and its keys.

use crate::model::{AccessKey, AdminListener, Dialects, KeyRole, KeySecret};
use crate::text::parse::domain::certificate;
use crate::text::parse::place::{Place, Reading, quoted};
use crate::text::parse::process::{Guarded, address, guarded};
use crate::text::parse::scalar::{env_template, switch};
use crate::text::parse::upstream::file;

const LISTENER: Guarded<'_> = (
    "the listener of dialects",
    "parts of some requests are not signed, and could be changed on the way",
    "127.0.0.1:9901",
);

/// The most keys.
const MOST_KEYS: usize = 1000;

/// `{address: 127.0.0.1:9901, account: "000000000000", keys: [{id: …, secret: "${NAME}", role: operator}]}`
pub(super) fn dialects(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Dialects> {
    let mut fields = place.fields(r, "a mapping with `address`, `account` and `keys`")?;
    let at = fields.require(r, "address", "for example `address: 127.0.0.1:9901`");
    let found = at.as_ref().and_then(|place| address(place, r));
    let has_tls = fields.has("tls");
    let tls = fields.read(r, "tls", certificate);
    let insecure = fields.read(r, "insecure", switch).unwrap_or(false);
    let account = fields.require(r, "account", "the account of ARNs, such as `account: \"000000000000\"`");
    let account = account.and_then(|place| self::account(&place, r));
    let keys = fields.require(r, "keys", "for example `keys: [{id: WEIRKEY01, secret: \"${NAME}\", role: operator}]`");
    let keys = keys.and_then(|place| self::keys(&place, r));
    fields.finish(r);
    let listener = AdminListener::Tcp { address: found?, tls, insecure };
    // A certificate that cannot be read has its own problem.
    let is_read = !has_tls || matches!(&listener, AdminListener::Tcp { tls: Some(_), .. });
    let is_guarded = is_read && guarded(&at?, &listener, r, LISTENER);
    let dialects = Dialects { listener, account: account?, keys: keys? };
    is_guarded.then_some(dialects)
}

fn account(place: &Place<'_>, r: &mut Reading<'_>) -> Option<String> {
    let text = place.text(r, "12 digits such as `\"000000000000\"`")?;
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.to_owned());
    }
    let problem = place.problem(format!("{} is not an account", quoted(text)));
    r.problems.push(problem.help("write 12 digits in quotes, such as `account: \"000000000000\"`"));
    None
}

fn keys(place: &Place<'_>, r: &mut Reading<'_>) -> Option<Vec<AccessKey>> {
    let mut keys: Vec<AccessKey> = Vec::new();
    let what = "a list of keys such as `[{id: WEIRKEY01, secret: \"${NAME}\", role: operator}]`";
    for item in place.few_items(r, MOST_KEYS, "keys", what)? {
        let Some(key) = key(&item, r) else { continue };
        if keys.iter().any(|other| other.id == key.id) {
            let problem = item.problem(format!("two keys have the id `{}`", key.id));
            r.problems.push(problem.help("give one of them another id"));
        }
        keys.push(key);
    }
    Some(keys)
}

fn key(place: &Place<'_>, r: &mut Reading<'_>) -> Option<AccessKey> {
    let mut fields = place.fields(r, "a mapping with `id`, `secret` or `secret_file`, and `role`")?;
    let id = fields.require(r, "id", "the id that clients sign with: `weir key new` makes one");
    let id = id.and_then(|place| key_id(&place, r));
    let wheres = ["secret", "secret_file"];
    let help = "keep the variable or the file, and leave the other out";
    if fields.alternatives(r, &wheres, "a secret is in one place", help) == 0 {
        let help =
            "write `secret: \"${NAME}\"` or `secret_file: PATH`; `weir key new --secret-file PATH` writes the file";
        r.problems.push(place.problem("this key has no secret").help(help));
    }
    let variable = fields.read(r, "secret", variable);
    let secret = variable.or(fields.read(r, "secret_file", |place, r| file(place, r).map(KeySecret::File)));
    let role = fields.require(r, "role", "one of `viewer`, `invoker`, `operator`");
    let role = role.and_then(|place| place.choice(r, &KeyRole::WORDS));
    fields.finish(r);
    Some(AccessKey { id: id?, secret: secret?, role: role? })
}

fn key_id(place: &Place<'_>, r: &mut Reading<'_>) -> Option<String> {
    let text = place.text(r, "the id of a key")?;
    let is_word = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_word && (4..=128).contains(&text.len()) {
        return Some(text.to_owned());
    }
    let problem = place.problem(format!("{} is not the id of a key", quoted(text)));
    r.problems.push(problem.help("write 4 to 128 letters, digits, `-` and `_`, such as `WEIRKEYCI0000000001`"));
    None
}

/// One variable of the environment. A secret that is written out would be in every copy of the file.
fn variable(place: &Place<'_>, r: &mut Reading<'_>) -> Option<KeySecret> {
    let text = place.text(r, "the name of a variable such as `\"${WEIR_KEY_CI}\"`")?;
    let is_variable = text
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    if !is_variable {
        // What stands here may be the secret.
        let problem = place.problem("a secret does not stand in this file");
        r.problems
            .push(problem.help("keep it in the environment, `secret: \"${NAME}\"`, or in a file, `secret_file: PATH`"));
        return None;
    }
    let secret = env_template(place, r, "the name of a variable")?;
    if !secret.is_unresolved() && secret.fixed().is_some_and(|secret| secret.len() < KeySecret::LEAST) {
        let problem =
            place.problem(format!("the secret in {} has fewer than {} characters", quoted(text), KeySecret::LEAST));
        r.problems.push(problem.help("`weir key new` prints a key pair"));
        return None;
    }
    Some(KeySecret::Variable(secret))
}
