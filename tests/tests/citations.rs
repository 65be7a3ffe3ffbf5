//! Every citation leads somewhere: decisions, pages, sections, files, and the paper's own numbers.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use jtav_testkit::workspace_root;
use jtav_tests::citations::{Cited, Language, anchor, citations, headings, number};
use serde_json::Value;

/// Folders that hold nothing written here.
const SKIPPED: [&str; 6] = ["target", "third_party", ".git", ".cache", "corpus", "__pycache__"];

/// Everything that can be cited.
struct Repository {
    root: PathBuf,
    /// Below the root.
    files: Vec<PathBuf>,
    decisions: BTreeSet<u32>,
    rules: BTreeSet<u32>,
    /// Sections and equations of the paper that docs/networks.md lists.
    paper: BTreeSet<(&'static str, String)>,
}

impl Repository {
    fn open() -> Result<Self> {
        let root = workspace_root();
        let mut files = Vec::new();
        collect(&root, &root, &mut files)?;
        let decision = |file: &PathBuf| {
            let name = file.strip_prefix("docs/adr").ok()?.to_str()?;
            name.get(..4)?.parse().ok()
        };
        let read = |path: &str| std::fs::read_to_string(root.join(path)).with_context(|| path.to_owned());
        let rules = read("STYLE.md")?.lines().filter_map(|line| number(line)?.0.into()).collect();
        let paper = of_the_papers_table(&read("docs/networks.md")?)?;
        Ok(Self { decisions: files.iter().filter_map(decision).collect(), rules, paper, files, root })
    }

    /// Whether what is cited in `from` is there.
    fn holds(&self, from: &Path, cited: &Cited) -> bool {
        match cited {
            Cited::Decision(decision) => self.decisions.contains(decision),
            Cited::File(path) => self.find(from, path).is_some(),
            Cited::Section { file, name } => self
                .text_of(from, file)
                .is_some_and(|text| headings(&text).contains(&name.as_str()) || text.contains(&format!("**{name},"))),
            Cited::Rule(rule) => self.rules.contains(rule),
            Cited::Paper { kind, number } => self.paper.contains(&(*kind, number.clone())),
            Cited::Link(target) => self.leads(from, target),
            Cited::Nowhere(_) => false,
        }
    }

    fn leads(&self, from: &Path, target: &str) -> bool {
        let (path, section) = target.split_once('#').map_or((target, None), |(path, section)| (path, Some(section)));
        let folder = from.parent().unwrap_or(Path::new(""));
        let file = if path.is_empty() { self.root.join(from) } else { self.root.join(folder).join(path) };
        match section {
            None => file.exists(),
            // A line of a source (`#L10`) moves with every edit.
            Some(section) => std::fs::read_to_string(file)
                .is_ok_and(|text| headings(&text).iter().any(|heading| anchor(heading) == section)),
        }
    }

    /// A path is written from the root, from the file's own folder, or from one between them, such as a crate's. A name
    /// alone may be that of any file: `MODEL_CARD.md`.
    fn find(&self, from: &Path, path: &str) -> Option<PathBuf> {
        let between = from.ancestors().skip(1).map(|folder| self.root.join(folder).join(path));
        let named = || self.files.iter().find(|file| file.file_name().is_some_and(|name| name == path));
        between.into_iter().find(|file| file.exists()).or_else(|| Some(self.root.join(named()?)))
    }

    fn text_of(&self, from: &Path, path: &str) -> Option<String> {
        std::fs::read_to_string(self.find(from, path)?).ok()
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, entry.path());
        let skipped = path.components().next_back().is_some_and(
            |last| matches!(last, Component::Normal(name) if SKIPPED.iter().any(|skipped| name == *skipped)),
        );
        if kind.is_dir() && !skipped {
            collect(root, &path, files)?;
        } else if kind.is_file() {
            files.push(path.strip_prefix(root)?.to_owned());
        }
    }
    Ok(())
}

