//! Word vectors from a file or from training.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use fasttext::FastText;
use fasttext::args::{Args, LossName, ModelName};
use finalfusion::compat::fasttext::ReadFastText;
use finalfusion::compat::text::ReadTextDims;
use finalfusion::io::{MmapEmbeddings, WriteEmbeddings};
use finalfusion::prelude::{Embeddings, StorageWrap, VocabWrap};
use finalfusion::storage::{NdArray, Storage};
use finalfusion::vocab::{FastTextSubwordVocab, SimpleVocab, Vocab, WordIndex};
use sha2::{Digest, Sha256};

use super::WordsError;
use super::check::{self, Format, MAX_DIMENSION};

/// Passes over the texts. More than fastText's 5, since a pack's texts are short and few; chosen of the two on the
/// validation split of `polarity-posts`.
const EPOCHS: i32 = 20;
/// Rows that the hashed n-grams share.
const BUCKETS: i32 = 50_000;
/// A word has a row of its own when the texts hold it this often.
const MIN_COUNT: i32 = 2;
/// Frequent words are passed over more often the smaller this is; fastText's 1e-4 is meant for corpora that are a
/// thousand times larger and would leave little of a pack.
const SUBSAMPLING: f64 = 1e-3;
/// Largest seed of the generator that fastText uses, 2^31 - 2; it takes 0 for 1.
const SEEDS: u64 = 2_147_483_646;

/// Frozen word vectors.
///
/// A word with a row of its own is the mean of that row and of the rows of its n-grams; any other word is the mean of
/// the rows of its n-grams (Bojanowski et al. 2017; n-grams of `<word>`, hashed as the original program hashes them).
/// A file without n-grams knows its own words and no other.
pub struct WordTable {
    embeddings: Embeddings<VocabWrap, StorageWrap>,
    source: String,
}

impl std::fmt::Debug for WordTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("WordTable").field(&self.describe()).finish()
    }
}

impl WordTable {
    /// Opens a fastText `.bin`, a text `.vec` (with its first line of counts) or a `.fifu` file; which of them it is
    /// stands in its first bytes, not in its name.
    ///
    /// The first two are read once, which takes as much memory as their vectors, and written into folder `cache`;
    /// from then on that copy is mapped into memory. The copy belongs to the path, size and time of the original. A
    /// mapped file must not be changed while it is in use.
    ///
    /// # Errors
    /// [`WordsError::Io`], and [`WordsError::Malformed`] for a file that is cut off, damaged, contradicts itself or
    /// holds a model without word vectors to read (quantised, with labels, with n-grams left out).
    pub fn open(path: &Path, cache: &Path) -> Result<Self, WordsError> {
        let source = path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        let format = Format::of(path)?;
        if format == Format::Finalfusion {
            return Ok(Self { embeddings: map(path)?, source });
        }
        let copy = copy_of(path, cache)?;
        if copy.exists() {
            match map(&copy) {
                Ok(embeddings) => return Ok(Self { embeddings, source }),
                Err(error) => tracing::warn!(%error, "the copy of the word vectors is made again"),
            }
        }
        let embeddings = read(path, format)?;
        write(&embeddings, &copy)?;
        drop(embeddings);
        Ok(Self { embeddings: map(&copy)?, source })
    }

    /// Trains subword vectors on texts, each a list of words: skip-gram with negative sampling over words and their
    /// n-grams of 3 to 6 letters, hashed into 50,000 rows. One thread, so that equal texts and seeds give equal
    /// vectors on equal machines.
    ///
    /// # Errors
    /// [`WordsError::Training`] for a dimension of 0 or above 10,000 and for texts in which fewer than two words
    /// stand twice; [`WordsError::Io`] when the folder for temporary files cannot be written.
    pub fn train(texts: &[Vec<String>], dimension: usize, seed: u64) -> Result<Self, WordsError> {
        if dimension == 0 || dimension > MAX_DIMENSION {
            return Err(WordsError::Training(format!("{dimension} values in a vector: use 1 to {MAX_DIMENSION}")));
        }
        check::repeated_words(texts, MIN_COUNT as usize)?;
        let folder = tempfile::tempdir().map_err(|e| io(&std::env::temp_dir(), e))?;
        let corpus = folder.path().join("texts.txt");
        write_lines(&corpus, texts).map_err(|e| io(&corpus, e))?;
        let arguments = arguments(corpus, dimension, seed);
        let failed = |error: fasttext::error::FastTextError| WordsError::Training(error.to_string());
        let model = FastText::train(arguments).map_err(failed)?;
        // One way to look a word up, whether its vectors were read or trained; and the trainer's own tables are large.
        let file = folder.path().join("vectors.bin");
        model.save_model(&file).map_err(failed)?;
        drop(model);
        let source = format!("subword vectors of the training texts, {EPOCHS} epochs, seed {seed}");
        Ok(Self { embeddings: read(&file, Format::of(&file)?)?, source })
    }

    /// Writes the vectors as a `.fifu` file, which [`open`](Self::open) maps: training takes minutes, mapping does not.
    ///
    /// # Errors
    /// [`WordsError::Io`] when the file cannot be written; no half of it is left behind.
    pub fn save(&self, path: &Path) -> Result<(), WordsError> {
        write(&self.embeddings, path)
    }

    /// Values of a vector.
    pub fn dimension(&self) -> usize {
        self.embeddings.dims()
    }

    /// Source, dimension and words, for the footnote of a table.
    pub fn describe(&self) -> String {
        let kind = if self.has_subwords() { "with n-grams" } else { "without n-grams" };
        format!("{} ({} values, {} words, {kind})", self.source, self.dimension(), self.embeddings.len())
    }

