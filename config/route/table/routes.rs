//! The routes of a domain, or the triggers, as a trie of path segments.
//!
//! The order of specificity is in [`path`](crate::value::path). A node lies at one depth, so a search visits it at most once:
//! a request costs at most as many steps as there are nodes, whatever it asks for.

use std::sync::Arc;

use super::{AliasIndex, FunctionIndex, StageIndex};
use crate::model::Route;
use crate::value::name::VersionId;
use crate::value::path::{Segment, compare};

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RouteTarget {
    pub(crate) function: Option<FunctionIndex>,
    /// What the route names itself; `None` leaves it to the stage.
    pub(crate) qualifier: Option<Pointed>,
    /// The route's own stage.
    pub(crate) stage: Option<StageIndex>,
}

/// What a qualifier points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pointed {
    Version(VersionId),
    Alias(AliasIndex),
    /// An alias that is not there.
    Missing,
    /// Something that the route needs and that is not there, as no valid configuration has it: its stored text cannot be read.
    Broken,
}

/// What a search finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The number of the route in the order of the file, and where it leads.
    Route(u32, RouteTarget),
    /// Routes take the path, but none the method.
    MethodNotAllowed,
    Nothing,
}

/// Compiled routes.
#[derive(Debug, Clone)]
pub(crate) enum Routes {
    /// The only route is `/*` with all methods, as most domains have it.
    All(RouteTarget),
    Trie(Arc<Trie>),
}

#[derive(Debug)]
pub(crate) struct Trie {
    /// The root first.
    nodes: Vec<Node>,
    targets: Box<[RouteTarget]>,
}

/// What can follow one beginning of a path.
#[derive(Debug, Default)]
struct Node {
    /// Ascending.
    literals: Vec<(Box<str>, usize)>,
    parameter: Option<usize>,
    wildcard: Vec<Leaf>,
    end: Vec<Leaf>,
}

/// A route of a pattern; those that name methods first, then by number.
#[derive(Debug)]
struct Leaf {
    methods: Option<Box<[Box<str>]>>,
    route: u32,
}

impl Routes {
    /// `targets` has one entry for each route.
    pub(super) fn compile(routes: &[Route], targets: Vec<RouteTarget>) -> Self {
        if let ([route], [target]) = (routes, &targets[..])
            && route.path.as_str() == "/*"
            && route.methods.is_none()
        {
            return Self::All(*target);
        }
        let mut trie = Trie { nodes: vec![Node::default()], targets: targets.into() };
        for (number, route) in (0..).zip(routes) {
            trie.insert(number, route);
        }
        Self::Trie(Arc::new(trie))
    }

    /// The most specific route that takes path and method. `path` starts with `/`.
    #[inline]
    pub(crate) fn find(&self, path: &str, method: &str) -> Found {
        match self {
            Self::All(target) => Found::Route(0, *target),
            Self::Trie(trie) => {
                let mut taken = false;
                let below = path.strip_prefix('/');
                let found = trie.walk(0, below, &mut |leaves| {
                    taken |= !leaves.is_empty();
                    takes(leaves, method)
                });
                match found {
                    Some(route) => Found::Route(route, trie.targets[route as usize]),
                    None if taken => Found::MethodNotAllowed,
                    None => Found::Nothing,
                }
            }
        }
    }

    /// The methods of the routes that take a path, each once; for the answer 405.
    pub(crate) fn allowed(&self, path: &str) -> Vec<&str> {
        let mut methods: Vec<&str> = Vec::new();
        if let Self::Trie(trie) = self {
            let mut found: Vec<&Leaf> = Vec::new();
            trie.walk(0, path.strip_prefix('/'), &mut |leaves| {
                found.extend(leaves);
                None::<()>
            });
            methods.extend(found.iter().flat_map(|leaf| leaf.methods.iter().flatten()).map(|method| &**method));
        }
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.sort_unstable();
        methods.dedup();
        methods
    }
}

