//! A checkpoint says what the trainers of its networks said. Needs the base weights (scripts/setup-weights.sh).

use std::path::Path;
use std::sync::Arc;

use jtav_model::text::WordPieces;
use jtav_model::word_vectors::WordVectors;
use jtav_model::{
    AudioInput, AudioNetwork, Bases, Calibration, Checkpoint, DeviceChoice, Dimensions, FusionInput, FusionNetwork,
    ImageNetwork, LIGHT, MODERN, Manifest, ModalitySet, Rgb224, STATISTICS, Standardisation, TextFrontEnd, TextInput,
    TextNetwork, parity_probe, roles,
};
use jtav_training::semantic::fit_semantic;
use jtav_training::{
    AudioConfig, AudioTrainer, Evidence, FusionConfig, FusionExample, FusionTrainer, ImageBackboneSource, ImageExample,
    ImageFit, ImageFitter, Parts, SoundExample, TextConfig, TextExample, TextFeatures, TextTarget, TextTrainer,
    UnimodalHeads, assemble_checkpoint, fit_sound,
};

const CPU: DeviceChoice = DeviceChoice::Cpu;
const BUCKETS: i64 = 512;

fn bases() -> Bases {
    Bases::new(None, None)
}

fn standardisation() -> Standardisation {
    Standardisation { mean: vec![-40.0; 96], std: vec![15.0; 96] }
}

fn manifest(profile: &str) -> Manifest {
    let of_profile = Dimensions::of_profile(profile);
    let dimensions = Dimensions { ngram_buckets: of_profile.ngram_buckets.min(BUCKETS), ..of_profile };
    Manifest::new(profile, dimensions, standardisation(), 30, Calibration::default(), 1)
}

/// What reads texts for a profile.
struct Reader {
    front_end: TextFrontEnd,
    words: WordVectors,
}

impl Reader {
    fn new(manifest: &Manifest) -> Self {
        let pieces = WordPieces::open(&bases(), manifest.base(roles::PIECES).unwrap()).unwrap();
        let front_end = TextFrontEnd::with_pieces(pieces, manifest.dimensions.ngram_buckets > 0);
        Self { front_end, words: WordVectors::open(manifest, &bases(), CPU, None).unwrap() }
    }

    fn read(&self, body: &str, caption: &str) -> (TextInput, TextFeatures, Option<Vec<f32>>) {
        let input = self.front_end.input(&[("body", body), ("caption", caption)]).unwrap().unwrap();
        let words = self.words.of(&[&input]).unwrap().remove(0);
        let sentence = words.sentence.as_ref().map(|sentence| Vec::<f32>::try_from(sentence).unwrap());
        let features = TextFeatures::new(&input, &words).unwrap();
        (input, features, sentence)
    }
}

const TEXTS: [(&str, bool); 4] = [
    ("the sea was warm and bright", true),
    ("the night was cold and grey", false),
    ("we sang and we laughed on a warm road", true),
    ("they cried, it was a cold day", false),
];

fn text_trainer(reader: &Reader, dimensions: Dimensions) -> (TextTrainer, Vec<Vec<f32>>) {
    let mut trainer = TextTrainer::new(TextConfig { device: CPU, ..TextConfig::default() }, dimensions, 1).unwrap();
    let mut sentences = Vec::new();
    let mut example = |(body, positive): (&str, bool)| {
        let (_, features, sentence) = reader.read(body, "on the way");
        sentences.extend(sentence);
        let (votes, valence) = if positive { ([0.1, 0.2, 0.7], 0.6) } else { ([0.7, 0.2, 0.1], -0.6) };
        TextExample { features, target: TextTarget { votes, valence } }
    };
    let examples: Vec<TextExample> = TEXTS.into_iter().map(&mut example).collect();
    if dimensions.ngram_buckets > 0 {
        let rows = examples.iter().zip(TEXTS).map(|(example, (_, positive))| (example.features.ngrams(), positive));
        trainer.fit_bag(&rows.collect::<Vec<_>>()).unwrap();
    }
    trainer.fit(&examples, &vec![(0..examples.len()).collect(); 3], |_| Ok(())).unwrap();
    trainer.calibrate([0.8, 1.1], [0.1, -0.2]).unwrap();
    (trainer, sentences)
}

