//! The graph of the modules of `src` and their imports, read from the text of the files.
//!
//! An import is a path that begins with `crate`, `super`, `self` or the name of a child module, in a `use` or in the
//! code. A path through a re-export (`pub use error::Error`) leads to the module behind it. A re-export whose name the
//! module itself does not use is no import: a `mod.rs` that only re-exports imports nothing.

use std::collections::{BTreeMap, BTreeSet};

/// A module of the crate: `["service", "error"]`.
pub(super) type Path = Vec<String>;

/// A module imports another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    pub(super) from: Path,
    pub(super) to: Path,
    /// As it is written.
    pub(super) text: String,
}

struct Use {
    path: Path,
    name: String,
    is_reexport: bool,
}

#[derive(Default)]
struct Module {
    uses: Vec<Use>,
    /// The code without `use` declarations.
    code: String,
}

pub(super) struct Graph {
    modules: BTreeMap<Path, Module>,
}

impl Graph {
    /// The graph of (file below src, its code without comments and tests).
    pub(super) fn new(files: &[(String, String)]) -> Self {
        let is_module = |file: &str| !["lib.rs", "main.rs"].contains(&file) && !file.ends_with("tests.rs");
        let modules = files.iter().filter(|(file, _)| is_module(file)).map(|(file, code)| {
            let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
            (path.split('/').map(str::to_owned).collect(), Module::new(code))
        });
        Self { modules: modules.collect() }
    }

    /// All imports between different modules, each once.
    pub(super) fn imports(&self) -> Vec<Import> {
        let mut found: BTreeMap<(Path, Path), String> = BTreeMap::new();
        for (from, module) in &self.modules {
            let used = module.uses.iter().filter(|used| {
                let is_own = self.absolute(from, &used.path).is_some_and(|path| path.starts_with(from));
                !(used.is_reexport && is_own) || has_word(&module.code, &used.name)
            });
            let children = self.children(from);
            let starts = ["crate", "super", "self"].into_iter().chain(children.iter().map(String::as_str));
            let inline = starts.flat_map(|start| inline_paths(&module.code, start));
            for path in used.map(|used| used.path.clone()).chain(inline) {
                if let Some(to) = self.absolute(from, &path).and_then(|path| self.resolve(&path))
                    && to != *from
                {
                    found.entry((from.clone(), to)).or_insert_with(|| path.join("::"));
                }
            }
        }
        found.into_iter().map(|((from, to), text)| Import { from, to, text }).collect()
    }

    fn children(&self, module: &[String]) -> BTreeSet<String> {
        let below = self.modules.keys().filter(|path| path.len() == module.len() + 1 && path.starts_with(module));
        below.filter_map(|path| path.last().cloned()).collect()
    }

    /// A path as seen from the crate; `None` when it leads out of it.
    fn absolute(&self, from: &[String], path: &[String]) -> Option<Path> {
        let (first, rest) = path.split_first()?;
        let base = match first.as_str() {
            "crate" => &[],
            "self" => from,
            "super" => {
                let parent = &from[..from.len() - 1];
                let up = rest.iter().take_while(|part| *part == "super").count();
                return Some([&parent[..parent.len() - up], &rest[up..]].concat());
            }
            child if self.children(from).contains(child) => return Some([from, path].concat()),
            _ => return None,
        };
        Some([base, rest].concat())
    }

    /// The module that a path leads to, through re-exports.
    fn resolve(&self, path: &[String]) -> Option<Path> {
        let length = (1..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]))?;
        let (module, item) = path.split_at(length);
        let alias = item.first().and_then(|name| self.modules[module].uses.iter().find(|used| used.name == *name));
        match alias {
            Some(used) => self.resolve(&self.absolute(module, &used.path)?),
            None => Some(module.to_vec()),
        }
    }
}

impl Module {
    fn new(code: &str) -> Self {
        let mut module = Self::default();
        let mut declaration = String::new();
        for line in code.lines() {
            let text = line.trim_start();
            let visible = text.strip_prefix("pub").map(|rest| rest.split_once(' ').map_or(rest, |(_, rest)| rest));
            let begins = |text: &str| text.starts_with("use ");
            if declaration.is_empty() && !begins(text) && !visible.is_some_and(begins) && !is_scoped_use(text) {
                module.code.push_str(line);
                module.code.push('\n');
                continue;
            }
            declaration.push_str(text);
            declaration.push(' ');
            if text.ends_with(';') {
                let is_reexport = declaration.starts_with("pub");
                let tree = declaration.split_once("use ").map_or("", |(_, tree)| tree).trim_end().trim_end_matches(';');
                module.uses.extend(leaves(tree, &[]).into_iter().map(|(path, name)| Use { path, name, is_reexport }));
                declaration.clear();
            }
        }
        module
    }
}