/// The route of these leaves that takes the method. One with `GET` takes `HEAD` too, after those that name `HEAD`.
fn takes(leaves: &[Leaf], method: &str) -> Option<u32> {
    let names = |leaf: &&Leaf, method: &str| leaf.methods.as_ref().is_some_and(|m| m.iter().any(|m| **m == *method));
    let named = leaves.iter().find(|leaf| names(leaf, method));
    let implied = || (method == "HEAD").then(|| leaves.iter().find(|leaf| names(leaf, "GET"))).flatten();
    let found = named.or_else(implied).or_else(|| leaves.iter().find(|leaf| leaf.methods.is_none()));
    found.map(|leaf| leaf.route)
}

impl Trie {
    fn insert(&mut self, number: u32, route: &Route) {
        let mut node = 0;
        let mut wild = false;
        for segment in route.path.segments() {
            match segment {
                Segment::Literal(text) => {
                    node = match self.nodes[node].literals.binary_search_by(|(literal, _)| (**literal).cmp(text)) {
                        Ok(place) => self.nodes[node].literals[place].1,
                        Err(place) => {
                            let new = self.push();
                            self.nodes[node].literals.insert(place, (text.into(), new));
                            new
                        }
                    };
                }
                Segment::Parameter(_) => {
                    node = self.nodes[node].parameter.unwrap_or_else(|| {
                        let new = self.push();
                        self.nodes[node].parameter = Some(new);
                        new
                    });
                }
                Segment::Wildcard => wild = true,
            }
        }
        let node = &mut self.nodes[node];
        let leaves = if wild { &mut node.wildcard } else { &mut node.end };
        let methods = route.methods.as_ref().map(|m| m.iter().map(|m| m.as_str().into()).collect());
        leaves.push(Leaf { methods, route: number });
        leaves.sort_by_key(|leaf| (leaf.methods.is_none(), leaf.route));
    }

