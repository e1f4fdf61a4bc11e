//! Rollouts under random events, crashes, clock jumps and lost effects: what must hold after every single step.

#![expect(clippy::unwrap_used, reason = "test data: what is written here is valid")]

mod world;

use std::sync::Arc;
use std::time::Duration;

use config::model::{AliasPatch, Config, Field, Shield};
use config::release::rollout::{
    Answer, Ask, Asked, Effect, Event, Exposure, Now, Observation, Outcome, Phase, Rollout, RolloutId, Traffic,
    Transition, Waits, Word, begin, edits, from_text, to_text, without_set_fields,
};
use config::text::edit::{self, Edit, FunctionEdit};
use config::text::parse::{parse, parse_plan};
use serde_json::Value;
use world::{FILE, World, speaker};

#[test]
fn a_million_random_steps_break_nothing() {
    let (mut steps, mut seed, mut outcomes) = (0, 0, [0_u32; 5]);
    while steps < 1_000_000 {
        seed += 1;
        let mut world = World::new(seed);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..60 {
                world.step();
                steps += 1;
            }
            world.ends_by_itself();
        }));
        if let Err(panic) = result {
            eprintln!("seed {seed}:\n{}", world.log.join("\n"));
            std::panic::resume_unwind(panic);
        }
        if let Some(outcome) = world.rollout.outcome() {
            outcomes[outcome as usize] += 1;
        }
    }
    assert!(outcomes.iter().all(|count| *count > 20), "every end is reached: {outcomes:?}");
}

/// The time at which [`begun`] begins.
const START: Duration = Duration::from_secs(1_800_000_000);

/// A rollout of version 2 of the shop by this plan.
fn begun(plan: &str) -> Transition {
    let (config, _) = parse(FILE, &|_| None).unwrap();
    let ask = Ask {
        members: vec![Asked {
            function: "shop".parse().unwrap(),
            alias: "prod".parse().unwrap(),
            candidate: 2.try_into().unwrap(),
            base: None,
        }],
        plan: Arc::new(parse_plan(plan, &|_| None).unwrap()),
        plan_name: None,
        speaker: speaker(),
        supersede: false,
        adopt: false,
    };
    begin(RolloutId(1), &ask, &config, &[], Now { time: START, wall: START, frozen: false }).unwrap().0
}

/// The rollout after this event, so many minutes after its beginning.
fn after(rollout: &Rollout, event: &Event, minutes: u64, frozen: bool) -> Rollout {
    let time = START + Duration::from_secs(60 * minutes);
    let transition = rollout.on(event, Now { time, wall: time, frozen }).unwrap();
    transition.map_or_else(|| rollout.clone(), |transition| transition.rollout)
}

fn said(word: Word) -> Event {
    Event::Said { word, speaker: speaker(), step: None }
}

#[test]
fn the_end_of_a_freeze_decides_nothing_that_was_not_measured() {
    let rollout = begun(
        "{steps: [{weight: 50, bake: 10m}], guard: false, gates: [{error_rate: {max: 1%, on_insufficient: fail}}]}",
    )
    .rollout;
    let thawed = after(&rollout, &Event::Thawed, 20, false);
    assert_eq!(thawed.phase, rollout.phase, "the next look has the answer");
    let (step, since) = thawed.bake().unwrap();
    let seen = Observation { step, since, answers: vec![Answer::Pass], ..Observation::default() };
    assert_eq!(after(&thawed, &Event::Observed(seen), 21, false).outcome(), Some(Outcome::Promoted));
}

#[test]
fn an_approval_counts_when_the_pause_or_the_freeze_is_over() {
    let plan = "{steps: [{weight: 50, bake: 10m}], guard: false, gates: [{approval: {timeout: 24h, default: reject}}]}";
    let asks = after(&begun(plan).rollout, &Event::Tick, 10, false);
    assert!(matches!(asks.phase, Phase::Deciding { waits: Waits::Approval, .. }), "{asks:?}");
    let paused = after(&after(&asks, &said(Word::Pause), 11, false), &said(Word::Approve), 12, false);
    assert_eq!(paused.outcome(), None);
    assert_eq!(after(&paused, &said(Word::Resume), 13, false).outcome(), Some(Outcome::Promoted));
    let frozen = after(&asks, &said(Word::Approve), 12, true);
    assert_eq!(frozen.outcome(), None);
    assert_eq!(after(&frozen, &Event::Thawed, 13, false).outcome(), Some(Outcome::Promoted));
}

