//! Which files of a crate import which, and the circles among them. It reads `use` declarations, and paths in the code that
//! begin with `crate`, `super` or a module of the file's own; what only tests use is left out. A name that a file only passes
//! on is looked up where it is defined.

use std::collections::{BTreeMap, BTreeSet};

/// Path of a module within its crate; the root has none.
type Module = Vec<String>;

/// What stands before an item that only tests have.
const TEST_MARK: &str = "#[cfg(test)]";

/// Chains of re-exports that are followed.
const MAX_HOPS: usize = 8;

/// Source files of a crate by path below `src`, with their text.
pub type Sources = BTreeMap<String, String>;

/// Files that import one another, directly or not; each group sorted.
pub fn circles(sources: &Sources) -> Vec<Vec<String>> {
    let graph = imports(sources);
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        graph.keys().map(|file| (file.as_str(), reach(&graph, file))).collect();
    let mut found: Vec<Vec<String>> = Vec::new();
    for (file, reach) in &reached {
        if !reach.contains(file) || found.iter().any(|circle| circle.iter().any(|member| member == file)) {
            continue;
        }
        let members = reach.iter().filter(|other| reached[**other].contains(file));
        found.push(members.map(|member| (*member).to_owned()).collect());
    }
    found
}

/// The files that are not for tests alone.
pub fn of_production(sources: &Sources) -> impl Iterator<Item = (&String, &String)> {
    let only_tests: Vec<Module> = sources.iter().flat_map(|(name, text)| test_modules(name, text)).collect();
    sources.iter().filter(move |(name, _)| {
        !name.ends_with("_tests.rs") && !only_tests.iter().any(|module| module_of(name).starts_with(module))
    })
}

fn reach<'a>(graph: &'a BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut left: Vec<&str> = vec![from];
    while let Some(file) = left.pop() {
        for next in &graph[file] {
            if seen.insert(next.as_str()) {
                left.push(next);
            }
        }
    }
    seen
}

/// Of each file, the files that define what it imports.
pub fn imports(sources: &Sources) -> BTreeMap<String, BTreeSet<String>> {
    let files = Crate::read(sources);
    let imports_of = |(module, file): (&Module, &File)| {
        let found = file.paths.iter().filter_map(|path| files.definer(module, path, MAX_HOPS));
        (file.name.clone(), found.filter(|other| *other != file.name).collect())
    };
    files.0.iter().map(imports_of).collect()
}

struct File {
    name: String,
    text: String,
    /// What it imports, as written.
    paths: Vec<Vec<String>>,
    /// What it passes on: the name and what it stands for.
    passed_on: Vec<(String, Vec<String>)>,
}

struct Crate(BTreeMap<Module, File>);

impl Crate {
    fn read(sources: &Sources) -> Self {
        let texts: BTreeMap<Module, (String, String)> =
            of_production(sources).map(|(name, text)| (module_of(name), (name.clone(), production(text)))).collect();
        let file = |(module, (name, text)): (&Module, &(String, String))| {
            let (mut paths, mut passed_on) = (Vec::new(), Vec::new());
            for (path, is_public) in used(text) {
                let name = path.last().cloned().unwrap_or_default();
                // What is only passed on is no import of this file.
                if is_public && count(text, &name) < 2 {
                    passed_on.push((name, path));
                } else {
                    passed_on.push((name, path.clone()));
                    paths.push(path);
                }
            }
            paths.extend(inline_paths(&without_imports(text)));
            (module.clone(), File { name: name.clone(), text: text.clone(), paths, passed_on })
        };
        Self(texts.iter().map(file).collect())
    }

