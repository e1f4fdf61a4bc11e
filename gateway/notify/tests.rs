//! Notifiers as their receivers see them: the bytes, the signatures, and what a slow one costs.

use std::io::Write;
use std::process::{Command, Stdio};

use config::value::template::Template;
use serde_json::{Value, json};

use super::*;
use crate::calls::fake::{Fake, Reply, SOON, until};
use crate::clock;

const SECRET: &str = "SEC+s3cret/=";

fn template(text: &str) -> Template {
    Template::parse(text, &|_| None).unwrap()
}

fn notice() -> Notice {
    Notice {
        title: "shop:prod 回滚".to_owned(),
        text: "版本 2 的错误率过高 <at id=all> & more.\nStable is back.".to_owned(),
        severity: Severity::Error,
        facts: json!({ "rollout": "r1", "candidate": 2 }),
        links: vec![Link { label: "approve".to_owned(), url: "http://127.0.0.1:9900/a?x=1".to_owned() }],
    }
}

fn name(text: &str) -> NotifierName {
    text.parse().unwrap()
}

/// Tells one notice and waits; how many were lost.
async fn tell(notifier: Notifier, notice: Notice) -> u64 {
    let lost = IntCounter::new("lost", "notices").unwrap();
    let notifiers = Notifiers::counting(lost.clone());
    notifiers.tell(&name("oncall"), &Arc::new(notifier), notice);
    tokio::time::timeout(SOON, notifiers.drain(SOON)).await.unwrap();
    lost.get()
}

fn dingtalk(server: &Fake, secret: Option<&str>) -> Notifier {
    Notifier::DingTalk {
        access_token: template("token+/="),
        secret: secret.map(template),
        at_users: ["13800000000", "+852-51111111", "manager7"].map(str::to_owned).to_vec(),
        url: Some(template(&server.url("/robot/send"))),
    }
}

/// The MAC as openssl computes it, in hex.
fn openssl(key: &str, message: &str) -> String {
    let key: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-mac", "HMAC", "-macopt", &format!("hexkey:{key}"), "-r"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl is missing: make test-tools");
    openssl.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
    let output = openssl.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

fn hex_of_base64(text: &str) -> String {
    use base64::Engine;
    hex::encode(base64::engine::general_purpose::STANDARD.decode(text).unwrap())
}

/// The query of a request line, as any server would read it.
fn query(line: &str) -> HashMap<String, String> {
    let url = reqwest::Url::parse(&format!("http://x{}", line.split(' ').nth(1).unwrap())).unwrap();
    url.query_pairs().into_owned().collect()
}

/// Whether a time is now, give or take a test run.
fn is_now(time: Duration) -> bool {
    time <= clock::unix() && time + 2 * SOON >= clock::unix()
}

#[tokio::test]
async fn dingtalk_gets_markdown_signed_and_whole() {
    let server = Fake::says(200, "{\"errcode\":0,\"errmsg\":\"ok\"}").await;
    // As many as it takes to see a `+` and a `/` in the base64.
    for _ in 0..8 {
        assert_eq!(tell(dingtalk(&server, Some(SECRET)), notice()).await, 0);
    }
    for request in server.seen() {
        let query = query(&request.line);
        assert_eq!(query["access_token"], "token+/=");
        let timestamp = &query["timestamp"];
        assert!(is_now(Duration::from_millis(timestamp.parse().unwrap())), "{timestamp}");
        assert_eq!(hex_of_base64(&query["sign"]), openssl(SECRET, &format!("{timestamp}\n{SECRET}")));
    }
    // That content-length counts bytes is what the server reads by.
    let request = &server.seen()[0];
    assert!(request.line.starts_with("POST /robot/send?access_token=token%2B%2F%3D&timestamp="), "{}", request.line);
    let text = "#### [error] shop:prod 回滚\n\n版本 2 的错误率过高 <at id=all> & more.\n\nStable is back.\n\n\
                [approve](http://127.0.0.1:9900/a?x=1) @13800000000 @+852-51111111 @manager7";
    let expected = json!({
        "msgtype": "markdown",
        "markdown": { "title": "[error] shop:prod 回滚", "text": text },
        "at": { "atMobiles": ["13800000000", "+852-51111111"], "atUserIds": ["manager7"], "isAtAll": false },
    });
    assert_eq!(request.json(), expected);
}

#[tokio::test]
async fn without_a_secret_nothing_is_signed() {
    let server = Fake::says(200, "{\"errcode\":0}").await;
    assert_eq!(tell(dingtalk(&server, None), notice()).await, 0);
    assert_eq!(server.only().line, "POST /robot/send?access_token=token%2B%2F%3D HTTP/1.1");

    let server = Fake::says(200, "{\"code\":0}").await;
    assert_eq!(tell(Notifier::Feishu { url: template(&server.url("/")), secret: None }, notice()).await, 0);
    assert_eq!(server.only().json()["sign"], Value::Null);

    let server = Fake::says(200, "").await;
    assert_eq!(tell(Notifier::Webhook { url: template(&server.url("/")), secret: None }, notice()).await, 0);
    assert_eq!(server.only().header("x-weir-signature"), None);
}