    /// The vector of `word`, `dimension` finite values. `None` for a word that the source knows nothing of: one that
    /// a file without n-grams does not list, or one shorter than the shortest n-gram (with n-grams from 3 letters
    /// on, every word has one). Never a random vector.
    pub fn vector(&self, word: &str) -> Option<Vec<f32>> {
        let storage = self.embeddings.storage();
        let vector = match self.embeddings.vocab().idx(word)? {
            WordIndex::Word(row) => {
                // Rows of words are kept at length 1, with the true length beside them.
                let norm = self.embeddings.norms().map_or(1.0, |norms| norms[row]);
                storage.embedding(row).iter().map(|value| value * norm).collect()
            }
            WordIndex::Subword(rows) => mean(storage, &rows, self.dimension()),
        };
        vector.iter().all(|value| value.is_finite()).then_some(vector)
    }

    fn has_subwords(&self) -> bool {
        !matches!(self.embeddings.vocab(), VocabWrap::SimpleVocab(_))
    }
}

fn mean(storage: &StorageWrap, rows: &[usize], dimension: usize) -> Vec<f32> {
    let mut sum = vec![0.0; dimension];
    for &row in rows {
        for (total, value) in sum.iter_mut().zip(storage.embedding(row).iter()) {
            *total += value;
        }
    }
    sum.iter().map(|total| total / rows.len() as f32).collect()
}

fn arguments(input: PathBuf, dimension: usize, seed: u64) -> Args {
    Args {
        input,
        model: ModelName::SkipGram,
        loss: LossName::NegativeSampling,
        dim: dimension as i32,
        epoch: EPOCHS,
        min_count: MIN_COUNT,
        bucket: BUCKETS,
        minn: 3,
        maxn: 6,
        neg: 5,
        ws: 5,
        lr: 0.05,
        t: SUBSAMPLING,
        thread: 1,
        seed: (1 + seed % SEEDS) as i32,
        // No word holds a blank, so none is taken for a label.
        label: " ".to_owned(),
        verbose: 0,
        ..Args::default()
    }
}

/// One text a line, words between blanks.
fn write_lines(path: &Path, texts: &[Vec<String>]) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for words in texts {
        writeln!(file, "{}", words.join(" "))?;
    }
    file.flush()
}

/// Where the mapped copy of a file lies.
fn copy_of(path: &Path, cache: &Path) -> Result<PathBuf, WordsError> {
    let path = path.canonicalize().map_err(|e| io(path, e))?;
    let facts = path.metadata().map_err(|e| io(&path, e))?;
    let modified = facts.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let key = format!("1\n{}\n{}\n{}", path.display(), facts.len(), modified.as_nanos());
    Ok(cache.join(format!("words-{}.fifu", &hex::encode(Sha256::digest(key))[..16])))
}

/// Reads a file that was not made for mapping.
fn read(path: &Path, format: Format) -> Result<Embeddings<VocabWrap, StorageWrap>, WordsError> {
    type Text = Embeddings<SimpleVocab, NdArray>;
    type Subwords = Embeddings<FastTextSubwordVocab, NdArray>;
    match format {
        Format::FastText => match check::fasttext(path)? {
            check::Utf8::Valid => guarded(path, |file| Subwords::read_fasttext(file).map(Into::into)),
            check::Utf8::Damaged => guarded(path, |file| Subwords::read_fasttext_lossy(file).map(Into::into)),
        },
        Format::Text => match check::text(path)? {
            check::Utf8::Valid => guarded(path, |file| Text::read_text_dims(file).map(Into::into)),
            check::Utf8::Damaged => guarded(path, |file| Text::read_text_dims_lossy(file).map(Into::into)),
        },
        Format::Finalfusion => map(path),
    }
}

/// Maps a `.fifu` file.
fn map(path: &Path) -> Result<Embeddings<VocabWrap, StorageWrap>, WordsError> {
    check::finalfusion(path)?;
    guarded(path, Embeddings::mmap_embeddings)
}

/// Calls a reader of the library. It states what it takes for granted with `assert!`; what the checks before it let
/// through all the same must end as an error of the file and not of the program.
fn guarded<T>(
    path: &Path,
    reader: impl FnOnce(&mut BufReader<File>) -> finalfusion::error::Result<T>,
) -> Result<T, WordsError> {
    let mut file = BufReader::new(File::open(path).map_err(|e| io(path, e))?);
    let malformed = |reason: String| WordsError::Malformed { path: path.to_owned(), reason };
    match catch_unwind(AssertUnwindSafe(|| reader(&mut file))) {
        Ok(read) => read.map_err(|error| malformed(error.to_string())),
        Err(_) => Err(malformed("holds what the reader of word vectors does not expect".to_owned())),
    }
}

/// Writes beside the final name first, so that no run ever finds half a file.
fn write(embeddings: &Embeddings<VocabWrap, StorageWrap>, to: &Path) -> Result<(), WordsError> {
    let folder = to.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| io(folder, e))?;
    let unfinished = tempfile::NamedTempFile::new_in(folder).map_err(|e| io(folder, e))?;
    let mut file = BufWriter::new(unfinished.as_file());
    let failed = |error: finalfusion::error::Error| io(to, std::io::Error::other(error.to_string()));
    embeddings.write_embeddings(&mut file).map_err(failed)?;
    file.flush().map_err(|e| io(to, e))?;
    drop(file);
    unfinished.persist(to).map_err(|e| io(to, e.error))?;
    Ok(())
}

fn io(path: &Path, source: std::io::Error) -> WordsError {
    WordsError::Io { path: path.to_owned(), source }
}
