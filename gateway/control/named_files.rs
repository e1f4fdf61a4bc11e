//! Files that a configuration names.

mod folder;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::model::{AdminListener, Certificate, Config, Plan, Target, Version};
use config::text::problem::Problem;

pub use folder::Folder;

use super::authorities::AuthorityKeeper;
use super::{Ground, certificates, readers};
use crate::files;
use crate::upstreams::read_authorities;

/// The keepers of the content of files that a configuration names.
#[derive(Clone)]
pub(super) struct FileKeepers {
    pub(super) certificates: Arc<certificates::Keeper>,
    pub(super) authorities: Arc<AuthorityKeeper>,
}

impl FileKeepers {
    /// Keepers that have read nothing yet.
    pub(super) fn new(ground: &Ground) -> Self {
        let authorities = Arc::new(AuthorityKeeper::in_folder(ground.folder.clone()));
        Self { certificates: certificates::Keeper::new(ground), authorities }
    }
}

/// Certificates and certificate authorities, each with its path in the configuration.
#[derive(Debug, Default)]
pub(super) struct NamedFiles {
    pub(super) certificates: Vec<(String, Certificate)>,
    pub(super) authorities: Vec<(String, PathBuf)>,
}

impl NamedFiles {
    /// Lists the files that `new` names where `old` named none or others. Costs what differs.
    pub(super) fn of_change(old: &Config, new: &Config) -> Self {
        let mut named = Self::default();
        for (host, files) in new.certificates_unlike(old) {
            let path = || format!("domains.\"{host}\".certificate");
            named.certificates.extend(files.map(|files| (path(), files.clone())));
        }
        if new.default_certificate != old.default_certificate
            && let Some(own) = &new.default_certificate
        {
            named.certificates.push(("default_certificate".into(), own.files.clone()));
        }
        for (name, function) in new.functions_unlike(old) {
            let before = old.functions.get(name);
            let mut add = |place: String, ca: &PathBuf| {
                named.authorities.push((format!("functions.{name}.{place}.tls.ca"), ca.clone()));
            };
            if before.is_some_and(|before| before.shares_versions(function)) {
                continue;
            }
            for (number, version) in &*function.versions {
                let known = before.and_then(|before| before.versions.get(number));
                if let Some(ca) = authority(version)
                    && known.and_then(|known| authority(known)) != Some(ca)
                {
                    add(format!("versions.{number}"), ca);
                }
            }
            // A draft that changes in any way is made anew, and its file read again.
            if let Some(draft) = &function.draft
                && before.and_then(|before| before.draft.as_ref()) != Some(draft)
                && let Some(ca) = authority(draft)
            {
                add("draft".into(), ca);
            }
        }
        named
    }
}

/// The files that `new` names where `old` named none or others, and that the programs of a plan that is begun are, by names that are
/// not whole: problems, with the names that are whole in `folder`.
pub(super) fn relative(old: &Config, new: &Config, begun: Option<&Plan>, folder: &Folder) -> Vec<Problem> {
    let NamedFiles { certificates, authorities } = NamedFiles::of_change(old, new);
    let pairs = certificates
        .into_iter()
        .flat_map(|(at, Certificate { cert, key })| [(format!("{at}.cert"), cert), (format!("{at}.key"), key)]);
    let known: HashSet<&[String]> = old.plans.values().flat_map(|plan| plan.programs()).collect();
    let of_plans = new.plans.iter().map(|(name, plan)| (format!("plans.{name}.hooks"), &**plan));
    let plans = of_plans.chain(begun.map(|plan| ("plan.hooks".to_owned(), plan)));
    let programs = plans.flat_map(|(at, plan)| {
        let brought = plan.programs().filter(|program| !known.contains(program));
        // A bare word is looked for where programs are.
        let named = brought.filter_map(|program| program.first()).filter(|name| name.contains('/'));
        named.map(|name| (at.clone(), PathBuf::from(name))).collect::<Vec<_>>()
    });
    let named = pairs.chain(authorities).chain(programs);
    let problem = |(at, path): (String, PathBuf)| {
        let message =
            format!("`{}` is a relative name, and a text that comes by the API is in no folder", path.display());
        Problem::error(at, message).help(format!("name the file whole, such as `{}`", folder.file(&path).display()))
    };
    named.filter(|(_, path)| path.is_relative()).map(problem).collect()
}

/// The file of certificate authorities that is read for this version; none for one that is out of use.
fn authority(version: &Version) -> Option<&PathBuf> {
    match &version.target {
        _ if version.retired => None,
        Target::Upstream(upstream) => upstream.tls.as_ref().and_then(|tls| tls.ca.as_ref()),
        Target::Response(_) => None,
    }
}

/// The files that `config` names and that cannot be used: errors, where they are there, and warnings, where they are not
/// or may not be read, as on another machine than the gateway's. Relative names are taken in `folder`. Blocks on the file system.
#[must_use]
pub fn check(config: &Config, folder: &Folder) -> Vec<Problem> {
    let mut named = NamedFiles::of_change(&Config::default(), config);
    if let AdminListener::Tcp { tls: Some(files), .. } = &config.process.admin {
        named.certificates.push(("admin.tls".into(), files.clone()));
    }
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    for (at, files) in named.certificates.into_iter().filter(|(_, files)| seen.insert(files.clone())) {
        let files = folder.certificate(&files);
        let hidden = [&files.cert, &files.key].into_iter().find_map(|path| hidden(&at, path));
        let unusable = || Some(Problem::error(&at, certificates::read_one(&files).err()?.to_string()));
        let problem = hidden.or_else(unusable);
        problems.extend(problem);
    }
    for (at, path) in named.authorities {
        let path = folder.file(&path);
        let read = path.clone();
        let unusable = match files::within(files::PATIENCE, move || read_authorities(&read).err()) {
            Some(error) => error.map(|error| error.to_string()),
            None => Some(format!("{}: {}", path.display(), readers::late())),
        };
        problems.extend(hidden(&at, &path).or_else(|| Some(Problem::error(&at, unusable?))));
    }
    problems
}

/// A warning about a file that cannot be seen from here.
fn hidden(at: &str, path: &Path) -> Option<Problem> {
    let looked = path.to_owned();
    let look = move || {
        fs::metadata(&looked).and_then(|found| if found.is_file() { fs::File::open(&looked).map(drop) } else { Ok(()) })
    };
    // One that does not answer is told of by who reads it.
    let error = files::within(files::PATIENCE, look)?.err()?;
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied).then(|| {
        let message = format!("{} cannot be read here, so it was not checked: {error}", path.display());
        Problem::warning(at, message)
    })
}