#[tokio::test]
async fn feishu_gets_a_card_that_calls_nobody() {
    let server = Fake::says(200, "{\"code\":0,\"msg\":\"success\"}").await;
    let feishu = Notifier::Feishu { url: template(&server.url("/hook/x")), secret: Some(template(SECRET)) };
    assert_eq!(tell(feishu, notice()).await, 0);
    let body = server.only().json();
    let timestamp = body["timestamp"].as_str().unwrap();
    assert!(is_now(Duration::from_secs(timestamp.parse().unwrap())), "{timestamp}");
    let sign = body["sign"].as_str().unwrap();
    assert_eq!(hex_of_base64(sign), openssl(&format!("{timestamp}\n{SECRET}"), ""));
    assert_eq!(body["msg_type"], "interactive");
    let card = &body["card"];
    let header = json!({ "template": "red", "title": { "tag": "plain_text", "content": "[error] shop:prod 回滚" } });
    assert_eq!(card["header"], header);
    assert_eq!(card["elements"][0]["text"], json!({ "tag": "plain_text", "content": notice().text }));
    let button = &card["elements"][1]["actions"][0];
    assert_eq!((&button["text"]["content"], &button["url"]), (&json!("approve"), &json!(notice().links[0].url)));
}

#[tokio::test]
async fn wecom_gets_markdown_that_calls_nobody() {
    let server = Fake::says(200, "{\"errcode\":0,\"errmsg\":\"ok\"}").await;
    let wecom = Notifier::WeCom { key: template("k-1"), url: Some(template(&server.url("/send?debug=1"))) };
    assert_eq!(tell(wecom, notice()).await, 0);
    assert_eq!(server.only().line, "POST /send?debug=1&key=k%2D1 HTTP/1.1");
    let content = "**[error] shop:prod 回滚**\n> 版本 2 的错误率过高 ＜at id=all> & more.\n> Stable is back.\n\n\
                   [approve](http://127.0.0.1:9900/a?x=1)";
    assert_eq!(server.only().json(), json!({ "msgtype": "markdown", "markdown": { "content": content } }));
}

#[tokio::test]
async fn slack_gets_text_and_blocks() {
    let server = Fake::says(200, "ok").await;
    assert_eq!(tell(Notifier::Slack { url: template(&server.url("/services/x")) }, notice()).await, 0);
    let section =
        "版本 2 的错误率过高 &lt;at id=all&gt; &amp; more.\nStable is back.\n<http://127.0.0.1:9900/a?x=1|approve>";
    let expected = json!({
        "text": format!("*[error] shop:prod 回滚*\n{section}"),
        "blocks": [
            { "type": "header", "text": { "type": "plain_text", "text": "[error] shop:prod 回滚" } },
            { "type": "section", "text": { "type": "mrkdwn", "text": section } },
        ],
    });
    assert_eq!(server.only().json(), expected);
}

#[tokio::test]
async fn a_webhook_gets_everything_signed_and_the_same_key_on_each_try() {
    let server = Fake::start(&[Reply::Breaks, Reply::Says(500, String::new()), Reply::Says(200, String::new())]).await;
    let webhook = Notifier::Webhook { url: template(&server.url("/weir")), secret: Some(template(SECRET)) };
    assert_eq!(tell(webhook.clone(), notice()).await, 0);
    assert_eq!(tell(webhook, notice()).await, 0);
    let seen = server.seen();
    let [first, second, third, another] = &seen[..] else { panic!("{seen:?}") };
    let key = |request: &crate::calls::fake::Request| request.header("idempotency-key").unwrap().to_owned();
    assert!(key(first) == key(second) && key(second) == key(third) && key(third) != key(another), "{seen:?}");
    assert_eq!(third.json(), serde_json::to_value(notice()).unwrap());
    assert_eq!(third.json()["severity"], "error");

    let signature = third.header("x-weir-signature").unwrap();
    let (time, mac) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    assert!(is_now(Duration::from_secs(time.parse().unwrap())), "{signature}");
    assert_eq!(mac, openssl(SECRET, &format!("{time}.{}", String::from_utf8(third.body.clone()).unwrap())));
}

