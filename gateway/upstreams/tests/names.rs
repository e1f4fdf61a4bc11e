//! Names of endpoints, looked up by a resolver that the test writes.

use std::collections::HashSet;
use std::sync::mpsc;
use std::thread;

use super::*;

#[tokio::test]
async fn localhost_is_resolved_and_picked() {
    let (mut upstreams, notes) = upstreams();
    let state = reconcile(&mut upstreams, key(1), spec(&[("localhost", 8080)]));
    until("an address", || state.healthy()).await;
    let pick = state.pick(&Tried::default(), true, &mut rng()).unwrap();
    assert!(pick.address().ip().is_loopback());
    assert_eq!((pick.host(), pick.port()), ("localhost", 8080));
    assert_eq!(notes.count("localhost resolves to"), 1);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_no_endpoint_but_others_are() {
    let (mut upstreams, notes) = upstreams();
    let state = reconcile(&mut upstreams, key(1), spec(&[("nowhere.invalid", 80)]));
    assert!(!state.healthy());
    until("the failure", || notes.count("nowhere.invalid cannot be resolved") == 1).await;
    assert!(!state.healthy());
    assert!(state.pick(&Tried::default(), true, &mut rng()).is_none());
    assert_eq!(state.unresolved().len(), 1);
    assert_eq!(state.unresolved()[0].0, "nowhere.invalid");
    let both = spec(&[("nowhere.invalid", 80), ("127.0.0.1", 80)]);
    let state = reconcile(&mut upstreams, key(1), both);
    assert!(state.healthy());
}

/// The answer for every name.
type Answer = Arc<Mutex<Result<Vec<SocketAddr>, io::ErrorKind>>>;

fn scripted_names(answers: &Answer) -> (Upstreams, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    let answers = Arc::clone(answers);
    let answer = move |_: &str, _: u16| answers.lock().unwrap().clone().map_err(io::Error::from);
    let lookup = Lookup { answer: Arc::new(answer), every: Duration::from_millis(5), silence: Duration::from_secs(60) };
    let observer = Arc::clone(&notes) as Arc<dyn Observer>;
    (Upstreams::with_lookup(Handle::current(), observer, Arc::new(LaneChecker::default()), lookup), notes)
}

fn addresses(state: &UpstreamState) -> BTreeSet<SocketAddr> {
    state.endpoints().into_iter().map(|endpoint| endpoint.address).collect()
}

#[tokio::test]
async fn what_a_name_stands_for_is_left_out_if_it_may_not_be_dialled() {
    let [good, link, own] =
        ["10.0.0.1:80", "169.254.169.254:80", "127.0.0.1:9900"].map(|address| address.parse::<SocketAddr>().unwrap());
    let answers: Answer = Arc::new(Mutex::new(Ok(vec![link, good, own])));
    let (upstreams, notes) = scripted_names(&answers);
    let mut upstreams = upstreams.dialling(Dial::new(&config::model::Process::default()));
    let state = reconcile(&mut upstreams, key(1), spec(&[("shop.test", 80), ("169.254.0.1", 80)]));
    until("the first answer", || !addresses(&state).is_empty()).await;
    assert_eq!(addresses(&state), [good].into());
    for why in ["169.254.169.254 is a link-local", "127.0.0.1:9900 is a listener", "169.254.0.1 is a link-local"] {
        assert!(notes.count(why) > 0, "{why}");
    }
}

#[tokio::test]
async fn a_name_is_followed_and_its_last_good_answer_kept() {
    let [a, b, c] = [1, 2, 3].map(|n| SocketAddr::from(([10, 0, 0, n], 80)));
    let answers: Answer = Arc::new(Mutex::new(Ok(vec![b, a, b])));
    let (mut upstreams, notes) = scripted_names(&answers);
    let state = reconcile(&mut upstreams, key(1), spec(&[("shop.test", 80)]));
    until("the first answer", || addresses(&state) == [a, b].into()).await;
    assert_eq!(state.endpoints().len(), 2, "no address twice");
    let mut rng = rng();
    let held = std::iter::repeat_with(|| state.pick(&Tried::default(), true, &mut rng).unwrap())
        .find(|pick| pick.address() == b)
        .unwrap();

    *answers.lock().unwrap() = Ok(vec![c, b]);
    until("the new answer", || addresses(&state) == [b, c].into()).await;
    let load = |state: &UpstreamState| state.endpoints().iter().find(|e| e.address == b).map(|e| e.in_flight);
    assert_eq!(load(&state), Some(1), "what stays keeps its state");

    *answers.lock().unwrap() = Err(io::ErrorKind::TimedOut);
    until("the warning", || notes.count("its last 2 addresses stay") == 1).await;
    assert_eq!(addresses(&state), [b, c].into());
    *answers.lock().unwrap() = Ok(vec![]);
    // Over a config change too, which a lookup that fails must not undo.
    let more = spec(&[("shop.test", 80), ("10.0.0.9", 80)]);
    let state = reconcile(&mut upstreams, key(1), more);
    until("the empty answer", || notes.count("the answer is empty") == 1).await;
    assert!(addresses(&state).is_superset(&[b, c].into()));
    assert_eq!(load(&state), Some(1));
    drop(held);
    assert_eq!(load(&state), Some(0));

    *answers.lock().unwrap() = Ok(vec![a]);
    until("back", || addresses(&state) == [a, SocketAddr::from(([10, 0, 0, 9], 80))].into()).await;
    assert!(state.unresolved().is_empty());
    assert_eq!(notes.count("cannot be resolved"), 2, "once per change, not once per lookup");
}

/// Lookups of `hang…` never end; every other name is 10.0.0.1. Counts the lookups of each name that are under way.
fn hanging_names(runtime: &Handle, running: &Arc<Mutex<Vec<String>>>) -> Upstreams {
    let running = Arc::clone(running);
    let answer = move |host: &str, port: u16| {
        running.lock().unwrap().push(host.to_owned());
        if host.starts_with("hang") {
            loop {
                thread::park();
            }
        }
        Ok(vec![SocketAddr::from(([10, 0, 0, 1], port))])
    };
    let silence = Duration::from_millis(100);
    let lookup = Lookup { answer: Arc::new(answer), every: Duration::from_millis(5), silence };
    Upstreams::with_lookup(runtime.clone(), Arc::new(Notes::default()), Arc::new(LaneChecker::default()), lookup)
}

#[tokio::test]
async fn names_that_hang_delay_no_other_name_and_no_reload() {
    let running = Arc::default();
    let mut upstreams = hanging_names(&Handle::current(), &running);
    let hosts: Vec<String> = (0..200).map(|number| format!("hang{number}.test")).collect();
    let mut endpoints: Vec<(&str, u16)> = hosts.iter().map(|host| (host.as_str(), 80)).collect();
    endpoints.push(("shop.test", 80));
    let state = reconcile(&mut upstreams, key(1), spec(&endpoints));
    until("its sibling has an address", || state.endpoints().len() == 1).await;
    let before = tokio::time::Instant::now();
    let other = reconcile(&mut upstreams, key(2), spec(&[("shop.test", 80), ("hang0.test", 80)]));
    let again = reconcile(&mut upstreams, key(1), Rendered { host: RenderedHost::Endpoint, ..spec(&endpoints) });
    assert!(before.elapsed() < Duration::from_secs(1), "no reload waits for a name");
    until("another upstream has one", || other.healthy()).await;
    until("they are said to hang", || again.unresolved().len() == hosts.len()).await;
    assert!(again.unresolved()[0].1.contains("no answer within 100ms"), "{:?}", again.unresolved()[0]);
    let running = running.lock().unwrap();
    let hung: Vec<_> = running.iter().filter(|host| host.starts_with("hang")).collect();
    assert_eq!(hung.len(), hung.iter().collect::<HashSet<_>>().len(), "a name is never looked up twice at a time");
}

/// Callers come again while the thread of the lookup before them is still ending.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lookups_of_one_name_in_a_row_are_all_answered_and_one_at_a_time() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let highest = Arc::clone(&most);
    let answer = move |_: &str, port: u16| {
        highest.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
        thread::yield_now();
        running.fetch_sub(1, SeqCst);
        Ok(vec![SocketAddr::from(([10, 0, 0, 1], port))])
    };
    let lookup = Lookup { answer: Arc::new(answer), every: Duration::ZERO, silence: Duration::from_secs(60) };
    let resolver = Arc::new(Resolver::new(lookup));
    let callers = (0..4).map(|_| {
        let resolver = Arc::clone(&resolver);
        tokio::spawn(async move {
            for _ in 0..500 {
                resolver.look_up(("shop.test".to_owned(), 80)).await.expect("the name has an address");
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    assert_eq!(most.load(SeqCst), 1, "a name is never looked up twice at a time");
}

#[test]
fn a_name_that_hangs_does_not_hold_up_the_end() {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let running = Arc::default();
        let mut upstreams = hanging_names(runtime.handle(), &running);
        let _state = reconcile(&mut upstreams, key(1), spec(&[("hang.test", 80)]));
        runtime.block_on(until("it hangs", || !running.lock().unwrap().is_empty()));
        drop(runtime);
        done.send(()).unwrap();
    });
    ended.recv_timeout(Duration::from_secs(10)).expect("a runtime that ends waits for no lookup");
}
