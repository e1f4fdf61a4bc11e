//! Stored texts that cannot be read, each of which takes down what it names alone: cut off, of another version of Weir, gone, or with
//! a variable that the environment lacks.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;
use tempfile::TempDir;

use crate::kit::api::Api;
use crate::kit::client::{Client, get};
use crate::kit::endpoint::Endpoint;
use crate::kit::rollout::{becomes, ends, newest};
use crate::kit::weir::{PROCESS, Weir, folder};
use crate::{HOST, shop};

const OTHER: &str = "other.example.com";
const NEXT: &str = "next.example.com";
const STAGED: &str = "staged.example.com";

/// Everything that has a text of its own, with a function beside it that none of the tests breaks.
fn everything(one: &Endpoint, two: &Endpoint) -> String {
    let (one, two) = (one.address, two.address);
    format!(
        "functions:\n  shop:\n    draft: 'http://{one}'\n    versions: {{1: 'http://{one}', 2: 'http://{two}'}}\n    \
         aliases: {{prod: {{1: 50, 2: 50}}, next: 2, $DEFAULT: 1}}\n  \
         other: {{versions: {{1: 'http://{one}', 2: 'http://{two}'}}, aliases: {{prod: 1}}}}\n\
         stages:\n  release: {{alias: next}}\n\
         domains:\n  {HOST}: shop:prod\n  {NEXT}: shop:next\n  plain.example.com: shop\n  {OTHER}: other:prod\n  \
         '*.example.com': other:prod\n  {STAGED}: {{stage: release, routes: [{{path: /*, to: shop}}]}}\n\
         triggers: [{{path: /hook, to: 'other:prod'}}]\nplans:\n  slow: {{canaryStep: {{weight: 10, interval: 10m}}}}\n\
         notifiers:\n  oncall: {{webhook: {{url: 'http://{one}/'}}}}\n"
    )
}

async fn started() -> (Weir, [Endpoint; 2]) {
    let endpoints = [Endpoint::start("v1").await, Endpoint::start("v2").await];
    let weir = Weir::start(&everything(&endpoints[0], &endpoints[1])).await;
    (weir, endpoints)
}

/// The text of this name in the store that a gateway left.
fn text(folder: &Path, name: &str) -> Option<String> {
    let store = Connection::open(folder.join("weir-state.db")).expect("the store is a database");
    let text = store.query_row("SELECT text FROM texts WHERE name = ?1", [name], |row| row.get(0));
    text.optional().expect("the store can be read")
}

/// Changes it; `None` removes it.
fn store(folder: &Path, name: &str, text: Option<&str>) {
    let store = Connection::open(folder.join("weir-state.db")).expect("the store is a database");
    let done = match text {
        Some(text) => store.execute("UPDATE texts SET text = ?1 WHERE name = ?2", [text, name]),
        None => store.execute("DELETE FROM texts WHERE name = ?1", [name]),
    };
    assert_eq!(done.expect("it can be changed"), 1, "{name}");
}

/// The kind and the name of everything that the status calls unusable.
async fn unusable(weir: &Weir) -> Vec<String> {
    let status = weir.ask("/v1/status").await.json();
    let text = |thing: &Value, key: &str| thing[key].as_str().expect("a text").to_owned();
    let things = status["unusable"].as_array().expect("a list").iter();
    things.map(|thing| format!("{} {}", text(thing, "kind"), text(thing, "name"))).collect()
}

async fn status_of(weir: &Weir, host: &str) -> u16 {
    get(weir.http, host, "/").await.status
}

/// The statuses of ten requests, and whose answers they are.
async fn ten(weir: &Weir, host: &str) -> Vec<(u16, String)> {
    let mut client = Client::connect(weir.http).await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        let answer = client.get(host, "/").await;
        answers.push((answer.status, answer.text()));
    }
    answers
}

