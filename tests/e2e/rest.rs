//! Old versions of a function that has many: nothing checks them until somebody asks for one.

use crate::HOST;
use crate::kit::client::Client;
use crate::kit::endpoint::Endpoint;
use crate::kit::eventually;
use crate::kit::rollout::ends;
use crate::kit::weir::Weir;

/// A function with so many versions, each with a health check of its own at the same endpoint; the newest has everything.
fn many(endpoint: &Endpoint, newest: usize) -> String {
    let version = |number: usize| {
        let health = format!("{{path: /health/{number}, every: 100ms}}");
        format!("      {number}: {{endpoints: ['{}'], path_prefix: /{number}, health: {health}}}\n", endpoint.address)
    };
    let versions: String = (1..=newest).map(version).collect();
    format!(
        "functions:\n  shop:\n    versions:\n{versions}    aliases: {{prod: 60}}\ndomains:\n  {HOST}: shop:prod\n\
         override: {{from: [127.0.0.0/8]}}\n"
    )
}

/// The number of checks of this version so far.
fn checks(endpoint: &Endpoint, version: usize) -> usize {
    let target = format!("/health/{version}");
    endpoint.seen().iter().filter(|seen| seen.target() == target).count()
}

/// Waits for so many more checks of a version.
async fn checked(endpoint: &Endpoint, version: usize, more: usize) {
    let wanted = checks(endpoint, version) + more;
    let is_checked = async || (checks(endpoint, version) >= wanted).then_some(());
    eventually(&format!("version {version} is checked"), is_checked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_version_is_checked_from_its_first_call_or_split_on() {
    let endpoint = Endpoint::start("shop").await;
    let weir = Weir::start(&many(&endpoint, 60)).await;
    for version in [11, 60] {
        checked(&endpoint, version, 5).await;
    }
    let resting: usize = (1..=10).map(|version| checks(&endpoint, version)).sum();
    assert_eq!(resting, 0, "50 are newer than these, and nobody asks for them");
    let mut client = Client::connect(weir.http).await;
    let direct = client.get_with(HOST, "/", "x-weir-qualifier: 1\r\n").await;
    assert_eq!((direct.status, direct.version()), (200, "1"));
    checked(&endpoint, 1, 3).await;
    ends(&weir, &["shift", "shop:prod", "2=50", "60=50"], 0).await;
    checked(&endpoint, 2, 3).await;
    assert_eq!(checks(&endpoint, 3), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_of_a_version_stop_when_50_are_newer() {
    let endpoint = Endpoint::start("shop").await;
    let weir = Weir::start(&many(&endpoint, 60)).await;
    checked(&endpoint, 11, 3).await;
    weir.edit(&many(&endpoint, 61));
    checked(&endpoint, 61, 1).await;
    // One may have been under way.
    checked(&endpoint, 60, 3).await;
    let before = checks(&endpoint, 11);
    checked(&endpoint, 60, 10).await;
    assert_eq!(checks(&endpoint, 11), before);
    assert!(checks(&endpoint, 12) > 0);
}