/// The table of the paper's sections: number, subject, equations.
fn of_the_papers_table(text: &str) -> Result<BTreeSet<(&'static str, String)>> {
    let rows = text.lines().skip_while(|line| !line.starts_with("| section |")).skip(2);
    let mut found = BTreeSet::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        found.insert(("section", cells[1].to_owned()));
        found.extend(number(cells[3]).map(|(equation, _)| ("equation", equation.to_string())));
    }
    ensure!(found.len() > 8, "docs/networks.md lists {found:?} of the paper");
    Ok(found)
}

#[test]
fn every_citation_leads_somewhere() -> Result<()> {
    let repository = Repository::open()?;
    let (mut seen, mut broken) = (0, Vec::new());
    // The reader's own tests, and these, are full of citations that lead nowhere.
    for file in repository.files.iter().filter(|file| !file.ends_with("citations.rs")) {
        let Some(language) = Language::of(file) else { continue };
        let text = std::fs::read_to_string(repository.root.join(file)).with_context(|| file.display().to_string())?;
        for (line, cited) in citations(&text, language) {
            seen += 1;
            if !repository.holds(file, &cited) {
                broken.push(format!("{}:{line}: {cited:?}", file.display()));
            }
        }
    }
    assert!(seen > 500, "only {seen} citations were found");
    assert!(broken.is_empty(), "these lead nowhere:\n{}", broken.join("\n"));
    Ok(())
}

#[test]
fn what_leads_nowhere_is_not_held() -> Result<()> {
    let repository = Repository::open()?;
    let from = Path::new("crates/store/src/lib.rs");
    let section = |name: &str| Cited::Section { file: "docs/networks.md".to_owned(), name: name.to_owned() };
    let paper = |kind, number: &str| Cited::Paper { kind, number: number.to_owned() };
    let file = |path: &str| Cited::File(path.to_owned());
    let link = |target: &str| Cited::Link(target.to_owned());
    for held in
        [Cited::Decision(1), section("Text"), section("F5"), paper("equation", "3"), file("STYLE.md"), Cited::Rule(1)]
    {
        assert!(repository.holds(from, &held), "{held:?}");
    }
    for lost in [
        Cited::Decision(9999),
        section("Video"),
        section("F99"),
        paper("equation", "12"),
        file("docs/none.md"),
        Cited::Rule(99),
    ] {
        assert!(!repository.holds(from, &lost), "{lost:?}");
    }
    let readme = Path::new("README.md");
    assert!(repository.holds(readme, &link("docs/networks.md#the-factorised-form")));
    assert!(!repository.holds(readme, &link("docs/networks.md#nothing")));
    assert!(!repository.holds(readme, &link("docs/none.md")));
    Ok(())
}

/// The counts of `modern` in docs/networks.md, from the header of the bundled weights.
#[test]
fn the_page_of_the_networks_counts_what_the_bundled_checkpoint_holds() -> Result<()> {
    let root = workspace_root();
    let bytes = std::fs::read(root.join("models/jtav-modern/weights.safetensors"))?;
    let (length, rest) = bytes.split_first_chunk::<8>().context("a header")?;
    let header = rest.get(..u64::from_le_bytes(*length) as usize).context("a whole header")?;
    let header: serde_json::Map<String, Value> = serde_json::from_slice(header)?;
    let page = std::fs::read_to_string(root.join("docs/networks.md"))?;
    let (_, page) = page.split_once("## Parameter counts").context("the counts")?;
    for network in ["text", "audio", "image", "fusion"] {
        let tensors = header.iter().filter(|(name, _)| name.starts_with(&format!("{network}.")));
        let counted = tensors.filter(|(name, _)| !name.contains(".running_"));
        let sizes = counted.map(|(_, tensor)| {
            let shape = tensor["shape"].as_array().map(Vec::as_slice).unwrap_or_default();
            shape.iter().filter_map(Value::as_u64).product::<u64>()
        });
        let row = page.lines().find(|line| line.starts_with(&format!("| {network} |"))).context(network)?;
        let written: String = row.split('|').nth(2).unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
        assert_eq!(written, sizes.sum::<u64>().to_string(), "{network}: {row}");
    }
    Ok(())
}