#[test]
fn nothing_is_promoted_unseen() {
    let rollout = begun("{steps: [{weight: 50, bake: 10m}], guard: {min_requests: 20, patience: 30m}}").rollout;
    let (step, since) = rollout.bake().unwrap();
    let seen = |judged, good, waiting| {
        let exposure = Some(Exposure { judged, good, waiting, is_healthy: true });
        Event::Observed(Observation { step, since, exposure, ..Observation::default() })
    };
    for unseen in [Event::Tick, seen(19, 19, 0), seen(20, 0, 0), seen(20, 20, 1)] {
        let waits = after(&rollout, &unseen, 10, false);
        assert!(matches!(waits.phase, Phase::Deciding { waits: Waits::Gates, .. }), "{unseen:?}: {waits:?}");
        assert_eq!(after(&waits, &seen(20, 1, 0), 39, false).outcome(), Some(Outcome::Promoted));
        let back = after(&waits, &unseen, 40, false);
        assert_eq!(back.outcome(), Some(Outcome::RolledBack), "after its patience");
    }
    let told = told(&rollout, &seen(3, 3, 0), 10);
    assert!(told[0].1.contains("the candidate has 3 of the 20 outcomes that must be known"), "{told:?}");
}

/// The word and the text of everything that the event makes the rollout tell, so many minutes after its beginning.
fn told(rollout: &Rollout, event: &Event, minutes: u64) -> Vec<(&'static str, String)> {
    let time = START + Duration::from_secs(60 * minutes);
    let transition = rollout.on(event, Now { time, wall: time, frozen: false }).unwrap();
    let effects = transition.map(|transition| transition.effects).unwrap_or_default();
    let tell =
        |effect| if let Effect::Tell(milestone) = effect { Some((milestone.kind, milestone.text)) } else { None };
    effects.into_iter().filter_map(tell).collect()
}

#[test]
fn whoever_is_to_approve_is_asked_again_after_a_restart_and_nobody_else() {
    let plan = "{linearStep: {weight: 50, interval: 10m}, guard: false, gates: [{approval: {timeout: 24h}}]}";
    let bakes = begun(plan).rollout;
    assert_eq!(told(&bakes, &Event::Restarted, 5), [], "nothing is asked yet");
    let asks = after(&bakes, &Event::Tick, 10, false);
    let asked = told(&asks, &Event::Restarted, 11);
    assert!(asked.len() == 1 && asked[0].0 == "approval" && asked[0].1.contains("restarted"), "{asked:?}");
    let again = after(&asks, &Event::Restarted, 11, false);
    assert!(matches!(again.phase, Phase::Deciding { waits: Waits::Approval, .. }), "{again:?}");
    let approved = after(&after(&again, &said(Word::Pause), 12, false), &said(Word::Approve), 13, false);
    assert_eq!(told(&approved, &Event::Restarted, 14), [], "it was given");
}

#[test]
fn a_stored_moment_that_has_not_come_yet_is_no_part_of_a_bake() {
    let rollout = begun("{linearStep: {weight: 40, interval: 10m}, guard: false}").rollout;
    // The clock that it was written by was a day ahead; two minutes of the bake were over.
    let stored = after(&rollout, &Event::Checkpoint, 2, false);
    let day = Duration::from_secs(24 * 3600);
    let at = |minutes: u64| {
        let time = START + Duration::from_secs(60 * minutes) - day;
        Now { time, wall: time, frozen: false }
    };
    let on = |rollout: &Rollout, event: &Event, minutes| {
        let transition = rollout.on(event, at(minutes)).unwrap();
        transition.map_or_else(|| rollout.clone(), |transition| transition.rollout)
    };
    let left = |rollout: &Rollout, minutes| rollout.deadline().unwrap() - at(minutes).time;
    let eight = Duration::from_secs(8 * 60);
    for early in [None, Some(Event::Checkpoint), Some(said(Word::Approve)), Some(Event::Tick)] {
        // Somebody may speak before the rollout hears that the gateway has started.
        let met = early.iter().fold(stored.clone(), |rollout, event| {
            rollout.on(event, at(5)).map_or(rollout.clone(), |moved| moved.map_or(rollout, |moved| moved.rollout))
        });
        let restarted = on(&met, &Event::Restarted, 5);
        assert_eq!(left(&restarted, 5), eight, "{early:?}");
    }
    let advanced = on(&on(&stored, &said(Word::Advance), 5), &Event::Restarted, 6);
    assert_eq!((advanced.step(), left(&advanced, 6)), (Some(1), Duration::from_secs(10 * 60)), "{advanced:?}");
}

