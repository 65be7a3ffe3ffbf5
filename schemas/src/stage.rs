/// The boxes of the diagram, in flow order. Metric labels, dead letters and errors use these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
    pub const ALL: [Stage; 9] = [
        Stage::Ingest,
        Stage::Router,
        Stage::Fetch,
        Stage::Decode,
        Stage::TextEncoder,
        Stage::AudioEncoder,
        Stage::ImageEncoder,
        Stage::Fusion,
        Stage::Publisher,
    ];

    /// Whether what a post holds decides how long this takes: fetch, decode and the encoders. The others take what the
    /// system takes.
    pub fn depends_on_content(self) -> bool {
        matches!(self, Stage::Fetch | Stage::Decode | Stage::TextEncoder | Stage::AudioEncoder | Stage::ImageEncoder)
    }

    /// The metric name.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Ingest => "ingest",
            Stage::Router => "router",
            Stage::Fetch => "fetch",
            Stage::Decode => "decode",
            Stage::TextEncoder => "text_encoder",
            Stage::AudioEncoder => "audio_encoder",
            Stage::ImageEncoder => "image_encoder",
            Stage::Fusion => "fusion",
            Stage::Publisher => "publisher",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
