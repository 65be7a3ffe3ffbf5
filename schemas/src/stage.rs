use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::array;

/// The boxes of the diagram, in flow order. Metric labels, dead letters and errors use these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Stage {
    /// Kafka to posts.
    Ingest,
    /// One task per post.
    Router,
    /// URL to bytes.
    Fetch,
    /// Bytes to PCM or RGB.
    Decode,
    /// attBiGRU.
    TextEncoder,
    /// CQT and DCRNN.
    AudioEncoder,
    /// DenseNet.
    ImageEncoder,
    /// CMF-AP.
    Fusion,
    /// Store and output topics.
    Publisher,
}

impl Stage {
    /// Every stage, in flow order.
    pub const ALL: [Stage; Stage::COUNT] = array(Stage::VARIANTS);

    /// Whether what a post holds decides how long this takes: fetch, decode and the encoders. The others take what the
    /// system takes.
    pub fn depends_on_content(self) -> bool {
        matches!(self, Stage::Fetch | Stage::Decode | Stage::TextEncoder | Stage::AudioEncoder | Stage::ImageEncoder)
    }

    /// The metric name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