    fn push(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    /// Shows `visit` the leaves that take the path, the most specific first, until it gives an answer. `below` is what
    /// follows the slash after this node's segment; `None` when the path ends here.
    fn walk<'t, R>(
        &'t self,
        node: usize,
        below: Option<&str>,
        visit: &mut impl FnMut(&'t [Leaf]) -> Option<R>,
    ) -> Option<R> {
        let node = &self.nodes[node];
        let Some(text) = below else {
            return visit(&node.end).or_else(|| visit(&node.wildcard));
        };
        let (segment, after) = match text.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (text, None),
        };
        let literal = node.literals.binary_search_by(|(literal, _)| compare(literal, segment)).ok();
        literal
            .and_then(|place| self.walk(node.literals[place].1, after, visit))
            .or_else(|| node.parameter.filter(|_| !segment.is_empty()).and_then(|p| self.walk(p, after, visit)))
            .or_else(|| visit(&node.wildcard))
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;
    use crate::value::path::PathPattern;

    fn route(path: &str, methods: Option<&[&str]>) -> Route {
        Route {
            path: path.parse().unwrap(),
            methods: methods.map(|m| m.iter().map(|&m| m.to_owned()).collect()),
            function: "shop".parse().unwrap(),
            qualifier: None,
            stage: None,
            rewrite: None,
        }
    }

    fn compile(routes: &[Route]) -> Routes {
        let target = RouteTarget { function: None, qualifier: None, stage: None };
        Routes::compile(routes, vec![target; routes.len()])
    }

    fn number(found: Found) -> Result<u32, bool> {
        match found {
            Found::Route(number, _) => Ok(number),
            Found::MethodNotAllowed => Err(true),
            Found::Nothing => Err(false),
        }
    }

    #[test]
    fn the_most_specific_wins() {
        let routes = [
            route("/*", None),
            route("/static/*", None),
            route("/users/{id}", None),
            route("/users/me", Some(&["GET"])),
            route("/users/{id}/posts", None),
            route("/users/me/*", None),
            route("/users/{id}", Some(&["PUT"])),
            route("/users/", Some(&["POST"])),
        ];
        let routes = compile(&routes);
        for (method, path, expected) in [
            ("GET", "/", 0),
            ("GET", "/static", 1),
            ("GET", "/static/", 1),
            ("GET", "/static/a/b", 1),
            ("GET", "/staticx", 0),
            ("GET", "/users/7", 2),
            ("PUT", "/users/7", 6),
            ("GET", "/users/me", 3),
            ("HEAD", "/users/me", 3),
            ("POST", "/users/me", 5),
            ("GET", "/users/me/posts", 5),
            ("GET", "/users/7/posts", 4),
            ("GET", "/users/7/other", 0),
            ("GET", "/users/", 0),
            ("POST", "/users/", 7),
            ("GET", "/users//posts", 0),
            ("GET", "/%75sers/7", 2),
            ("GET", "/users%2F7", 0),
        ] {
            assert_eq!(number(routes.find(path, method)), Ok(expected), "{method} {path}");
        }
    }

    #[test]
    fn methods_that_nobody_takes() {
        let routes =
            compile(&[route("/a", Some(&["GET"])), route("/a", Some(&["POST"])), route("/b/*", Some(&["PUT"]))]);
        assert_eq!(number(routes.find("/a", "DELETE")), Err(true));
        assert_eq!(routes.allowed("/a"), ["GET", "HEAD", "POST"]);
        assert_eq!(number(routes.find("/b", "GET")), Err(true));
        assert_eq!(routes.allowed("/b"), ["PUT"]);
        assert_eq!(number(routes.find("/c", "GET")), Err(false));
        assert!(routes.allowed("/c").is_empty());
    }

    #[test]
    fn a_route_that_names_head_takes_it_before_one_with_get() {
        let routes = compile(&[route("/a", Some(&["GET"])), route("/a", Some(&["HEAD"])), route("/a", None)]);
        assert_eq!(number(routes.find("/a", "HEAD")), Ok(1));
        assert_eq!(number(routes.find("/a", "PUT")), Ok(2));
    }

    /// The kinds of segments, as the order of specificity compares them.
    fn rank(pattern: &PathPattern) -> Vec<u8> {
        let kinds = pattern.segments().map(|segment| match segment {
            Segment::Literal(_) => 0,
            Segment::Parameter(_) => 1,
            Segment::Wildcard => 2,
        });
        // The end of a pattern is as specific as a literal.
        kinds.chain([0]).collect()
    }

    /// The obvious way: all routes that take path and method, then the smallest.
    fn scan(routes: &[Route], path: &str, method: &str) -> Result<u32, bool> {
        let on_path = || (0u32..).zip(routes).filter(|(_, route)| route.path.matches(path));
        let names = |route: &Route, method: &str| route.methods.as_ref().is_some_and(|m| m.iter().any(|m| m == method));
        let best = on_path()
            .filter(|(_, route)| {
                route.methods.is_none() || names(route, method) || (method == "HEAD" && names(route, "GET"))
            })
            .min_by_key(|(number, route)| {
                (rank(&route.path), Reverse(names(route, method)), route.methods.is_none(), *number)
            });
        best.map(|(number, _)| number).ok_or(on_path().next().is_some())
    }

    fn routes() -> impl Strategy<Value = Vec<Route>> {
        let methods = prop_oneof![
            2 => Just(None),
            1 => proptest::sample::subsequence(vec!["GET", "HEAD", "POST"], 1..3).prop_map(Some),
        ];
        let one =
            ("(/(a|b|%2F|\\{x\\})){0,3}(/\\*|/|/a|/\\{y\\})", methods).prop_filter_map("twice", |(path, methods)| {
                let _: PathPattern = path.replacen("{x}", "{z}", 1).parse().ok()?;
                let mut path = path;
                for name in ["{z}", "{w}", "{v}"] {
                    path = path.replacen("{x}", name, 1);
                }
                Some(route(&path, methods.as_deref()))
            });
        proptest::collection::vec(one, 0..8)
    }

    proptest! {
        #[test]
        fn the_trie_is_a_scan(
            routes in routes(),
            paths in proptest::collection::vec("(/(a|b|c|%61|%2f|)){1,4}", 1..20),
            method in proptest::sample::select(vec!["GET", "HEAD", "POST", "PUT"]),
        ) {
            let compiled = compile(&routes);
            for path in &paths {
                prop_assert_eq!(number(compiled.find(path, method)), scan(&routes, path, method), "{}", path);
            }
        }
    }
}
