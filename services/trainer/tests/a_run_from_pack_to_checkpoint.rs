//! A trial run over a pack that is made here: three splits of eight posts, tones and one-pixel pictures.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jtav_model::{Checkpoint, DeviceChoice};
use jtav_trainer::dataset::sha256_hex;
use jtav_trainer::{Progress, Silent, Stage, StageRecord, TrainOptions, train, train_encoders};

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
    options.vocabulary.buckets = 50;
    options.image.train_resolution = 64;
    options.image.serve_resolution = 64;
    options
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
    assert_eq!(report.stages.iter().map(|record| record.stage).collect::<Vec<_>>(), Stage::ALL);
    assert_eq!(report.stages.iter().map(|record| record.train_examples).collect::<Vec<_>>(), [7, 7, 7, 8]);
    let test = report.test.as_ref().unwrap();
    assert_eq!(test.subsets.len(), 7);
    assert!(test.subsets.iter().all(|(_, figures)| figures.metrics.n == 8));
    assert_eq!(test.subset("audio").unwrap().n_present, 7);
    assert_eq!(test.moods.unwrap().n, 7);

    let card = std::fs::read_to_string(first.out.join("MODEL_CARD.md")).unwrap();
    assert!(card.contains("A trial run") && card.contains("### Test (8 posts)"), "{card}");
    let posts = std::fs::read(pack.path().join("posts.jsonl")).unwrap();
    let recorded = checkpoint.manifest().data.values().next().unwrap();
    assert_eq!(*recorded, sha256_hex(&posts));
    assert_eq!(checkpoint.manifest().metrics["test"]["subsets"].as_array().unwrap().len(), 7);
    let curves = std::fs::read_to_string(first.work_dir.join("curves.csv")).unwrap();
    assert_eq!(curves.lines().count(), 5);

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

    // Audio and image networks of the finished checkpoint, the rest anew: the same again, and it says where from.
    let mut kept = options(pack.path(), root.path(), "kept");
    kept.keep_media = Some(first.out.clone());
    kept.stages = [Stage::Text, Stage::Fusion].into();
    kept.score_test = false;
    let with_kept = train(&kept, &Silent).unwrap();
    let froms: Vec<bool> = with_kept.stages.iter().map(|record| record.kept_from.is_some()).collect();
    assert_eq!(froms, [false, true, true, false]);
    assert_eq!(with_kept.stages[1].fit.curve.len(), 1, "the record of the kept network comes along");
    let card = std::fs::read_to_string(kept.out.join("MODEL_CARD.md")).unwrap();
    assert!(card.contains(&format!("| audio, kept from {} |", report.model_version)), "{card}");

    // Everything once more from nothing.
    let second = train(&options(pack.path(), root.path(), "second"), &Silent).unwrap();
    assert_eq!(second.model_version, report.model_version);

    // On other posts, nothing of it may be kept.
    let posts = pack.path().join("posts.jsonl");
    let other = std::fs::read_to_string(&posts).unwrap().replacen("lovely", "nice", 1);
    std::fs::write(&posts, other).unwrap();
    let message = format!("{:#}", train(&kept, &Silent).unwrap_err());
    assert!(message.contains("trained on other posts"), "{message}");
}

#[test]
fn a_joint_run_ends_in_a_checkpoint_that_loads_and_can_be_taken_up() {
    let _alone = alone();
    let (pack, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_pack(pack.path());
    let jointly = |name: &str| {
        let mut options = options(pack.path(), root.path(), name);
        options.score_test = false;
        options.stages.insert(Stage::Joint);
        options
    };
    let quick = train(&jointly("quick"), &Silent).unwrap();
    assert_eq!(Checkpoint::load(&jointly("quick").out).unwrap().model_version(), quick.model_version);
    let record = &quick.stages[4];
    assert_eq!((record.stage, record.train_examples, record.fit.curve.len()), (Stage::Joint, 8, 1));
    let card = std::fs::read_to_string(jointly("quick").out.join("MODEL_CARD.md")).unwrap();
    assert!(
        card.contains("all four networks were fine-tuned together") && card.contains("| joint | 8 | 1 ("),
        "{card}"
    );

    // Three epochs, killed after the second and taken up.
    let longer = |name: &str| {
        let mut options = jointly(name);
        options.quick = false;
        for plan in [&mut options.text_plan, &mut options.audio_plan, &mut options.image_plan, &mut options.fusion_plan]
        {
            plan.epochs = 1;
        }
        (options.joint_plan.epochs, options.joint_plan.patience) = (3, 3);
        options
    };
    let unbroken = train(&longer("unbroken"), &Silent).unwrap();
    let mut broken = longer("broken");
    let killer = KilledAfter { stage: Stage::Joint, epoch: 2, task: Mutex::default() };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| train(&broken, &killer))).unwrap_err();
    assert!(broken.work_dir.join("joint.epoch-2.state").is_file());
    broken.resume = true;
    let resumed = train(&broken, &Silent).unwrap();
    assert_eq!(resumed.model_version, unbroken.model_version);
    let losses = |report: &jtav_trainer::TrainReport| {
        report.stages[4].fit.curve.iter().map(|point| (point.train_loss, point.validation_log_loss)).collect::<Vec<_>>()
    };
    assert_eq!(losses(&resumed), losses(&unbroken));
    assert!(losses(&unbroken)[2].0 < losses(&unbroken)[0].0, "{:?}", losses(&unbroken));
    // Once more: the finished stage is taken over.
    assert_eq!(train(&broken, &Silent).unwrap().model_version, unbroken.model_version);

    let mut kept = longer("kept");
    kept.keep_media = Some(broken.out.clone());
    kept.stages = [Stage::Text, Stage::Fusion, Stage::Joint].into();
    assert!(train(&kept, &Silent).unwrap_err().to_string().contains("leave one out"));
}

