//! `jtav inspect audio`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jtav_feed_processor::parameters::decode_limits;
use jtav_model::AudioNetwork;
use jtav_trainer::inspect::{AudioFeatures, inspect_audio};

use super::common::{NetworkArgs, NetworkOf, draw, failed, name, read, save, show};

/// `jtav inspect audio`.
#[derive(Debug, Args)]
#[command(
    after_help = "--save writes f32 [frames, bins] of all that is analysed (media.analysed_audio_seconds, 30 by default), in dB\n\
                  below the loudest value, with librosa 0.11's conventions: 22,050 Hz mono, hop 1024, centred frames,\n\
                  96 bins. `cqt` is what the encoder reads; `mel` and `mfcc` (20 coefficients) are for comparison.\n\n\
                  Example:\n  jtav inspect audio song.mp3 --picture song.png --save song.npy"
)]
pub struct InspectAudioArgs {
    /// MP3, AAC/M4A, FLAC, Ogg Vorbis or WAV.
    file: PathBuf,
    /// Write the features here, before they are cut into segments and standardised.
    #[arg(long, value_name = "FILE.npy")]
    save: Option<PathBuf>,
    /// Draw the features with axes and the attention per second here.
    #[arg(long, value_name = "FILE.png")]
    picture: Option<PathBuf>,
    /// Which features.
    #[arg(long, value_enum, default_value = "cqt")]
    features: FeaturesArg,
    /// Network and form of the answer.
    #[command(flatten)]
    network: NetworkArgs,
}

/// Features of a clip.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum FeaturesArg {
    /// Constant-Q in dB, what the encoder reads.
    Cqt,
    /// Mel in dB.
    Mel,
    /// Mel-frequency cepstral coefficients.
    Mfcc,
}

impl From<FeaturesArg> for AudioFeatures {
    fn from(features: FeaturesArg) -> Self {
        match features {
            FeaturesArg::Cqt => Self::ConstantQ,
            FeaturesArg::Mel => Self::Mel,
            FeaturesArg::Mfcc => Self::Mfcc,
        }
    }
}

pub fn run(arguments: &InspectAudioArgs) -> anyhow::Result<u8> {
    let network = NetworkOf::new(&arguments.network)?;
    let features = AudioFeatures::from(arguments.features);
    let bytes = read(&arguments.file)?;
    // The network reads nothing but the constant-Q transform.
    let audio_network = match features {
        AudioFeatures::ConstantQ => Some(network.build(AudioNetwork::from_checkpoint)?),
        _ => None,
    };
    let limits = decode_limits(&network.settings);
    let found = inspect_audio(&bytes, &limits, features, audio_network.as_ref())
        .map_err(|error| failed(error, &arguments.file))?;
    save(arguments.save.as_deref(), found.npy())?;
    draw(arguments.picture.as_deref(), || found.picture(&name(&arguments.file)))?;
    let files = [&arguments.save, &arguments.picture];
    show(arguments.network.json, &files.map(Option::as_deref), || found.json(), || found.text())
}