#[test]
fn a_rollout_knows_who_approved_which_step_to_its_end() {
    let plan = "{canaryPlans: [{weight: 20, interval: 10m}, {weight: 60, interval: 10m}], \
                guard: false, gates: [{approval: {timeout: 1h, default: approve}}]}";
    let early = after(&begun(plan).rollout, &said(Word::Approve), 5, false);
    let read = from_text(&to_text(&early), &|_| None).unwrap().rollout;
    assert_eq!(read, early, "a restart forgets nobody");
    let second = after(&read, &Event::Tick, 10, false);
    assert_eq!((second.step(), second.approval(1)), (Some(1), None), "a yes is for one step");
    let asks = after(&second, &Event::Tick, 20, false);
    let over = after(&asks, &Event::Tick, 80, false);
    assert_eq!(over.outcome(), Some(Outcome::Promoted));
    let approvals: Vec<_> = over.approvals.iter().map(|approval| (approval.step, &*approval.by, approval.at)).collect();
    let minutes = |minutes: u64| START + Duration::from_secs(60 * minutes);
    assert_eq!(approvals, [(0, "token:ann", minutes(5)), (1, "nobody", minutes(80))]);
    // Release 0.1.0 wrote the name alone.
    let mut old: Value = serde_json::from_str(&to_text(&early)).unwrap();
    old.as_object_mut().unwrap().remove("approvals");
    old["approved"] = "token:ann".into();
    let read = from_text(&old.to_string(), &|_| None).unwrap().rollout;
    assert_eq!(read.approval(0).map(|approval| &*approval.by), Some("token:ann"));
}

#[test]
fn what_an_operator_sets_during_a_rollout_counts_at_once_and_stays() {
    let first = begun("{linearStep: {weight: 25, interval: 1m}, guard: {shield: any-5xx}}").rollout;
    let second = after(&first, &Event::Tick, 1, false);
    let (mut config, _) = parse(FILE, &|_| None).unwrap();
    let (shop, prod) = (config.functions.keys().next_back().unwrap().clone(), "prod".parse().unwrap());
    let shield = |config: &Config| config.functions[&shop].effective(&prod).unwrap().shield;
    let with =
        |config: &Config, rollout: &Rollout, traffic| edit::apply(config, &edits(rollout, traffic, config)).unwrap();
    config = with(&config, &first, Traffic::Step(first.weight));
    assert_eq!(shield(&config), Shield::AnyServerError);
    assert_eq!(shield(&with(&config, &second, Traffic::Step(second.weight))), Shield::AnyServerError);
    assert_eq!(shield(&with(&config, &second, Traffic::Dropped)), Shield::Off, "its own again");
    let set = |shield| {
        let patch = AliasPatch { shield: Field::Set(shield), ..AliasPatch::default() };
        [Edit::Function(shop.clone(), FunctionEdit::PatchAlias("prod".parse().unwrap(), patch))]
    };
    // Also one that is set to what it was.
    for wanted in [Shield::Gateway, Shield::Off] {
        let set = set(wanted);
        let mut after = edit::apply(&config, &set).unwrap();
        after = edit::apply(&after, &without_set_fields(&first, &set, &config, &after)).unwrap();
        assert_eq!(shield(&after), wanted);
        for traffic in [Traffic::Step(second.weight), Traffic::Promoted, Traffic::Dropped] {
            assert_eq!(shield(&with(&after, &second, traffic)), wanted, "{traffic:?}");
        }
    }
}

#[test]
fn a_plan_that_nobody_disturbs_takes_every_step_in_its_time() {
    let start = START;
    let at = |time| Now { time, wall: time, frozen: false };
    let begun = begun("{linearStep: {weight: 40, interval: 10m}, guard: false}");
    let (mut rollout, mut timeline) = (begun.rollout, vec![(0, 4_000)]);
    while let Some(deadline) = rollout.deadline() {
        let just_before = at(deadline.checked_sub(Duration::from_millis(1)).unwrap());
        assert_eq!(rollout.on(&Event::Tick, just_before).unwrap(), None, "not a moment before its time");
        rollout = rollout.on(&Event::Tick, at(deadline)).unwrap().unwrap().rollout;
        timeline.push(((deadline - start).as_secs() / 60, rollout.weight.basis_points()));
    }
    assert_eq!(timeline, [(0, 4_000), (10, 8_000), (20, 10_000)]);
    assert_eq!(rollout.outcome(), Some(Outcome::Promoted));
    assert!(matches!(begun.effects.last(), Some(Effect::Tell(_))));
}
