//! Reads the citations out of sources and documents: decisions, pages, sections, files, and the paper's own numbers.

use std::path::Path;

/// What a place in a source or a document points at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cited {
    /// `ADR 12`.
    Decision(u32),
    /// A path, as it is written.
    File(String),
    /// `FILE.md, "Heading"`, or `FILE.md, F1` for a paragraph that begins with that name in bold.
    Section { file: String, name: String },
    /// `STYLE.md, rule 4`.
    Rule(u32),
    /// `paper, section 3.2` or `paper, equation 3`.
    Paper { kind: &'static str, number: String },
    /// The target of a link in Markdown.
    Link(String),
    /// Something that no reader of the repository has.
    Nowhere(String),
}

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Markdown,
    Rust,
    /// Everything with `#` for comments.
    Script,
}

impl Language {
    /// Nothing for a file that holds no citations.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("md") => Some(Self::Markdown),
            Some("rs") => Some(Self::Rust),
            Some("toml" | "py" | "sh" | "yml" | "yaml") => Some(Self::Script),
            _ => ["Makefile", "Dockerfile", "run"].iter().any(|name| path.ends_with(name)).then_some(Self::Script),
        }
    }
}

/// A word with its line, from 1. Marks of comments are left out, so that a citation may go over two lines.
struct Word<'a> {
    text: &'a str,
    line: usize,
    comment: bool,
}

fn words(text: &str, language: Language) -> Vec<Word<'_>> {
    let marks: &[&str] = match language {
        Language::Markdown => &[],
        Language::Rust => &["//!", "///", "//"],
        Language::Script => &["#"],
    };
    let mut words = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        let mut line = line.trim_start();
        fenced ^= language == Language::Markdown && line.starts_with("```");
        let mut comment = language == Language::Markdown;
        if let Some(mark) = marks.iter().find(|mark| line.starts_with(**mark)) {
            line = line[mark.len()..].trim_start_matches('#');
            comment = true;
        }
        // What is shown as code or as output is no citation.
        let shown = line.split_whitespace().filter(|word| !fenced && *word != "\\");
        words.extend(shown.map(|text| Word { text, line: index + 1, comment }));
    }
    words
}

/// The word without what stands around it.
fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

/// The number that a word begins with, and what follows it; nothing for one that is only part of a longer word.
pub fn number(word: &str) -> Option<(u32, &str)> {
    let end = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    let rest = &word[end..];
    let alone = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-')
        && !rest[rest.len().min(1)..].starts_with(|c: char| c.is_ascii_digit());
    if alone { Some((word[..end].parse().ok()?, rest)) } else { None }
}

/// All citations of a text with their lines.
pub fn citations(text: &str, language: Language) -> Vec<(usize, Cited)> {
    let words = words(text, language);
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let here = |cited: Cited| (word.line, cited);
        let next = |ahead: usize| words.get(at + ahead).map_or("", |word| word.text);
        found.extend(decisions(word.text, &words[at + 1..]).into_iter().map(|n| here(Cited::Decision(n))));
        found.extend(nowhere(word.text, next(1)).map(here));
        found.extend(of_paper(word.text, next(1), next(2)).map(here));
        for path in paths(word, language) {
            match path.strip_prefix("docs/adr/").and_then(|name| name.get(..4)?.parse().ok()) {
                Some(decision) if !path.ends_with(".md") => found.push(here(Cited::Decision(decision))),
                _ => found.push(here(Cited::File(path.clone()))),
            }
            found.extend(section(&path, word.text, &words[at + 1..]).map(here));
        }
        if language == Language::Markdown {
            found.extend(links(word.text).into_iter().map(|target| here(Cited::Link(target))));
        }
    }
    found
}

