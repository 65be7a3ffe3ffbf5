//! Parameter counts to the unit (docs/networks.md, "Parameter counts").

use jtav_model::ModelError;
use jtav_model::parameters::{Builder, Stored};
use tch::{Device, Kind, Tensor};

use super::network::Network;
use crate::zoo::architecture::{Architecture, Backbone, DcrnnForm, Profile, Widths};

/// Tensors that cost nothing to make: fc6 of VGG-19 alone has 103 million values.
struct Zeros;

impl Stored for Zeros {
    fn tensor(&self, _: &str, shape: &[i64]) -> Result<Tensor, ModelError> {
        Ok(Tensor::f_zeros(shape, (Kind::Float, Device::Cpu))?)
    }
}

/// Trained values whose names pass `counts`; names start below the network's own.
fn count(architecture: Architecture, counts: impl Fn(&str) -> bool) -> usize {
    let builder = Builder::stored(&Zeros, Device::Cpu);
    Network::new(&builder.scope("n"), &architecture, 0.0).unwrap();
    let mut parameters = builder.finish();
    parameters.trainable.retain(|name| counts(name.strip_prefix("n.").unwrap_or(name)));
    parameters.count()
}

fn without_head(name: &str) -> bool {
    !name.starts_with("head.")
}

#[test]
fn the_text_networks_have_the_parameters_of_paper_and_code() {
    let paper = Profile::Paper;
    assert_eq!(count(Architecture::AttBiGru { profile: paper, dimension: 300 }, without_head), 115_800);
    assert_eq!(count(Architecture::BiGru { profile: paper, dimension: 300 }, without_head), 115_800);
    let authors = Profile::AuthorsCode;
    assert_eq!(count(Architecture::AttBiGru { profile: authors, dimension: 300 }, without_head), 1_118_700);
    assert_eq!(count(Architecture::AttBiGru { profile: authors, dimension: 300 }, |_| true), 1_118_700 + 301);
    // The caption's dense layer and two normalisations less.
    let gate = 300 * 300 + 300 + 2 * 600;
    assert_eq!(count(Architecture::BiGru { profile: authors, dimension: 300 }, without_head), 1_118_700 - gate);
    // Two attended BiGRUs of 50 per direction, over words of 300 and lines of 100.
    let attended = |inputs: usize| 2 * (3 * 50 * (inputs + 50) + 6 * 50) + 100 * 100 + 200;
    let han = Architecture::LyricsHan { dimension: 300 };
    assert_eq!(count(han, without_head), attended(300) + attended(100));
}

#[test]
fn dcrnn_has_the_parameters_of_the_authors_code() {
    let dcrnn = |vector| Architecture::Dcrnn { form: DcrnnForm::AuthorsCode, vector };
    assert_eq!(count(dcrnn(100), |_| true), 14_959_691);
    assert_eq!(count(dcrnn(300), without_head), 15_113_390);
}

#[test]
fn the_other_audio_networks_have_the_parameters_of_their_layers() {
    let block = |inputs: usize| 9 * 64 * (inputs + 64 + 64 + 128) + 4 * 128;
    let gru = |inputs: usize| 2 * (3 * 128 * (inputs + 128) + 6 * 128);
    let rest = gru(256) + 256 * 257 + 100 * 257 + 101;
    let paper = |form| count(Architecture::Dcrnn { form, vector: 100 }, |_| true);
    assert_eq!(paper(DcrnnForm::Paper), block(1) + block(64) + gru(6 * 64) + rest);
    assert_eq!(paper(DcrnnForm::PaperPooled), block(1) + block(64) + gru(64) + rest);
    assert_eq!(count(Architecture::ConvNet, |_| true), 9 * 32 * (1 + 4 * 32) + 5 * 64 + 161);
}

/// torchvision's numbers less the layer of 1000 classes.
#[test]
fn the_backbones_have_torchvisions_parameters() {
    for (backbone, total) in [
        (Backbone::Vgg19, 143_667_240 - 4_097_000),
        (Backbone::ResNet101, 44_549_160 - 2_049_000),
        (Backbone::DenseNet121, 7_978_856 - 1_025_000),
    ] {
        let image = Architecture::Image { backbone, vector: 300 };
        assert_eq!(count(image, |name| name.starts_with("backbone.")), total, "{}", backbone.name());
    }
}

#[test]
fn the_fusions_have_the_parameters_of_their_equations() {
    let cmf = |profile, widths, attention| Architecture::CmfAp { profile, widths, attention };
    let attention_alone = |name: &str| name.starts_with("pairs.") && !name.ends_with("absent");
    let retrieval = cmf(Profile::AuthorsCode, Widths::all(300, 300, 300), 300);
    assert_eq!(count(retrieval, attention_alone), 1_081_800);
    let sentiment = cmf(Profile::AuthorsCode, Widths::all(300, 768, 1024), 100);
    assert_eq!(count(sentiment, attention_alone), 837_400);
    // Six directions of W, b, u and the reduction.
    let paper = cmf(Profile::Paper, Widths::all(100, 100, 100), 100);
    assert_eq!(count(paper, attention_alone), 6 * (100 * 100 + 100 + 100 + 100 * 100 + 100));
    let low_rank = Architecture::LowRank { widths: Widths::all(300, 768, 1024), rank: 4, hidden: 64 };
    assert_eq!(count(low_rank, without_head), 536_320);
    let early = Architecture::EarlyFusion { widths: Widths::all(300, 768, 1024) };
    assert_eq!(count(early, |_| true), 2_093);
}