/// `pub(in crate::x) use ...`
fn is_scoped_use(text: &str) -> bool {
    text.starts_with("pub(") && text.split_once(") ").is_some_and(|(_, rest)| rest.starts_with("use "))
}

/// The paths of a `use` tree, each with the name that it gets.
fn leaves(tree: &str, prefix: &[String]) -> Vec<(Path, String)> {
    let parts =
        |text: &str| text.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let Some((head, group)) = tree.split_once('{') else {
        let (path, alias) = tree.split_once(" as ").unwrap_or((tree, ""));
        let mut path = [prefix, &Vec::from_iter::<Vec<String>>(parts(path))].concat();
        path.pop_if(|last| last == "self" && !prefix.is_empty());
        let name = if alias.is_empty() { path.last().cloned().unwrap_or_default() } else { alias.trim().to_owned() };
        return vec![(path, name)];
    };
    let prefix = [prefix, &Vec::from_iter::<Vec<String>>(parts(head))].concat();
    let group = group.rsplit_once('}').map_or(group, |(group, _)| group);
    let mut depth = 0;
    let is_separator = |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    };
    let entries = group.split(is_separator).map(str::trim).filter(|entry| !entry.is_empty());
    entries.flat_map(|entry| leaves(entry, &prefix)).collect()
}

/// The paths in code that begin with `start` and `::`.
fn inline_paths(code: &str, start: &str) -> Vec<Path> {
    let start = format!("{start}::");
    let found = code.match_indices(&start).filter(|(at, _)| {
        let before = &code[..*at];
        !before.ends_with(|c: char| is_word(c) || c == ':' || c == '.' || c == '$') && !before.ends_with("(in ")
    });
    let paths = found.map(|(at, _)| {
        let text = code[at..].split(|c: char| !is_word(c) && c != ':').next().unwrap_or_default();
        text.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect()
    });
    paths.collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c| !is_word(c)).any(|part| part == word)
}

/// The imports between the modules of one folder that lie on a cycle, by folder.
///
/// A module stands for all modules below it. Imports between a module and its parent are not counted: to the outside
/// they are one unit.
pub(super) fn cycles(imports: &[Import]) -> Vec<String> {
    let mut folders: BTreeMap<&[String], BTreeMap<(&str, &str), &Import>> = BTreeMap::new();
    for import in imports {
        let shared = import.from.iter().zip(&import.to).take_while(|(a, b)| a == b).count();
        if let (Some(from), Some(to)) = (import.from.get(shared), import.to.get(shared)) {
            folders.entry(&import.from[..shared]).or_default().entry((from, to)).or_insert(import);
        }
    }
    let mut found = Vec::new();
    for (folder, mut edges) in folders {
        // What neither begins nor ends elsewhere lies on a cycle, or between two.
        loop {
            let before = edges.len();
            let sources: BTreeSet<&str> = edges.keys().map(|(from, _)| *from).collect();
            let targets: BTreeSet<&str> = edges.keys().map(|(_, to)| *to).collect();
            edges.retain(|(from, to), _| targets.contains(from) && sources.contains(to));
            if edges.len() == before {
                break;
            }
        }
        let folder = folder.join("/");
        found.extend(edges.into_iter().map(|((from, to), import)| {
            format!("{folder}: {from} -> {to} ({} uses {})", import.from.join("/"), import.text)
        }));
    }
    found
}

#[test]
fn cycles_are_found_and_reexports_are_not_imports() {
    let file = |name: &str, code: &str| (name.to_owned(), code.to_owned());
    let mut files = vec![
        file("a/mod.rs", "mod b;\nmod c;\npub use b::{B, deep::{self, D as E}};\npub use c::C;\n"),
        file("a/b/mod.rs", "pub mod deep;\nuse std::fmt;\nstruct B(crate::a::C);\n"),
        file("a/b/deep.rs", "struct D;"),
        file("a/c.rs", "use super::super::other;\nstruct C;\n"),
        file("other.rs", "pub(in crate::a) fn f(_: crate::a::E) {}\n"),
    ];
    let text = |import: &Import| format!("{} {}", import.from.join("/"), import.to.join("/"));
    let imports = Graph::new(&files).imports();
    assert_eq!(imports.iter().map(text).collect::<Vec<_>>(), ["a/b a/c", "a/c other", "other a/b/deep"]);
    assert_eq!(
        cycles(&imports),
        [": a -> other (a/c uses super::super::other)", ": other -> a (other uses crate::a::E)"]
    );
    files[3].1.push_str("fn f(b: super::B) {}\n");
    files[4].1.clear();
    let found = cycles(&Graph::new(&files).imports());
    assert_eq!(found, ["a: b -> c (a/b uses crate::a::C)", "a: c -> b (a/c uses super::B)"]);
}
