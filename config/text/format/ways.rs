//! Ways in: stages, domains, routes.

use crate::model::{Certificate, DefaultCertificate, Domain, DomainStage, Https, Route, Stage};
use crate::text::format::Entries;
use crate::text::format::tree::Tree;
use crate::value::path::RewriteForm;

/// One stage.
pub(crate) fn stage(stage: &Stage) -> Tree {
    let functions = stage.functions.iter().map(|(name, alias)| (name.to_string(), Tree::from(alias)));
    let variables = stage.variables.iter().map(|(name, value)| (name.clone(), Tree::text(value)));
    Entries::default()
        .put("alias", &stage.alias)
        .put_full("functions", Tree::Map { entries: functions.collect(), block: false })
        .put_full("variables", Tree::Map { entries: variables.collect(), block: false })
        .flow()
}

/// One domain.
pub(crate) fn domain(domain: &Domain) -> Tree {
    let mut entries = Entries::default();
    entries.put_some("certificate", domain.certificate.as_ref(), |files| certificate(files));
    match &domain.stage {
        DomainStage::None => {}
        DomainStage::Named(name) => {
            entries.put("stage", name.as_str());
        }
        DomainStage::Path => {
            entries.put("stage_from", "path");
        }
    }
    entries.put_unless("version_header", &domain.version_header, &true, Tree::raw);
    match domain.https {
        Https::Optional => {}
        Https::Redirect(None) => {
            entries.put("https", "redirect");
        }
        Https::Redirect(Some(port)) => {
            let full = Entries::default().put("redirect", Tree::raw(&true)).put("port", Tree::raw(&port)).flow();
            entries.put("https", full);
        }
    }
    entries.put("routes", Tree::list(domain.routes.iter().map(route)));
    entries.flow()
}

/// The files of a certificate.
pub(super) fn certificate(certificate: &Certificate) -> Tree {
    let mut entries = Entries::default();
    put_files(&mut entries, certificate);
    entries.flow()
}

/// The certificate for clients that name no host.
pub(super) fn default_certificate(certificate: &DefaultCertificate) -> Tree {
    let mut entries = Entries::default();
    put_files(&mut entries, &certificate.files);
    entries.put_unless("unknown_names", &certificate.unknown_names, &false, Tree::raw);
    entries.flow()
}

fn put_files(entries: &mut Entries, files: &Certificate) {
    entries.put("cert", Tree::text(&files.cert.display())).put("key", Tree::text(&files.key.display()));
}

/// A route or a trigger.
pub(crate) fn route(route: &Route) -> Tree {
    let mut entries = Entries::default();
    entries.put("path", Tree::text(&route.path));
    entries.put_some("methods", route.methods.as_ref(), |methods| Tree::list(methods.iter().map(Tree::text)));
    let to = match &route.qualifier {
        Some(qualifier) => format!("{}:{qualifier}", route.function),
        None => route.function.to_string(),
    };
    entries.put("to", &*to);
    entries.put_some("stage", route.stage.as_ref(), Tree::text);
    entries.put_some("rewrite", route.rewrite.as_ref(), |rewrite| match rewrite.form() {
        RewriteForm::Text(text) => text.into(),
        RewriteForm::Regex { pattern, replacement } => {
            Entries::default().put("regex", pattern).put("to", replacement).flow()
        }
    });
    entries.flow()
}
