//! Path patterns and rewrites of routes.

use std::sync::Arc;

/// What paths a route takes: `/exact`, `/prefix/*`, `/users/{id}/posts`, `/users/{id}/*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPattern(Arc<str>);

/// How the path changes on its way to the endpoint. Query, scheme and host never change here.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewrite(Arc<str>);
