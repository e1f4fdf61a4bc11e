//! Cells as workers fill them and as the guardian reads them.

#![expect(clippy::disallowed_methods, reason = "tests need some moment to begin at")]

use super::*;

fn outcomes(workers: usize) -> (Arc<Outcomes>, Arc<Wake>, Instant) {
    let now = Instant::now();
    let wake = Arc::new(Wake::new(now));
    (Arc::new(Outcomes::new(workers, Arc::clone(&wake), now)), wake, now)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A request of worker 0 that ends at once.
fn ends(outcomes: &Outcomes, class: Class, bucket: Option<u16>, at: Instant) {
    let ticket = outcomes.begin(0, bucket, at);
    outcomes.ended(0, &ticket, &Ended { class, latency: None, at });
}

/// The next stratum of two versions, of which the other one does nothing.
fn next(outcomes: &Arc<Outcomes>, limits: Limits) -> u32 {
    let other = Arc::new(Outcomes::beside(outcomes, outcomes.started()));
    begin_stratum([outcomes, &other], limits, Some([millis(20), millis(50)]))
}

fn limits() -> Limits {
    Limits { unanswered: millis(1_000), gone: millis(100), is_known: true }
}

#[test]
fn workers_add_up() {
    let (outcomes, _, at) = outcomes(4);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let outcomes = &outcomes;
            scope.spawn(move || {
                for n in 0..900_u64 {
                    let ticket = outcomes.begin(worker, None, at);
                    let class = Class::ALL[n as usize % Class::ALL.len()];
                    let latency = (class == Class::Success).then(|| millis(10));
                    outcomes.ended(worker, &ticket, &Ended { class, latency, at });
                }
            });
        }
    });
    let counts = outcomes.counts();
    assert_eq!((counts.begun, counts.classes), (3_600, [400; 9]));
    assert_eq!(counts.latencies[latency_bucket(millis(10))], 400);
    assert_eq!(counts.latencies.iter().sum::<u64>(), 400);
    assert_eq!(outcomes.stratum(outcomes.present_stratum()).begun, 3_600);
}

#[test]
fn a_request_counts_in_the_stratum_in_which_it_began() {
    let (outcomes, _, at) = outcomes(1);
    let first = next(&outcomes, limits());
    let (slow, hung) = (outcomes.begin(0, None, at), outcomes.begin(0, None, at));
    let second = next(&outcomes, limits());
    assert_eq!((outcomes.stratum(first).begun, outcomes.stratum(first).open()), (2, 2));
    let in_time = Ended { class: Class::Success, latency: Some(millis(900)), at: at + millis(900) };
    outcomes.ended(0, &slow, &in_time);
    assert_eq!((outcomes.stratum(first).open(), outcomes.stratum(second).begun), (1, 0));
    let late = Ended { class: Class::Success, latency: Some(millis(1_001)), at: at + millis(1_001) };
    outcomes.ended(0, &hung, &late);
    assert_eq!(outcomes.stratum(first).waiting(), 1, "what ends too late stays unanswered");
    assert_eq!(outcomes.counts().classes[Class::Success as usize], 2, "and is known all the same");
}

#[test]
fn clients_that_leave_early_are_left_out_and_those_that_waited_are_not() {
    let (outcomes, wake, at) = outcomes(1);
    outcomes.watch(true);
    let number = next(&outcomes, limits());
    for waited in [10, 99, 100, 999] {
        let ticket = outcomes.begin(0, None, at);
        let ended = Ended { class: Class::ClientGone, latency: None, at: at + millis(waited) };
        outcomes.ended(0, &ticket, &ended);
    }
    let stratum = outcomes.stratum(number);
    assert_eq!((stratum.classes[Class::ClientGone as usize], stratum.gone, stratum.open()), (4, 2, 0));
    assert_eq!(stratum.quick_left_out, 1, "one of them left within 20 ms");
    assert!(outcomes.take_failed(), "one that waited wakes who judges");
    drop(wake);
}

#[test]
fn an_answer_on_its_way_is_good_until_it_breaks() {
    let (outcomes, _, at) = outcomes(1);
    let number = next(&outcomes, limits());
    let ends = |class| {
        let mut ticket = outcomes.begin(0, None, at);
        outcomes.answering(0, &mut ticket, millis(20), at + millis(20));
        outcomes.answering(0, &mut ticket, millis(30), at + millis(30));
        let before = outcomes.stratum(number);
        assert_eq!((before.answering, before.waiting()), (1, 0));
        outcomes.ended(0, &ticket, &Ended { class, latency: Some(millis(20)), at: at + millis(500) });
    };
    ends(Class::ClientGone);
    ends(Class::Reset);
    let stratum = outcomes.stratum(number);
    assert_eq!((stratum.classes[Class::Success as usize], stratum.classes[Class::Reset as usize]), (1, 1));
    assert_eq!((stratum.answering, stratum.open(), stratum.quick, stratum.gone), (0, 0, 2, 0));
}

