//! A notice as each kind of receiver wants it: URL, headers and JSON, cut to the receiver's limits.

use std::time::Duration;

use config::model::Notifier;
use config::value::template::Template;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Link, Notice, Severity, sign};
use crate::calls::shorten;

const DINGTALK: &str = "https://oapi.dingtalk.com/robot/send";
const WECOM: &str = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send";

/// Bytes of a request to DingTalk or Feishu; both name 20 KB.
const ROBOT: usize = 20_000;
/// Bytes of WeCom's `markdown.content`.
const WECOM_CONTENT: usize = 4096;
/// Bytes of the text of a section; Slack counts 3 000 characters, and refuses a message with more.
const SLACK_SECTION: usize = 3000;
/// Characters of a title; Slack refuses a header of more than 150.
const TITLE: usize = 120;

/// One request to a receiver.
pub(super) struct Message {
    pub(super) url: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

/// The request that tells `notice`, signed for the time `unix`; `id` is the same for each try. `None` for the log.
pub(super) fn message(notifier: &Notifier, notice: &Notice, unix: Duration, id: &str) -> Option<Message> {
    let heading = heading(notice);
    let plain = |url: &Template, body: String| Message { url: fixed(url).to_owned(), headers: Vec::new(), body };
    Some(match notifier {
        Notifier::DingTalk { access_token, secret, at_users, url } => {
            let mut query = vec![("access_token", fixed(access_token).to_owned())];
            if let Some(secret) = secret {
                let timestamp = unix.as_millis();
                query.push(("timestamp", timestamp.to_string()));
                query.push(("sign", sign::dingtalk(timestamp, fixed(secret))));
            }
            let url = with_query(url.as_ref().map_or(DINGTALK, fixed), &query);
            Message { url, headers: Vec::new(), body: dingtalk(&heading, notice, at_users) }
        }
        Notifier::Feishu { url, secret } => {
            let secret = secret.as_ref().map(fixed);
            plain(url, feishu(&heading, notice, secret.map(|secret| (unix.as_secs(), secret))))
        }
        Notifier::WeCom { key, url } => {
            let url = with_query(url.as_ref().map_or(WECOM, fixed), &[("key", fixed(key).to_owned())]);
            Message { url, headers: Vec::new(), body: wecom(&heading, notice) }
        }
        Notifier::Slack { url } => plain(url, slack(&heading, notice)),
        Notifier::Webhook { url, secret } => {
            let body = serde_json::to_string(notice).expect("a notice is texts and JSON");
            let mut headers = vec![("idempotency-key", id.to_owned())];
            if let Some(secret) = secret {
                headers.push(("x-weir-signature", sign::webhook(unix.as_secs(), &body, fixed(secret))));
            }
            Message { url: fixed(url).to_owned(), headers, body }
        }
        Notifier::Log => return None,
    })
}

/// <https://open.dingtalk.com/document/robots/custom-robot-access>
fn dingtalk(heading: &str, notice: &Notice, at_users: &[String]) -> String {
    // Only who is named in the text too is told.
    let at: String = at_users.iter().map(|user| format!(" @{user}")).collect();
    let (mobiles, users): (Vec<&String>, Vec<&String>) = at_users.iter().partition(|user| is_mobile(user));
    fit(&notice.text, ROBOT, |text| {
        let text = without_links(text).replace('\n', "\n\n");
        let text = format!("#### {heading}\n\n{text}\n\n{}{at}", markdown(&notice.links));
        json!({
            "msgtype": "markdown",
            "markdown": { "title": heading, "text": text.trim_end() },
            "at": { "atMobiles": mobiles, "atUserIds": users, "isAtAll": false },
        })
        .to_string()
    })
}

/// `signed` is the time and the secret. The text is plain, or `<at id=all>` in it would call everybody.
/// <https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot>
fn feishu(heading: &str, notice: &Notice, signed: Option<(u64, &str)>) -> String {
    let colour = match notice.severity {
        Severity::Info => "blue",
        Severity::Warning => "orange",
        Severity::Error => "red",
    };
    let button = |Link { label, url }: &Link| json!({ "tag": "button", "type": "default", "text": { "tag": "plain_text", "content": label }, "url": url });
    let buttons: Vec<Value> = notice.links.iter().map(button).collect();
    fit(&notice.text, ROBOT, |text| {
        let mut elements = vec![json!({ "tag": "div", "text": { "tag": "plain_text", "content": text } })];
        if !buttons.is_empty() {
            elements.push(json!({ "tag": "action", "actions": buttons }));
        }
        let header = json!({ "template": colour, "title": { "tag": "plain_text", "content": heading } });
        let mut body = json!({ "msg_type": "interactive", "card": { "header": header, "elements": elements } });
        if let Some((seconds, secret)) = signed {
            body["timestamp"] = seconds.to_string().into();
            body["sign"] = sign::feishu(seconds, secret).into();
        }
        body.to_string()
    })
}

/// <https://developer.work.weixin.qq.com/document/path/91770>
fn wecom(heading: &str, notice: &Notice) -> String {
    let content = fit(&notice.text, WECOM_CONTENT, |text| {
        // It knows no escape for the `<` of its tags, which mention people.
        let text = without_links(text).replace('<', "＜").replace('\n', "\n> ");
        format!("**{heading}**\n> {text}\n\n{}", markdown(&notice.links)).trim_end().to_owned()
    });
    json!({ "msgtype": "markdown", "markdown": { "content": content } }).to_string()
}

/// `text` holds everything too, for the many receivers that know no blocks.
/// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>
fn slack(heading: &str, notice: &Notice) -> String {
    let links: Vec<String> =
        notice.links.iter().map(|Link { label, url }| format!("<{url}|{}>", slack_escape(label))).collect();
    let section = fit(&notice.text, SLACK_SECTION, |text| {
        format!("{}\n{}", slack_escape(text), links.join("  ")).trim_end().to_owned()
    });
    json!({
        "text": format!("*{}*\n{section}", slack_escape(heading)),
        "blocks": [
            { "type": "header", "text": { "type": "plain_text", "text": heading } },
            { "type": "section", "text": { "type": "mrkdwn", "text": section } },
        ],
    })
    .to_string()
}

fn slack_escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn heading(notice: &Notice) -> String {
    let title = shorten(&notice.title, TITLE);
    match notice.severity {
        Severity::Info => title,
        Severity::Warning => format!("[warning] {title}"),
        Severity::Error => format!("[error] {title}"),
    }
}

fn markdown(links: &[Link]) -> String {
    links.iter().map(|Link { label, url }| format!("[{label}]({url})")).collect::<Vec<_>>().join(" | ")
}

/// Markdown in which no link is left: a text holds what people wrote, and the links of a notice are the gateway's own.
fn without_links(text: &str) -> String {
    text.replace("](", "] (")
}

/// A number that DingTalk takes for a telephone: one of mainland China, or one with its country's prefix.
fn is_mobile(user: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    (user.len() == 11 && user.starts_with('1') && digits(user)) || user.strip_prefix('+').is_some_and(digits)
}

fn with_query(url: &str, pairs: &[(&str, String)]) -> String {
    let mut url = url.to_owned();
    for (name, value) in pairs {
        url.push(if url.contains('?') { '&' } else { '?' });
        // Everything but letters and digits: a `+` of base64 would be read as a space.
        url.push_str(&format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    }
    url
}

/// The text of a template of the environment, which has no stage variables: those are refused when the file is read.
fn fixed(template: &Template) -> &str {
    template.fixed().unwrap_or_default()
}

/// `render` of the whole text, or of its longest beginning with `…` for which that is at most `most` bytes.
fn fit(text: &str, most: usize, render: impl Fn(&str) -> String) -> String {
    let whole = render(text);
    if whole.len() <= most {
        return whole;
    }
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let short = |end: usize| render(&format!("{}…", &text[..end]));
    let fitting = ends.partition_point(|end| short(*end).len() <= most);
    short(fitting.checked_sub(1).map_or(0, |last| ends[last]))
}
