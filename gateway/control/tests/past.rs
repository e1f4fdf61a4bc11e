//! The journal, and what it brings back.

use std::time::Duration;

use super::*;
use crate::control::RollBack;
use crate::control::journal::{Query, Verdict};
use crate::control::tokens::Role;
use crate::store::Revision;

/// Everything, oldest first.
pub(super) fn all() -> Query {
    Query { after: 0, before: Revision::MAX, newest_first: false, limit: 1000, name: None, who: None, since: None }
}

#[tokio::test]
async fn every_change_is_a_line_that_says_who_what_and_how_it_was() {
    let node = Node::with(&file("shop", "{1: 95, 2: 5}", "")).await;
    node.shift("{1: 60, 2: 40}").await.unwrap();
    let entries = node.control.journal(all()).await.unwrap().entries;
    let told: Vec<_> = entries.iter().map(|entry| (entry.revision, entry.who.as_str())).collect();
    assert_eq!(told, [(1, "file"), (2, "token:ci")]);
    assert_eq!(entries[1].what, ["functions.shop.aliases.prod.split: 1: 95, 2: 5 -> 1: 60, 2: 40"]);
    let [change] = &entries[1].changes[..] else { panic!("one text changed: {entries:?}") };
    assert_eq!(change.name, "alias/shop/prod");
    assert!(change.before.as_ref().unwrap().contains("95") && change.after.as_ref().unwrap().contains("60"));
    assert_eq!(node.control.verify().await.unwrap().verdict, Verdict::Whole { from: 1, to: 2 });
}

