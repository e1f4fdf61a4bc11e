//! Candidates that are dead, hang, or get no request: none of them is promoted, and whoever asks is told why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use crate::HOST;
use crate::kit::client::Client;
use crate::kit::endpoint::{Answer, Endpoint, refusing};
use crate::kit::load::Load;
use crate::kit::rollout::{becomes, ends, newest, shares, story, three};
use crate::kit::weir::Weir;

/// A gateway whose version 2 refuses every connection.
async fn dead() -> (Weir, Endpoint) {
    let one = Endpoint::start("v1").await;
    let live = format!(
        "functions:\n  shop:\n    versions: {{1: 'http://{}', 2: 'http://{}'}}\n    aliases: {{prod: 1}}\n\
         domains: {{{HOST}: 'shop:prod'}}\n",
        one.address,
        refusing().await
    );
    (Weir::start(&live).await, one)
}

/// Clients that come evenly, each on a connection of its own, and leave when they have waited for so long.
struct Arrivals {
    stop: Arc<AtomicBool>,
    come: tokio::task::JoinHandle<JoinSet<Option<u16>>>,
}

impl Arrivals {
    fn start(weir: &Weir, every: Duration, patience: Duration) -> Self {
        let (address, stop) = (weir.http, Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let come = tokio::spawn(async move {
            let (mut clients, mut ticks) = (JoinSet::new(), interval(every));
            while !stopped.load(Ordering::Relaxed) {
                ticks.tick().await;
                clients.spawn(async move {
                    let mut client = Client::connect(address).await;
                    let asked = async {
                        client.try_send(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes()).await.ok()?;
                        client.try_response("GET").await.ok().map(|answer| answer.status)
                    };
                    timeout(patience, asked).await.ok().flatten()
                });
            }
            clients
        });
        Self { stop, come }
    }

    /// The statuses of those that were answered; nobody else comes, and those who still wait leave.
    async fn stop(self) -> Vec<u16> {
        self.stop.store(true, Ordering::Relaxed);
        let mut clients = self.come.await.expect("they come");
        let mut answered = Vec::new();
        while let Some(done) = clients.try_join_next() {
            answered.extend(done.expect("a client leaves or is answered"));
        }
        answered
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_candidate_is_never_promoted_however_few_requests_come() {
    for per_second in [0_u64, 1, 2] {
        let (weir, _one) = dead().await;
        let clients = (per_second > 0)
            .then(|| Arrivals::start(&weir, Duration::from_millis(1000 / per_second), Duration::from_secs(20)));
        let plan = "{linearStep: {weight: 50, interval: 1s}, guard: {patience: 3s}}";
        let told = ends(&weir, &["release", "shop:prod", "2", "--plan", plan, "--no-preflight", "--wait"], 5).await;
        assert_eq!(story(&weir).await.first().map(String::as_str), Some("begun"));
        assert!(told.contains("rolled back: "), "{per_second} a second: {told}");
        if per_second == 0 {
            assert!(told.contains("the candidate has 0 of the 10 outcomes that must be known"), "{told}");
        }
        if let Some(clients) = clients {
            let answered = clients.stop().await;
            assert!(answered.iter().all(|status| *status == 200), "stable answers for it: {answered:?}");
        }
        shares(&weir, [100, 0, 0]).await;
    }
}

/// Releases version 2, which does this with each request, to clients of this patience; how long it took until it was out, and what was
/// told.
async fn out(answer: Answer, patience: Duration, plan: &str) -> (Duration, String) {
    let (weir, endpoints) = three().await;
    // Enough answers of stable for the age at which a request is unanswered to be a second.
    let load = Load::start(weir.http, HOST, 4, 1_200);
    crate::kit::eventually("enough is known of stable", async || (load.done() >= 1_200).then_some(())).await;
    load.stop().await;
    endpoints[1].on("/", answer);
    let clients = Arrivals::start(&weir, Duration::from_millis(10), patience);
    let began = Instant::now();
    let told = ends(&weir, &["release", "shop:prod", "2", "--plan", plan, "--no-preflight", "--wait"], 5).await;
    let took = began.elapsed();
    clients.stop().await;
    shares(&weir, [100, 0, 0]).await;
    (took, told)
}

/// A hundred requests a second, of which the candidate gets twenty.
const TWENTY: &str = "canaryStep: {weight: 20, interval: 10m}";
/// Much less than the response timeout of 30 s, and than the 10 s that count where nothing is known of stable.
const SOON: Duration = Duration::from_secs(8);
const PATIENT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_never_answers_is_out_long_before_its_timeout() {
    let (took, told) = out(Answer::Hang, PATIENT, TWENTY).await;
    assert!(took < SOON, "{took:?}");
    assert!(told.contains("rolled back: worse: ") && told.contains("got no answer"), "{told}");
    println!("patient clients: out after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_give_up_on_a_candidate_are_counted() {
    let (took, told) = out(Answer::Hang, Duration::from_millis(700), TWENTY).await;
    assert!(took < SOON, "{took:?}");
    assert!(told.contains("rolled back: worse: "), "{told}");
    assert!(told.contains("clients left after a long wait") || told.contains("got no answer"), "{told}");
    println!("impatient clients: out after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_stalls_behind_the_head_of_its_answer_is_out() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n".to_vec();
    let (took, told) = out(Answer::Raw(head), PATIENT, TWENTY).await;
    assert!(took < SOON && told.contains("rolled back: worse: "), "{took:?} {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_closes_late_is_out() {
    let late = Answer::Later(Duration::from_secs(20), Box::new(Answer::RawThenClose(Vec::new())));
    let (took, told) = out(late, PATIENT, TWENTY).await;
    assert!(took < SOON && told.contains("rolled back: worse: "), "{took:?} {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bake_is_too_short_for_a_candidate_that_hangs() {
    for plan in
        ["linearStep: {weight: 20, interval: 1s}", "steps: [{weight: 20, requests: 10}, {weight: 60, bake: 1s}]"]
    {
        let (took, told) = out(Answer::Hang, PATIENT, plan).await;
        assert!(took < SOON && told.contains("rolled back: "), "{plan}: {took:?} {told}");
        assert!(!told.contains("promoted"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_waits_for_what_must_be_known_and_says_so() {
    let (weir, _endpoints) = three().await;
    let plan = "{canaryStep: {weight: 50, interval: 1s}, guard: {min_requests: 20}}";
    let begun = ends(&weir, &["release", "shop:prod", "2", "--plan", plan], 0).await;
    assert!(
        begun.contains("needs 20 requests of the candidate") && begun.contains("would see nothing of it"),
        "{begun}"
    );
    let told = weir.told(&["history", "shop:prod"]).await;
    assert!(told.contains("no step ends before enough requests of the candidate have their outcome"), "{told}");
    becomes(&weir, "waiting for gates").await;
    let waits = newest(&weir).await["waits_for"].as_str().unwrap_or_default().to_owned();
    assert!(waits.contains("the candidate has 0 of the 20 outcomes that must be known"), "{waits}");
    let load = Load::start(weir.http, HOST, 1, 200_000);
    let over = becomes(&weir, "promoted").await;
    load.stop().await;
    assert_eq!(over["why"], "every step of the plan is done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_asks_for_nothing_says_that_nothing_is_known() {
    let (weir, _endpoints) = three().await;
    let plan = "{canaryStep: {weight: 50, interval: 1s}, guard: {min_requests: 0}}";
    let told = ends(&weir, &["release", "shop:prod", "2", "--plan", plan, "--wait"], 0).await;
    assert!(told.contains("promoted: every step of the plan is done, and nothing is known of the candidate"), "{told}");
}
