//! `jtav model pack`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use jtav_feed_processor::exit;
use jtav_model::Base;
use jtav_model::checkpoint::{MANIFEST, WEIGHTS};
use jtav_settings::existing_or_bundled;
use serde_json::json;

use super::folder::{Verified, WeightsArg, megabytes, of_a_base};
use crate::failure::coded;
use crate::output::outln;

/// What goes with base weights: whose they are, and the texts of their licences.
const LICENCES: [(&str, &str); 3] = [
    ("NOTICE.md", include_str!("../../../../../models/bases/NOTICE.md")),
    ("LICENSES/Apache-2.0.txt", include_str!("../../../../../models/bases/LICENSES/Apache-2.0.txt")),
    ("LICENSES/CC-BY-SA-3.0.txt", include_str!("../../../../../models/bases/LICENSES/CC-BY-SA-3.0.txt")),
];
/// What a trainer writes beside the weights, for people.
const CARD: &str = "MODEL_CARD.md";
/// A longer card is not copied: it is none.
const MAX_CARD_BYTES: u64 = 1 << 20;

/// `jtav model pack`.
#[derive(Debug, Args)]
#[command(
    after_help = "Every file is held against the hash that the checkpoint names before anything is written; the manifest comes last,\n\
                  so that a folder whose writing was cut short does not load. NOTICE.md and LICENSES belong to the base weights:\n\
                  whoever passes the folder on passes them on with it.\n\n\
                  Example:\n  jtav model pack models/jtav-modern packed && jtav label --model packed posts.jsonl"
)]
pub struct PackArgs {
    /// Folder of the checkpoint.
    folder: PathBuf,
    /// Folder to write; created, and empty unless --force is given.
    out: PathBuf,
    /// Base weights.
    #[command(flatten)]
    weights: WeightsArg,
    /// Write into a folder that is not empty; files of the same names are replaced, others stay.
    #[arg(long)]
    force: bool,
    /// One line of JSON: out, version, bytes, files.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &PackArgs) -> anyhow::Result<u8> {
    let (folder, out) =
        (existing_or_bundled(&arguments.folder).map_err(|e| coded(exit::DATA)(e.into()))?, &arguments.out);
    let found = Verified::read(&folder, arguments.weights.weights.as_deref())?;
    let bases = distinct(found.manifest.bases.values()).map_err(coded(exit::DATA))?;
    if !arguments.force && is_filled(out)? {
        return Err(coded(exit::USAGE)(anyhow!("{} is not empty; name another folder, or add --force", out.display())));
    }
    // Nothing is written unless all of it is there.
    for base in bases.values() {
        found.bases.read(base).map_err(of_a_base)?;
    }
    let mut packed = Packed { out, files: Vec::new() };
    for base in bases.values() {
        packed.write(&base.file, &found.bases.read(base).map_err(of_a_base)?)?;
    }
    let has_known = bases.values().any(|base| base.licence().is_some());
    for (file, text) in LICENCES.iter().filter(|_| has_known) {
        packed.write(file, text.as_bytes())?;
    }
    if let Some(card) = card(&folder)? {
        packed.write(CARD, &card)?;
    }
    packed.write(WEIGHTS, &found.weights)?;
    let manifest = folder.join(MANIFEST);
    packed.write(MANIFEST, &std::fs::read(&manifest).with_context(|| format!("reading {}", manifest.display()))?)?;
    packed.say(&found.version, &bases, arguments.json)?;
    Ok(exit::OK)
}

/// The bases by their files.
///
/// # Errors
/// Two that want the same file, or one that wants the file of something else.
fn distinct<'a>(bases: impl Iterator<Item = &'a Base>) -> anyhow::Result<BTreeMap<&'a str, &'a Base>> {
    let mut by_file: BTreeMap<&str, &Base> = BTreeMap::new();
    for base in bases {
        let is_taken = [MANIFEST, WEIGHTS, CARD].contains(&base.file.as_str())
            || LICENCES.iter().any(|(file, _)| file.split('/').next() == Some(base.file.as_str()))
            || by_file.get(base.file.as_str()).is_some_and(|other| other.sha256 != base.sha256);
        if is_taken {
            return Err(anyhow!("the checkpoint names a base `{}`, and another file of it has that name", base.file));
        }
        by_file.insert(&base.file, base);
    }
    Ok(by_file)
}

fn is_filled(folder: &Path) -> anyhow::Result<bool> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("{}", folder.display())),
    }
}

fn card(folder: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let path = folder.join(CARD);
    let is_card = std::fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= MAX_CARD_BYTES);
    is_card.then(|| std::fs::read(&path).with_context(|| format!("reading {}", path.display()))).transpose()
}

struct Packed<'a> {
    out: &'a Path,
    files: Vec<(String, usize)>,
}

impl Packed<'_> {
    /// Writes beside the target and renames over it.
    fn write(&mut self, file: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.out.join(file);
        let beside = self.out.join(format!("{file}.part"));
        let folder = path.parent().unwrap_or(self.out);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&beside, bytes))
            .and_then(|()| std::fs::rename(&beside, &path))
            .with_context(|| format!("writing {}", path.display()))?;
        self.files.push((file.to_owned(), bytes.len()));
        Ok(())
    }

    fn say(&self, version: &str, bases: &BTreeMap<&str, &Base>, as_json: bool) -> anyhow::Result<()> {
        let total: usize = self.files.iter().map(|(_, bytes)| bytes).sum();
        if as_json {
            let files: Vec<_> =
                self.files.iter().map(|(file, bytes)| json!({ "file": file, "bytes": bytes })).collect();
            outln!("{}", json!({ "out": self.out, "version": version, "bytes": total, "files": files }))?;
            return Ok(());
        }
        for (file, bytes) in &self.files {
            outln!("{:>9}  {file}", megabytes(*bytes))?;
        }
        outln!("{:>9}  {version} in {}, with all that it needs", megabytes(total), self.out.display())?;
        for base in bases.values().filter(|base| base.licence().is_none()) {
            outln!(
                "the licence of `{}` is not known here: ask whoever made the checkpoint before you pass it on",
                base.file
            )?;
        }
        Ok(())
    }
}
