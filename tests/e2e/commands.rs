//! Commands that need no running gateway: exit codes, and what goes to which stream.

use crate::kit::weir::{folder, run};

const GOOD: &str = "\
functions:
  shop:
    versions:
      1: http://10.0.0.11:8080
      2: http://10.0.0.12:8080
    aliases:
      prod: {1: 95, 2: 5}
domains:
  shop.example.com: shop:prod
";

const BAD: &str = "\
functions:
  shop:
    versions:
      1: http://10.0.0.11:8080
    aliases:
      prod: {1: 95, 2: 5}
domains:
  shop.example.com: shop:prot
";

#[tokio::test]
async fn validate_reports_every_problem_with_its_place() {
    let folder = folder();
    std::fs::write(folder.path().join("good.yaml"), GOOD).unwrap();
    std::fs::write(folder.path().join("bad.yaml"), BAD).unwrap();
    let (code, _, stderr) = run(folder.path(), &["validate", "good.yaml"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let (code, stdout, stderr) = run(folder.path(), &["validate", "bad.yaml"]).await;
    assert_eq!(code, Some(3), "{stderr}");
    let report = stdout + &stderr;
    assert!(report.contains("bad.yaml:6:") && report.contains("bad.yaml:8:"), "both problems at once:\n{report}");
}

#[tokio::test]
async fn serve_refuses_a_bad_file() {
    let folder = folder();
    std::fs::write(folder.path().join("weir.yaml"), BAD).unwrap();
    let (code, _, stderr) = run(folder.path(), &["serve"]).await;
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("weir.yaml:6:"), "{stderr}");
}

#[tokio::test]
async fn usage_is_two() {
    let folder = folder();
    assert_eq!(run(folder.path(), &["frobnicate"]).await.0, Some(2));
    assert_eq!(run(folder.path(), &["--help"]).await.0, Some(0));
}

#[tokio::test]
async fn fmt_prints_what_it_reads_back() {
    let folder = folder();
    std::fs::write(folder.path().join("weir.yaml"), GOOD).unwrap();
    let (code, once, _) = run(folder.path(), &["fmt", "weir.yaml"]).await;
    assert_eq!(code, Some(0));
    std::fs::write(folder.path().join("again.yaml"), &once).unwrap();
    assert_eq!(run(folder.path(), &["fmt", "again.yaml"]).await.1, once);
    assert!(once.contains("split"), "the full form names the split:\n{once}");
}

#[tokio::test]
async fn schema_is_json() {
    let (code, schema, _) = run(folder().path(), &["schema"]).await;
    assert_eq!(code, Some(0));
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert!(schema["properties"]["functions"].is_object());
}

#[tokio::test]
async fn explain_names_the_version_and_why() {
    let folder = folder();
    let rule = GOOD.replace(
        "prod: {1: 95, 2: 5}",
        "prod: {split: {1: 100, 2: 0}, rules: [{when: 'invoke.headers.User exact Bob', version: 2}]}",
    );
    std::fs::write(folder.path().join("weir.yaml"), rule).unwrap();
    let arguments = ["explain", "--config", "weir.yaml", "--host", "shop.example.com", "--path", "/"];
    let (code, stdout, stderr) = run(folder.path(), &[&arguments[..], &["--header", "User: Bob"]].concat()).await;
    assert_eq!(code, Some(0), "{stderr}");
    for part in ["shop", "prod", "rule", "10.0.0.12:8080"] {
        assert!(stdout.contains(part), "{part} is missing:\n{stdout}");
    }
}