/// A tone that goes up and down around `bin`.
fn clip(bin: usize) -> AudioInput {
    let level = |frame: usize, at: usize| {
        let distance = at.abs_diff(bin + (frame / 40) % 5) as f32;
        (-8.0 * distance - 3.0).max(-70.0)
    };
    let levels: Vec<f32> = (0..250).flat_map(|frame| (0..96).map(move |at| level(frame, at))).collect();
    AudioInput::from_spectrogram(&levels).unwrap().with_statistics(statistics(bin))
}

fn statistics(bin: usize) -> Vec<f32> {
    (0..STATISTICS).map(|place| ((place * bin) as f32 * 0.1).sin()).collect()
}

fn audio_trainer() -> AudioTrainer {
    let mut trainer =
        AudioTrainer::new(AudioConfig { device: CPU, ..AudioConfig::default() }, standardisation(), 1).unwrap();
    let sound = |at: usize| SoundExample {
        statistics: statistics(at),
        positive: at.is_multiple_of(2),
        is_music: !at.is_multiple_of(3),
        mood: (!at.is_multiple_of(3)).then_some(at % 4),
        group: at.to_string(),
    };
    let sounds: Vec<SoundExample> = (0..24).map(sound).collect();
    let fitted = fit_sound(&sounds, 1).unwrap().statistics;
    let held_out = [10, 20, 30, 40].map(clip);
    let groups: Vec<String> = (0..4).map(|at| at.to_string()).collect();
    trainer.hear(fitted, &held_out, &[true, false, true, false], &groups, 1).unwrap();
    trainer
}

/// Stripes, red where `red`.
fn pixels(period: usize, red: bool) -> Vec<u8> {
    let places = (0..224 * 224).map(|at| (at % 224, at / 224));
    let stripe = |(x, y): (usize, usize)| if (x / period + y / 9).is_multiple_of(2) { 170 } else { 40 };
    places.flat_map(|place| [if red { 220 } else { 30 }, stripe(place), 90]).collect()
}

fn image_fitter() -> (ImageFitter, ImageFit) {
    let mut fitter = ImageFitter::new(ImageBackboneSource::EfficientNetLite0(bases()), CPU).unwrap();
    let example = |at: usize| {
        let positive = at.is_multiple_of(2);
        ImageExample { pixels: Arc::from(pixels(4 + at, positive)), side: 224, positive }
    };
    let (examples, groups): (Vec<_>, Vec<_>) = (0..4).map(|at| (example(at), format!("source {}", at / 2))).unzip();
    let fit = fitter.fit(&examples, &groups, 1).unwrap();
    (fitter, fit)
}

/// The posts that the fusion is trained on, as the encoders see them.
fn posts(vectors: [&[f32]; 3]) -> Vec<FusionExample> {
    let post = |at: usize| {
        let positive = at.is_multiple_of(2);
        let scaled = |vector: &[f32]| {
            let factor = if positive { 1.0 } else { -1.0 } * (1.0 + at as f32 / 10.0);
            Some(vector.iter().map(|value| value * factor).collect())
        };
        let [text, audio, image] = vectors.map(scaled);
        FusionExample { input: FusionInput { text, audio, image }, positive }
    };
    (0..16).map(post).collect()
}

