//! The control plane by itself, without a listener: from a file to what is live.

mod durable;
mod fleet;
mod guarding;
mod past;
mod releases;
mod trains;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use config::model::{Config, Process, Retention};
use config::route::table::{Alias, AliasIndex};
use config::text::edit::{Edit, FunctionEdit};
use config::text::parse;
use config::value::name::VersionId;
use tokio::runtime::Handle;

use super::authority::Authority;
use super::conduct::Calls;
use super::{AllowEmpty, Author, Control, Ground, Outcome, Refused, Wish};
use crate::control::aside::Aside;
use crate::control::leading::Lease;
use crate::dial::Dial;
use crate::edge::tls::LiveCertificates;
use crate::live::Live;
use crate::metrics::{AUTHORITY, Labels, Metrics};
use crate::outcomes::Wake;
use crate::store::Store;
use crate::store::memory::Memory;
use crate::upstreams::{Checker, Event, Member, Observer, UpstreamKey, Upstreams};

/// A node on the memory store.
pub(crate) struct Node {
    pub(crate) live: Arc<Live>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) control: Control,
}

struct Deaf;

impl Observer for Deaf {
    fn observe(&self, _: &UpstreamKey, _: &Event<'_>) {}
}

#[async_trait::async_trait]
impl Checker for Deaf {
    async fn get(&self, _: &Member, _: &str, _: Duration) -> Result<u16, String> {
        Ok(200)
    }

    async fn connect(&self, _: &Member, _: Duration) -> Result<(), String> {
        Ok(())
    }
}

impl Node {
    /// On an empty store, with this file live.
    pub(crate) async fn with(file: &str) -> Self {
        let node = Self::on(Arc::new(Memory::default())).await;
        node.file(file).await.unwrap();
        node
    }

    /// On this store, as a start finds it.
    pub(crate) async fn on(store: Arc<dyn Store>) -> Self {
        Self::keeping(store, Process::default().journal).await
    }

    async fn keeping(store: Arc<dyn Store>, retention: Retention) -> Self {
        Self::noting(store, retention, Aside::default()).await
    }

    async fn noting(store: Arc<dyn Store>, retention: Retention, aside: Aside) -> Self {
        // Whoever starts again under this name leads at once.
        let lease = Lease { holder: "node".to_owned(), ttl: Duration::from_secs(5) };
        Self::start(store, retention, aside, lease).await
    }

    async fn start(store: Arc<dyn Store>, retention: Retention, aside: Aside, lease: Lease) -> Self {
        let live = Arc::new(Live::default());
        let labels = Labels { listeners: &["".into()], refused: &[], unresolved: &[], handshakes: &[] };
        let metrics = Arc::new(Metrics::new(&labels));
        let ground = Ground { retention, aside, lease, ..Self::ground(store, &live, &metrics) };
        let upstreams = Upstreams::new(Handle::current(), Arc::new(Deaf), Arc::new(Deaf));
        let control = Control::start(ground, upstreams).await.unwrap();
        Self { live, metrics, control }
    }

    fn ground(store: Arc<dyn Store>, live: &Arc<Live>, metrics: &Arc<Metrics>) -> Ground {
        let calls = Calls::new(metrics, &Dial::default());
        calls.admin_url.set(None).unwrap();
        Ground {
            store,
            live: Arc::clone(live),
            certificates: Arc::new(LiveCertificates::default()),
            calls,
            aside: Aside::default(),
            folder: Default::default(),
            lease: Lease::default(),
            metrics: Arc::clone(metrics),
            environment: Arc::new(environment),
            authority: Arc::new(Authority::new(&process(), Dial::new(&process()))),
            retention: Process::default().journal,
            journal_notify: Arc::default(),
            keep_versions: None,
            workers: 1,
            wake: Arc::new(Wake::new(crate::clock::now())),
        }
    }

    pub(crate) async fn file(&self, text: &str) -> Outcome {
        let file = parse::parse(text, &environment).unwrap().0;
        self.control.apply_file(Author::of("file"), file, AllowEmpty(false), false).await
    }