/// Everybody is told of exactly this text, and nothing else is held up.
async fn takes_down_itself_alone(weir: &Weir, name: &str, weight: u32) {
    assert_eq!(unusable(weir).await, [format!("text {name}")]);
    assert_eq!(weir.metric("weir_unusable", &[("kind", "text")]).await, Some(1.0));
    let ready = weir.ask("/ready").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains(&format!("- text {name}\n")), "{}", ready.text());
    assert!(weir.told(&["status"]).await.contains(name));
    let (code, _, stderr) = weir.cli(&["export"]).await;
    assert!(
        code == Some(0) && stderr.contains("stored texts cannot be read, and what they name is left out"),
        "{stderr}"
    );
    assert!(weir.log().contains(&format!("the text {name} cannot be used: ")), "{}", weir.log());
    assert_eq!(status_of(weir, OTHER).await, 200);
    let (first, second) = (format!("1={}", 100 - weight), format!("2={weight}"));
    weir.told(&["shift", "other:prod", &first, &second]).await;
    let mut api = Api::of(weir).await;
    let stage = format!("{{alias: prod, variables: {{n: '{weight}'}}}}");
    let put = api.call("PUT", "/v1/stages/beside", &stage).await;
    assert!(put.status < 300, "{}", put.text());
    // Of the same function, where it is there.
    let put = api.call("PUT", "/v1/functions/shop/aliases/beside", format!("{{1: {weight}, $LATEST: 1}}")).await;
    let names_it = matches!(name, "draft/shop" | "version/shop/1");
    assert_eq!(put.status < 300, !names_it, "{}", put.text());
    if names_it {
        assert!(put.text().contains("cannot be read"), "{}", put.text());
    }
}

/// Kills the gateway with `name` broken in two ways, one after the other. Edits of other things leave the text alone. `felt` looks at
/// what requests get.
async fn broken(weir: Weir, name: &str, felt: impl AsyncFn(&Weir)) -> (Weir, String) {
    let mut folder: TempDir = weir.killed().await;
    let stored = format!("config/{name}");
    let whole = text(folder.path(), &stored).expect("the text is stored");
    let cut = format!("{}: [", &whole[..whole.len() / 2]);
    let later = match whole.starts_with('{') {
        true => "{\"of_a_later_version\": 1}\n".to_owned(),
        false => format!("of_a_later_version: 1\n{whole}"),
    };
    for (weight, text_now) in [(20, &cut), (40, &later)] {
        store(folder.path(), &stored, Some(text_now));
        let weir = Weir::again(folder).await;
        takes_down_itself_alone(&weir, name, weight).await;
        felt(&weir).await;
        folder = weir.killed().await;
        assert_eq!(text(folder.path(), &stored).as_ref(), Some(text_now), "no edit of something else writes it");
    }
    let weir = Weir::again(folder).await;
    takes_down_itself_alone(&weir, name, 60).await;
    (weir, whole)
}

/// Puts what `name` holds back by the API; everything is well after that, and after another kill.
async fn repaired(weir: Weir, path: &str, whole: &str) {
    let put = Api::of(&weir).await.call("PUT", path, whole).await;
    assert!(put.status < 300, "{}", put.text());
    is_whole(weir).await;
}

