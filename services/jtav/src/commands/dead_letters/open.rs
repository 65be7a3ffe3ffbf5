//! The dead-letter topic that the settings name.

use std::time::Duration;

use jtav_dead_letters::DeadLetterTopic;
use jtav_feed_processor::parameters::client_settings;
use jtav_settings::Settings;

use crate::setup::{self, SettingsArgs};

/// Longest wait for any one answer of a broker.
const PATIENCE: Duration = Duration::from_secs(20);

/// The settings, and the topic that they name.
pub fn open(arguments: &SettingsArgs) -> anyhow::Result<(Settings, DeadLetterTopic)> {
    let settings = setup::settings(arguments)?.settings;
    setup::check_passthrough(&settings)?;
    let topic = DeadLetterTopic {
        client: client_settings(&settings),
        name: settings.kafka.dead_letters_topic.clone(),
        patience: PATIENCE,
    };
    Ok((settings, topic))
}