    fn alias(&self, function: &str) -> (AliasIndex, Arc<Alias>, u64) {
        let snapshot = self.live.load_full();
        let function = snapshot.table.function(snapshot.table.function_named(function).unwrap()).unwrap();
        let index = function.alias("prod").unwrap();
        let cursor = snapshot.cursor(index).map_or(0, |cursor| cursor.0.load(Ordering::Relaxed));
        (index, Arc::clone(snapshot.table.alias(index).unwrap()), cursor)
    }
}

/// The environment of a node.
pub(crate) fn environment(name: &str) -> Option<String> {
    let set = ["SECRET", "OTHER", "CI_TOKEN", "URL"].contains(&name);
    set.then(|| if name == "URL" { "http://127.0.0.1:99/".to_owned() } else { format!("the-value-of-{name}") })
}

/// The process settings of a node.
pub(crate) fn process() -> Process {
    let text = "environment: {operator: [CI_*]}\nadmin: 127.0.0.1:9900\nlisteners: ['0.0.0.0:8080']\n";
    parse::parse_process(text, &|_| None).unwrap().0
}

/// A file with one function, and a line more.
fn file(function: &str, split: &str, more: &str) -> String {
    format!(
        "functions:\n  {function}:\n    versions: {{1: 'http://127.0.0.1:1', 2: 'http://127.0.0.1:2'}}\n    \
         aliases: {{prod: {split}}}\n{more}"
    )
}

#[tokio::test]
async fn an_index_that_is_given_out_again_begins_with_nothing_of_the_one_before() {
    let node = Node::with(&file("first", "{1: 95, 2: 5}", "")).await;
    let (index, ..) = node.alias("first");
    node.live.load().cursor(index).unwrap().0.fetch_add(7, Ordering::Relaxed);
    node.control.apply_file(Author::of("file"), Config::default(), AllowEmpty(true), false).await.unwrap();
    let gone = Edit::DeleteFunction("first".parse().unwrap());
    node.control.edit(Wish { author: Author::of("token:ci"), edits: vec![gone], guard: None }).await.unwrap();
    assert!(node.live.load().cursor(index).is_none(), "nothing is left of it");
    node.file(&file("second", "{1: 95, 2: 5}", "")).await.unwrap();
    let (again, alias, cursor) = node.alias("second");
    assert!(again.get() < 2, "indices of the first function are given out again");
    let owed = alias.slots.as_ref().unwrap().owed(cursor);
    assert!(owed.parts().iter().all(|part| part.1 == 0), "it begins with nothing owed: {owed:?}");
}

#[tokio::test]
async fn a_cursor_goes_on_through_edits_that_leave_the_weights_alone() {
    let node = Node::with(&file("shop", "{1: 95, 2: 5}", "")).await;
    let (index, _, start) = node.alias("shop");
    node.live.load().cursor(index).unwrap().0.fetch_add(7, Ordering::Relaxed);
    node.file(&file("shop", "{split: {1: 95, 2: 5}, on_unhealthy: fail}", "")).await.unwrap();
    assert_eq!(node.alias("shop").2, start + 7);
}

#[tokio::test]
async fn outcomes_go_on_through_changes_of_weights_and_end_with_the_split() {
    let outcomes = |node: &Node, version| {
        let version = VersionId::number(version).unwrap();
        node.live.load().outcomes(&"shop".parse().unwrap(), &"prod".parse().unwrap(), version)
    };
    let node = Node::with(&file("shop", "{1: 100, 2: 0}", "")).await;
    let cells = [1, 2].map(|version| outcomes(&node, version).unwrap());
    for split in ["{1: 95, 2: 5}", "{split: {1: 0, 2: 100}, key: client_address, shield: gateway}"] {
        node.file(&file("shop", split, "")).await.unwrap();
        let now = [1, 2].map(|version| outcomes(&node, version).unwrap());
        assert!(cells.iter().zip(&now).all(|(before, now)| Arc::ptr_eq(before, now)), "{split}");
    }
    node.file(&file("shop", "2", "")).await.unwrap();
    assert!(outcomes(&node, 1).is_none() && outcomes(&node, 2).is_none(), "there is nothing to compare");
    node.file(&file("shop", "{1: 5, 2: 95}", "")).await.unwrap();
    assert!(!Arc::ptr_eq(&cells[1], &outcomes(&node, 2).unwrap()), "another split begins anew");
}

#[tokio::test]
async fn what_cannot_go_live_is_told_and_what_is_live_stays() {
    let node = Node::with(&file("shop", "1", "")).await;
    let missing = "domains:\n  a.example.com: {certificate: {cert: /none.crt, key: /none.key}, routes: [{path: /*, to: 'shop:prod'}]}\n";
    let text = file("shop", "2", missing)
        .replace("versions: {", "versions: {3: {endpoints: ['127.0.0.1:3'], tls: {ca: /none.pem}}, ");
    let Err(Refused::Problems(problems)) = node.file(&text).await else { panic!("it was taken") };
    let told = problems[0].to_string();
    assert!(told.contains("domains.\"a.example.com\".certificate") && told.contains("/none.crt"), "{told}");
    let told = problems[1].to_string();
    assert!(told.contains("functions.shop.versions.3.tls.ca") && told.contains("/none.pem"), "{told}");
    let snapshot = node.live.load_full();
    assert_eq!((snapshot.revision, snapshot.table.config().domains.len()), (1, 0));
    // Nothing of it was stored: the next good file stands on what was live.
    let revision = node.file(&file("shop", "2", "")).await.unwrap().revision;
    assert_eq!(node.live.load().revision, revision);
    assert_eq!(node.alias("shop").1.model.split.to_string(), "2: 100");
    assert_eq!((revision, node.live.load().table.config().domains.len()), (2, 0));
}

#[tokio::test]
async fn a_draft_with_authorities_that_cannot_be_used_is_refused_and_stops_no_other_change() {
    let node = Node::with(&file("shop", "1", "")).await;
    let draft = "{endpoints: ['127.0.0.1:3'], tls: {ca: /none.pem}}";
    let text = file("shop", "1", "").replace("versions: {", &format!("draft: {draft}\n    versions: {{"));
    let Err(Refused::Problems(problems)) = node.file(&text).await else { panic!("it was taken") };
    let told = problems[0].to_string();
    assert!(told.contains("functions.shop.draft.tls.ca") && told.contains("/none.pem"), "{told}");
    let revision = node.file(&file("shop", "2", "")).await.unwrap().revision;
    assert_eq!((revision, node.live.load().revision), (2, 2));
}

#[tokio::test]
async fn a_start_serves_all_but_a_version_whose_authorities_are_gone() {
    let (folder, store) = (tempfile::tempdir().unwrap(), Arc::new(Memory::default()));
    let path = folder.path().join("ca.pem");
    let write = || {
        let made = rcgen::generate_simple_self_signed(["authority.test".to_owned()]).unwrap();
        std::fs::write(&path, made.cert.pem()).unwrap();
    };
    write();
    let three = format!("versions: {{3: {{endpoints: ['127.0.0.1:3'], tls: {{ca: {}}}}}, ", path.display());
    let text = file("shop", "1", "").replace("versions: {", &three);
    let start = async || {
        let node = Node::on(store.clone()).await;
        let file = parse::parse(&text, &|_| None).unwrap().0;
        node.control.apply_at_start(file).await.unwrap();
        let unusable = node.live.unusable();
        let names = unusable[AUTHORITY].iter().map(|thing| thing.name.clone()).collect::<Vec<_>>();
        (node.live.load().revision, names)
    };
    assert_eq!(start().await, (1, vec![]));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(start().await, (1, vec!["shop:3".to_owned()]));
    write();
    assert_eq!(start().await, (1, vec![]));
}

#[tokio::test]
async fn files_are_named_whole_by_the_api_whichever_way_it_comes_in() {
    let node = Node::with(&file("shop", "1", "")).await;
    let author = || Author { is_remote: true, ..Author::of("token:ann") };
    let refused = |outcome: Outcome, names: &[&str]| {
        let Err(Refused::Problems(problems)) = outcome else { panic!("{outcome:?}") };
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), names.len(), "{told:?}");
        for (told, name) in told.iter().zip(names) {
            assert!(told.contains(&format!("`{name}` is a relative name")), "{told}");
        }
    };
    let ca = |name: &str| format!("{{endpoints: ['127.0.0.1:3'], tls: {{ca: {name}}}}}");
    let version = |name: &str| Arc::new(parse::parse_version("v", &ca(name), &environment).unwrap().0);
    let of_shop = |edit| vec![Edit::Function("shop".parse().unwrap(), edit)];
    let plan = |program: &str| {
        let text = format!("{{canaryWeight: 5, hooks: {{before: [{{command: [{program}]}}]}}}}");
        Edit::Plan("checked".parse().unwrap(), Some(Arc::new(parse::parse_plan(&text, &environment).unwrap())))
    };
    let certificate = "{certificate: {cert: a.crt, key: ./a.key}, routes: [{path: /*, to: 'shop:prod'}]}";
    let host: config::value::host::HostPattern = "a.example.com".parse().unwrap();
    let domain = Arc::new(parse::parse_domain(&host, certificate, &environment).unwrap().0);
    for (edits, names) in [
        (of_shop(FunctionEdit::Draft(Some(version("ca.pem")))), &["ca.pem"][..]),
        (of_shop(FunctionEdit::Version(3.try_into().unwrap(), Some(version("tls/ca.pem")))), &["tls/ca.pem"]),
        (vec![Edit::Domain(host.clone(), Some(domain))], &["a.crt", "./a.key"]),
        (vec![plan("./smoke")], &["./smoke"]),
    ] {
        refused(node.control.edit(Wish { author: author(), edits, guard: None }).await, names);
    }
    let whole = file("shop", "1", &format!("domains: {{a.example.com: {certificate}}}\n"));
    let whole = parse::parse(&whole, &environment).unwrap().0;
    refused(node.control.apply_file(author(), whole.clone(), AllowEmpty(false), false).await, &["a.crt", "./a.key"]);
    // The file itself may, and whole names may be used; these are not there.
    let Err(Refused::Problems(problems)) =
        node.control.apply_file(Author::of("file"), whole, AllowEmpty(false), false).await
    else {
        panic!("there is no such certificate")
    };
    assert!(!problems[0].to_string().contains("relative"), "{}", problems[0]);
    let edits = of_shop(FunctionEdit::Draft(Some(version("/none.pem"))));
    let Err(Refused::Problems(problems)) = node.control.edit(Wish { author: author(), edits, guard: None }).await
    else {
        panic!("there are no such authorities")
    };
    assert!(!problems[0].to_string().contains("relative"), "{}", problems[0]);
    node.control
        .edit(Wish { author: author(), edits: vec![plan("smoke")], guard: None })
        .await
        .expect("a program of the path");
}