fn assert_close(a: &[f32], b: &[f32], tolerance: f32, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}: lengths");
    let largest = b.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
    for (at, (x, y)) in a.iter().zip(b).enumerate() {
        assert!((x - y).abs() <= tolerance * largest, "{what}: value {at} is {x}, expected {y}");
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Trains the smallest networks of a profile, writes them, and asks both the same.
fn written_and_read(profile: &str, folder: &Path) {
    let mut manifest = manifest(profile);
    let dimensions = manifest.dimensions;
    let reader = Reader::new(&manifest);
    let (text, sentences) = text_trainer(&reader, dimensions);
    let audio = audio_trainer();
    let (image, fit) = image_fitter();
    let (asked, features, _) = reader.read("warm bright sea", "we sang");
    let (sound, picture) = (clip(33), Rgb224::new(pixels(11, true)).unwrap());
    let text_vector = text.encode(&[&features]).unwrap().remove(0);
    let audio_vector = audio.encode(std::slice::from_ref(&sound)).unwrap().remove(0);
    let image_vector = image.encode(std::slice::from_ref(&picture)).unwrap().remove(0);

    let heads = UnimodalHeads {
        text: text.polarity_head().unwrap(),
        audio: audio.head().unwrap(),
        image: image.head().unwrap(),
    };
    let mut fusion = FusionTrainer::new(FusionConfig { device: CPU, ..FusionConfig::default() }, &heads, 1).unwrap();
    fusion.set_neutral(&text.neutral_head().unwrap()).unwrap();
    let posts = posts([&text_vector, &audio_vector, &image_vector]);
    fusion.epoch(&posts).unwrap();
    let inputs: Vec<FusionInput> = posts.iter().map(|post| post.input.clone()).collect();
    let said = fusion.predict_parts(&inputs).unwrap();
    let items = posts.iter().zip(said).map(|(post, [text, audio, image, _])| Evidence {
        logits: [text, audio, image].map(Some),
        neutral: None,
        votes: if post.positive { [0.0, 0.2, 0.8] } else { [0.8, 0.2, 0.0] },
    });
    let parts = Parts::fit(&items.collect::<Vec<_>>()).unwrap();
    let groups: Vec<u64> = (0..posts.len() as u64).collect();
    manifest.calibration = fusion.calibrate(&parts, &posts, &groups).unwrap();

    let mut tensors = fusion.tensors();
    tensors.add(&text.tensors());
    tensors.add(&audio.checkpoint_tensors().unwrap());
    tensors.add(&fit.head);
    if dimensions.semantic > 0 {
        let semantic = fit_semantic(&sentences, 3).unwrap();
        tensors.add_semantic(&semantic.mean, &semantic.matrix, dimensions.semantic as usize).unwrap();
    }
    let checkpoint = assemble_checkpoint(&tensors, manifest, &bases(), folder).unwrap();
    let report = parity_probe(&checkpoint, CPU).unwrap();
    assert!(report.text_cosine > 0.999 && report.audio_cosine > 0.9999, "{report:?}");
    assert!(checkpoint.model_version().starts_with(&format!("jtav-{profile}-")));
    assert_eq!(Checkpoint::load(folder).unwrap().manifest(), checkpoint.manifest());

    // Weights in f16 are the only difference, and with the text and the picture how the processor multiplies.
    let served_text = TextNetwork::from_checkpoint(&checkpoint, CPU).unwrap().encode(&[asked]).unwrap().remove(0);
    assert_close(&served_text.encoded.vector, &text_vector, 1e-2, "text");
    assert_eq!(served_text.semantic.is_some(), profile == MODERN);
    let served_audio = AudioNetwork::from_checkpoint(&checkpoint, CPU).unwrap().encode(&[sound]).unwrap().remove(0);
    assert_close(&served_audio.vector, &audio_vector, 5e-3, "audio");
    let served_image = ImageNetwork::from_checkpoint(&checkpoint, CPU).unwrap().encode(&[picture]).unwrap().remove(0);
    assert!(cosine(&served_image.vector, &image_vector) > 0.999, "image");

    let fused = FusionNetwork::from_checkpoint(&checkpoint, CPU).unwrap();
    let vectors = [text_vector, audio_vector, image_vector].map(Some);
    let [text, audio, image] = vectors;
    let post = FusionInput { text, audio, image };
    for subset in ModalitySet::all_non_empty() {
        let input = [post.masked(subset)];
        let (served, trained) = (fused.fuse(&input).unwrap(), fusion.predict(&input).unwrap());
        let temperature = checkpoint.manifest().calibration.temperature_of(subset);
        assert!((served[0].logit - trained[0] / temperature).abs() < 2e-2, "{subset}: {} {trained:?}", served[0].logit);
    }
}

#[test]
fn a_checkpoint_of_modern_says_what_its_trainers_said() {
    let folder = tempfile::tempdir().unwrap();
    written_and_read(MODERN, folder.path());
}

#[test]
fn a_checkpoint_of_light_says_what_its_trainers_said() {
    let folder = tempfile::tempdir().unwrap();
    written_and_read(LIGHT, folder.path());
}

#[test]
fn networks_may_move_to_the_thread_that_owns_them() {
    fn is_send<T: Send>() {}
    is_send::<TextNetwork>();
    is_send::<AudioNetwork>();
    is_send::<ImageNetwork>();
    is_send::<FusionNetwork>();
    is_send::<TextTrainer>();
    fn is_sync<T: Sync + Send>() {}
    is_sync::<Checkpoint>();
    is_sync::<jtav_model::ModelError>();
}
