//! The networks of JTAV on libtorch: plain Rust vectors in, plain Rust vectors out.
//!
//! What serves is at the root, and no type of `tch` appears there, so that a caller neither links against libtorch's
//! headers nor learns its threading rules: [`Checkpoint::load`] verifies a folder, then [`TextNetwork`],
//! [`AudioNetwork`], [`ImageNetwork`] and [`FusionNetwork`] are each built from it on a [`DeviceChoice`] and moved to the
//! thread that owns them (they are `Send`, not `Sync`). Every call is batched and runs without gradients.
//!
//! What they are made of speaks tensors, for the two crates that move weights, `jtav-training` and `jtav-research`
//! (ADR 31): [`parameters`] below [`layers`] below [`networks`], and the weights' file in [`checkpoint`]. A suite that
//! needs a whole checkpoint stands in `jtav-training`, which can make one.
//!
//! Sources: the paper (Liang et al., COLING 2018) for attBiGRU (section 4.1), DCRNN (4.2) and CMF-AP (5); Huang et
//! al. 2016 for DenseNet-121, with torchvision's parameter names. The profile that serves is `modern`.
//!
//! # The order of use
//!
//! ```no_run
//! use jtav_model::{Checkpoint, DeviceChoice, FusionInput, FusionNetwork, TextInput, TextNetwork, Tokenizer};
//!
//! # fn main() -> Result<(), jtav_model::ModelError> {
//! jtav_model::device::open_cuda_library();
//! let checkpoint = Checkpoint::load("models/jtav-modern".as_ref())?;
//! let text_network = TextNetwork::from_checkpoint(&checkpoint, DeviceChoice::Auto)?;
//! let fusion_network = FusionNetwork::from_checkpoint(&checkpoint, DeviceChoice::Auto)?;
//!
//! let parts = [("caption", "best day ever"), ("body", "we went to the sea and nobody wanted to leave")];
//! let Some(input) = TextInput::from_parts(&Tokenizer::new(), checkpoint.vocabulary(), &parts) else { return Ok(()) };
//! let encoded = text_network.encode(&[input])?;
//! let post = FusionInput { text: Some(encoded[0].vector.clone()), audio: None, image: None };
//! let fused = fusion_network.fuse(&[post])?;
//! println!("{} {:.3}", fused[0].label, fused[0].probability);
//! # Ok(())
//! # }
//! ```

pub mod checkpoint;
pub mod device;
mod error;
mod inference;
pub mod layers;
mod manifest;
mod modality;
pub mod networks;
pub mod parameters;
mod probe;
pub mod text;
mod vectors;

pub use checkpoint::Checkpoint;
pub use device::DeviceChoice;
pub use error::ModelError;
pub use inference::{AudioNetwork, FusionNetwork, ImageNetwork, TextNetwork};
pub use manifest::{
    Calibration, Dimensions, Manifest, NO_BOUND, Probe, SUMMANDS, Standardisation, before_it_was_written,
    check_resolution,
};
pub use modality::{Modality, ModalitySet};
pub use probe::{ParityReport, parity_probe, record_probe};
pub use text::{Ngram, Ngrams, TextInput, TokenisedText, Tokenizer, Vocabulary, VocabularyConfig};
pub use vectors::{
    AudioInput, Contributions, Encoded, FusionInput, FusionOutput, IMAGE_CELLS, IMAGE_SIDE, Rgb224, SEGMENT_BINS,
    SEGMENT_FRAMES, SILENCE_DB, Waveform,
};