#[tokio::test]
async fn long_texts_are_cut_between_characters() {
    let long = Notice { title: "标题".repeat(500), text: "错误\"<&\n".repeat(20_000), ..notice() };
    let text_of = |body: &Value, at: &str| body.pointer(at).unwrap().as_str().unwrap().to_owned();

    let server = Fake::says(200, "{\"errcode\":0,\"code\":0}").await;
    assert_eq!(tell(dingtalk(&server, None), long.clone()).await, 0);
    let feishu = Notifier::Feishu { url: template(&server.url("/")), secret: Some(template(SECRET)) };
    assert_eq!(tell(feishu, long.clone()).await, 0);
    let wecom = Notifier::WeCom { key: template("k"), url: Some(template(&server.url("/"))) };
    assert_eq!(tell(wecom, long.clone()).await, 0);
    assert_eq!(tell(Notifier::Slack { url: template(&server.url("/")) }, long).await, 0);
    let seen = server.seen();
    for (request, at, most) in [
        (&seen[0], "/markdown/text", 20_000),
        (&seen[1], "/card/elements/0/text/content", 20_000),
        (&seen[2], "/markdown/content", 4096),
        (&seen[3], "/blocks/1/text/text", 3000),
    ] {
        let text = text_of(&request.json(), at);
        let size = if most == 20_000 { request.body.len() } else { text.len() };
        assert!(size <= most && size > most - 30, "{size} of {most}: {at}");
        assert!(text.contains('…') && !text.contains('\u{fffd}'));
    }
    // What comes after the text is not what is cut.
    assert!(text_of(&seen[0].json(), "/markdown/text").ends_with("@manager7"));
    assert!(text_of(&seen[3].json(), "/blocks/1/text/text").ends_with("|approve>"));
    assert!(text_of(&seen[3].json(), "/blocks/0/text/text").chars().count() <= 150);
}

#[tokio::test]
async fn a_robot_that_answers_200_may_refuse() {
    for (answer, refused) in [
        ("{\"errcode\":310000,\"errmsg\":\"sign not match\"}", 1),
        ("<html>login</html>", 1),
        ("{}", 1),
        ("{\"errcode\":0}", 0),
    ] {
        let server = Fake::says(200, answer).await;
        assert_eq!(tell(dingtalk(&server, None), notice()).await, refused, "{answer}");
        assert_eq!(server.seen().len(), 1, "{answer}");
    }
    let refused = Fake::says(200, "{\"code\":19021,\"msg\":\"sign match fail\"}").await;
    let feishu = |server: &Fake| Notifier::Feishu { url: template(&server.url("/")), secret: None };
    assert_eq!(tell(feishu(&refused), notice()).await, 1);
    let old = Fake::says(200, "{\"StatusCode\":0,\"StatusMessage\":\"success\"}").await;
    assert_eq!(tell(feishu(&old), notice()).await, 0);
}

#[tokio::test]
async fn only_what_may_pass_is_tried_again() {
    let slack = |server: &Fake| Notifier::Slack { url: template(&server.url("/")) };
    for (status, tries) in [(429, 3), (503, 3), (403, 1), (302, 1)] {
        let server = Fake::says(status, "no").await;
        assert_eq!(tell(slack(&server), notice()).await, 1, "{status}");
        assert_eq!(server.seen().len(), tries, "{status}");
    }
    let server = Fake::start(&[Reply::Says(503, String::new()), Reply::Says(200, "ok".to_owned())]).await;
    assert_eq!(tell(slack(&server), notice()).await, 0);
}

#[tokio::test]
async fn the_log_is_told_too() {
    assert_eq!(tell(Notifier::Log, notice()).await, 0);
}

#[tokio::test]
async fn a_slow_notifier_holds_nobody_and_loses_what_does_not_fit() {
    let (slow, quick) = (Fake::start(&[Reply::Silence]).await, Fake::says(200, "ok").await);
    let slack = |server: &Fake| Arc::new(Notifier::Slack { url: template(&server.url("/")) });
    let (dead, alive) = (slack(&slow), slack(&quick));
    let lost = IntCounter::new("lost", "notices").unwrap();
    let notifiers = Notifiers::counting(lost.clone());
    notifiers.tell(&name("dead"), &dead, notice());
    until("the first notice is on its way", || slow.seen().len() == 1).await;
    for _ in 0..QUEUE + 5 {
        notifiers.tell(&name("dead"), &dead, notice());
    }
    assert_eq!(lost.get(), 5);

    for number in 0..3 {
        notifiers.tell(&name("alive"), &alive, Notice { title: number.to_string(), ..notice() });
    }
    until("the other one is told", || quick.seen().len() == 3).await;
    let titles: Vec<_> =
        quick.seen().iter().map(|request| request.json()["blocks"][0]["text"]["text"].clone()).collect();
    assert_eq!(titles, ["[error] 0", "[error] 1", "[error] 2"]);

    let started = clock::now();
    notifiers.drain(Duration::from_millis(100)).await;
    assert!(started.elapsed() < SOON);
}
