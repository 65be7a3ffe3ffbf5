//! The networks of JTAV on libtorch: plain Rust vectors in, plain Rust vectors out.
//!
//! What serves is at the root, and no type of `tch` appears there, so that a caller neither links against libtorch's
//! headers nor learns its threading rules: [`Checkpoint::load`] verifies a folder, then [`TextNetwork`],
//! [`AudioNetwork`], [`ImageNetwork`] and [`FusionNetwork`] are each built from it on a [`DeviceChoice`] and moved to the
//! thread that owns them (they are `Send`, not `Sync`). Every call is batched and runs without gradients.
//!
//! What they are made of speaks tensors, for the two crates that move weights, `jtav-training` and `jtav-research`
//! (ADR 31): [`parameters`] below [`layers`] below [`networks`], and the weights' file in [`checkpoint`]. Suites here draw
//! the weights that they need; one that needs trained ones stands in `jtav-training`.
//!
//! Sources: the paper (Liang et al., COLING 2018) for attBiGRU (section 3.1.1), DCRNN (3.1.2) and CMF-AP (3.2); Wang et al. 2020
//! for MiniLM; Tan and Le 2019 for EfficientNet-Lite0; Huang et al. 2016 for DenseNet-121, with torchvision's parameter names,
//! which a checkpoint may hold in place of it. Two profiles serve: `modern`, whose words are read by MiniLM, and `light`, whose
//! words are looked up in its table of word pieces, a bag of n-grams beside them. What others trained is not part of a
//! checkpoint: it names the files by their hashes ([`Bases`]).
//!
//! # The order of use
//!
//! ```no_run
//! use jtav_model::{Checkpoint, DeviceChoice, FusionInput, FusionNetwork, TextFrontEnd, TextNetwork};
//!
//! # fn main() -> Result<(), jtav_model::ModelError> {
//! jtav_model::device::open_cuda_library();
//! let checkpoint = Checkpoint::load("models/jtav-modern".as_ref())?;
//! let text_network = TextNetwork::from_checkpoint(&checkpoint, DeviceChoice::Auto)?;
//! let fusion_network = FusionNetwork::from_checkpoint(&checkpoint, DeviceChoice::Auto)?;
//!
//! let parts = [("caption", "best day ever"), ("body", "we went to the sea and nobody wanted to leave")];
//! let Some(input) = TextFrontEnd::of_checkpoint(&checkpoint)?.input(&parts)? else { return Ok(()) };
//! let text = text_network.encode(&[input])?.remove(0);
//! let post = FusionInput { text: Some(text.encoded.vector), audio: None, image: None };
//! let fused = fusion_network.fuse(&[post])?;
//! println!("{:?}", fused[0].judgement.probabilities);
//! # Ok(())
//! # }
//! ```

pub mod bases;
pub mod checkpoint;
pub mod cost;
mod cpu_time;
pub mod device;
mod error;
pub mod export;
mod inference;
mod judgement;
pub mod layers;
mod manifest;
mod middle;
mod modality;
pub mod networks;
pub mod parameters;
mod passes;
mod placement;
mod probe;
pub mod retrieval;
pub mod text;
pub mod trunk;
mod vectors;
pub mod word_vectors;

pub use bases::{Base, Bases};
pub use checkpoint::Checkpoint;
pub use device::DeviceChoice;
pub use error::ModelError;
pub use inference::{AudioNetwork, EncodedText, FusionNetwork, ImageNetwork, TextNetwork};
pub use jtav_signal::STATISTICS;
pub use judgement::Judgement;
pub use manifest::{
    Calibration, Dimensions, ImageBackbone, LIGHT, MODERN, Manifest, Middle, NO_BOUND, Probe, SUMMANDS,
    Standardisation, check_resolution, roles,
};
pub use modality::{Modality, ModalitySet};
pub use placement::{Choice, CpuEngine, CpuPrecision, Engine, Placement, choices_of};
pub use probe::{ParityReport, parity_probe, record_probe};
pub use text::{Language, NO_LANGUAGE, Ngram, Ngrams, ReadText, TextFrontEnd, TextInput, Tokenizer, Word};
pub use vectors::{
    AudioInput, Contributions, Encoded, FusionInput, FusionOutput, IMAGE_CELLS, IMAGE_SIDE, Normalisation, Rgb224,
    SEGMENT_BINS, SEGMENT_FRAMES, SILENCE_DB, Waveform,
};
