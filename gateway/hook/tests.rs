//! Hooks as their receivers see them: servers on loopback sockets, and real programs.

use std::path::Path;

use config::value::template::Template;

use super::*;
use crate::calls::fake::{Fake, Reply, Request, SOON, until};

mod command;

fn provide_crypto() {
    // The first one stays.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

#[tokio::test]
async fn a_link_local_address_is_not_called() {
    for host in ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"] {
        let hook = http(&format!("http://{host}:9/"));
        let failure = Hooks::new().ask(&hook, &question()).await.unwrap_err();
        assert!(failure.to_string().contains("link-local"), "{failure}");
    }
}

fn template(text: &str) -> Template {
    Template::parse(text, &|name| (name == "SECRET").then(|| "s3cret".to_owned())).unwrap()
}

fn http(url: &str) -> Hook {
    provide_crypto();
    Hook { call: HookCall::Http(template(url)), timeout: SOON, retries: 0, callback: false }
}

fn question() -> Question {
    Question {
        event: "BeforeStep".to_owned(),
        rollout: json!({ "id": "r1", "why": "发布" }),
        previous: Some(json!("the output before")),
        callback_base: Some("http://127.0.0.1:9900/".to_owned()),
    }
}

async fn reason(hook: &Hook) -> Reason {
    Hooks::new().ask(hook, &question()).await.unwrap_err().reason
}

/// The token of the callback that a question brings.
fn token(request: &Request) -> String {
    let question = request.json();
    let url = question["callback"]["url"].as_str().unwrap();
    url.strip_prefix("http://127.0.0.1:9900/v1/callbacks/").unwrap().to_owned()
}

