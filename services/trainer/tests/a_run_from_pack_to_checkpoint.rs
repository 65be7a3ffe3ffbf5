//! Trial runs over a pack that is made here: three splits of eight posts, tones and one-pixel pictures. They need the base
//! weights (scripts/setup-weights.sh).

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jtav_model::checkpoint::{Precision, encode_weights};
use jtav_model::networks::{DenseNet, DenseNetConfig};
use jtav_model::parameters::Builder;
use jtav_model::{Checkpoint, DeviceChoice, ImageBackbone, roles};
use jtav_trainer::dataset::sha256_hex;
use jtav_trainer::texts::is_sealed;
use jtav_trainer::{
    CheckpointProfile, Progress, RATED_TEXTS, Silent, Stage, StageRecord, TrainOptions, TrainReport, train,
    train_encoders,
};

/// libtorch's random numbers are the process's: two trainings at a time would not repeat.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gif(red: u8, green: u8) -> Vec<u8> {
    let mut file = b"GIF89a\x01\x00\x01\x00\x80\x00\x00".to_vec();
    file.extend([red, green, 0, 0, 0, 0]);
    file.extend(b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;");
    file
}

fn wav(frequency_hz: f64) -> Vec<u8> {
    let sample = |i: u32| (f64::from(i) * frequency_hz * std::f64::consts::TAU / 22_050.0).sin() * 20_000.0;
    let samples: Vec<i16> = (0..22_050).map(|i| sample(i) as i16).collect();
    jtav_media_codecs::write_wav(&samples, 22_050)
}

/// Every second post is positive; the sixth has no audio, the seventh no image, the eighth no text.
fn make_pack(folder: &Path) {
    let mut lines = Vec::new();
    for (split_at, split) in ["train", "validation", "test"].into_iter().enumerate() {
        for i in 0..8 {
            let positive = i % 2;
            let number = split_at * 8 + i;
            let (sound, picture) = (format!("a-{number}.wav"), format!("i-{number}.gif"));
            std::fs::write(folder.join(&sound), wav(200.0 + 40.0 * number as f64)).unwrap();
            std::fs::write(folder.join(&picture), gif(9 * number as u8, 255 * positive as u8)).unwrap();
            let word = if positive == 1 { "lovely" } else { "awful" };
            let texts = match i {
                7 => serde_json::json!([]),
                _ => serde_json::json!([
                    {"role": "body", "text": format!("what a {word} day number {number}")},
                    {"role": "caption", "text": format!("{word} {number}")},
                ]),
            };
            let audio = (i != 5).then(|| serde_json::json!({"path": sound}));
            let image = (i != 6).then(|| serde_json::json!({"path": picture}));
            let mood = audio.is_some().then_some(if positive == 1 { "Q1" } else { "Q3" });
            let post = serde_json::json!({
                "id": format!("p{number}"), "texts": texts, "audio": audio, "image": image, "split": split,
                "labels": {"sentiment": positive, "mood": mood},
            });
            lines.push(post.to_string());
        }
    }
    std::fs::write(folder.join("posts.jsonl"), lines.join("\n")).unwrap();
}

fn options(pack: &Path, root: &Path, name: &str) -> TrainOptions {
    let mut options = TrainOptions::new(pack, root.join(name).join("checkpoint"));
    options.work_dir = root.join(name).join("work");
    options.cache_dir = root.join("features");
    options.device = DeviceChoice::Cpu;
    options.quick = true;
    options
}

/// A run with epochs enough to be interrupted, whose text network is there already.
fn longer(pack: &Path, root: &Path, name: &str) -> TrainOptions {
    let mut options = options(pack, root, name);
    (options.quick, options.score_test) = (false, false);
    options.stages.remove(&Stage::Text);
    for plan in [&mut options.audio_plan, &mut options.fusion_plan] {
        (plan.epochs, plan.patience) = (3, 3);
    }
    options
}

/// A text network of a trial run in each of these work folders, for runs that take it over.
fn with_text(pack: &Path, root: &Path, names: &[&str]) {
    let mut first = options(pack, root, names[0]);
    first.stages = [Stage::Text].into();
    train_encoders(&first, &Silent).unwrap();
    for name in &names[1..] {
        let work = root.join(name).join("work");
        std::fs::create_dir_all(&work).unwrap();
        for file in ["text.safetensors", "text.evidence.json", "text.json"] {
            std::fs::copy(first.work_dir.join(file), work.join(file)).unwrap();
        }
    }
}

