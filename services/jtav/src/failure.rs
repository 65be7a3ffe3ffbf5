//! From an error to the line a person reads and the exit code a script reads.

use jtav_feed_processor::exit;
use jtav_kafka::KafkaError;
use jtav_settings::SettingsError;
use jtav_store::StoreError;

use crate::output::{self, errln};

/// An error that knows its exit code.
#[derive(Debug)]
pub struct Coded {
    /// One of [`exit`].
    pub code: u8,
    /// What went wrong.
    pub error: anyhow::Error,
}

impl std::fmt::Display for Coded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl std::error::Error for Coded {}

/// Gives an error its exit code.
pub fn coded(code: u8) -> impl FnOnce(anyhow::Error) -> anyhow::Error {
    move |error| anyhow::Error::new(Coded { code, error })
}

/// Gives an error that a broker or the store caused its exit code, unless it has one.
pub fn out_of_reach(error: anyhow::Error) -> anyhow::Error {
    if error.downcast_ref::<Coded>().is_some() {
        return error;
    }
    let is_out_of_reach = error.chain().any(|cause| cause.is::<KafkaError>() || cause.is::<StoreError>());
    if is_out_of_reach { coded(exit::UNAVAILABLE)(error) } else { error }
}

/// Prints the error on stderr and gives its exit code. That nobody reads the output any more is no error to speak of.
pub fn report(error: &anyhow::Error) -> u8 {
    match output::of(error) {
        Some(output) if output.is_reader_gone() => output::READER_GONE,
        // The cause says it, and nothing around it helps.
        Some(output) => {
            errln!("error: {output}");
            exit::FAILURE
        }
        None => {
            errln!("error: {error:#}");
            code_of(error)
        }
    }
}

fn code_of(error: &anyhow::Error) -> u8 {
    if let Some(coded) = error.downcast_ref::<Coded>() {
        return coded.code;
    }
    match error.downcast_ref::<SettingsError>() {
        Some(error) => error.exit_code(),
        None => exit::FAILURE,
    }
}
