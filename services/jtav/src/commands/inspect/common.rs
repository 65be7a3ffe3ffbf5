//! What the inspections share: the network that looks, the file that is read, the answer.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use jtav_feed_processor::exit;
use jtav_feed_processor::networks::{self, hear_as_trained, placement};
use jtav_model::{Checkpoint, Placement};
use jtav_settings::Settings;
use jtav_trainer::inspect::InspectError;
use serde_json::Value;

use crate::failure::coded;
use crate::output::{out, outln};
use crate::setup::{self, SettingsArgs};

/// Which network, and how to answer.
#[derive(Debug, Args)]
pub struct NetworkArgs {
    /// Checkpoint in place of the bundled one.
    #[arg(long, value_name = "DIR")]
    pub checkpoint: Option<PathBuf>,
    /// One line of JSON, last on stdout.
    #[arg(long)]
    pub json: bool,
    /// Settings: the limits of decoding, the device.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// The checkpoint and device that hold.
pub struct NetworkOf {
    pub settings: Settings,
    pub checkpoint: Checkpoint,
    placement: Placement,
}

impl NetworkOf {
    pub fn new(arguments: &NetworkArgs) -> anyhow::Result<Self> {
        let mut settings = setup::settings(&arguments.settings)?.settings;
        setup::with_model(&mut settings, arguments.checkpoint.as_deref());
        let checkpoint = networks::checkpoint(&settings.model).map_err(coded(exit::CONFIG))?;
        hear_as_trained(&mut settings.media, checkpoint.manifest());
        let placement = placement(&settings.model);
        Ok(Self { settings, checkpoint, placement })
    }

    pub fn build<T>(
        &self,
        from_checkpoint: fn(&Checkpoint, Placement) -> Result<T, jtav_model::ModelError>,
    ) -> anyhow::Result<T> {
        from_checkpoint(&self.checkpoint, self.placement).map_err(|error| coded(exit::CONFIG)(error.into()))
    }
}

/// Bytes of a file, or of standard input for `-`.
pub fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let result = match file == Path::new("-") {
        true => std::io::stdin().lock().read_to_end(&mut bytes).map(drop),
        false => std::fs::read(file).map(|read| bytes = read),
    };
    result.with_context(|| format!("{}", file.display())).map_err(coded(exit::DATA))?;
    Ok(bytes)
}

pub fn failed(error: InspectError, file: &Path) -> anyhow::Error {
    let code = match &error {
        InspectError::Model(error) if error.is_fatal() => exit::DEVICE,
        InspectError::Picture(_) => exit::FAILURE,
        _ => exit::DATA,
    };
    coded(code)(anyhow::Error::new(error).context(format!("{}", file.display())))
}

pub fn name(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}

pub fn save(path: Option<&Path>, npy: Option<Vec<u8>>) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    let bytes = npy.context("the values do not fill their shape")?;
    std::fs::write(path, bytes).with_context(|| format!("--save {}", path.display()))
}

pub fn draw(path: Option<&Path>, picture: impl FnOnce() -> Result<Vec<u8>, InspectError>) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, picture()?).with_context(|| format!("--picture {}", path.display()))
}

/// One line of JSON, or the view and the files that were written.
pub fn show(
    json: bool,
    files: &[Option<&Path>],
    value: impl FnOnce() -> Value,
    text: impl FnOnce() -> String,
) -> anyhow::Result<u8> {
    if json {
        outln!("{}", value())?;
        return Ok(exit::OK);
    }
    out!("{}", text())?;
    for file in files.iter().flatten() {
        outln!("written    {}", file.display())?;
    }
    Ok(exit::OK)
}
