//! What the admin API can do: one table, from which both the routes and the OpenAPI document are made.

use std::future::Future;
use std::pin::Pin;

use axum::response::Response;

use super::auth::Access;
use super::call::Call;
use super::error::Failure;
use super::{aliases, backup, drafts, freeze, health, links, rollouts, simulate};
use super::{configuration, events, explain, functions, journal, named, node, status, tokens, versions};
use crate::control::tokens::Role;

/// What comes of a call.
pub(super) type Answer = Result<Response, Failure>;
/// What carries an operation out.
pub(super) type Run = fn(Call) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Every operation.
pub(super) fn all() -> Vec<Operation> {
    [
        health::operations(),
        functions::operations(),
        drafts::operations(),
        versions::operations(),
        aliases::operations(),
        named::operations(),
        rollouts::operations(),
        simulate::operations(),
        freeze::operations(),
        links::operations(),
        configuration::operations(),
        explain::operations(),
        journal::operations(),
        events::operations(),
        status::operations(),
        node::operations(),
        tokens::operations(),
        backup::operations(),
    ]
    .concat()
}

/// A method on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Put,
    Patch,
    Post,
    Delete,
}

/// One operation.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) verb: Verb,
    /// With parameters in braces.
    pub(super) path: &'static str,
    /// Its name in generated clients.
    pub(super) id: &'static str,
    /// One sentence.
    pub(super) summary: &'static str,
    pub(super) access: Access,
    /// Names of the query parameters that it knows; [`PARAMETERS`] describes them.
    pub(super) query: Vec<&'static str>,
    /// Whether `If-Match` and `If-None-Match` hold for it.
    pub(super) guarded: bool,
    pub(super) body: Option<Body>,
    /// Statuses of success.
    pub(super) statuses: &'static [u16],
    /// What success answers: a component schema, or a media type that is not JSON.
    pub(super) answer: Content,
    /// True if it takes long to parse what is sent, or to render the answer.
    pub(super) is_long: bool,
    pub(super) run: Run,
}

/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Nothing,
    /// JSON, or in a request also YAML, of this component schema.
    Form(&'static str),
    /// A page of this component schema.
    Page(&'static str),
    /// Text of this media type.
    Text(&'static str),
    /// YAML or, where it is asked for, JSON of this component schema.
    File(&'static str),
}

/// The body of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body {
    pub(super) content: Content,
    /// Whether there must be one.
    pub(super) required: bool,
    /// The most bytes.
    pub(super) limit: usize,
}

const MIB: usize = 1 << 20;

/// Query parameters: name, JSON type, meaning.
pub(super) const PARAMETERS: &[(&str, &str, &str)] = &[
    ("after", "string", "Go on after this name (versions: number; rollouts: id; journal and events: revision)."),
    ("alias", "string", "Only this alias."),
    ("allow_empty", "boolean", "Apply the file even if it has no functions and the file before had some."),
    ("before", "integer", "Only before this revision."),
    ("dry_run", "boolean", "Answer what would change, and change nothing."),
    ("function", "string", "Only this function."),
    ("limit", "integer", "At most so many items, 1 to 1000; default 100."),
    ("name", "string", "Only changes of this text, such as `alias/shop/prod`."),
    ("order", "string", "`newest` (default) or `oldest` first."),
    ("since", "string", "Only since this time (RFC 3339)."),
    ("state", "string", "Only those that are `running`, or `over`."),
    ("who", "string", "Only by this author, such as `token:ci`."),
];

impl Operation {
    /// A read.
    pub(super) fn get(path: &'static str, id: &'static str, summary: &'static str, run: Run) -> Self {
        Self {
            verb: Verb::Get,
            path,
            id,
            summary,
            access: Access::Read,
            query: Vec::new(),
            guarded: false,
            body: None,
            statuses: &[200],
            answer: Content::Nothing,
            is_long: false,
            run,
        }
    }

    /// A change that can be tried out and guarded.
    pub(super) fn change(verb: Verb, path: &'static str, id: &'static str, summary: &'static str, run: Run) -> Self {
        let access = Access::Role(Role::Operator);
        let read = Self::get(path, id, summary, run);
        let statuses: &[u16] = if verb == Verb::Delete { &[204] } else { &[200] };
        Self { verb, access, guarded: true, statuses, ..read }.query(&["dry_run"])
    }

    /// Something else that acts, and takes no condition.
    pub(super) fn act(verb: Verb, path: &'static str, id: &'static str, summary: &'static str, run: Run) -> Self {
        Self { guarded: false, query: Vec::new(), ..Self::change(verb, path, id, summary, run) }
    }

    /// A change whose condition, if it has one, is in its body.
    pub(super) fn unguarded(self) -> Self {
        Self { guarded: false, ..self }
    }

    pub(super) fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    pub(super) fn query(mut self, names: &[&'static str]) -> Self {
        self.query.extend_from_slice(names);
        self
    }

    pub(super) fn statuses(self, statuses: &'static [u16]) -> Self {
        Self { statuses, ..self }
    }

    /// A deletion that answers with the rollouts that it ends, if there are any.
    pub(super) fn may_end_rollouts(self) -> Self {
        self.statuses(&[200, 204]).answers(Content::Form("deleted"))
    }

    pub(super) fn answers(self, answer: Content) -> Self {
        Self { answer, ..self }
    }

    /// One that parses or renders what may be large.
    pub(super) fn takes_long(self) -> Self {
        Self { is_long: true, ..self }
    }

    /// A list in pages.
    pub(super) fn pages(self, schema: &'static str) -> Self {
        self.query(&["limit", "after"]).answers(Content::Page(schema))
    }

    /// A body of up to 1 MiB.
    pub(super) fn takes(self, schema: &'static str) -> Self {
        let body = Body { content: Content::Form(schema), required: true, limit: MIB };
        Self { body: Some(body), ..self }
    }

    /// A body that may be left out.
    pub(super) fn may_take(self, schema: &'static str) -> Self {
        let body = Body { content: Content::Form(schema), required: false, limit: MIB };
        Self { body: Some(body), ..self }
    }

    /// A body of up to 16 MiB.
    pub(super) fn takes_all(self, content: Content) -> Self {
        let body = Body { content, required: true, limit: 16 * MIB };
        Self { body: Some(body), ..self }
    }

    /// Whether it may change something.
    pub(super) fn changes(&self) -> bool {
        matches!(self.access, Access::Role(_)) && self.verb != Verb::Get
    }

    /// True if probes ask for it: it answers whatever else is under way.
    pub(super) fn is_probe(&self) -> bool {
        matches!(self.id, "live" | "ready")
    }

    /// Whether it belongs to the API proper, whose answers carry the revision.
    pub(super) fn is_versioned(&self) -> bool {
        self.path.starts_with("/v1/")
    }
}

/// An async function as a [`Run`].
macro_rules! run {
    ($name:expr) => {
        |call| Box::pin($name(call))
    };
}
pub(super) use run;