#[tokio::test]
async fn the_journal_is_read_by_pages_and_by_what_changed() {
    let node = Node::with(&file("shop", "{1: 95, 2: 5}", "")).await;
    for percent in [60, 50, 40] {
        node.shift(&format!("{{1: {percent}, 2: {}}}", 100 - percent)).await.unwrap();
    }
    let first = node.control.journal(Query { newest_first: true, limit: 2, ..all() }).await.unwrap();
    let revisions = |entries: &[crate::control::journal::Entry]| entries.iter().map(|e| e.revision).collect::<Vec<_>>();
    assert_eq!((revisions(&first.entries), first.next), (vec![4, 3], Some(3)));
    let next = Query { newest_first: true, limit: 2, before: first.next.unwrap(), ..all() };
    let second = node.control.journal(next).await.unwrap();
    assert_eq!((revisions(&second.entries), second.next), (vec![2, 1], None));
    let of = |name: &str| Query { name: Some(name.into()), ..all() };
    assert_eq!(revisions(&node.control.journal(of("version/shop/1")).await.unwrap().entries), [1]);
    assert_eq!(revisions(&node.control.journal(of("function/shop")).await.unwrap().entries), [1, 2, 3, 4]);
    assert!(node.control.journal(of("function/sho")).await.unwrap().entries.is_empty());
    let by = Query { who: Some("file".into()), ..all() };
    assert_eq!(revisions(&node.control.journal(by).await.unwrap().entries), [1]);
    let future = Query { since: Some(crate::clock::unix() + Duration::from_secs(60)), ..all() };
    assert!(node.control.journal(future).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn a_journal_that_was_tampered_with_says_where() {
    let honest = Memory::default();
    let store: Arc<dyn Store> = Arc::new(honest);
    let node = Node::on(Arc::clone(&store)).await;
    node.file(&file("shop", "{1: 95, 2: 5}", "")).await.unwrap();
    node.shift("{1: 60, 2: 40}").await.unwrap();
    node.shift("{1: 50, 2: 50}").await.unwrap();
    let everything =
        crate::store::Page { after: 0, before: Revision::MAX, order: crate::store::Order::OldestFirst, limit: 10 };
    let lines = store.journal(everything).await.unwrap();
    let forged: Arc<dyn Store> = Arc::new(Memory::default());
    for (revision, line) in lines.iter().enumerate() {
        let text = line.text.replace("token:ci", if revision == 1 { "token:me" } else { "token:ci" });
        forged.put_if(revision as Revision, None, Vec::new(), text.into()).await.unwrap();
    }
    let Verdict::Broken { at, message } = crate::control::journal::verify(&*forged).await.unwrap().verdict else {
        panic!("it was believed")
    };
    assert_eq!(at, 3, "the line after the forged one no longer stands on it: {message}");
}

#[tokio::test]
async fn a_text_that_was_changed_behind_the_journal_is_named() {
    let store: Arc<dyn Store> = Arc::new(Memory::default());
    let node = Node::on(Arc::clone(&store)).await;
    node.file(&file("shop", "{1: 95, 2: 5}", "")).await.unwrap();
    node.shift("{1: 60, 2: 40}").await.unwrap();
    let ci = node.control.create_token(Author::of("start"), "ci", Role::Operator).await.unwrap();
    let old = node.control.create_token(Author::of("start"), "old", Role::Operator).await.unwrap();
    node.control.revoke_token(Author::of("start"), "old").await.unwrap();
    assert!(ci.reveal() != old.reveal());
    let honest = node.control.verify().await.unwrap();
    assert_eq!((honest.verdict, honest.unchecked), (Verdict::Whole { from: 1, to: 5 }, 0));

    let page = crate::store::Page { after: 0, before: 6, order: crate::store::Order::OldestFirst, limit: 10 };
    let lines = store.journal(page).await.unwrap();
    let mut image = store.load("").await.unwrap();
    let text = |text: &str| crate::store::Stored { revision: 1, text: text.into() };
    image.texts.insert("config/alias/shop/prod".into(), text("split: {1: 1}"));
    image.texts.insert("token/old".into(), text("{}"));
    image.texts.insert("token/mine".into(), text("{}"));
    image.texts.insert("token/ci".into(), text("{}"));
    image.texts.remove("file/version/shop/1").unwrap();
    let forged = Memory::default();
    forged.restore(image, lines).await.unwrap();
    let checked = crate::control::journal::verify(&forged).await.unwrap();
    let Verdict::Differs { texts, total } = checked.verdict else { panic!("it was believed") };
    let expected = [
        "`config/alias/shop/prod` is not what revision 2 made of it",
        "`file/version/shop/1` is missing, and revision 1 wrote it",
        "`token/ci` is not what revision 3 made of it",
        "`token/mine` is there, and no line of the journal tells of it",
        "`token/old` is there, and revision 5 removed it",
    ];
    assert_eq!((texts, total), (expected.map(str::to_owned).to_vec(), 5));
    assert_eq!(checked.head, honest.head, "the lines are the same");
}

#[tokio::test]
async fn a_rollback_brings_back_the_split_and_its_callers_and_keeps_the_rest() {
    let three = |split: &str| file("shop", split, "").replace("2: 'http", "3: 'http://127.0.0.1:3', 2: 'http");
    let node = Node::with(&three("{1: 60, 2: 40}")).await;
    node.file(&three("{1: 50, 2: 30, 3: 20}")).await.unwrap();
    let before = node.alias("shop").1.model.buckets.clone();
    node.file(&three("{1: 10, 2: 60, 3: 30}")).await.unwrap();
    node.file(&three("{split: {1: 10, 2: 60, 3: 30}, on_unhealthy: fail}")).await.unwrap();
    node.roll_back(None).await.unwrap();
    let alias = node.alias("shop").1;
    assert_eq!(alias.model.split.to_string(), "1: 50, 2: 30, 3: 20");
    assert_eq!(alias.model.buckets, before, "each caller is where he was");
    assert_eq!(alias.model.on_unhealthy, config::model::OnUnhealthy::Fail, "what is no split stays");
    node.roll_back(Some(1)).await.unwrap();
    let alias = node.alias("shop").1;
    assert_eq!(alias.model.split.to_string(), "1: 60, 2: 40");
    assert_eq!(alias.model.on_unhealthy, config::model::OnUnhealthy::Fallback, "all of it, as it was then");
    let future = node.roll_back(Some(99)).await.unwrap_err();
    assert!(matches!(future, Refused::NotInJournal { asked: 99, .. }), "{future}");
}

#[tokio::test]
async fn each_rollback_goes_one_further_back() {
    let node = Node::with(&file("shop", "{1: 60, 2: 40}", "")).await;
    for split in ["{1: 50, 2: 50}", "{1: 40, 2: 60}", "{1: 30, 2: 70}"] {
        node.shift(split).await.unwrap();
    }
    let back = async || {
        node.roll_back(None).await.unwrap();
        node.split()
    };
    assert_eq!([back().await, back().await], ["1: 40, 2: 60", "1: 50, 2: 50"]);
    // What is done after a rollback is the last thing done, and may be undone itself.
    node.shift("{1: 10, 2: 90}").await.unwrap();
    assert_eq!([back().await, back().await], ["1: 50, 2: 50", "1: 60, 2: 40"]);
    let refused = node.roll_back(None).await.unwrap_err();
    assert!(refused.to_string().contains("`shop:prod` remembers no other split"), "{refused}");
    // A rollback to a revision is a change like any other.
    node.roll_back(Some(3)).await.unwrap();
    assert_eq!(node.split(), "1: 40, 2: 60");
    node.roll_back(None).await.unwrap();
    assert_eq!(node.split(), "1: 60, 2: 40");
}

#[tokio::test]
async fn an_alias_that_never_had_another_split_says_so() {
    let node = Node::with(&file("shop", "{1: 60, 2: 40}", "")).await;
    let refused = node.roll_back(None).await.unwrap_err();
    assert!(refused.to_string().contains("`shop:prod` remembers no other split"), "{refused}");
}

#[tokio::test]
async fn a_whole_configuration_comes_back_and_no_version_is_lost() {
    let node = Node::with(&file("shop", "{1: 95, 2: 5}", "")).await;
    let more = "domains: {a.example.com: 'shop:prod'}\n";
    let three = file("shop", "{1: 50, 3: 50}", more).replace("2: 'http", "3: 'http://127.0.0.1:3', 2: 'http");
    node.file(&three).await.unwrap();
    let what = RollBack::Config { to: 1 };
    node.control.roll_back(Author::of("token:ci"), what, None, false).await.unwrap();
    let config = node.live.load().table.config().clone();
    assert_eq!((node.split().as_str(), config.domains.len()), ("1: 95, 2: 5", 0));
    let third = &config.functions["shop"].versions[&std::num::NonZeroU32::new(3).unwrap()];
    assert!(third.retired, "a version that was made since is kept, out of use");
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let node = Node::with(&file("shop", "{1: 95, 2: 5}", "")).await;
    let next = parse::parse(&file("shop", "{1: 50, 2: 50}", ""), &|_| None).unwrap().0;
    let done = node.control.apply_file(Author::of("file"), next, AllowEmpty(false), true).await.unwrap();
    let told: Vec<String> =
        config::text::diff::diff(&done.before, &done.after).iter().map(ToString::to_string).collect();
    assert_eq!(told, ["functions.shop.aliases.prod.split: 1: 95, 2: 5 -> 1: 50, 2: 50"]);
    assert_eq!((node.split().as_str(), node.live.load().revision), ("1: 95, 2: 5", 1));
}

#[tokio::test]
async fn a_journal_has_no_more_than_so_many_bytes() {
    let retention = Retention { entries: 1000, age: Duration::from_secs(1 << 30), bytes: 20_000 };
    let store = Arc::new(Memory::default());
    let node = Node::keeping(Arc::clone(&store) as Arc<dyn Store>, retention).await;
    node.file(&file("shop", "{1: 95, 2: 5}", "")).await.unwrap();
    for percent in (6..95).chain(6..95) {
        node.shift(&format!("{{1: {percent}, 2: {}}}", 100 - percent)).await.unwrap();
    }
    assert!(store.journal_bytes(0, u64::MAX).await.unwrap() > 40_000);
    tokio::time::pause();
    while store.journal_bytes(0, u64::MAX).await.unwrap() > 20_000 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(store.journal_bytes(0, u64::MAX).await.unwrap() > 15_000, "no more goes than has to");
    let Verdict::Whole { from, .. } = node.control.verify().await.unwrap().verdict else { panic!("it is broken") };
    assert!(from > 5);
}

#[tokio::test]
async fn a_journal_that_forgets_can_still_be_verified() {
    let retention = Retention { entries: 10, age: Duration::from_secs(1 << 30), bytes: u64::MAX };
    let node = Node::keeping(Arc::new(Memory::default()), retention).await;
    node.file(&file("shop", "{1: 95, 2: 5}", "")).await.unwrap();
    for percent in 20..50 {
        node.shift(&format!("{{1: {percent}, 2: {}}}", 100 - percent)).await.unwrap();
    }
    // The look at the journal is due within a minute, which passes at once from here on.
    tokio::time::pause();
    let forgotten = Query { who: Some("retention".into()), ..all() };
    while node.control.journal(forgotten.clone()).await.unwrap().entries.is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let Verdict::Whole { from, to } = node.control.verify().await.unwrap().verdict else { panic!("it is broken") };
    assert!(from > 20 && to == 32, "{from} to {to}");
    let refused = node.roll_back(Some(3)).await.unwrap_err();
    assert!(matches!(refused, Refused::NotInJournal { oldest, .. } if oldest + 1 == from), "{refused}");
}

#[tokio::test]
async fn a_damaged_line_hides_no_other_one() {
    let store = Arc::new(Memory::default());
    let node = Node::on(Arc::clone(&store) as Arc<dyn Store>).await;
    node.file(&file("shop", "1", "")).await.unwrap();
    store.put_if(1, None, Vec::new(), "{damaged".into()).await.unwrap();
    node.becomes("1: 100").await;
    node.shift("{1: 60, 2: 40}").await.unwrap();
    for newest_first in [false, true] {
        let query = Query { who: Some("token:ci".to_owned()), since: Some(Duration::ZERO), newest_first, ..all() };
        let mut entries = node.control.journal(query).await.unwrap().entries;
        entries.sort_by_key(|entry| entry.revision);
        let revisions: Vec<_> = entries.iter().map(|entry| entry.revision).collect();
        assert_eq!(revisions, [2, 3], "the line of the file is not asked for");
        assert!(entries[0].what[0].contains("line of revision 2 is damaged"), "{:?}", entries[0]);
    }
}
