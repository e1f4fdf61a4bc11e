//! Upstreams that nothing asks for.

use super::*;

/// An upstream before this server, checked every 10 ms, which rests again 100 ms after its last request.
fn resting(server: &Scripted) -> (Upstreams, Arc<UpstreamState>) {
    let (mut upstreams, _) = upstreams();
    Arc::get_mut(&mut upstreams.shared).unwrap().rest_after = Duration::from_millis(100);
    let every = Duration::from_millis(10);
    let health = HealthCheck { path: "/health".into(), every, fall: 1, ..HealthCheck::default() };
    let spec = Rendered { health: Some(health), ..spec(&[("127.0.0.1", server.port)]) };
    let wanted = Wanted { key: key(1), spec: Arc::new(spec), authorities: None, rests: true };
    let state = upstreams.reconcile(vec![wanted]).remove(0);
    (upstreams, state)
}

fn checks(server: &Scripted) -> usize {
    server.heads.lock().unwrap().len()
}

#[tokio::test]
async fn the_first_request_wakes_one_and_it_rests_again() {
    let server = Scripted::start(500).await;
    let (_upstreams, state) = resting(&server);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(checks(&server), 0, "nobody asks for it");
    assert!(state.pick(&Tried::default(), true, &mut rng()).is_some(), "it is there");
    until("it is checked", || checks(&server) > 1).await;
    until("it is down by that", || !state.is_up()).await;
    until("it rests, and nothing is remembered", || state.is_up()).await;
    let before = checks(&server);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(checks(&server) <= before + 1, "one may have been under way");
}

#[tokio::test]
async fn one_that_is_named_rests_no_longer() {
    let server = Scripted::start(200).await;
    let (_upstreams, state) = resting(&server);
    state.set_resting(false);
    until("it is checked", || checks(&server) > 1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = checks(&server);
    until("it is checked without any request", || checks(&server) > before + 2).await;
    state.set_resting(true);
    let before = checks(&server);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(checks(&server) <= before + 1, "one may have been under way");
}
