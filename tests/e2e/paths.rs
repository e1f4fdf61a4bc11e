//! Names of files: told as a whole, wherever a command or the gateway was started.

use std::path::Path;

use crate::kit::client::{Client, get};
use crate::kit::endpoint::Endpoint;
use crate::kit::terminal;
use crate::kit::tls::Certificate;
use crate::kit::weir::{PROCESS_TLS, Weir, folder, run};
use crate::{HOST, shop};

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

#[tokio::test(flavor = "multi_thread")]
async fn files_beside_the_configuration_are_found_from_everywhere() {
    let folder = folder();
    let beside = folder.path().join("etc");
    std::fs::create_dir(&beside).unwrap();
    let (certificate, authority) = (Certificate::new(HOST), Certificate::new("endpoint.test"));
    certificate.write(&beside, "shop");
    authority.write(&beside, "ca");
    let live = format!(
        "access_log: access.log\n\
         functions:\n  shop: {{versions: {{1: {{endpoints: ['127.0.0.1:9'], protocol: http/1.1, tls: {{ca: ca.crt}}}}, \
         2: {{response: {{status: 200, body: two}}}}}}, aliases: {{prod: 2}}}}\n\
         domains:\n  {HOST}: {{certificate: {{cert: shop.crt, key: shop.key}}, routes: [{{path: /*, to: 'shop:prod'}}]}}\n"
    );
    let file = beside.join("weir.yaml");
    std::fs::write(&file, format!("{PROCESS_TLS}{live}")).unwrap();
    let (code, stdout, stderr) = run(Path::new("/"), &["validate", "--strict", &file.display().to_string()]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");

    // The working directory is the folder above.
    let weir = Weir::start_file(folder, &file, PROCESS_TLS).await;
    let mut client = Client::connect_tls(weir.https.unwrap(), HOST, certificate.client(&["http/1.1"])).await;
    assert_eq!(client.get(HOST, "/").await.text(), "two");
    let status = get(weir.admin, &weir.admin.to_string(), "/v1/status").await.json();
    assert_eq!(status["unusable"], serde_json::json!([]), "the authority is found too");
    assert!(beside.join("access.log").exists());
    std::fs::remove_file(beside.join("ca.crt")).unwrap();
    let told = weir.logged("ca.crt").await;
    assert!(told.contains(&*beside.canonicalize().unwrap().join("ca.crt").to_string_lossy()), "{told}");
}
