//! Base weights: files of other people's networks that ours stand on (models/bases/NOTICE.md). They are too large for the
//! repository; `scripts/setup-weights.sh` puts them under `third_party/weights`, and a checkpoint may bring its own.
//!
//! A base is known by its SHA-256: where it lies does not matter, and what has another hash is never read.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::ModelError;

/// Folder of base weights, below a checkout or an installation.
pub const FOLDER: &str = "third_party/weights";
/// Variable of the environment that names a folder of base weights.
pub const VARIABLE: &str = "JTAV_WEIGHTS_DIR";
/// A base that a stranger's checkpoint asks for is not read beyond this.
const MAX_BYTES: u64 = 1 << 30;
const CHUNK_BYTES: usize = 1 << 18;
/// Longest name of a base: it stands in messages.
const MAX_NAME_CHARS: usize = 100;

/// One file of base weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// What it is, for people: `all-MiniLM-L6-v2`.
    pub name: String,
    /// Name of the file, without a folder.
    pub file: String,
    /// SHA-256 of its bytes in hexadecimal digits.
    pub sha256: String,
}

/// The bases that are known here: what for people, file, SHA-256, SPDX identifier of the licence.
const PINNED: [[&str; 4]; 4] = [MINILM, MINILM_TOKENIZER, EFFICIENTNET_LITE0, LANGUAGE_IDENTIFICATION];
const MINILM: [&str; 4] = [
    "all-MiniLM-L6-v2",
    "minilm-l6.safetensors",
    "fdb2225bcc1994d8169ae9d74c626af0b948e186ed60bb394a8a78037858ae3a",
    "Apache-2.0",
];
const MINILM_TOKENIZER: [&str; 4] = [
    "word pieces of all-MiniLM-L6-v2",
    "minilm-l6.tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "Apache-2.0",
];
const EFFICIENTNET_LITE0: [&str; 4] = [
    "EfficientNet-Lite0",
    "efficientnet-lite0.safetensors",
    "1af48389bade26cbe881c92b818a9afa275ac32bbcac9a1ab041dd47363a5f96",
    "Apache-2.0",
];
const LANGUAGE_IDENTIFICATION: [&str; 4] =
    ["lid.176", "lid.176.ftz", "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83", "CC-BY-SA-3.0"];

impl Base {
    fn pinned([name, file, sha256, _]: [&str; 4]) -> Self {
        Self { name: name.to_owned(), file: file.to_owned(), sha256: sha256.to_owned() }
    }

    /// all-MiniLM-L6-v2: safetensors with BERT's names, matrices in f16, vectors in f32.
    pub fn minilm() -> Self {
        Self::pinned(MINILM)
    }

    /// Its word pieces: a file of the `tokenizers` library.
    pub fn minilm_tokenizer() -> Self {
        Self::pinned(MINILM_TOKENIZER)
    }

    /// EfficientNet-Lite0 with batch norm folded in: safetensors, kernels in f16, biases in f32.
    pub fn efficientnet_lite0() -> Self {
        Self::pinned(EFFICIENTNET_LITE0)
    }

    /// fastText's language identification: a model file of fastText.
    pub fn language_identification() -> Self {
        Self::pinned(LANGUAGE_IDENTIFICATION)
    }

    /// SPDX identifier of its licence (models/bases/NOTICE.md); none for a base that is not known here, whatever it is called.
    pub fn licence(&self) -> Option<&'static str> {
        PINNED.iter().find(|[_, _, sha256, _]| *sha256 == self.sha256).map(|pinned| pinned[3])
    }

    /// Whether a manifest may name it so: a file without a way out of its folder, a name that can be printed, and a whole hash.
    ///
    /// # Errors
    /// [`ModelError::Configuration`] that says what is wrong.
    pub fn check(&self) -> Result<(), ModelError> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if self.file.is_empty() || self.file.starts_with('.') || !self.file.chars().all(is_name) {
            let why = "is not the name of a file: letters, digits, `.`, `-` and `_`, not first a `.`";
            return Err(ModelError::Configuration(format!("base weights: `{}` {why}", self.file.escape_debug())));
        }
        if self.name.len() > MAX_NAME_CHARS || !self.name.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
            let why = "has a name that is not plain ASCII, or too long for a message";
            return Err(ModelError::Configuration(format!("base weights: `{}` {why}", self.file)));
        }
        let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        if self.sha256.len() != 64 || !self.sha256.chars().all(is_digit) {
            let why = "is no SHA-256 in 64 small hexadecimal digits";
            return Err(ModelError::Configuration(format!("base weights: `{}` {why}", self.sha256.escape_debug())));
        }
        Ok(())
    }
}

/// The folders in which base weights are looked for, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bases {
    folders: Vec<PathBuf>,
}

impl Bases {
    /// The checkpoint's own folder, then the one that settings or an argument name, then [`VARIABLE`], then [`FOLDER`]
    /// below `$JTAV_HOME`, below `../share/jtav` beside the executable's folder, and in the checkout that this was compiled
    /// in: the places of what ships with the program.
    pub fn new(checkpoint: Option<&Path>, given: Option<&Path>) -> Self {
        let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
        let executable = std::env::current_exe().ok();
        let installed = executable.as_deref().and_then(Path::parent).and_then(Path::parent);
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
        let homes = variable("JTAV_HOME")
            .into_iter()
            .chain(installed.map(|prefix| prefix.join("share/jtav")))
            .chain(checkout.map(Path::to_owned));
        let folders = [checkpoint, given].into_iter().flatten().map(Path::to_owned);
        Self { folders: folders.chain(variable(VARIABLE)).chain(homes.map(|home| home.join(FOLDER))).collect() }
    }

    /// These folders and no other.
    pub fn in_folders(folders: Vec<PathBuf>) -> Self {
        Self { folders }
    }

