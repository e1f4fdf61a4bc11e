//! `weir import`: the store of a gateway that has not run yet is filled from an export.

use std::path::Path;
use std::sync::Arc;

use config::model::Config;
use config::text::parse::parse_process;
use config::text::problem;

use super::{Failure, environment};
use crate::cli::Exit;
use crate::control::named_files::{self, Folder};
use crate::control::{Environment, Revision, backup};
use crate::files;
use crate::store::embedded::Embedded;

/// Fills the empty store that the file at `path` names with what `text`, an export, holds.
#[must_use]
pub fn import(path: &Path, text: &str) -> Exit {
    let file = match files::read_text_in_time(path, files::CONFIGURATION) {
        Ok((_, file)) => file,
        Err(error) => {
            eprintln!("weir: {} {error}", path.display());
            return Exit::Failed;
        }
    };
    let store = match parse_process(&file, &environment) {
        Ok((process, _)) => process.store,
        Err(problems) => {
            eprint!("{}", problem::render(&problems, &path.display().to_string(), &file));
            return Exit::Invalid;
        }
    };
    match fill(&store, text) {
        Ok((revision, config)) => {
            let whole = std::path::absolute(&store).unwrap_or_else(|_| store.clone());
            println!("imported revision {revision} into {}", whole.display());
            tell_unusable(&config, path);
            Exit::Ok
        }
        Err(failure) => {
            eprintln!("weir: {failure}");
            failure.exit()
        }
    }
}

/// Names the files that the configuration names and that cannot be used where a gateway with the file at `path` will read them: each
/// takes down what names it alone, so the import is whole all the same.
fn tell_unusable(config: &Config, path: &Path) {
    let folder = Folder::of(path);
    let problems = named_files::check(config, &folder);
    for problem in &problems {
        eprintln!("weir: {}: {}", problem.path, problem.message);
    }
    if !problems.is_empty() {
        eprintln!(
            "weir: what names these files is not served in TLS, or has no endpoint, until they are there; relative names are taken in {}, \
             the folder of {}",
            folder.file(Path::new("")).display(),
            path.display()
        );
    }
}

fn fill(store: &Path, text: &str) -> Result<(Revision, Config), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let environment: Environment = Arc::new(environment);
    let store = Embedded::open(store)?;
    Ok(runtime.block_on(backup::import(&store, text, &environment))?)
}
