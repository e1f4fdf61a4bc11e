//! A hook that is a program: no shell, nothing of weir's environment but `PATH`, a process group of its own.

use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::{Code, MOST, Message, Reason};
use crate::calls::quote;

/// Bytes of standard error that are kept: the last ones, where programs say why they ended; no more than `quote` shows.
const TAIL: usize = 300;
/// How long the streams of a program that has ended are read on: what it left in the background may hold them open.
const GRACE: Duration = Duration::from_millis(250);

/// Runs it once; its standard output when it says yes.
pub(super) async fn ask(words: &[String], message: &Message, within: Duration) -> Result<Vec<u8>, Reason> {
    let mut running = start(words, message)?;
    // Dropping `running` kills the group, whether the time is over or the caller has lost interest.
    let ended = tokio::time::timeout(within, running.end(&message.body)).await;
    let Ended { status, output, errors } = ended
        .map_err(|_| Reason::TimedOut(within))?
        .map_err(|error| Reason::NotStarted(format!("its end cannot be awaited: {error}")))?;
    match (status.code(), status.signal()) {
        (Some(0), _) if output.len() > MOST => Err(Reason::TooLarge),
        (Some(0), _) => Ok(output),
        (Some(code), _) => Err(Reason::No { code: Code::Exit(code), text: said(&output, &errors) }),
        (None, signal) => {
            let code = Code::Signal(signal.unwrap_or_default());
            Err(Reason::Failing { code, text: said(&output, &errors) })
        }
    }
}

struct Running(Child);

struct Ended {
    status: ExitStatus,
    /// At most one byte more than may be.
    output: Vec<u8>,
    errors: Vec<u8>,
}

fn start(words: &[String], message: &Message) -> Result<Running, Reason> {
    let (program, arguments) =
        words.split_first().ok_or_else(|| Reason::NotStarted("its command is empty".to_owned()))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("WEIR_EVENT", &message.event);
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.envs(message.callback.as_ref().map(|url| ("WEIR_CALLBACK", url)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The runtime reaps what is dropped before it has ended.
    command.process_group(0).kill_on_drop(true);
    let child = command.spawn().map_err(|error| {
        Reason::NotStarted(format!("{error}; it needs a program on PATH or its full path, with the right to run it"))
    })?;
    Ok(Running(child))
}

impl Running {
    async fn end(&mut self, question: &str) -> std::io::Result<Ended> {
        let (stdin, stdout, stderr) = (self.0.stdin.take(), self.0.stdout.take(), self.0.stderr.take());
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let status = {
            let feed = async {
                if let Some(mut stdin) = stdin {
                    // A program need not read the question.
                    let _ = stdin.write_all(question.as_bytes()).await;
                }
            };
            let streams = async { tokio::join!(feed, head(stdout, &mut output), tail(stderr, &mut errors)) };
            let mut streams = pin!(streams);
            tokio::select! {
                _ = &mut streams => self.0.wait().await?,
                status = self.0.wait() => {
                    let _ = tokio::time::timeout(GRACE, streams).await;
                    status?
                }
            }
        };
        Ok(Ended { status, output, errors })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only a program that was not awaited has an id; until then no other group can have it.
        if let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

/// Reads to the end and keeps the first bytes, one more than may be.
async fn head(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    each(stream, |chunk| kept.extend(chunk.iter().take(MOST + 1 - kept.len()))).await;
}

/// Reads to the end and keeps the last bytes.
async fn tail(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    each(stream, |chunk| {
        kept.extend_from_slice(chunk);
        kept.drain(..kept.len().saturating_sub(TAIL));
    })
    .await;
}

async fn each(stream: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) {
    let Some(mut stream) = stream else { return };
    let mut chunk = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut chunk).await {
        take(&chunk[..length]);
    }
}

/// Why a program ended: its last words on standard error, else its output.
fn said(output: &[u8], errors: &[u8]) -> String {
    quote(if errors.trim_ascii().is_empty() { output } else { errors })
}