    /// The file that defines what a path of `module` names, if that is of this crate.
    fn definer(&self, module: &Module, path: &[String], hops: usize) -> Option<String> {
        let (mut at, rest) = self.base(module, path)?;
        for name in rest {
            if self.0.contains_key(&child(&at, name)) {
                at = child(&at, name);
                continue;
            }
            let file = self.0.get(&at)?;
            let is_here = defines(&file.text, name);
            if !is_here && hops > 0 {
                let passed_on = file.passed_on.iter().filter(|(passed, _)| passed == name || passed == "*");
                let found = passed_on.filter_map(|(_, path)| {
                    let all: Vec<String> = path.iter().filter(|name| *name != "*").cloned().collect();
                    let all = if path.ends_with(&["*".to_owned()]) { [all, vec![name.clone()]].concat() } else { all };
                    self.definer(&at, &all, hops - 1)
                });
                let found: Vec<String> = found.collect();
                let elsewhere = found.iter().find(|found| **found != file.name);
                return elsewhere.cloned().or_else(|| Some(file.name.clone()));
            }
            return Some(file.name.clone());
        }
        self.0.get(&at).map(|file| file.name.clone())
    }

    /// Where a path begins, and what is left of it.
    fn base<'a>(&self, module: &Module, path: &'a [String]) -> Option<(Module, &'a [String])> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some((Module::new(), rest)),
            "self" => Some((module.clone(), rest)),
            "super" => {
                let parent = module.split_last()?.1.to_vec();
                if rest.first().is_some_and(|next| next == "super") {
                    self.base(&parent, rest)
                } else {
                    Some((parent, rest))
                }
            }
            name if self.0.contains_key(&child(module, name)) => Some((module.clone(), path)),
            _ => None,
        }
    }
}

fn module_of(name: &str) -> Module {
    let mut parts: Module = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| last == "mod") || name == "lib.rs" || name == "main.rs" {
        parts.pop();
    }
    parts
}

fn child(module: &Module, name: &str) -> Module {
    let mut path = module.clone();
    path.push(name.to_owned());
    path
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where a word stands, but not as a part of a longer one.
fn places<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| !text[..*at].ends_with(is_word) && !text[at + word.len()..].starts_with(is_word))
}

fn count(text: &str, word: &str) -> usize {
    if word == "*" { 0 } else { places(text, word).count() }
}

fn defines(text: &str, name: &str) -> bool {
    const KINDS: [&str; 9] = ["fn", "struct", "enum", "trait", "type", "const", "static", "union", "macro_rules!"];
    places(text, name).any(|at| {
        let before = text[..at].trim_end();
        before.len() < at && KINDS.iter().any(|kind| before.ends_with(kind))
    })
}

/// The text without comments, strings and what only tests are made of.
fn production(text: &str) -> String {
    let mut text = without_literals(text);
    while let Some(start) = text.find(TEST_MARK) {
        let rest = &text[start..];
        let opens = rest.find('{').unwrap_or(rest.len());
        let ends = rest.find(';').unwrap_or(rest.len());
        let length = if ends < opens { ends + 1 } else { closing(rest, opens) };
        text.replace_range(start..(start + length).min(text.len()), "");
    }
    text
}

/// Modules that a file declares for tests alone.
fn test_modules(name: &str, text: &str) -> Vec<Module> {
    let text = without_literals(text);
    let declared = text.split(TEST_MARK).skip(1).filter_map(|rest| {
        let (declaration, _) = rest.split_once([';', '{'])?;
        let module = declaration.trim().rsplit(' ').next().unwrap_or_default();
        declaration.contains("mod ").then(|| child(&module_of(name), module))
    });
    declared.collect()
}

