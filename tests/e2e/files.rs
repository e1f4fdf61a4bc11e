//! Files that are none, too large, or someone else's: each is refused by name, and holds nothing up.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use crate::kit::api::Api;
use crate::kit::endpoint::Endpoint;
use crate::kit::weir::{PROCESS, Weir, folder, run};
use crate::shop;

/// The things that are no configuration file, each with what is said of it.
const NONE: [(&str, &str); 4] = [
    ("zero.yaml", "is a device; expected a regular file"),
    ("fifo.yaml", "is a FIFO; expected a regular file"),
    ("folder.yaml", "is a directory; expected a regular file"),
    ("sparse.yaml", "is larger than 64 MiB"),
];

fn make(folder: &Path) {
    const WRITABLE: &str = "the test's folder can be written";
    symlink("/dev/zero", folder.join("zero.yaml")).expect(WRITABLE);
    assert!(Command::new("mkfifo").arg(folder.join("fifo.yaml")).status().expect("mkfifo runs").success());
    fs::create_dir(folder.join("folder.yaml")).expect(WRITABLE);
    File::create(folder.join("sparse.yaml")).and_then(|file| file.set_len(10 << 30)).expect(WRITABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_refuse_what_is_no_file() {
    let folder = folder();
    make(folder.path());
    for (name, what) in NONE {
        for arguments in [
            &["validate", name][..],
            &["fmt", name],
            &["serve", "--config", name],
            &["diff", name, name],
            &["status", "--config", name],
            &["import", "--config", name, "/dev/null"],
            &["apply", name],
        ] {
            let (code, _, stderr) = run(folder.path(), arguments).await;
            assert!(code.is_some_and(|code| code != 0), "{arguments:?}: {code:?}");
            let is_other = arguments[0] == "import" && stderr.contains("/dev/null is a device");
            assert!(is_other || stderr.contains(&format!("{name} {what}")), "{arguments:?}: {stderr}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_file_becomes_something_else_serves_on_and_says_so() {
    let endpoint = Endpoint::start("v1").await;
    let weir = Weir::start(&shop(&[&endpoint], "1")).await;
    let mut api = Api::of(&weir).await;
    make(weir.folder.path());
    for (name, what) in NONE {
        let _ = fs::remove_file(weir.file());
        let _ = fs::remove_dir(weir.file());
        fs::rename(weir.folder.path().join(name), weir.file()).unwrap();
        let begun = Instant::now();
        weir.logged(what).await;
        weir.signal("HUP");
        assert_eq!(weir.ask("/live").await.text(), "live\n");
        assert!(weir.config().await.contains("prod"), "what is live stays");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let changed = api.call("PATCH", "/v1/functions/shop/aliases/prod", "{shield: off}").await;
        assert_eq!(changed.status, 200, "{}", changed.text());
    }
    fs::remove_file(weir.file()).unwrap();
    fs::write(weir.file(), weir.text_of(&format!("{}stages:\n  mark: {{alias: prod}}\n", shop(&[&endpoint], "1"))))
        .unwrap();
    weir.lives("mark").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_is_written_through_a_link() {
    for name in ["weir-state.db", "weir-state.aside", "access.log"] {
        let folder = folder();
        fs::write(folder.path().join("target"), "kept").unwrap();
        symlink("target", folder.path().join(name)).unwrap();
        fs::write(folder.path().join("weir.yaml"), format!("{PROCESS}access_log: access.log\n")).unwrap();
        if name == "weir-state.aside" {
            // A rollback that cannot be noted there is still a rollback.
            let file = folder.path().join("weir.yaml");
            let weir = Weir::start_file(folder, &file, PROCESS).await;
            weir.logged("a symbolic link").await;
            assert_eq!(fs::read_to_string(weir.folder.path().join("target")).unwrap(), "kept");
            continue;
        }
        let (code, _, stderr) = run(folder.path(), &["serve"]).await;
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains(name) && stderr.contains("a symbolic link"), "{stderr}");
        assert_eq!(fs::read_to_string(folder.path().join("target")).unwrap(), "kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_where_everybody_can_replace_it() {
    let folder = folder();
    let open = folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    fs::write(open.join("weir.yaml"), format!("{PROCESS}triggers: []\n")).unwrap();
    for arguments in [&["serve"][..], &["fmt", "--write"]] {
        let (code, _, stderr) = run(&open, arguments).await;
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("everybody can replace files"), "{stderr}");
    }
    assert!(!open.join("weir-state.db").exists());
    fs::set_permissions(&open, Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(run(&open, &["fmt", "--write"]).await.0, Some(0), "a sticky folder is safe");
}
