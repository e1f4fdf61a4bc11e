//! Hooks that are programs.

use super::*;

fn shell(script: &str) -> Hook {
    let words = ["sh", "-c", script].map(str::to_owned).to_vec();
    Hook { call: HookCall::Command(words), timeout: SOON, retries: 0, callback: false }
}

/// Whether a process runs: not when it is a zombie.
fn runs(id: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", id.trim()));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

fn there(id: &str) -> bool {
    Path::new(&format!("/proc/{}", id.trim())).exists()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test]
async fn a_program_gets_the_question_and_little_else() {
    let output = Hooks::new().ask(&shell("cat"), &question()).await.unwrap().0;
    assert_eq!(output["rollout"], question().rollout);
    assert_eq!(output["event"], "BeforeStep");

    let output = Hooks::new().ask(&shell("cat > /dev/null; env | sort | cut -d= -f1"), &question()).await.unwrap().0;
    // PWD is the shell's own doing.
    let names: Vec<&str> =
        output.as_str().unwrap().lines().filter(|name| !["PWD", "_", "SHLVL"].contains(name)).collect();
    assert_eq!(names, ["PATH", "WEIR_EVENT"]);
}

#[tokio::test]
async fn arguments_are_not_read_by_a_shell() {
    let words = ["printf", "%s", "$HOME; `id` *"].map(str::to_owned).to_vec();
    let hook = Hook { call: HookCall::Command(words), ..shell("") };
    assert_eq!(Hooks::new().ask(&hook, &question()).await.unwrap().0, json!("$HOME; `id` *"));
}

#[tokio::test]
async fn an_exit_code_is_a_no_with_the_last_words() {
    let hook =
        Hook { retries: 3, ..shell("echo asked >> \"$0.log\"; seq 1 5000 >&2; echo 'no table `orders`' >&2; exit 3") };
    let folder = tempfile::tempdir().unwrap();
    let HookCall::Command(mut words) = hook.call.clone() else { unreachable!() };
    words.push(folder.path().join("run").to_str().unwrap().to_owned());
    let failure = Hooks::new().ask(&Hook { call: HookCall::Command(words), ..hook }, &question()).await.unwrap_err();
    let said = failure.to_string();
    assert!(said.starts_with("the hook `sh` said no (exit code 3): ") && said.ends_with("no table `orders`"), "{said}");
    assert_eq!(read(&folder.path().join("run.log")), "asked\n", "a no is final");
}

#[tokio::test]
async fn a_program_that_a_signal_ends_has_failed() {
    let hook = Hook { retries: 1, ..shell("kill -9 $$") };
    let failure = Hooks::new().ask(&hook, &question()).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Failing { code: Code::Signal(9), text: String::new() });
    assert_eq!(failure.tries, 2);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_said() {
    let hook = Hook { call: HookCall::Command(vec!["/no/such/program".to_owned()]), retries: 9, ..shell("") };
    let failure = Hooks::new().ask(&hook, &question()).await.unwrap_err();
    let said = failure.to_string();
    assert!(said.starts_with("the hook `/no/such/program` cannot be asked: No such file"), "{said}");
    assert_eq!(failure.tries, 1);
}

#[tokio::test]
async fn output_has_a_size() {
    let fits = shell(&format!("head -c {MOST} /dev/zero | tr '\\0' x"));
    assert_eq!(Hooks::new().ask(&fits, &question()).await.unwrap().0.as_str().map(str::len), Some(MOST));
    assert_eq!(reason(&shell("head -c 10000000 /dev/zero")).await, Reason::TooLarge);
}

#[tokio::test]
async fn a_question_larger_than_a_pipe_stops_nobody() {
    let large = Question { rollout: json!("x".repeat(1_000_000)), ..question() };
    assert_eq!(Hooks::new().ask(&shell("echo unread"), &large).await.unwrap().0, json!("unread"));
    let counted = Hooks::new().ask(&shell("wc -c"), &large).await.unwrap().0;
    assert!(counted.as_u64().unwrap() > 1_000_000, "{counted}");
}

#[tokio::test]
async fn what_stays_in_the_background_holds_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("id");
    let started = clock::now();
    let hook = shell(&format!("sleep 600 & echo $! > {}; echo done", file.display()));
    assert_eq!(Hooks::new().ask(&hook, &question()).await.unwrap().0, json!("done"));
    assert!(started.elapsed() < SOON);
    assert!(runs(&read(&file)));
    let id = read(&file).trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// A program and its child, both of which would run for long.
fn family(folder: &Path) -> Hook {
    let at = folder.display();
    shell(&format!("sh -c 'echo $$ > {at}/child; exec sleep 600' & echo $$ > {at}/parent; echo > {at}/ready; wait"))
}

async fn killed(folder: &Path) {
    let (parent, child) = (read(&folder.join("parent")), read(&folder.join("child")));
    assert!(!parent.trim().is_empty() && !child.trim().is_empty());
    until("both are killed", || !runs(&parent) && !runs(&child)).await;
    until("the program is reaped", || !there(&parent)).await;
}

#[tokio::test]
async fn time_that_is_over_kills_the_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    let within = Duration::from_secs(3);
    let hook = Hook { timeout: within, ..family(folder.path()) };
    assert_eq!(reason(&hook).await, Reason::TimedOut(within));
    killed(folder.path()).await;
}

#[tokio::test]
async fn a_question_that_is_taken_back_kills_the_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    let hook = family(folder.path());
    let asked = tokio::spawn(async move { Hooks::new().ask(&hook, &question()).await });
    until("both run", || !read(&folder.path().join("child")).is_empty() && folder.path().join("ready").exists()).await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    killed(folder.path()).await;
}

#[tokio::test]
async fn a_program_may_answer_later() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    let hooks = Hooks::new();
    let script = format!("printf %s \"$WEIR_CALLBACK\" > {0}.new; mv {0}.new {0}", file.display());
    let hook = Hook { callback: true, ..shell(&script) };
    let answered = async {
        until("the program has run", || file.exists()).await;
        let url = read(&file);
        let yes = Answer { decision: Decision::Approve, output: json!(1) };
        hooks.answer(url.rsplit('/').next().unwrap(), yes).unwrap();
    };
    let question = question();
    let (asked, ()) = tokio::join!(hooks.ask(&hook, &question), answered);
    assert_eq!(asked.unwrap(), Output(json!(1)));
}