/// The length of the text up to the brace that closes the one at `opens`.
fn closing(text: &str, opens: usize) -> usize {
    let mut depth = 0;
    for (at, c) in text[opens..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return opens + at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

fn without_literals(text: &str) -> String {
    let (mut clean, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(c) = rest.chars().next() {
        let skipped = literal(rest, clean.chars().last());
        if skipped > 0 {
            clean.push(' ');
            rest = &rest[skipped..];
        } else {
            clean.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    clean
}

/// Bytes of the comment or literal that the text begins with; 0 where it begins with neither.
fn literal(text: &str, before: Option<char>) -> usize {
    let until = |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return until("*/", 2);
    }
    let is_new_word = !before.is_some_and(is_word);
    let raw = text.strip_prefix("br").or_else(|| text.strip_prefix('r')).filter(|_| is_new_word);
    if let Some(raw) = raw {
        let hashes: String = raw.chars().take_while(|c| *c == '#').collect();
        if raw[hashes.len()..].starts_with('"') {
            return until(&format!("\"{hashes}"), text.len() - raw.len() + hashes.len() + 1);
        }
    }
    if text.starts_with('"') {
        return quoted(text, '"');
    }
    // A lifetime has no closing quote within a character or an escape.
    let is_char = text.starts_with('\'') && (text[1..].starts_with('\\') || text.chars().nth(2) == Some('\''));
    if is_char { quoted(text, '\'') } else { 0 }
}

fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// The paths of all `use` declarations, and whether each is passed on.
fn used(text: &str) -> Vec<(Vec<String>, bool)> {
    let mut found = Vec::new();
    for at in places(text, "use") {
        let before = text[..at].trim_end();
        let is_public = before.ends_with("pub")
            || (before.ends_with(')')
                && before
                    .rsplit("pub")
                    .next()
                    .is_some_and(|scope| scope.starts_with('(') && scope.matches(')').count() == 1));
        let Some(end) = text[at..].find(';') else { continue };
        let mut paths = Vec::new();
        tree(text[at + "use".len()..at + end].trim(), &[], &mut paths);
        found.extend(paths.into_iter().map(|path| (path, is_public)));
    }
    found
}

/// Takes a tree of imports apart.
fn tree(text: &str, prefix: &[String], found: &mut Vec<Vec<String>>) {
    let names =
        |text: &str| text.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    let Some((head, group)) = text.split_once('{') else {
        let name = text.split(" as ").next().unwrap_or_default();
        let mut path: Vec<String> = [prefix.to_vec(), names(name)].concat();
        if path.len() > 1 && path.ends_with(&["self".to_owned()]) {
            path.pop();
        }
        found.push(path);
        return;
    };
    let prefix: Vec<String> = [prefix.to_vec(), names(head)].concat();
    let group = group.trim_end().trim_end_matches('}');
    let (mut depth, mut start) = (0_i32, 0);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = group[start..at].trim();
                if !part.is_empty() {
                    tree(part, &prefix, found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// The text without its `use` declarations.
fn without_imports(text: &str) -> String {
    let (mut kept, mut from) = (String::with_capacity(text.len()), 0);
    for at in places(text, "use").filter(|at| text[at + "use".len()..].starts_with(' ')) {
        if at >= from {
            kept.push_str(&text[from..at]);
            from = text[at..].find(';').map_or(text.len(), |length| at + length);
        }
    }
    kept + &text[from..]
}

/// Paths in the code itself that begin with `crate`, `super` or a module that is declared here.
fn inline_paths(text: &str) -> Vec<Vec<String>> {
    let declared = places(text, "mod").filter_map(|at| text[at + "mod".len()..].split_once(';'));
    let beginnings: BTreeSet<&str> = declared.map(|(name, _)| name.trim()).chain(["crate", "super"]).collect();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].find("::") {
        let separator = at + next;
        at = separator + 2;
        let start = text[..separator].rfind(|c| !is_word(c)).map_or(0, |before| before + 1);
        let first = &text[start..separator];
        // The middle of a longer path, or a declaration.
        if text[..start].ends_with(':') || !beginnings.contains(first) {
            continue;
        }
        let mut path = vec![first.to_owned()];
        let mut rest = &text[separator..];
        while let Some(after) = rest.strip_prefix("::") {
            let length = after.find(|c| !is_word(c)).unwrap_or(after.len());
            if length == 0 {
                break;
            }
            path.push(after[..length].to_owned());
            rest = &after[length..];
        }
        found.push(path);
    }
    found
}
