//! `jtav inspect audio|image|text`: a thin shell over the trainer's inspection.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use jtav_feed_processor::exit;
use jtav_feed_processor::networks::{device_choice, hear_as_trained};
use jtav_feed_processor::parameters::decode_limits;
use jtav_model::{AudioNetwork, Checkpoint, DeviceChoice, ImageNetwork, TextNetwork};
use jtav_settings::{Settings, existing_or_bundled};
use jtav_trainer::inspect::{AudioFeatures, InspectError, inspect_audio, inspect_image, inspect_text};
use serde_json::Value;

use crate::cli::{InspectAudioArgs, InspectCommand, InspectImageArgs, InspectTextArgs, LogFormatArg, NetworkArgs};
use crate::failure::coded;
use crate::output::{out, outln};
use crate::setup;

pub fn inspect(command: &InspectCommand, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "error");
    jtav_model::device::open_cuda_library();
    jtav_model::device::single_threaded();
    match command {
        InspectCommand::Audio(arguments) => audio(arguments),
        InspectCommand::Image(arguments) => image(arguments),
        InspectCommand::Text(arguments) => text(arguments),
    }
}

fn audio(arguments: &InspectAudioArgs) -> anyhow::Result<u8> {
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

fn image(arguments: &InspectImageArgs) -> anyhow::Result<u8> {
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

fn text(arguments: &InspectTextArgs) -> anyhow::Result<u8> {
    let network = NetworkOf::new(&arguments.network)?;
    let parts = arguments.files.iter().map(|file| {
        let bytes = read(file)?;
        String::from_utf8(bytes)
            .map_err(|error| coded(exit::DATA)(anyhow::anyhow!("{}: no UTF-8 text: {error}", file.display())))
    });
    let parts = parts.collect::<anyhow::Result<Vec<String>>>()?;
    let text_network = network.build(TextNetwork::from_checkpoint)?;
    let found = inspect_text(&parts, network.checkpoint.vocabulary(), &text_network).map_err(|error| {
        let first = arguments.files.first().map_or(Path::new("-"), |file| file.as_path());
        failed(error, first)
    })?;
    save(arguments.save.as_deref(), found.npy())?;
    show(arguments.network.json, &[arguments.save.as_deref()], || found.json(), || found.text())
}

/// The checkpoint and device that hold.
struct NetworkOf {
    settings: Settings,
    checkpoint: Checkpoint,
    device: DeviceChoice,
}

impl NetworkOf {
    fn new(arguments: &NetworkArgs) -> anyhow::Result<Self> {
        let mut settings = setup::settings(&arguments.settings)?.settings;
        setup::with_model(&mut settings, arguments.checkpoint.as_deref());
        let folder = existing_or_bundled(&settings.model.path)?;
        let checkpoint = Checkpoint::load(&folder)
            .with_context(|| format!("checkpoint {}", folder.display()))
            .map_err(coded(exit::CONFIG))?;
        hear_as_trained(&mut settings.media, checkpoint.manifest());
        let device = device_choice(settings.model.device);
        Ok(Self { settings, checkpoint, device })
    }

    fn build<T>(
        &self,
        from_checkpoint: fn(&Checkpoint, DeviceChoice) -> Result<T, jtav_model::ModelError>,
    ) -> anyhow::Result<T> {
        from_checkpoint(&self.checkpoint, self.device).map_err(|error| coded(exit::CONFIG)(error.into()))
    }
}

/// Bytes of a file, or of standard input for `-`.
fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let result = match file == Path::new("-") {
        true => std::io::stdin().lock().read_to_end(&mut bytes).map(drop),
        false => std::fs::read(file).map(|read| bytes = read),
    };
    result.with_context(|| format!("{}", file.display())).map_err(coded(exit::DATA))?;
    Ok(bytes)
}

fn failed(error: InspectError, file: &Path) -> anyhow::Error {
    let code = match &error {
        InspectError::Model(error) if error.is_fatal() => exit::DEVICE,
        InspectError::Picture(_) => exit::FAILURE,
        _ => exit::DATA,
    };
    coded(code)(anyhow::Error::new(error).context(format!("{}", file.display())))
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}

fn save(path: Option<&Path>, npy: Option<Vec<u8>>) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    let bytes = npy.context("the values do not fill their shape")?;
    std::fs::write(path, bytes).with_context(|| format!("--save {}", path.display()))
}

fn draw(path: Option<&Path>, picture: impl FnOnce() -> Result<Vec<u8>, InspectError>) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, picture()?).with_context(|| format!("--picture {}", path.display()))
}

/// One line of JSON, or the view and the files that were written.
fn show(
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