#[test]
fn a_ring_that_comes_around_mixes_no_strata() {
    let (outcomes, _, at) = outcomes(1);
    let first = next(&outcomes, limits());
    let old = outcomes.begin(0, None, at);
    let mut last = first;
    for _ in 0..128 {
        last = next(&outcomes, limits());
        ends(&outcomes, Class::Reset, None, at);
    }
    assert_eq!(outcomes.stratum(first), Begun::default(), "its place is taken");
    outcomes.ended(0, &old, &Ended { class: Class::Success, latency: None, at });
    let stratum = outcomes.stratum(last);
    assert_eq!((stratum.begun, stratum.classes[Class::Success as usize]), (1, 0));
}

#[test]
fn a_bucket_counts_once_per_stratum_with_its_first_request() {
    let (outcomes, _, at) = outcomes(1);
    let number = next(&outcomes, limits());
    for (class, bucket) in [
        (Class::Success, 0),
        (Class::Reset, 0),
        (Class::Reset, 9_999),
        (Class::Success, 9_999),
        (Class::Success, 63),
        (Class::Success, 64),
    ] {
        ends(&outcomes, class, Some(bucket), at);
    }
    let seen = outcomes.stratum(number);
    assert_eq!((seen.begun, seen.classes[0], seen.classes[Class::Reset as usize]), (4, 3, 1));
    assert_eq!(outcomes.counts().begun, 6);
    assert_eq!(outcomes.recent(at), Recent { requests: 6, failures: 2 }, "every request counts there");
    let number = next(&outcomes, limits());
    ends(&outcomes, Class::Reset, Some(0), at);
    assert_eq!(outcomes.stratum(number).begun, 1);
}

#[test]
fn a_bucket_that_keeps_failing_repeats_itself_until_it_succeeds() {
    let (outcomes, _, at) = outcomes(1);
    let told = [
        (Class::Reset, 0),
        (Class::Reset, 1),
        (Class::ClientGone, 0),
        (Class::Reset, 1),
        (Class::Success, 0),
        (Class::Reset, 0),
        (Class::Reset, 1),
    ];
    for (class, repeated) in told {
        let number = next(&outcomes, limits());
        ends(&outcomes, class, Some(7), at);
        assert_eq!(outcomes.stratum(number).repeated, repeated, "{class:?}");
    }
    let number = next(&outcomes, limits());
    ends(&outcomes, Class::Reset, Some(8), at);
    ends(&outcomes, Class::Reset, None, at);
    ends(&outcomes, Class::Reset, None, at);
    assert_eq!(outcomes.stratum(number).repeated, 0, "of other keys, and of none");
}

#[test]
fn each_bucket_counts_once_when_workers_race_for_it() {
    let (outcomes, _, at) = outcomes(4);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let outcomes = &outcomes;
            scope.spawn(move || {
                for bucket in 0..10_000 {
                    let ticket = outcomes.begin(worker, Some(bucket), at);
                    outcomes.ended(worker, &ticket, &Ended { class: Class::Success, latency: None, at });
                }
            });
        }
    });
    assert_eq!(outcomes.stratum(outcomes.present_stratum()).begun, 10_000);
}

#[tokio::test]
async fn failures_wake_and_what_is_no_failure_does_not() {
    let (outcomes, wake, at) = outcomes(1);
    let is_woken = async || tokio::time::timeout(Duration::ZERO, wake.wait()).await.is_ok();
    ends(&outcomes, Class::Reset, None, at);
    assert!(!is_woken().await && !outcomes.take_failed(), "no rollout judges it");
    outcomes.watch(true);
    for class in Class::ALL {
        ends(&outcomes, class, None, at);
        assert_eq!(is_woken().await, class.is_failure(false), "{class:?}");
        assert_eq!(outcomes.take_failed(), class.is_failure(false), "{class:?}");
    }
}

#[test]
fn no_more_stand_ins_than_allowed_at_once() {
    let (outcomes, ..) = outcomes(1);
    let (first, second) = (outcomes.stand_in(2), outcomes.stand_in(2));
    assert!(first.is_some() && second.is_some() && outcomes.stand_in(2).is_none());
    drop(first);
    assert!(outcomes.stand_in(2).is_some());
}