#[tokio::test]
async fn a_server_is_asked_by_post_of_json() {
    let server = Fake::says(200, "{\"ticket\": 7}").await;
    let output = Hooks::new().ask(&http(&server.url("/check?a=1")), &question()).await.unwrap();
    assert_eq!(output, Output(json!({ "ticket": 7 })));
    let request = server.only();
    assert_eq!(request.line, "POST /check?a=1 HTTP/1.1");
    assert_eq!(request.header("x-weir-event"), Some("BeforeStep"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(
        request.json(),
        json!({
            "event": "BeforeStep",
            "rollout": { "id": "r1", "why": "发布" },
            "previous": "the output before",
            "callback": null,
        })
    );
}

#[tokio::test]
async fn what_a_server_says_may_be_anything() {
    for (body, value) in [("", Value::Null), ("fine\n", json!("fine")), ("3", json!(3)), ("{\"a\":", json!("{\"a\":"))]
    {
        let server = Fake::says(201, body).await;
        assert_eq!(Hooks::new().ask(&http(&server.url("/")), &question()).await.unwrap().0, value, "{body}");
    }
}

#[tokio::test]
async fn a_no_is_final() {
    for status in [400, 404, 409, 422, 429] {
        let server = Fake::says(status, "the \u{1b}[31mdatabase\nis not migrated").await;
        let hook = Hook { retries: 5, ..http(&server.url("/?token=${SECRET}")) };
        let failure = Hooks::new().ask(&hook, &question()).await.unwrap_err();
        let said = format!(
            "the hook `POST http://{}/` said no (status {status}): the [31mdatabase is not migrated",
            server.address
        );
        assert_eq!(failure.to_string(), said);
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_failure_is_tried_again() {
    let (fails, breaks) = (Reply::Says(503, "busy".to_owned()), Reply::Breaks);
    let server = Fake::start(&[fails.clone(), breaks, Reply::Says(204, String::new())]).await;
    let hook = Hook { retries: 2, ..http(&server.url("/")) };
    assert_eq!(Hooks::new().ask(&hook, &question()).await.unwrap(), Output(Value::Null));
    assert_eq!(server.seen().len(), 3);

    let server = Fake::start(&[fails]).await;
    let hook = Hook { retries: 1, ..http(&server.url("/")) };
    let failure = Hooks::new().ask(&hook, &question()).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Failing { code: Code::Http(503), text: "busy".to_owned() });
    assert_eq!((failure.tries, server.seen().len()), (2, 2));
    assert!(failure.to_string().ends_with("failed (status 503): busy (tried 2 times)"), "{failure}");
}

#[tokio::test]
async fn nobody_there_and_silence_are_told_apart() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hook = http(&format!("http://user:pass@{nobody}/x?token=${{SECRET}}"));
    let failure = Hooks::new().ask(&hook, &question()).await.unwrap_err();
    assert!(matches!(&failure.reason, Reason::Unreachable(why) if why.contains("refused")), "{failure}");
    let said = format!("{failure} {failure:?}");
    assert!(!said.contains("s3cret") && !said.contains("pass"), "{said}");

    let silent = Fake::start(&[Reply::Silence]).await;
    let within = Duration::from_millis(200);
    let hook = Hook { timeout: within, retries: 1, ..http(&silent.url("/")) };
    assert_eq!(reason(&hook).await, Reason::TimedOut(within));
    assert_eq!(silent.seen().len(), 2);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Fake::says(200, "").await;
    let location: &'static str = format!("307 x\r\nlocation: {}", other.url("/")).leak();
    let server = Fake::start(&[Reply::Head(location)]).await;
    assert_eq!(reason(&http(&server.url("/"))).await, Reason::Redirected(307));
    assert_eq!(other.seen().len(), 0);
}

#[tokio::test]
async fn an_answer_has_a_size() {
    let fits = Fake::says(200, &"x".repeat(MOST)).await;
    let output = Hooks::new().ask(&http(&fits.url("/")), &question()).await.unwrap();
    assert_eq!(output.0.as_str().map(str::len), Some(MOST));
    let server = Fake::says(200, &"x".repeat(MOST + 1)).await;
    assert_eq!(reason(&http(&server.url("/"))).await, Reason::TooLarge);
}

#[tokio::test]
async fn a_url_that_is_none_is_said() {
    let failure = Hooks::new().ask(&http("ftp://example.com/"), &question()).await.unwrap_err();
    assert!(matches!(&failure.reason, Reason::NotStarted(_)), "{failure}");
    let failure = Hooks::new().ask(&http("nonsense"), &question()).await.unwrap_err();
    let said = "the hook `POST nonsense` cannot be asked: the URL cannot be read: relative URL without a base";
    assert_eq!(failure.to_string(), said);
}

#[tokio::test]
async fn an_answer_may_come_later_and_once() {
    let server = Fake::says(202, "accepted").await;
    let hooks = Hooks::new();
    let hook = Hook { callback: true, ..http(&server.url("/")) };
    let asked = tokio::spawn({
        let hooks = hooks.clone();
        async move { hooks.ask(&hook, &question()).await }
    });
    until("the question arrives", || !server.seen().is_empty()).await;
    let request = server.only();
    let expires = request.json()["callback"]["expires"].as_str().map(|text| OffsetDateTime::parse(text, &Rfc3339));
    let expires = expires.unwrap().unwrap() - OffsetDateTime::UNIX_EPOCH;
    assert!(expires > clock::unix() && expires <= clock::unix() + SOON, "{expires}");

    let token = token(&request);
    assert_eq!(token.len(), 64);
    let yes = Answer { decision: Decision::Approve, output: json!({ "by": "alice" }) };
    assert_eq!(hooks.answer(&token.replace(|_| true, "0"), yes.clone()), Err(UnknownToken));
    assert_eq!(hooks.answer(&token, yes.clone()), Ok(()));
    assert_eq!(hooks.answer(&token, yes), Err(UnknownToken));
    assert_eq!(asked.await.unwrap().unwrap(), Output(json!({ "by": "alice" })));
}

#[tokio::test]
async fn a_callback_may_overtake_the_handing_over_and_say_no() {
    let server = Fake::start(&[Reply::Silence]).await;
    let hooks = Hooks::new();
    let hook = Hook { callback: true, ..http(&server.url("/")) };
    let answered = async {
        until("the question arrives", || !server.seen().is_empty()).await;
        let no = Answer { decision: Decision::Reject, output: json!("not today") };
        hooks.answer(&token(&server.only()), no).unwrap();
    };
    let question = question();
    let (asked, ()) = tokio::join!(hooks.ask(&hook, &question), answered);
    assert_eq!(asked.unwrap_err().reason, Reason::No { code: Code::Callback, text: "not today".to_owned() });
}

#[tokio::test]
async fn a_callback_ends_with_its_question() {
    let server = Fake::says(200, "").await;
    let hooks = Hooks::new();
    let within = Duration::from_millis(300);
    let hook = Hook { callback: true, timeout: within, ..http(&server.url("/")) };
    let failure = hooks.ask(&hook, &question()).await.unwrap_err();
    assert_eq!(failure.reason, Reason::NoCallback(within));
    let late = Answer { decision: Decision::Approve, output: Value::Null };
    assert_eq!(hooks.answer(&token(&server.only()), late), Err(UnknownToken));

    let refused = Fake::says(409, "no").await;
    let hook = Hook { callback: true, ..http(&refused.url("/")) };
    let failure = hooks.ask(&hook, &question()).await.unwrap_err();
    assert_eq!(failure.reason, Reason::No { code: Code::Http(409), text: "no".to_owned() });

    let nowhere = Question { callback_base: None, ..question() };
    assert_eq!(hooks.ask(&hook, &nowhere).await.unwrap_err().reason, Reason::NoCallbackAddress);
}
