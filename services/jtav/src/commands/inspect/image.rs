//! `jtav inspect image`.

use std::path::PathBuf;

use clap::Args;
use jtav_feed_processor::parameters::decode_limits;
use jtav_model::ImageNetwork;
use jtav_trainer::inspect::inspect_image;

use super::common::{NetworkArgs, NetworkOf, draw, failed, name, read, save, show};

/// `jtav inspect image`.
#[derive(Debug, Args)]
#[command(
    after_help = "--save writes f32 [3, 224, 224]: upright, alpha over white, shorter side 256, centre 224, scaled to [0, 1], less\n\
                  ImageNet's mean over its deviation.\n\n\
                  Example:\n  jtav inspect image photo.jpg --picture seen.png"
)]
pub struct InspectImageArgs {
    /// JPEG, PNG, WebP or GIF.
    file: PathBuf,
    /// Write the normalised crop here.
    #[arg(long, value_name = "FILE.npy")]
    save: Option<PathBuf>,
    /// Draw the crop and its cells here.
    #[arg(long, value_name = "FILE.png")]
    picture: Option<PathBuf>,
    /// Network and form of the answer.
    #[command(flatten)]
    network: NetworkArgs,
}

pub fn run(arguments: &InspectImageArgs) -> anyhow::Result<u8> {
    let network = NetworkOf::new(&arguments.network)?;
    let bytes = read(&arguments.file)?;
    let image_network = network.build(ImageNetwork::from_checkpoint)?;
    let found = inspect_image(&bytes, &decode_limits(&network.settings), &image_network)
        .map_err(|error| failed(error, &arguments.file))?;
    save(arguments.save.as_deref(), found.npy())?;
    draw(arguments.picture.as_deref(), || found.picture(&name(&arguments.file)))?;
    let files = [&arguments.save, &arguments.picture];
    show(arguments.network.json, &files.map(Option::as_deref), || found.json(), || found.text())
}
