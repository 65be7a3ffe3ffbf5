//! What labels are worth: `jtav table labels`, with rivals beside the checkpoint.
//!
//! ```text
//! rated texts without the sealed tenth ─► TF-IDF, MiniLM pools ─► logistic regression ┐
//! VADER ──────────────────────────────────────────────────────────────────────────────┼─► LabelModel ─► Answers ─► figures
//! checkpoints ────────────────────────────────────────────────────────────────────────┘                ▲
//! predictions that others wrote down ──────────────────────────────────────────────────────────────────┘
//! ```

mod common_sense;
mod figures;
mod given;
mod model;
mod other;
mod rated;
mod rivals;
mod semantic;
mod sentences;
mod served;
mod sets;
mod table;
mod tfidf;
mod view;
mod votes;

pub use common_sense::{CommonSenseFigures, CommonSensePost, Label, common_sense_figures, read_common_sense};
pub use figures::{Figure, Items};
pub use given::GivenAnswers;
pub use model::{Answer, LabelModel, TextParts};
pub use other::{OtherPosts, make_other};
pub use rated::{NEUTRAL_BAND, RatedText, read_rated, resolve_file};
pub use rivals::{SentenceModel, TfIdfModel, VaderModel};
pub use semantic::{SemanticText, precision_at_10, read_semantic};
pub use sentences::{SentenceVectors, Sentences};
pub use served::ServedModel;
pub use sets::{PackFigures, PackSet};
pub use table::{LabelOptions, LabelRow, LabelTable, SemanticTable, Sizes, label_table, write_label_table};
pub use tfidf::{SparseRows, TfIdf};
pub use votes::{DenseRows, FeatureRows, Scaling, VoteRegression};