#[test]
fn a_joint_stage_that_makes_validation_worse_leaves_the_staged_networks() {
    let _alone = alone();
    let (pack, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_pack(pack.path());
    // What the training posts teach is wrong on validation.
    let posts = std::fs::read_to_string(pack.path().join("posts.jsonl")).unwrap();
    let flipped = posts.lines().map(|line| {
        let mut post: serde_json::Value = serde_json::from_str(line).unwrap();
        if post["split"] == "train" {
            post["labels"]["sentiment"] = (1 - post["labels"]["sentiment"].as_i64().unwrap()).into();
        }
        post.to_string()
    });
    std::fs::write(pack.path().join("posts.jsonl"), flipped.collect::<Vec<_>>().join("\n")).unwrap();
    let mut staged = options(pack.path(), root.path(), "run");
    staged.score_test = false;
    let without = train(&staged, &Silent).unwrap();
    let mut wild = staged.clone();
    wild.stages.insert(Stage::Joint);
    wild.joint_plan.learning_rate = 3e-3;
    let report = train(&wild, &Silent).unwrap();
    assert_eq!(report.stages[4].fit.best_epoch, 0);
    assert_eq!(report.model_version, without.model_version);
    let card = std::fs::read_to_string(wild.out.join("MODEL_CARD.md")).unwrap();
    assert!(card.contains("**the staged weights were kept**"), "{card}");
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
    let of_three_epochs = |name: &str| {
        let mut options = options(pack.path(), root.path(), name);
        options.quick = false;
        options.score_test = false;
        for plan in [&mut options.text_plan, &mut options.audio_plan, &mut options.image_plan, &mut options.fusion_plan]
        {
            (plan.epochs, plan.patience) = (3, 3);
        }
        options
    };
    let unbroken = train(&of_three_epochs("unbroken"), &Silent).unwrap();

    let mut broken = of_three_epochs("broken");
    for (stage, epoch) in [(Stage::Text, 2), (Stage::Image, 1)] {
        let killer = KilledAfter { stage, epoch, task: Mutex::default() };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| train(&broken, &killer))).unwrap_err();
        assert!(broken.work_dir.join(format!("{stage}.epoch-{epoch}.state")).is_file());
        broken.resume = true;
    }
    // Other settings cannot go on with what was begun.
    let mut other = broken.clone();
    other.image.dropout = 0.1;
    let message = format!("{:#}", train(&other, &Silent).unwrap_err());
    assert!(message.contains("the stage `image` was begun") && message.contains("--resume"), "{message}");

    let resumed = train(&broken, &Silent).unwrap();
    assert_eq!(resumed.model_version, unbroken.model_version, "the version is the hash of the weights");
    for (a, b) in resumed.stages.iter().zip(&unbroken.stages) {
        let losses = |record: &StageRecord| record.fit.curve.iter().map(|p| p.train_loss).collect::<Vec<_>>();
        assert_eq!((a.fit.best_epoch, losses(a)), (b.fit.best_epoch, losses(b)), "{}", a.stage);
    }
    let left: Vec<_> = std::fs::read_dir(&broken.work_dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains(".epoch-")), "{left:?}");
    assert!(std::fs::read(broken.work_dir.join("curves.png")).unwrap().starts_with(b"\x89PNG"));
}
