//! A configuration file in the middle of being written: nothing that is live is lost, and nothing that is whole waits long.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::kit::client::get;
use crate::kit::endpoint::Endpoint;
use crate::kit::load::Load;
use crate::kit::weir::{PROCESS, Weir, folder, run};
use crate::kit::{eventually, within};
use crate::{HOST, shop};

/// A domain behind that of [`shop`], at the end of the file.
const LAST: &str = "last.example.com";

/// Two versions, an alias at the first, and two domains.
fn two_domains(one: &Endpoint, two: &Endpoint) -> String {
    format!("{}  {LAST}: shop:prod\n", shop(&[one, two], "1"))
}

/// The same with a variable that tells which text is live.
fn marked(live: &str, mark: &str) -> String {
    format!("{live}stages:\n  mark: {{alias: prod, variables: {{n: '{mark}'}}}}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_in_steps_loses_nothing() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let live = two_domains(&one, &two);
    let weir = Weir::start(&live).await;
    // Live changes that a file without the alias would take away.
    weir.told(&["shift", "shop:prod", "1=50", "2=50"]).await;
    let load = Load::start(weir.http, LAST, 2, 100_000);
    for (round, pause) in [30, 400, 1_500, 4_000].into_iter().enumerate() {
        let mark = format!("mark-{round}-");
        let text = weir.text_of(&marked(&live, &mark));
        let at = |part: &str| text.find(part).expect("the text has the part");
        let cuts = [0, at("domains:"), at("  last"), at("stages:"), text.len()];
        let mut file = OpenOptions::new().write(true).truncate(true).open(weir.file()).unwrap();
        for cut in cuts.windows(2) {
            // Time in which the writer is not done.
            sleep(Duration::from_millis(pause)).await;
            file.write_all(&text.as_bytes()[cut[0]..cut[1]]).unwrap();
            if round % 2 == 1 {
                // Another program, as when a shell appends.
                file = OpenOptions::new().append(true).open(weir.file()).unwrap();
            }
        }
        drop(file);
        weir.lives(&mark).await;
    }
    let failed: Vec<_> = load.stop().await.into_iter().filter(|done| !matches!(done.outcome, Ok((200, _)))).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let alias = weir.json(&["alias", "get", "shop:prod"]).await;
    assert_eq!(alias["split"], serde_json::json!({"1": 50, "2": 50}));
    assert!(!weir.log().contains("was refused"), "{}", weir.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_waits_when_it_is_written_in_place_and_a_rename_is_at_once() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let (both, first) = (two_domains(&one, &two), shop(&[&one, &two], "1"));
    let weir = Weir::start(&both).await;
    let status = async || get(weir.http, LAST, "/").await.status;
    for (in_place, at_least, at_most) in [(true, 4_500, 20_000), (false, 0, 3_000)] {
        let began = Instant::now();
        if in_place {
            weir.overwrite(&first);
        } else {
            weir.edit(&first);
        }
        eventually("the domain is gone", async || (status().await == 404).then_some(())).await;
        let took = began.elapsed().as_millis();
        assert!((at_least..at_most).contains(&took), "{took} ms, in place: {in_place}");
        // What is added goes live soon, however it is written.
        weir.overwrite(&both);
        eventually("the domain is back", async || (status().await == 200).then_some(())).await;
        assert!(began.elapsed().as_millis() - took < 4_000, "an addition waits no longer than a second");
    }
    assert_eq!(get(weir.http, HOST, "/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_content_is_a_mistake_everywhere() {
    let (weir, _endpoint) = crate::one().await;
    let before = weir.config().await;
    let folder = weir.file().parent().unwrap().to_owned();
    for content in ["", "# nothing\n", "---\n"] {
        std::fs::write(weir.file(), content).unwrap();
        weir.signal("HUP");
        eventually("the reload is refused", async || {
            let status = weir.ask("/v1/status").await.json();
            let message = status["reload"]["message"].as_str()?.contains("the file is empty");
            message.then_some(())
        })
        .await;
        for command in ["validate", "fmt"] {
            let (code, _, stderr) = run(&folder, &[command, "weir.yaml"]).await;
            assert_eq!(code, Some(3), "{command}: {stderr}");
            assert!(stderr.contains("the file is empty"), "{command}: {stderr}");
        }
        assert_eq!(weir.config().await, before);
        std::fs::write(weir.file(), weir.text_of(&before)).unwrap();
    }
    // The file of a command's output is empty before the command reads it.
    let line = format!("{} fmt weir.yaml > weir.yaml", env!("CARGO_BIN_EXE_weir"));
    let shell = Command::new("sh").args(["-c", &line]).current_dir(&folder).status();
    assert_eq!(within("the shell ends", shell).await.expect("there is a shell").code(), Some(3));
    assert_eq!(get(weir.http, HOST, "/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_all_go_on_purpose_only() {
    let (weir, _endpoint) = crate::one().await;
    let before = weir.config().await;
    weir.edit("");
    let told = weir.logged("the file has no functions, and had 1").await;
    assert!(weir.log().contains("--allow-empty"), "{told}");
    assert_eq!(weir.config().await, before);
    let file = weir.file().display().to_string();
    assert_eq!(run(weir.file().parent().unwrap(), &["validate", &file]).await.0, Some(0), "settings alone are a file");
    let (code, _, stderr) = weir.cli(&["apply", &file]).await;
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("had 1") && stderr.contains("--allow-empty"), "{stderr}");
    assert_eq!(get(weir.http, HOST, "/").await.status, 200);
    weir.told(&["apply", "--allow-empty", &file]).await;
    assert_eq!(get(weir.http, HOST, "/").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn fmt_replaces_the_file_whole() {
    let folder = folder();
    let path = folder.path().join("weir.yaml");
    let real = folder.path().join("real.yaml");
    std::fs::write(&real, "functions: {shop: {versions: {1: 'http://10.0.0.1:80'}, aliases: {prod: 1}}}\n").unwrap();
    std::fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
    symlink("real.yaml", &path).unwrap();
    // A reader with the old file open sees the old text to its end.
    let old = File::open(&path).unwrap();
    let (code, _, stderr) = run(folder.path(), &["fmt", "--write", "weir.yaml"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(std::io::read_to_string(old).unwrap().starts_with("functions: {shop"));
    assert_eq!(run(folder.path(), &["fmt", "--check", "weir.yaml"]).await.0, Some(0));
    assert!(path.is_symlink());
    assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_serves_the_store_while_the_file_is_being_written() {
    let (one, two) = (Endpoint::start("v1").await, Endpoint::start("v2").await);
    let live = two_domains(&one, &two);
    let weir = Weir::start(&live).await;
    let folder = weir.stopped().await;
    let path = folder.path().join("weir.yaml");
    let text = format!("{PROCESS}{}", marked(&live, "mark-1-"));
    let cut = text.find("  last").unwrap();
    let mut file = OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    file.write_all(&text.as_bytes()[..cut]).unwrap();
    let weir = Weir::again(folder).await;
    assert_eq!(get(weir.http, LAST, "/").await.status, 200);
    file.write_all(&text.as_bytes()[cut..]).unwrap();
    drop(file);
    weir.lives("mark-1-").await;
    assert_eq!(get(weir.http, LAST, "/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_file_that_cannot_be_used_serves_the_store() {
    let (weir, endpoint) = crate::one().await;
    let folder = weir.stopped().await;
    let path = folder.path().join("weir.yaml");
    let live = shop(&[&endpoint], "1");
    let mut folder = folder;
    for (bad, word) in [
        (format!("{PROCESS}{live}  other.example.com: shop:prot\n"), "prot"),
        (format!("{PROCESS}functions: 7\n"), "functions"),
        (PROCESS.to_owned(), "had 1"),
    ] {
        std::fs::write(&path, bad).unwrap();
        let weir = Weir::again(folder).await;
        eventually("the status says why", async || {
            let status = weir.ask("/v1/status").await.json();
            status["reload"]["message"].as_str().is_some_and(|message| message.contains(word)).then_some(())
        })
        .await;
        assert_eq!(get(weir.http, HOST, "/").await.status, 200, "{word}");
        weir.edit(&marked(&live, word));
        weir.lives(word).await;
        folder = weir.stopped().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_keeps_length_and_time_is_read() {
    let (weir, _endpoint) = crate::one().await;
    let live = weir.config().await;
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    for mark in ["mark-1-", "mark-2-"] {
        weir.overwrite(&marked(&live, mark));
        File::options().write(true).open(weir.file()).unwrap().set_modified(old).unwrap();
        weir.lives(mark).await;
    }
}
