//! The request target that an endpoint sees.

use std::borrow::Cow;

/// `prefix` + path + `?query`.
///
/// `path` is what routes matched (the stage segment already taken) or what a rewrite made of it; `prefix` is the
/// version's, without a trailing slash. The query is kept byte for byte, a lone `?` too. `original` is the target as
/// received, returned as it is when nothing changes. A target that is no path (`*` of `OPTIONS`) is left alone.
#[must_use]
pub fn target<'t>(original: &'t str, prefix: &str, path: &str) -> Cow<'t, str> {
    if !original.starts_with('/') {
        return Cow::Borrowed(original);
    }
    let (received, query) = match original.find('?') {
        Some(mark) => original.split_at(mark),
        None => (original, ""),
    };
    if prefix.is_empty() && received == path {
        return Cow::Borrowed(original);
    }
    let slash = if path.starts_with('/') || (path.is_empty() && !prefix.is_empty()) { "" } else { "/" };
    Cow::Owned([prefix, slash, path, query].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_path_and_query_are_put_together() {
        for (original, prefix, path, expected) in [
            ("/a?b=1", "", "/a", "/a?b=1"),
            ("/prod/a?b=1?c", "", "/a", "/a?b=1?c"),
            ("/a%2Fb?q=%20", "/v2", "/a%2Fb", "/v2/a%2Fb?q=%20"),
            ("/prod", "", "", "/"),
            ("/prod?", "", "", "/?"),
            ("/prod", "/v2", "", "/v2"),
            ("/a", "/v2", "b", "/v2/b"),
            ("*", "/v2", "*", "*"),
            ("//x", "", "//x", "//x"),
        ] {
            assert_eq!(target(original, prefix, path), expected, "{original} {prefix} {path}");
        }
    }

    #[test]
    fn an_unchanged_target_is_not_copied() {
        assert!(matches!(target("/a?b", "", "/a"), Cow::Borrowed(_)));
    }
}
