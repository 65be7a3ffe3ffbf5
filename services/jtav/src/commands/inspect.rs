//! `jtav inspect`: a thin shell over the trainer's inspection.

mod audio;
mod common;
mod image;
mod text;

use clap::Subcommand;

use self::audio::InspectAudioArgs;
use self::image::InspectImageArgs;
use self::text::InspectTextArgs;
use crate::setup::{self, LogFormatArg};

/// `jtav inspect`.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "The file goes through the decoders, limits and networks of the worker; what it would leave out is refused with\n\
                  the same reason and exit code 65.\n\n\
                  Examples:\n  jtav inspect audio song.mp3 --picture song.png\n  jtav inspect image photo.jpg --save photo.npy --json\n  \
                  echo 'what a lovely day' | jtav inspect text -"
)]
pub enum InspectCommand {
    /// A clip: facts of the file, the constant-Q spectrogram, attention per second.
    Audio(InspectAudioArgs),
    /// A picture: facts of the file, the crop, the cells that argue for the label.
    Image(InspectImageArgs),
    /// A text: words with their pieces, attention per word, language, label.
    Text(InspectTextArgs),
}

pub fn run(command: &InspectCommand, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "error");
    jtav_model::device::open_cuda_library();
    jtav_model::device::single_threaded();
    match command {
        InspectCommand::Audio(arguments) => audio::run(arguments),
        InspectCommand::Image(arguments) => image::run(arguments),
        InspectCommand::Text(arguments) => text::run(arguments),
    }
}