/// `ADR 2`, `ADR 2, 3`, `ADR 2 and 3`.
fn decisions(word: &str, following: &[Word<'_>]) -> Vec<u32> {
    let mut found = Vec::new();
    // A link's text follows its bracket without a blank: `[ADR`.
    if !["ADR", "ADRs"].contains(&bare(word)) {
        return found;
    }
    let mut following = following.iter().map(|word| word.text).peekable();
    while let Some((decision, rest)) = following.next().and_then(number) {
        found.push(decision);
        let goes_on = match rest {
            "," => true,
            "" => following.next_if(|word| ["and", "or", "to"].contains(word)).is_some(),
            _ => false,
        };
        if !goes_on {
            break;
        }
    }
    found
}

/// Names of documents that are not in the repository.
fn nowhere(word: &str, next: &str) -> Option<Cited> {
    let (this, next) = (bare(word).to_lowercase(), bare(next));
    let numbered = next.starts_with(|c: char| c.is_ascii_digit());
    let gone = ["jtav-spec", "style-anchors"].iter().any(|name| word.contains(name))
        || this == "design" && next.strip_prefix('D').is_some_and(|rest| number(rest).is_some())
        || this == "the" && next == "design"
        || this == "spec" && numbered
        || this == "paper" && (numbered || next.starts_with("eq")) && !word.ends_with(|c: char| !c.is_alphanumeric());
    gone.then(|| Cited::Nowhere(format!("{word} {next}")))
}

/// `paper, section 3.1.2` and `paper, equation 3`.
fn of_paper(word: &str, kind: &str, number: &str) -> Option<Cited> {
    let kind = ["section", "equation"].into_iter().find(|name| *name == kind)?;
    let cited = word.ends_with("paper,");
    let number = number.trim_end_matches(|c: char| !c.is_ascii_digit()).to_owned();
    cited.then_some(Cited::Paper { kind, number })
}

/// Folders at the top whose files are cited by their path.
const FOLDERS: [&str; 11] =
    ["actors", "config", "crates", "docs", "fuzz", "k8s", "load-tests", "models", "schemas", "scripts", "services"];
/// Endings of names that are held against the files.
const ENDINGS: [&str; 9] = [".md", ".rs", ".toml", ".py", ".sh", ".json", ".yml", ".yaml", ".png"];

/// Paths in a word: documents anywhere, other files in comments and documents. A pattern is no path.
fn paths(word: &Word<'_>, language: Language) -> Vec<String> {
    if word.text.contains(['{', '$', '*', '<', '%', '…']) || word.text.contains("://") {
        return Vec::new();
    }
    let run = word.text.split(|c: char| !c.is_ascii_alphanumeric() && !"._-/".contains(c));
    let run = run.map(|path| path.trim_end_matches(['.', '-', '/']));
    let cited = |path: &&str| {
        let known = path.split('/').next().is_some_and(|first| FOLDERS.contains(&first));
        let ends = ENDINGS.iter().any(|ending| path.ends_with(ending) && path.len() > ending.len());
        let decision = path.starts_with("docs/adr/0");
        // In a source, a lone name in small letters is that of a file which the program writes.
        let named =
            language == Language::Markdown || path.contains('/') || path.starts_with(|c: char| c.is_uppercase());
        let document = path.ends_with(".md") && path.len() > ".md".len() && !path.starts_with('/') && named;
        match (word.comment, language) {
            (true, Language::Markdown | Language::Rust) => document || known && ends || decision,
            _ => known && document || decision,
        }
    };
    run.filter(cited).map(str::to_owned).collect()
}

/// What follows a document's name and a comma: `"Heading"`, `F1` or `rule 4`.
fn section(file: &str, word: &str, following: &[Word<'_>]) -> Option<Cited> {
    let first = following.first().filter(|_| word.ends_with(".md,"))?.text.trim_start_matches('\\');
    if let Some(rest) = first.strip_prefix('"') {
        let words = std::iter::once(rest).chain(following[1..].iter().map(|word| word.text));
        let mut name = String::new();
        for word in words.take(12) {
            match word.split_once('"') {
                Some((last, _)) => {
                    name.push_str(last.trim_end_matches('\\'));
                    return Some(Cited::Section { file: file.to_owned(), name });
                }
                None => name.extend([word, " "]),
            }
        }
        return None;
    }
    if first == "rule" && file.ends_with("STYLE.md") {
        return number(following.get(1)?.text).map(|(rule, _)| Cited::Rule(rule));
    }
    let name = bare(first);
    let finding = name.strip_prefix('F').is_some_and(|rest| number(rest).is_some_and(|(_, rest)| rest.is_empty()));
    finding.then(|| Cited::Section { file: file.to_owned(), name: name.to_owned() })
}

/// Targets of `[text](target)` within the repository.
fn links(word: &str) -> Vec<String> {
    let targets = word.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).map(str::to_owned).collect()
}

/// A heading as GitHub names it in links.
pub fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

pub fn headings(text: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        fenced ^= line.starts_with("```");
        if !fenced && line.starts_with('#') {
            found.push(line.trim_start_matches('#').trim());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Citations of one text, without their lines.
    fn cited(text: &str, language: Language) -> Vec<Cited> {
        citations(text, language).into_iter().map(|(_, cited)| cited).collect()
    }

    #[test]
    fn decisions_are_found_alone_and_in_lists() {
        let found = |text: &str| cited(text, Language::Rust);
        let decisions = |numbers: &[u32]| numbers.iter().copied().map(Cited::Decision).collect::<Vec<_>>();
        assert_eq!(found("// held (ADR 2)."), decisions(&[2]));
        assert_eq!(found("// what holds (ADR 2, 3 and 41), 5 of them"), decisions(&[2, 3, 41]));
        assert_eq!(found("//! goes on in the next line (ADR\n//! 24)."), decisions(&[24]));
        assert_eq!(found("// after ADR 12 3 tries, ADR 20_000"), decisions(&[12]));
        assert_eq!(found("// at its own rate (ADR 21) or 224 pixels"), decisions(&[21]));
        assert_eq!(cited("# reason (docs/adr/0004)", Language::Script), decisions(&[4]));
    }

    #[test]
    fn documents_sections_and_rules_are_found() {
        let file = |path: &str| Cited::File(path.to_owned());
        let section = |file: &str, name: &str| Cited::Section { file: file.to_owned(), name: name.to_owned() };
        let page = "docs/networks.md";
        assert_eq!(
            cited("/// shapes (docs/networks.md, \"Audio in the\n/// profile `paper`\").", Language::Rust),
            [file(page), section(page, "Audio in the profile `paper`")]
        );
        assert_eq!(
            cited(r#"let text = "see docs/networks.md, \"Fusion\"";"#, Language::Rust),
            [file(page), section(page, "Fusion")]
        );
        assert_eq!(cited("// docs/networks.md, F4).", Language::Rust), [file(page), section(page, "F4")]);
        assert_eq!(cited("// STYLE.md, rule 11", Language::Rust), [file("STYLE.md"), Cited::Rule(11)]);
        assert_eq!(cited("// `crates/kafka/src/lib.rs` and a.rs", Language::Rust), [file("crates/kafka/src/lib.rs")]);
        // Code that makes a name, and what is no comment.
        assert_eq!(cited("format!(\"docs/runbooks/{name}.md\")", Language::Rust), []);
        assert_eq!(cited("read(\"services/out.json\")", Language::Rust), []);
    }

    #[test]
    fn what_is_not_in_the_repository_is_found() {
        for text in [
            "// (design D15)",
            "// `jtav-spec` 3.2",
            "// Design D8 asks",
            "// `style-anchors`",
            "// the\n// design says",
        ] {
            assert!(matches!(cited(text, Language::Rust)[..], [Cited::Nowhere(_)]), "{text}");
        }
        for text in ["// the paper 4.1", "// (paper eq. 6)", "// spec 3.3"] {
            assert!(matches!(cited(text, Language::Rust)[..], [Cited::Nowhere(_)]), "{text}");
        }
        assert_eq!(cited("// every design differs, `spec.replicas` is 3, a paper of 2018", Language::Rust), []);
    }

    #[test]
    fn the_papers_own_numbers_are_found() {
        let paper = |kind, number: &str| Cited::Paper { kind, number: number.to_owned() };
        assert_eq!(cited("// (paper, section 3.1.2).", Language::Rust), [paper("section", "3.1.2")]);
        assert_eq!(cited("// the paper, equation\n// 3; so", Language::Rust), [paper("equation", "3")]);
    }

    #[test]
    fn links_of_markdown_are_found_outside_of_code() {
        let text = "See [one](docs/a.md#b), [two](https://example.invalid/c.md).\n```\n[three](d.md)\n```\n";
        assert_eq!(
            cited(text, Language::Markdown),
            [Cited::File("docs/a.md".to_owned()), Cited::Link("docs/a.md#b".to_owned())]
        );
        assert_eq!(anchor("Text in the profile `authors-code`"), "text-in-the-profile-authors-code");
        assert_eq!(headings("# One\n```\n# no\n```\n## Two, 2\n"), ["One", "Two, 2"]);
    }
}
