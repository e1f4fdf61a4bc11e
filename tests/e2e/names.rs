//! Endpoints with a name whose address changes.

use std::net::{Ipv4Addr, SocketAddr};

use crate::HOST;
use crate::kit::client::get;
use crate::kit::endpoint::Endpoint;
use crate::kit::eventually;
use crate::kit::weir::{PROCESS, Weir, folder};

/// The system's resolver reads `/etc/hosts` for every lookup, so a mount namespace with another file there is a resolver
/// whose answers the test writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_followed_to_its_new_address() {
    let old = Endpoint::start("old").await;
    let port = old.address.port();
    let new = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), port));
    let new = Endpoint::start_at("new", new).await;
    let folder = folder();
    let hosts = folder.path().join("hosts");
    let name_is = |address: Ipv4Addr| {
        std::fs::write(&hosts, format!("{address} shop-endpoint.test\n")).expect("the test's folder can be written");
    };
    name_is(Ipv4Addr::LOCALHOST);
    let live = format!(
        "functions:\n  shop:\n    versions: {{1: 'http://shop-endpoint.test:{port}'}}\n    aliases: {{prod: 1}}\n\
         domains:\n  {HOST}: shop:prod\n"
    );
    let mount = "mount --bind hosts /etc/hosts && exec \"$0\" \"$@\"";
    let weir =
        Weir::start_by(&["unshare", "--map-root-user", "--mount", "sh", "-c", mount], folder, PROCESS, &live).await;
    let answers = async |name: &str| {
        let ask = async || (get(weir.http, HOST, "/").await.text() == name).then_some(());
        eventually(&format!("{name} answers"), ask).await;
    };
    answers("old").await;
    name_is(Ipv4Addr::new(127, 0, 0, 2));
    answers("new").await;
    // A name that is gone keeps its last address.
    std::fs::write(&hosts, "").expect("the test's folder can be written");
    weir.logged("shop-endpoint.test").await;
    assert_eq!(get(weir.http, HOST, "/").await.text(), "new");
    assert_eq!(new.seen().iter().filter(|seen| seen.head.field("host") != Some(HOST)).count(), 0);
}
