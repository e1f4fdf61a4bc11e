//! Every path that a file names: in `use`, expressions, types, patterns, attributes and macro calls, `super::` resolved.

use std::collections::HashSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemExternCrate, ItemMod, ItemUse, Macro, Meta, Path, UseTree};

/// A path, and the line where it stands. A path into this crate begins with `crate`; a glob ends with `*`.
pub(crate) struct Named {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// What one file names outside its test modules.
#[derive(Default)]
pub(crate) struct Paths {
    pub(crate) named: Vec<Named>,
    /// Modules in other files that exist only for tests, from the crate's root.
    pub(crate) test_modules: HashSet<Vec<String>>,
    module: Vec<String>,
}

impl Paths {
    /// `module` says where the file is in its crate; the root is empty.
    pub(crate) fn of(file: &syn::File, module: Vec<String>) -> Self {
        let mut paths = Self { module, ..Self::default() };
        paths.visit_file(file);
        paths
    }

    fn name(&mut self, segments: Vec<String>, line: usize) {
        let segments = self.resolve(segments);
        self.named.push(Named { segments, line });
    }

    /// `self`, `super` and the library's own name become `crate::…`; all else stays as it was written.
    fn resolve(&self, segments: Vec<String>) -> Vec<String> {
        let up = segments.iter().take_while(|segment| *segment == "super").count();
        let inside = segments.first().is_some_and(|first| first == "self");
        if up == 0 && !inside {
            let own = segments.first().is_some_and(|first| first == "gateway");
            return if own { [vec!["crate".into()], segments[1..].to_vec()].concat() } else { segments };
        }
        let kept = self.module.len().saturating_sub(up);
        let rest = &segments[up.max(usize::from(inside))..];
        [&["crate".to_string()], &self.module[..kept], rest].concat()
    }

    fn use_tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |last: String| [before, &[last]].concat();
        let line = tree.span().start().line;
        match tree {
            UseTree::Path(path) => self.use_tree(&path.tree, &with(path.ident.to_string())),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.use_tree(item, before)),
            UseTree::Glob(_) => self.name(with("*".into()), line),
            UseTree::Name(name) if name.ident == "self" && !before.is_empty() => self.name(before.to_vec(), line),
            UseTree::Rename(name) if name.ident == "self" && !before.is_empty() => self.name(before.to_vec(), line),
            UseTree::Name(name) => self.name(with(name.ident.to_string()), line),
            UseTree::Rename(name) => self.name(with(name.ident.to_string()), line),
        }
    }

    /// Paths in tokens that have no grammar of their own: identifiers joined by `::`.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(first) => {
                    let mut segments = vec![first.to_string()];
                    while colon(at) && colon(at + 1) {
                        match tokens.get(at + 2) {
                            Some(TokenTree::Ident(next)) => segments.push(next.to_string()),
                            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                                // `use` inside a macro: only its prefix is known, so it counts as a glob.
                                segments.push("*".into());
                            }
                            _ => break,
                        }
                        at += 3;
                    }
                    if segments.len() > 1 {
                        self.name(segments, first.span().start().line);
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }
}

impl Visit<'_> for Paths {
    fn visit_item(&mut self, item: &Item) {
        if let Item::Mod(ItemMod { attrs, ident, content: None, .. }) = item
            && attrs.iter().any(is_test)
        {
            self.test_modules.insert([self.module.as_slice(), &[ident.to_string()]].concat());
        }
        if !attributes(item).iter().any(is_test) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        self.use_tree(&item.tree, &[]);
    }

    fn visit_item_extern_crate(&mut self, item: &ItemExternCrate) {
        self.name(vec![item.ident.to_string(), "*".into()], item.span().start().line);
    }

    fn visit_path(&mut self, path: &Path) {
        if path.segments.len() > 1 {
            let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.name(segments, path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
        visit::visit_attribute(self, attribute);
    }
}

/// Whether this is `#[cfg(test)]`.
pub(crate) fn is_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
}

/// The attributes of an item that may be there for tests alone.
pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