async fn is_whole(weir: Weir) {
    assert!(unusable(&weir).await.is_empty());
    let weir = Weir::again(weir.killed().await).await;
    assert!(unusable(&weir).await.is_empty());
    assert_eq!(weir.metric("weir_unusable", &[("kind", "text")]).await, Some(0.0));
    for host in [HOST, NEXT, OTHER, STAGED, "plain.example.com"] {
        assert!(ten(&weir, host).await.iter().all(|(status, _)| *status == 200), "{host}");
    }
    let verdict = weir.told(&["verify"]).await;
    assert!(!verdict.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias() {
    let (weir, _endpoints) = started().await;
    let (weir, whole) = broken(weir, "alias/shop/prod", async |weir| {
        let answer = get(weir.http, HOST, "/").await;
        assert_eq!(answer.status, 503);
        assert!(answer.text().contains("the configuration of this route cannot be read"), "{}", answer.text());
        assert_eq!((status_of(weir, NEXT).await, status_of(weir, STAGED).await), (200, 200));
        let refused = ends(weir, &["shift", "shop:prod", "1"], 5).await;
        assert!(refused.contains("cannot be read") && refused.contains("replace it whole"), "{refused}");
        let refused = ends(weir, &["rollback", "shop:prod"], 5).await;
        assert!(refused.contains("cannot be read"), "{refused}");
        let shown = ends(weir, &["alias", "get", "shop:prod"], 1).await;
        assert!(shown.contains("cannot be read"), "{shown}");
    })
    .await;
    repaired(weir, "/v1/functions/shop/aliases/prod", &whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alias_that_is_there_without_being_made() {
    let (weir, _endpoints) = started().await;
    let (weir, whole) = broken(weir, "alias/shop/$DEFAULT", async |weir| {
        assert_eq!(status_of(weir, "plain.example.com").await, 503, "the draft does not answer for it");
        assert_eq!(status_of(weir, HOST).await, 200);
    })
    .await;
    repaired(weir, "/v1/functions/shop/aliases/$DEFAULT", &whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version() {
    let (weir, [_one, two]) = started().await;
    let (weir, whole) = broken(weir, "version/shop/2", async |weir| {
        assert!(ten(weir, HOST).await.iter().all(|answer| *answer == (200, "v1".to_owned())), "its spare answers");
        assert_eq!(status_of(weir, NEXT).await, 503, "nobody else does");
        let refused = ends(weir, &["shift", "shop:prod", "1=10", "2=90"], 5).await;
        assert!(refused.contains("version 2 of `shop` cannot be read"), "{refused}");
        // What was so before is nobody's fault.
        weir.told(&["shift", "shop:prod", "1=60", "2=40"]).await;
    })
    .await;
    // Nothing but the file makes a version with a number.
    assert!(whole.contains(&two.address.to_string()), "{whole}");
    weir.told(&["apply", "weir.yaml"]).await;
    is_whole(weir).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_draft() {
    let (weir, _endpoints) = started().await;
    let (weir, whole) = broken(weir, "draft/shop", async |weir| {
        let refused = ends(weir, &["publish", "shop"], 5).await;
        assert!(refused.contains("the draft of `shop` cannot be read"), "{refused}");
    })
    .await;
    let draft: String =
        whole.lines().filter(|line| !line.starts_with("digest")).map(|line| format!("{line}\n")).collect();
    repaired(weir, "/v1/functions/shop/draft", &draft).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function() {
    let (weir, _endpoints) = started().await;
    let (weir, _) = broken(weir, "function/shop", async |weir| assert_eq!(status_of(weir, HOST).await, 200)).await;
    repaired(weir, "/v1/functions/shop", "{}").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_of_numbers() {
    let (weir, _endpoints) = started().await;
    let (weir, _) = broken(weir, "number/shop", async |weir| {
        let refused = ends(weir, &["publish", "shop"], 5).await;
        assert!(refused.contains("the stored counter of version numbers of `shop` cannot be read"), "{refused}");
    })
    .await;
    weir.told(&["apply", "weir.yaml"]).await;
    is_whole(weir).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage() {
    let (weir, _endpoints) = started().await;
    let (weir, whole) = broken(weir, "stage/release", async |weir| {
        assert_eq!(status_of(weir, STAGED).await, 503, "`$DEFAULT` does not answer for it");
        assert_eq!(status_of(weir, HOST).await, 200);
    })
    .await;
    repaired(weir, "/v1/stages/release", &whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain() {
    let (weir, _endpoints) = started().await;
    let name = format!("domain/{HOST}");
    let (weir, whole) = broken(weir, &name, async |weir| {
        assert_eq!(status_of(weir, HOST).await, 503, "the wildcard does not answer for it");
        assert_eq!(status_of(weir, "any.example.com").await, 200);
    })
    .await;
    repaired(weir, &format!("/v1/domains/{HOST}"), &whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_and_a_notifier() {
    let (weir, _endpoints) = started().await;
    let (weir, plan) = broken(weir, "plan/slow", async |weir| {
        let refused = ends(weir, &["release", "other:prod", "2", "--plan", "slow"], 5).await;
        assert!(refused.contains("the stored text of the plan `slow` cannot be read"), "{refused}");
    })
    .await;
    let put = Api::of(&weir).await.call("PUT", "/v1/plans/slow", &plan).await;
    assert!(put.status < 300, "{}", put.text());
    let (weir, notifier) = broken(weir, "notifier/oncall", async |_| {}).await;
    repaired(weir, "/v1/notifiers/oncall", &notifier).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings() {
    let (weir, _endpoints) = started().await;
    let (weir, whole) = broken(weir, "settings", async |weir| {
        let answer = get(weir.http, "nobody.invalid", "/hook").await;
        assert_eq!(answer.status, 404);
        assert_eq!(status_of(weir, HOST).await, 200);
    })
    .await;
    let put = Api::of(&weir).await.call("PUT", "/v1/settings", &whole).await;
    assert!(put.status < 300, "{}", put.text());
    assert_eq!(get(weir.http, "nobody.invalid", "/hook").await.status, 200);
    is_whole(weir).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_past() {
    let (weir, _endpoints) = started().await;
    weir.told(&["shift", "shop:prod", "1"]).await;
    let (weir, _) = broken(weir, "past/shop/prod", async |weir| assert_eq!(status_of(weir, HOST).await, 200)).await;
    let refused = ends(&weir, &["rollback", "shop:prod"], 1).await;
    assert!(refused.contains("remembers no other split"), "{refused}");
    // From here on it remembers again.
    weir.told(&["shift", "shop:prod", "2"]).await;
    weir.told(&["rollback", "shop:prod"]).await;
    assert!(ten(&weir, HOST).await.iter().all(|answer| *answer == (200, "v1".to_owned())));
    is_whole(weir).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_layer_of_a_rollout() {
    let (weir, _endpoints) = started().await;
    weir.told(&["shift", "shop:prod", "1"]).await;
    ends(&weir, &["release", "shop:prod", "2", "--plan", "slow"], 0).await;
    let folder = weir.killed().await;
    store(folder.path(), "config/layer/shop/prod", Some("{\"rollout\":"));
    let weir = Weir::again(folder).await;
    becomes(&weir, "aborted").await;
    let why = newest(&weir).await["why"].as_str().expect("a reason").to_owned();
    assert!(why.contains("layer/shop/prod cannot be read"), "{why}");
    assert!(ten(&weir, HOST).await.iter().all(|answer| *answer == (200, "v1".to_owned())));
    is_whole(weir).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alias_of_a_rollout() {
    let (weir, _endpoints) = started().await;
    weir.told(&["shift", "shop:prod", "1"]).await;
    ends(&weir, &["release", "shop:prod", "2", "--plan", "slow"], 0).await;
    let folder = weir.killed().await;
    let whole = text(folder.path(), "config/alias/shop/prod").expect("the text is stored");
    store(folder.path(), "config/alias/shop/prod", Some("]"));
    let weir = Weir::again(folder).await;
    becomes(&weir, "aborted").await;
    assert_eq!(status_of(&weir, HOST).await, 503);
    assert_eq!(unusable(&weir).await, ["text alias/shop/prod"]);
    repaired(weir, "/v1/functions/shop/aliases/prod", &whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_are_gone() {
    let (weir, _endpoints) = started().await;
    let mut folder = weir.killed().await;
    let route = |host: &str| format!("reference domains.\"{host}\".routes[0].to");
    for (name, host, expected, told) in [
        ("stage/release", STAGED, 503, format!("reference domains.\"{STAGED}\".stage")),
        ("alias/shop/next", NEXT, 503, route(NEXT)),
        ("version/shop/2", HOST, 200, "reference functions.shop.aliases.prod.split.2".to_owned()),
        ("function/shop", HOST, 200, "text function/shop".to_owned()),
        ("number/shop", HOST, 200, String::new()),
        ("draft/shop", HOST, 200, String::new()),
        ("plan/slow", HOST, 200, String::new()),
        ("notifier/oncall", HOST, 200, String::new()),
        ("settings", HOST, 200, String::new()),
        ("domain/next.example.com", NEXT, 200, String::new()),
        ("alias/shop/prod", HOST, 503, route(HOST)),
    ] {
        store(folder.path(), &format!("config/{name}"), None);
        let weir = Weir::again(folder).await;
        assert_eq!(ten(&weir, host).await.iter().filter(|(status, _)| *status == expected).count(), 10, "{name}");
        assert_eq!(status_of(&weir, OTHER).await, 200, "{name}");
        assert_eq!(weir.ask("/ready").await.status, 200);
        weir.told(&["shift", "other:prod", "1=30", "2=70"]).await;
        weir.told(&["shift", "other:prod", "1"]).await;
        // Of a thing that nothing names there is no trace.
        assert!(told.is_empty() || unusable(&weir).await.contains(&told), "{told}: {:?}", unusable(&weir).await);
        folder = weir.killed().await;
    }
    let weir = Weir::again(folder).await;
    let put = Api::of(&weir).await.call("PUT", "/v1/functions/shop/aliases/prod", "{1: 100}").await;
    assert!(put.status < 300, "{}", put.text());
    assert_eq!(status_of(&weir, HOST).await, 200);
    assert!(!unusable(&weir).await.contains(&route(HOST)), "what leads somewhere again is not named");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_is_not_set() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let live = format!(
        "functions:\n  shop:\n    versions:\n      1: 'http://{}'\n      2: {{endpoints: ['{}'], headers: {{set: {{x-token: \
         '${{API_TOKEN}}'}}}}}}\n    aliases: {{prod: {{1: 50, 2: 50}}}}\ndomains:\n  {HOST}: shop:prod\n",
        one.address, two.address
    );
    let weir = Weir::start_by(&["env", "API_TOKEN=secret"], folder(), PROCESS, &live).await;
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let weir = Weir::again(weir.killed().await).await;
    let expected = names(&["file_text version/shop/2", "text version/shop/2"]);
    assert_eq!(unusable(&weir).await, expected);
    assert!(weir.ask("/v1/status").await.text().contains("the environment variable `API_TOKEN` is not set"));
    assert!(ten(&weir, HOST).await.iter().all(|answer| *answer == (200, "v1".to_owned())));
    weir.told(&["shift", "shop:prod", "1=80", "2=20"]).await;
    let gone = |weir: &Weir| weir.edit(&live.replace("${API_TOKEN}", "none"));
    // The environment is whole again, and so is everything; what was changed meanwhile stays.
    let folder = weir.killed().await;
    let weir = Weir::start_by(&["env", "API_TOKEN=secret"], folder, PROCESS, &live).await;
    assert!(unusable(&weir).await.is_empty());
    let second = ten(&weir, HOST).await.iter().filter(|answer| answer.1 == "v2").count();
    assert_eq!(second, 2);
    // A file that needs no variable would have done as well.
    let weir = Weir::again(weir.killed().await).await;
    assert_eq!(unusable(&weir).await, expected);
    gone(&weir);
    weir.lives("(hidden)").await;
    assert!(unusable(&weir).await.is_empty());
    assert_eq!(ten(&weir, HOST).await.iter().filter(|answer| answer.1 == "v2").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_the_file() {
    let (weir, endpoints) = started().await;
    weir.told(&["shift", "shop:prod", "1=30", "2=70"]).await;
    let folder = weir.killed().await;
    store(folder.path(), "file/alias/shop/prod", Some("]"));
    let weir = Weir::again(folder).await;
    // What was changed live stays, and the start wrote what the file says.
    assert!(weir.told(&["alias", "get", "shop:prod"]).await.contains("70"));
    assert!(unusable(&weir).await.is_empty());
    weir.edit(&everything(&endpoints[0], &endpoints[1]).replace("{1: 50, 2: 50}", "{1: 90, 2: 10}"));
    weir.lives("2: 10").await;
    is_whole(weir).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_can_be_deleted() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let weir = Weir::start(&format!("{}stages:\n  mark: {{alias: prod}}\n", shop(&[&one, &two], "1"))).await;
    let folder = weir.killed().await;
    store(folder.path(), "config/stage/mark", Some("]"));
    store(folder.path(), "config/version/shop/2", Some("]"));
    store(folder.path(), "config/version/shop/1", Some("]"));
    let weir = Weir::again(folder).await;
    let mut api = Api::of(&weir).await;
    for path in ["/v1/stages/mark", "/v1/functions/shop/versions/2"] {
        let gone = api.call("DELETE", path, "").await;
        assert_eq!(gone.status, 204, "{}", gone.text());
    }
    let named = api.call("DELETE", "/v1/functions/shop/versions/1", "").await;
    assert_eq!(named.status, 409, "{}", named.text());
    assert_eq!(unusable(&weir).await, ["text version/shop/1"]);
    let folder = weir.killed().await;
    assert_eq!(text(folder.path(), "config/stage/mark"), None);
    assert_eq!(text(folder.path(), "config/version/shop/2"), None);
}
