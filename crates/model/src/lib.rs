//! The networks of JTAV on libtorch: plain Rust vectors in, plain Rust vectors out.
//!
//! No type of `tch` appears in a public signature, so that a caller neither links against libtorch's headers nor
//! learns its threading rules. Two halves:
//!
//! * **Inference**: [`Checkpoint::load`] verifies a folder, then [`TextNetwork`], [`AudioNetwork`], [`ImageNetwork`]
//!   and [`FusionNetwork`] are each built from it on a [`DeviceChoice`] and moved to the thread that owns them
//!   (they are `Send`, not `Sync`). Every call is batched and runs without gradients.
//! * **[`training`]**: one trainer per network, then [`training::assemble_checkpoint`].
//!
//! Beside them, **[`zoo`]** holds the networks of the profiles `paper` and `authors-code` and their rivals, so that
//! every row of the paper's Table 1 has its network.
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
mod layers;
mod modality;
mod networks;
mod parameters;
mod probe;
pub mod text;
pub mod training;
pub mod zoo;

pub use checkpoint::{Calibration, Checkpoint, Dimensions, Manifest, Probe, Standardisation};
pub use device::DeviceChoice;
pub use error::ModelError;
pub use inference::{
    AudioInput, AudioNetwork, Contributions, Encoded, FusionInput, FusionNetwork, FusionOutput, IMAGE_CELLS,
    IMAGE_SIDE, ImageNetwork, Rgb224, TextNetwork, Waveform,
};
pub use modality::{Modality, ModalitySet};
pub use probe::{ParityReport, parity_probe};
pub use text::{Ngram, Ngrams, TextInput, TokenisedText, Tokenizer, Vocabulary, VocabularyConfig};