    /// Where the base is, by name alone: nothing is read.
    ///
    /// # Errors
    /// [`ModelError::BaseMissing`] where no folder has it.
    pub fn find(&self, base: &Base) -> Result<PathBuf, ModelError> {
        base.check()?;
        let places: Vec<PathBuf> = self.folders.iter().map(|folder| folder.join(&base.file)).collect();
        match places.iter().find(|path| path.is_file()) {
            Some(path) => Ok(path.clone()),
            None => {
                let Base { name, file, sha256 } = base.clone();
                Err(ModelError::BaseMissing { name, file, sha256, looked_at: places })
            }
        }
    }

    /// The bytes of a base, hashed while they are read.
    ///
    /// # Errors
    /// [`ModelError::BaseMissing`]; [`ModelError::BaseDamaged`] for other bytes than were promised, and
    /// [`ModelError::Io`] where they cannot be read.
    pub fn read(&self, base: &Base) -> Result<Vec<u8>, ModelError> {
        let path = self.find(base)?;
        let failed = |source| ModelError::io(&path, source);
        let file = std::fs::File::open(&path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        if length > MAX_BYTES {
            return Err(ModelError::malformed(&path, format!("{length} bytes; base weights have {MAX_BYTES} at most")));
        }
        let mut bytes = Vec::with_capacity(length as usize);
        let mut hash = Sha256::new();
        let mut file = file.take(MAX_BYTES);
        loop {
            let before = bytes.len();
            let read = file.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut bytes).map_err(failed)?;
            if read == 0 {
                break;
            }
            hash.update(&bytes[before..]);
        }
        let found = hex::encode(hash.finalize());
        if found != base.sha256 {
            let (name, expected) = (base.name.clone(), base.sha256.clone());
            return Err(ModelError::BaseDamaged { path, name, expected, found });
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::sha256;

    fn base_of(bytes: &[u8]) -> Base {
        Base::pinned(["a base", "base.bin", &sha256(bytes), ""])
    }

    #[test]
    fn the_pinned_hashes_are_those_that_set_up_checks() {
        let list = include_str!("../../../scripts/weights.sha256");
        let mut pinned: Vec<String> =
            [Base::minilm(), Base::minilm_tokenizer(), Base::efficientnet_lite0(), Base::language_identification()]
                .iter()
                .inspect(|base| base.check().unwrap())
                .map(|base| format!("{}  {}", base.sha256, base.file))
                .collect();
        pinned.sort_by_key(|line| line[66..].to_owned());
        assert_eq!(list.lines().collect::<Vec<_>>(), pinned);
    }

    #[test]
    fn every_pinned_base_has_a_licence_that_is_here_to_be_read() {
        let notice = include_str!("../../../models/bases/NOTICE.md");
        for base in PINNED.map(Base::pinned) {
            let licence = base.licence().unwrap();
            assert!(
                notice.contains(&format!("LICENSES/{licence}.txt")) && notice.contains(&base.sha256[..8]),
                "{licence}"
            );
        }
        assert_eq!(Base { sha256: sha256(b"other"), ..Base::minilm() }.licence(), None);
    }

    #[test]
    fn the_checkpoints_own_folder_comes_first() {
        let (own, given) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let bases = Bases::new(Some(own.path()), Some(given.path()));
        std::fs::write(given.path().join("base.bin"), "given").unwrap();
        assert_eq!(bases.read(&base_of(b"given")).unwrap(), b"given");
        std::fs::write(own.path().join("base.bin"), "own").unwrap();
        assert_eq!(bases.read(&base_of(b"own")).unwrap(), b"own");
    }

    #[test]
    fn a_file_longer_than_a_chunk_is_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..3 * CHUNK_BYTES + 7).map(|at| (at % 251) as u8).collect();
        std::fs::write(folder.path().join("base.bin"), &bytes).unwrap();
        assert_eq!(Bases::in_folders(vec![folder.path().to_owned()]).read(&base_of(&bytes)).unwrap(), bytes);
    }

    #[test]
    fn a_missing_base_names_file_hash_places_and_the_command_to_run() {
        let folder = tempfile::tempdir().unwrap();
        let base = base_of(b"nowhere");
        let error = Bases::in_folders(vec![folder.path().join("a"), folder.path().join("b")]).read(&base).unwrap_err();
        let text = error.to_string();
        for part in
            ["base.bin", &base.sha256, "a/base.bin", "b/base.bin", "scripts/setup-weights.sh", "make setup-demo"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!error.is_retryable() && !error.is_fatal());
    }

    #[test]
    fn a_damaged_base_names_both_hashes_and_the_command_to_run() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("base.bin"), "other").unwrap();
        let base = base_of(b"promised");
        let error = Bases::in_folders(vec![folder.path().to_owned()]).read(&base).unwrap_err();
        let text = error.to_string();
        for part in ["base.bin", &base.sha256, &sha256(b"other"), "scripts/setup-weights.sh"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_base_cannot_lead_out_of_its_folder() {
        let hash = sha256(b"");
        for file in ["../secret", "/etc/passwd", "", ".", "..", "a/b", "a\0b", ".hidden"] {
            assert!(Base::pinned(["x", file, &hash, ""]).check().is_err(), "{file:?}");
        }
        for name in ["x\u{1b}[2J", "a\nb", "\u{202e}x", &"x".repeat(MAX_NAME_CHARS + 1)] {
            assert!(Base::pinned([name, "file", &hash, ""]).check().is_err(), "{name:?}");
        }
        for hash in ["", "ab", &"g".repeat(64), &hash.to_uppercase()] {
            assert!(Base::pinned(["x", "file", hash, ""]).check().is_err(), "{hash:?}");
        }
    }
}
