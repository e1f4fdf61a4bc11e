//! Names of files: told as a whole, wherever a command or the gateway was started.

use crate::kit::client::get;
use crate::kit::endpoint::Endpoint;
use crate::kit::terminal;
use crate::kit::weir::{Weir, folder};
use crate::shop;

#[tokio::test(flavor = "multi_thread")]
async fn store_and_token_file_are_named_as_a_whole() {
    let one = Endpoint::start("v1").await;
    let weir = Weir::start(&shop(&[&one], "1")).await;
    let store = weir.folder.path().canonicalize().unwrap().join("weir-state.db").display().to_string();
    let token = store.replace(".db", ".token");
    weir.logged(&format!("it is in {token}, for this user alone")).await;
    let warned = weir.logged("`store` is relative to the working directory").await;
    assert!(warned.contains(&format!("`store: {{path: {store}}}`")), "{warned}");
    assert_eq!(get(weir.admin, &weir.admin.to_string(), "/v1/status").await.json()["store"]["path"], *store);

    // From another folder.
    let elsewhere = folder();
    let (file, admin) = (weir.file().display().to_string(), weir.admin.to_string());
    let shift = ["shift", "shop:prod", "1", "--config", &file, "--admin", &admin];
    let (code, _, stderr) = terminal::weir(elsewhere.path(), &shift, &[]).await;
    let looked = elsewhere.path().canonicalize().unwrap().join("weir-state.token");
    assert_eq!(code, Some(5), "{stderr}");
    assert!(stderr.contains(&format!("{}: not there", looked.display())), "{stderr}");
    assert!(stderr.contains("`store` is relative to the working directory, which may be another"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_named_as_a_whole_is_found_from_everywhere() {
    let one = Endpoint::start("v1").await;
    let state = folder();
    let store = format!("store: {{path: '{}'}}\n", state.path().join("weir-state.db").display());
    let weir = Weir::start(&format!("{}{store}", shop(&[&one], "1"))).await;
    assert!(!weir.log().contains("relative to the working directory"), "{}", weir.log());
    let (file, admin) = (weir.file().display().to_string(), weir.admin.to_string());
    let freeze = ["freeze", "--config", &file, "--admin", &admin];
    let (code, _, stderr) = terminal::weir(folder().path(), &freeze, &[]).await;
    assert_eq!(code, Some(0), "{stderr}");
}
