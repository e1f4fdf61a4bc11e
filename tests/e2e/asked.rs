//! Who is asked and told about a release: where links and callbacks lead, and what people learn before they answer.

use serde_json::Value;

use crate::kit::api::Api;
use crate::kit::client::Client;
use crate::kit::endpoint::{Answer, Endpoint};
use crate::kit::eventually;
use crate::kit::rollout::{becomes, ends, link, newest, shares, with};
use crate::kit::weir::{Weir, folder};
use crate::shop;

/// An admin API that people and hooks reach by another address than its listener's.
const BEHIND: &str = "\
listeners: [{address: '127.0.0.1:0'}]
admin: {address: '127.0.0.1:0', url: 'https://weir.example.com/ops/'}
workers: 2
drain: {delay: 300ms, deadline: 10s}
";

/// The first body that went to this endpoint and holds this text.
async fn body(endpoint: &Endpoint, mark: &str) -> String {
    let find = async || {
        let bodies = endpoint.seen().into_iter().map(|seen| String::from_utf8_lossy(&seen.body.bytes).into_owned());
        bodies.into_iter().find(|body| body.contains(mark))
    };
    eventually(&format!("a body with {mark}"), find).await
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_callbacks_lead_to_the_outer_address() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let told = Endpoint::start("told").await;
    let notifier = format!("notifiers: {{oncall: {{webhook: {{url: 'http://{}/told'}}}}}}\n", told.address);
    let live = format!("{}{notifier}", shop(&[&one, &two], "1"));
    let weir = Weir::start_in(folder(), BEHIND, &live).await;
    let plan = format!(
        "{{canaryStep: {{weight: 20, interval: 1s}}, guard: {{min_requests: 0}}, gates: [{{approval: {{timeout: 1h}}}}], notify: oncall, \
         hooks: {{before: [{{http: 'http://{}/ask', callback: true}}]}}}}",
        told.address
    );
    ends(&weir, &["release", "shop:prod", "2", "--plan", &plan], 0).await;
    let asked: Value = serde_json::from_slice(&told.saw("/ask").await.body.bytes).unwrap();
    let callback = asked["callback"]["url"].as_str().unwrap();
    let path = callback.strip_prefix("https://weir.example.com/ops").unwrap_or_else(|| panic!("{callback}"));
    let mut nobody = Api::with(&weir, String::new()).await;
    assert_eq!(nobody.call("POST", path, "{decision: approve}").await.status, 204);
    let notice = body(&told, "ballots").await;
    assert!(notice.contains("\"https://weir.example.com/ops/v1/ballots/"), "{notice}");
    let link = link(&told, "reject", 1).await;
    assert_eq!(nobody.call("POST", &link, "").await.status, 200);
    assert_eq!(newest(&weir).await["why"], "rejected by link of oncall from 127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_and_the_page_have_who_why_and_every_number() {
    let told = Endpoint::start("told").await;
    let notifiers: String = ["dingtalk: {access_token: a,", "feishu: {", "wecom: {key: k,", "slack: {", "webhook: {"]
        .iter()
        .map(|kind| {
            let name = kind.split(':').next().unwrap_or_default();
            format!("  my-{name}: {{{kind} url: 'http://{}/{name}'}}}}\n", told.address)
        })
        .collect();
    for (kind, answer) in [("dingtalk", "{\"errcode\":0}"), ("feishu", "{\"code\":0}"), ("wecom", "{\"errcode\":0}")] {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
        told.on(&format!("/{kind}"), Answer::Raw(answer.into_bytes()));
    }
    let (weir, [_one, two, _three]) = with(&format!("notifiers:\n{notifiers}")).await;
    let failure = Answer::Raw(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_vec());
    let plan = "{canaryStep: {weight: 20, interval: 2s}, guard: {enforced: false, shield: off}, \
                gates: [{error_rate: {max: 50%, min_requests: 5}}, {approval: {timeout: 1h}}], \
                notify: [my-dingtalk, my-feishu, my-wecom, my-slack, my-webhook]}";
    let reason = "it's <b>better</b> & [new](http://evil.example)";
    ends(&weir, &["release", "shop:prod", "2", "--plan", plan, "--reason", reason], 0).await;
    shares(&weir, [80, 20, 0]).await;
    two.on("/bad", failure);
    let mut client = Client::connect(weir.http).await;
    for _ in 0..10 {
        client.get(crate::HOST, "/bad").await;
    }
    becomes(&weir, "waiting for approval").await;
    let numbers = ["stable 1: of 88 sent, 0 failed, p95 ", "candidate 2: of 22 sent, 2 (9.09 %) failed, p95 "];
    let facts = [
        "somebody has to approve it",
        "step 1 of 2, the candidate has 20 % of the traffic",
        "begun by token:admin: it's ",
        "shop:prod, version 1 to 2",
        "verdict: ",
        "gate error_rate: pass",
        "gate approval: waits for somebody's word",
        "by command: `weir approve r",
    ];
    for kind in ["dingtalk", "feishu", "wecom", "slack", "webhook"] {
        let find = async || {
            let bodies = told.seen().into_iter().filter(|seen| seen.target().starts_with(&format!("/{kind}")));
            let mut bodies = bodies.map(|seen| String::from_utf8_lossy(&seen.body.bytes).into_owned());
            bodies.find(|body| body.contains("/v1/ballots/"))
        };
        let notice = eventually(&format!("{kind} is told"), find).await;
        for fact in facts.iter().chain(&numbers) {
            assert!(notice.contains(fact), "{kind} misses {fact:?}: {notice}");
        }
        let is_link = notice.contains("[new](http://evil.example)");
        assert_eq!(
            is_link,
            ["feishu", "slack", "webhook"].contains(&kind),
            "nobody writes links into {kind}: {notice}"
        );
    }
    let link = link(&told, "approve", 1).await;
    let mut nobody = Api::with(&weir, String::new()).await;
    let page = nobody.call("GET", &link, "").await.text();
    for part in [
        "begun by token:admin: it&#39;s &lt;b&gt;better&lt;/b&gt; &amp; [new](http://evil.example)",
        "<tr><th></th><th>stable 1</th><th>candidate 2</th></tr>",
        "<tr><td>requests</td><td>88</td><td>22</td></tr>",
        "<tr><td>failed</td><td>0</td><td>2 (9.09 %)</td></tr>",
        "<li>error_rate: pass</li>",
        "width=device-width",
    ] {
        assert!(page.contains(part), "{part} is missing: {page}");
    }
    assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    assert_eq!(nobody.call("POST", &link, "").await.status, 200);
    let status = weir.told(&["status"]).await;
    assert!(!status.contains("approved"), "it is over: {status}");
    let approved = newest(&weir).await["approvals"].clone();
    assert_eq!((&approved[0]["step"], &approved[0]["by"]), (&1.into(), &"link of my-webhook from 127.0.0.1".into()));
    let events = weir.told(&["history", "shop:prod"]).await;
    assert!(events.contains("approved by link of my-webhook from 127.0.0.1"), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_callback_says_what_became_of_its_question() {
    let hook = Endpoint::start("hook").await;
    let (weir, _endpoints) = with("").await;
    let plan =
        format!("{{canaryWeight: 10, hooks: {{before: [{{http: 'http://{}/ask', callback: true}}]}}}}", hook.address);
    ends(&weir, &["release", "shop:prod", "2", "--plan", &plan], 0).await;
    let callback = async |nth: usize| {
        let asked = eventually("the hook is asked", async || hook.seen().into_iter().nth(nth)).await;
        let asked: Value = serde_json::from_slice(&asked.body.bytes).unwrap();
        let url = asked["callback"]["url"].as_str().unwrap().to_owned();
        url[url.find("/v1/").unwrap()..].to_owned()
    };
    let old = callback(0).await;
    let weir = Weir::again(weir.killed().await).await;
    let new = callback(1).await;
    let mut nobody = Api::with(&weir, String::new()).await;
    let answer = nobody.call("POST", &old, "{decision: reject}").await;
    assert_eq!((answer.status, &answer.json()["code"]), (404, &"NotFound".into()));
    assert!(answer.text().contains("has restarted since and has asked again"), "{}", answer.text());
    assert_eq!(newest(&weir).await["state"], "asking a hook");
    assert_eq!(nobody.call("POST", &new, "{decision: approve}").await.status, 204);
    becomes(&weir, "baking").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_keeps_the_newest_hash_of_the_journal() {
    let told = Endpoint::start("told").await;
    let audit = format!(
        "notifiers: {{audit: {{webhook: {{url: 'http://{}/told'}}}}}}\njournal: {{notify: [audit]}}\n",
        told.address
    );
    let (weir, _endpoints) = with(&audit).await;
    ends(&weir, &["shift", "shop:prod", "2"], 0).await;
    let line = weir.json(&["history", "--limit", "1"]).await[0].clone();
    // Each start tells it, and every 100 revisions.
    let _weir = Weir::again(weir.stopped().await).await;
    let find = async || {
        let notices = told.seen().into_iter().filter_map(|seen| serde_json::from_slice::<Value>(&seen.body.bytes).ok());
        notices.map(|notice| notice["facts"].clone()).find(|facts| facts["revision"] == line["revision"])
    };
    let facts = eventually("the notifier is told", find).await;
    assert_eq!((&facts["kind"], &facts["hash"]), (&"journal".into(), &line["hash"]), "{facts}");
}