/// One group each, every third text neutral, every third positive.
fn rated_texts(count: usize) -> String {
    let line = |at: usize| {
        let (word, mean, votes) =
            [("fine", 2.0, [0, 1, 9]), ("awful", -2.0, [9, 1, 0]), ("plain", 0.0, [1, 8, 1])][at % 3];
        let [negative, zero, positive] = votes;
        let line = serde_json::json!({
            "id": format!("t{at}"), "group": format!("review {at}"), "text": format!("a rather {word} thing, number {at}"),
            "mean": mean, "negative": negative, "zero": zero, "positive": positive, "neutral_band": mean == 0.0,
        });
        line.to_string()
    };
    (0..count).map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_pack_becomes_a_checkpoint_that_loads_and_says_what_it_is_worth() {
    let _alone = alone();
    let (pack, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_pack(pack.path());
    let first = options(pack.path(), root.path(), "first");
    let report = train(&first, &Silent).unwrap();

    let checkpoint = Checkpoint::load(&first.out).unwrap();
    assert_eq!(checkpoint.model_version(), report.model_version);
    assert!(report.model_version.starts_with("jtav-modern-"));
    assert_eq!(report.stages.iter().map(|record| record.stage).collect::<Vec<_>>(), Stage::ALL);
    // 14 texts of seven posts; a file, and a post, counts once.
    assert_eq!(report.stages.iter().map(|record| record.train_examples).collect::<Vec<_>>(), [14, 7, 7, 8]);
    let test = report.test.as_ref().unwrap();
    assert_eq!(test.subsets.len(), 7);
    assert!(test.subsets.iter().all(|(_, figures)| figures.metrics.n == 8));
    assert_eq!(test.subset("audio").unwrap().n_present, 7);
    assert_eq!(test.moods.unwrap().n, 7);

    let card = std::fs::read_to_string(first.out.join("MODEL_CARD.md")).unwrap();
    assert!(card.contains(&report.model_version), "{card}");
    let posts = std::fs::read(pack.path().join("posts.jsonl")).unwrap();
    assert!(checkpoint.manifest().data.values().any(|recorded| *recorded == sha256_hex(&posts)));
    assert_eq!(checkpoint.manifest().metrics["test"]["subsets"].as_array().unwrap().len(), 7);
    let curves = std::fs::read_to_string(first.work_dir.join("curves.csv")).unwrap();
    assert_eq!(curves.lines().count(), 4, "a heading, and an epoch of each network but that of pictures: {curves}");

    // Encoders of an earlier run, fused again: the same seed must give the same weights, hence the same version.
    let mut again = options(pack.path(), root.path(), "first");
    again.out = root.path().join("again");
    again.stages = [Stage::Fusion].into();
    again.score_test = false;
    again.quick = false;
    again.fusion_plan.epochs = 1;
    let fused_again = train(&again, &Silent).unwrap();
    assert_eq!(fused_again.model_version, report.model_version);
    assert!(fused_again.test.is_none());
    assert!(fused_again.quick, "encoders of a trial run make the whole a trial");

    // Everything once more from nothing.
    let second = train(&options(pack.path(), root.path(), "second"), &Silent).unwrap();
    assert_eq!(second.model_version, report.model_version);
}

#[test]
fn the_light_profile_learns_from_rated_texts_and_says_which() {
    let _alone = alone();
    let (pack, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_pack(pack.path());
    let rated = rated_texts(60);
    std::fs::write(pack.path().join(RATED_TEXTS), &rated).unwrap();
    let mut light = options(pack.path(), root.path(), "light");
    light.profile = CheckpointProfile::Light;
    let report = train(&light, &Silent).unwrap();
    let checkpoint = Checkpoint::load(&light.out).unwrap();
    assert!(report.model_version.starts_with("jtav-light-"));
    assert_eq!(checkpoint.manifest().data[RATED_TEXTS], sha256_hex(rated.as_bytes()));
    let examples = report.stages[0].train_examples;
    assert!((40..60).contains(&examples), "{examples}: all but about a tenth, which is sealed");
    assert_eq!(report.certain.len(), 7);
}

#[test]
fn a_rated_text_that_is_also_that_of_a_test_post_is_refused() {
    let _alone = alone();
    let (pack, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_pack(pack.path());
    // Every third text is called fine; one of the sealed tenth is never trained on.
    let at = (0..20).map(|at| 3 * at).find(|at| !is_sealed(&format!("review {at}"))).unwrap();
    let rated =
        rated_texts(60).replace(&format!("a rather fine thing, number {at}\""), " What a lovely DAY number 17\"");
    std::fs::write(pack.path().join(RATED_TEXTS), rated).unwrap();
    let mut only_text = options(pack.path(), root.path(), "run");
    only_text.stages = [Stage::Text].into();
    let message = format!("{:#}", train_encoders(&only_text, &Silent).unwrap_err());
    assert!(message.contains(&format!("`t{at}` is also that of post `p17`")), "{message}");
    assert!(message.contains("test split"), "{message}");
}

#[test]
fn a_backbone_of_ones_own_is_part_of_the_checkpoint() {
    let _alone = alone();
    let (pack, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_pack(pack.path());
    let builder = Builder::fresh(3, DeviceChoice::Cpu.resolve().unwrap());
    DenseNet::new(&builder.scope(""), DenseNetConfig::DENSENET_121).unwrap();
    let bytes = encode_weights(&builder.finish().tensors, Precision::Full, None).unwrap();
    let weights = root.path().join("densenet121.safetensors");
    std::fs::write(&weights, &bytes).unwrap();

    let mut own = options(pack.path(), root.path(), "own");
    own.image_weights = Some(weights);
    own.score_test = false;
    let report = train(&own, &Silent).unwrap();
    let checkpoint = Checkpoint::load(&own.out).unwrap();
    assert_eq!(checkpoint.manifest().image_backbone, ImageBackbone::DenseNet121);
    assert!(!checkpoint.manifest().bases.contains_key(roles::IMAGE), "there is no base to look for");
    assert!(checkpoint.weights_bytes() > 14_000_000, "seven million values in f16");
    assert_eq!(report.stages[2].settings["weights"], sha256_hex(&bytes));

    let mut missing = own.clone();
    missing.image_weights = Some(root.path().join("nowhere.safetensors"));
    let message = format!("{:#}", train(&missing, &Silent).unwrap_err());
    assert!(message.contains("--image-weights") && message.contains("nowhere.safetensors"), "{message}");
}

#[test]
fn a_stage_that_was_never_trained_cannot_be_taken_over() {
    let _alone = alone();
    let (pack, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_pack(pack.path());
    let mut only_text = options(pack.path(), root.path(), "run");
    only_text.stages = [Stage::Text].into();
    let records = train_encoders(&only_text, &Silent).unwrap();
    assert_eq!(records.len(), 1);

    let mut fusion = options(pack.path(), root.path(), "run");
    fusion.stages = [Stage::Fusion].into();
    let message = format!("{:#}", train(&fusion, &Silent).unwrap_err());
    assert!(message.contains("the stage `audio` was left out and never trained here"), "{message}");
    assert!(!fusion.out.exists());

    let mut unfused = options(pack.path(), root.path(), "run");
    unfused.stages = [Stage::Audio, Stage::Image].into();
    assert_eq!(train_encoders(&unfused, &Silent).unwrap().len(), 2);
    let message = format!("{:#}", train(&unfused, &Silent).unwrap_err());
    assert!(message.contains("the stage `fusion` cannot be taken over"), "{message}");

    // The same work folder with another pack.
    let posts = pack.path().join("posts.jsonl");
    let shortened = std::fs::read_to_string(&posts).unwrap().replacen("lovely", "nice", 1);
    std::fs::write(&posts, shortened).unwrap();
    let message = format!("{:#}", train(&fusion, &Silent).unwrap_err());
    assert!(message.contains("trained on another data pack"), "{message}");
}

/// Panics once a given epoch of a given stage has been kept, as a killed process would end there.
struct KilledAfter {
    stage: Stage,
    epoch: usize,
    task: Mutex<String>,
}

impl Progress for KilledAfter {
    fn start(&self, task: &str, _total: u64) {
        *self.task.lock().unwrap() = task.to_owned();
    }
    fn advance(&self, _steps: u64) {}
    fn note(&self, text: &str) {
        let task = self.task.lock().unwrap().clone();
        let killed = task == self.stage.name() && text.starts_with(&format!("epoch {}:", self.epoch));
        assert!(!killed, "killed, on purpose");
    }
    fn finish(&self, _summary: &str) {}
}

#[test]
fn a_run_that_was_killed_twice_and_resumed_gives_the_weights_of_an_unbroken_one() {
    let _alone = alone();
    let (pack, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_pack(pack.path());
    with_text(pack.path(), root.path(), &["unbroken", "broken"]);
    let unbroken = train(&longer(pack.path(), root.path(), "unbroken"), &Silent).unwrap();

    let mut broken = longer(pack.path(), root.path(), "broken");
    for epoch in [1, 2] {
        let killer = KilledAfter { stage: Stage::Audio, epoch, task: Mutex::default() };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| train(&broken, &killer))).unwrap_err();
        assert!(broken.work_dir.join(format!("audio.epoch-{epoch}.state")).is_file());
        broken.resume = true;
    }
    // Other settings cannot go on with what was begun.
    let mut other = broken.clone();
    other.audio.dropout = 0.1;
    let message = format!("{:#}", train(&other, &Silent).unwrap_err());
    assert!(message.contains("the stage `audio` was begun") && message.contains("--resume"), "{message}");

    let resumed = train(&broken, &Silent).unwrap();
    assert_eq!(resumed.model_version, unbroken.model_version, "the version is the hash of the weights");
    let course = |report: &TrainReport| -> Vec<(usize, Vec<f64>)> {
        let losses = |record: &StageRecord| record.fit.curve.iter().map(|point| point.train_loss).collect();
        report.stages.iter().map(|record| (record.fit.best_epoch, losses(record))).collect()
    };
    assert_eq!(course(&resumed), course(&unbroken));
    let left: Vec<_> = std::fs::read_dir(&broken.work_dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains(".epoch-")), "{left:?}");
    assert!(std::fs::read(broken.work_dir.join("curves.png")).unwrap().starts_with(b"\x89PNG"));
    // Once more: everything but the fusion is taken over.
    let written = || {
        let when = |name: &str| std::fs::metadata(broken.work_dir.join(name)).unwrap().modified().unwrap();
        ["audio.safetensors", "image.safetensors"].map(when)
    };
    let before = written();
    assert_eq!(train(&broken, &Silent).unwrap().model_version, unbroken.model_version);
    assert_eq!(written(), before, "a finished stage is not trained again");
}
