//! `jtav table`: a thin shell over the trainer's tables.

use anyhow::Context as _;
use jtav_feed_processor::exit;
use jtav_model::zoo::Backbone;
use jtav_settings::existing_or_bundled;
use jtav_trainer::Terminal;
use jtav_trainer::table::{
    BackboneWeights, CongruenceOptions, SentimentOptions, SentimentTable, congruence_tables, sentiment_table,
    write_sentiment_table,
};

use crate::cli::LogFormatArg;
use crate::cli_table::{CongruenceTableArgs, SentimentTableArgs, TableArgs, TableCommand};
use crate::failure::coded;
use crate::output::{errln, out, outln};
use crate::setup;

pub fn table(command: &TableCommand, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    jtav_model::device::open_cuda_library();
    jtav_model::device::single_threaded();
    match command {
        TableCommand::Sentiment(arguments) => {
            setup::logs(log_format, None, "warn");
            sentiment(arguments)
        }
        TableCommand::Congruence(arguments) => {
            setup::logs(log_format, None, "warn");
            congruence(arguments)
        }
        TableCommand::Retrieval(arguments) => super::table_retrieval::table_retrieval(arguments, log_format),
    }
}

fn sentiment(arguments: &SentimentTableArgs) -> anyhow::Result<u8> {
    let weights = arguments.image_weights.iter().map(|text| image_weights(text)).collect::<anyhow::Result<_>>();
    let options = SentimentOptions {
        profile: arguments.profile.into(),
        once: arguments.once.clone(),
        only: arguments.rows.clone(),
        word_vectors: arguments.word_vectors.clone(),
        backbones: weights.context("--image-weights").map_err(coded(exit::USAGE))?,
        ..common(&arguments.table, SentimentOptions::new(&arguments.data))?
    };
    let table = sentiment_table(&options, &Terminal::new()).map_err(coded(exit::DATA))?;
    show(&arguments.table, &[table])
}

fn congruence(arguments: &CongruenceTableArgs) -> anyhow::Result<u8> {
    let checkpoint = existing_or_bundled(&arguments.checkpoint).map_err(|error| coded(exit::CONFIG)(error.into()))?;
    let options = CongruenceOptions {
        table: common(&arguments.table, SentimentOptions::new(&arguments.data))?,
        media: arguments.media.clone(),
        checkpoint,
        clear: arguments.clear,
    };
    let tables = congruence_tables(&options, &Terminal::new()).map_err(coded(exit::DATA))?;
    show(&arguments.table, &tables)
}

/// The options that every table has.
fn common(arguments: &TableArgs, options: SentimentOptions) -> anyhow::Result<SentimentOptions> {
    Ok(SentimentOptions {
        seeds: arguments.seeds.clone(),
        device: arguments.device.parse().context("--device").map_err(coded(exit::USAGE))?,
        cache_dir: arguments.cache.clone(),
        work_dir: arguments.work.clone(),
        quick: arguments.quick,
        command: command_line(),
        ..options
    })
}

/// As it was typed, program and folders aside from their names: a table is published, a home folder is not.
fn command_line() -> String {
    let words = std::env::args().skip(1).map(|word| match word.rsplit_once('/') {
        Some((folder, name)) if folder.starts_with('/') => name.to_owned(),
        _ => word,
    });
    std::iter::once("jtav".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// `densenet-121=FILE:SHA256`.
fn image_weights(text: &str) -> anyhow::Result<BackboneWeights> {
    let parts = text.split_once('=').and_then(|(name, rest)| Some((name, rest.rsplit_once(':')?)));
    let (name, (path, sha256)) = parts.with_context(|| format!("`{text}`: expected NETWORK=FILE:SHA256"))?;
    let all = [Backbone::Vgg19, Backbone::ResNet101, Backbone::DenseNet121];
    let backbone = all.into_iter().find(|backbone| backbone.name() == name);
    let backbone = backbone.with_context(|| format!("`{name}`: use vgg-19, resnet-101 or densenet-121"))?;
    Ok(BackboneWeights { backbone, path: path.into(), sha256: sha256.to_owned() })
}

fn show(arguments: &TableArgs, tables: &[SentimentTable]) -> anyhow::Result<u8> {
    if let Some(folder) = &arguments.out {
        for table in tables {
            write_sentiment_table(table, folder)?;
        }
    }
    if arguments.json {
        match tables {
            [table] => outln!("{}", serde_json::to_string(table)?)?,
            tables => outln!("{}", serde_json::to_string(tables)?)?,
        }
        return Ok(exit::OK);
    }
    for table in tables {
        out!("{}", table.markdown())?;
    }
    match &arguments.out {
        Some(folder) => errln!("Markdown and JSON: {}", folder.display()),
        None => errln!("add --out DIR to keep it as Markdown and JSON"),
    }
    Ok(exit::OK)
}
