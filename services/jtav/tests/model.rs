//! `jtav model`, as a process, on a checkpoint whose weights and bases are a few bytes: that they are those of a network is
//! not looked at here.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use jtav_model::checkpoint::sha256;
use jtav_model::{Base, Bases, Calibration, Checkpoint, Dimensions, Manifest, Middle, Standardisation, roles};
use serde_json::Value;

struct Made {
    _folder: tempfile::TempDir,
    checkpoint: PathBuf,
    weights: PathBuf,
    out: PathBuf,
}

fn base(file: &str) -> Base {
    Base { name: format!("base {file}"), file: file.to_owned(), sha256: sha256(file.as_bytes()) }
}

/// Every base holds its own name.
fn made(change: impl FnOnce(&mut Manifest)) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let [checkpoint, weights, out] = ["checkpoint", "weights", "out"].map(|name| folder.path().join(name));
    std::fs::create_dir_all(&checkpoint).unwrap();
    std::fs::create_dir_all(&weights).unwrap();
    let levels = Standardisation { mean: vec![-40.0; 96], std: vec![12.0; 96] };
    let mut manifest = Manifest::new("modern", Dimensions::modern(), levels, 30, Calibration::default(), 7);
    manifest.bases = [(roles::TRUNK, "trunk.bin"), (roles::PIECES, "pieces.bin")]
        .map(|(role, file)| (role.to_owned(), base(file)))
        .into();
    manifest.middle = Middle {
        certain_from: [("text".to_owned(), 0.625)].into(),
        promised_accuracy: 0.9,
        languages: vec!["en".to_owned()],
        language_confidence: 0.5,
        ..Middle::default()
    };
    manifest.metrics = serde_json::json!({ "test": { "text": { "accuracy": 0.71 } } });
    change(&mut manifest);
    for base in manifest.bases.values() {
        std::fs::write(weights.join(&base.file), &base.file).unwrap();
    }
    manifest.files = [("weights.safetensors".to_owned(), sha256(b"weights"))].into();
    std::fs::write(checkpoint.join("weights.safetensors"), "weights").unwrap();
    std::fs::write(checkpoint.join("MODEL_CARD.md"), "# A card\n").unwrap();
    std::fs::write(checkpoint.join("manifest.json"), serde_json::to_vec_pretty(&manifest).unwrap()).unwrap();
    Made { _folder: folder, checkpoint, weights, out }
}

fn jtav(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jtav")).arg("model").args(arguments).output().unwrap()
}

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refusal(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_checkpoint_is_shown_with_its_bases_promises_and_figures() {
    let made = made(|_| ());
    let version = format!("jtav-modern-{}", &sha256(b"weights")[..12]);
    let text = stdout(&jtav(&[path("show"), &made.checkpoint, path("--weights"), &made.weights]));
    let found = made.weights.join("trunk.bin").display().to_string();
    for part in [
        version.as_str(),
        "trunk: base trunk.bin (licence unknown",
        found.as_str(),
        &sha256(b"trunk.bin")[..12],
        "efficientnet-lite0",
        "word_width 768",
        "en; an identification below 0.50",
        "90 % of certain labels",
        "text 0.625, audio never",
        "test text: accuracy 0.710",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = stdout(&jtav(&[path("show"), &made.checkpoint, path("--weights"), &made.weights, path("--json")]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["version"].as_str(), json["bases"][1]["role"].as_str()), (Some(&*version), Some("trunk")));
    assert_eq!((json["bases"][1]["path"].as_str(), &json["bases"][1]["problem"]), (Some(&*found), &Value::Null));
    assert_eq!(json["metrics"]["test"]["text"]["accuracy"], 0.71);
}

#[test]
fn a_base_that_is_missing_or_damaged_is_shown_with_what_to_do() {
    let made = made(|_| ());
    let text = stdout(&jtav(&[path("show"), &made.checkpoint]));
    assert!(text.contains("NOT USABLE: ") && text.contains("scripts/setup-weights.sh"), "{text}");
    std::fs::write(made.weights.join("trunk.bin"), "other bytes").unwrap();
    let json = stdout(&jtav(&[path("show"), &made.checkpoint, path("--weights"), &made.weights, path("--json")]));
    let json: Value = serde_json::from_str(&json).unwrap();
    let problem = json["bases"][1]["problem"].as_str().unwrap();
    assert!(problem.contains(&sha256(b"other bytes")) && problem.contains("scripts/setup-weights.sh"), "{problem}");
}

#[test]
fn pinned_bases_are_shown_with_their_licences() {
    let made = made(|manifest| {
        manifest.bases.insert(roles::LANGUAGE.to_owned(), Base::language_identification());
        manifest.bases.insert(roles::IMAGE.to_owned(), Base::efficientnet_lite0());
    });
    let text = stdout(&jtav(&[path("show"), &made.checkpoint]));
    assert!(text.contains("lid.176 (CC-BY-SA-3.0)") && text.contains("EfficientNet-Lite0 (Apache-2.0)"), "{text}");
}

#[test]
fn a_packed_folder_has_all_that_the_checkpoint_names() {
    let made = made(|_| ());
    let pack = [path("pack"), &made.checkpoint, &made.out, path("--weights"), &made.weights];
    let text = stdout(&jtav(&pack));
    assert!(text.contains("trunk.bin") && text.contains("with all that it needs"), "{text}");
    let (manifest, weights) = Checkpoint::read_verified(&made.out).unwrap();
    assert_eq!(weights, b"weights");
    let own = Bases::in_folders(vec![made.out.clone()]);
    for base in manifest.bases.values() {
        assert_eq!(own.read(base).unwrap(), base.file.as_bytes());
    }
    let same =
        |file: &str| std::fs::read(made.checkpoint.join(file)).unwrap() == std::fs::read(made.out.join(file)).unwrap();
    assert!(same("manifest.json") && same("MODEL_CARD.md"));

    // A second time only over its own files.
    let (code, why) = refusal(&jtav(&pack));
    assert!(code == Some(2) && why.contains("is not empty") && why.contains("--force"), "{code:?} {why}");
    std::fs::write(made.out.join("other"), "stays").unwrap();
    let again = [&pack[..], &[path("--force"), path("--json")]].concat();
    let said: Value = serde_json::from_str(&stdout(&jtav(&again))).unwrap();
    assert!(said["bytes"].as_u64().unwrap() > 0 && said["files"].as_array().unwrap().len() == 5, "{said}");
    assert_eq!(std::fs::read(made.out.join("other")).unwrap(), b"stays");
    // Into itself, too.
    stdout(&jtav(&[path("pack"), &made.out, &made.out, path("--force")]));
    assert!(Checkpoint::read_verified(&made.out).is_ok());
}

#[test]
fn nothing_is_packed_where_anything_is_missing_or_damaged() {
    let made = made(|_| ());
    let (code, why) = refusal(&jtav(&[path("pack"), &made.checkpoint, &made.out]));
    assert!(code == Some(78) && why.contains("scripts/setup-weights.sh"), "{code:?} {why}");
    assert!(!made.out.exists());
    std::fs::write(made.checkpoint.join("weights.safetensors"), "others").unwrap();
    let (code, why) = refusal(&jtav(&[path("pack"), &made.checkpoint, &made.out, path("--weights"), &made.weights]));
    assert!(code == Some(65) && why.contains("sha256"), "{code:?} {why}");
    assert!(!made.out.exists());
}

/// A manifest may come from a stranger.
#[test]
fn a_base_whose_name_a_terminal_would_obey_is_refused() {
    let made = made(|manifest| {
        let named = Base { name: "\u{1b}[2J".to_owned(), ..base("trunk.bin") };
        manifest.bases.insert(roles::TRUNK.to_owned(), named);
    });
    let (code, why) = refusal(&jtav(&[path("show"), &made.checkpoint]));
    assert!(code == Some(65) && why.contains("plain ASCII") && !why.contains('\u{1b}'), "{code:?} {why}");
}

#[test]
fn a_base_may_not_take_the_place_of_another_file() {
    for file in ["manifest.json", "weights.safetensors", "NOTICE.md", "LICENSES", "MODEL_CARD.md", "pieces.bin"] {
        let made = made(|manifest| {
            let mut taken = base("trunk.bin");
            taken.file = file.to_owned();
            manifest.bases.insert(roles::TRUNK.to_owned(), taken);
        });
        let (code, why) =
            refusal(&jtav(&[path("pack"), &made.checkpoint, &made.out, path("--weights"), &made.weights]));
        assert!(code == Some(65) && why.contains("has that name"), "{file}: {code:?} {why}");
        assert!(!made.out.exists());
    }
}

/// Where set-up has put them.
#[test]
fn licences_go_with_the_bases() {
    let made = made(|manifest| {
        manifest.bases = [(roles::LANGUAGE.to_owned(), Base::language_identification())].into();
    });
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let usual = root.join("third_party/weights");
    if !usual.join("lid.176.ftz").is_file() {
        println!("skipped: the base weights are not set up");
        return;
    }
    let text = stdout(&jtav(&[path("pack"), &made.checkpoint, &made.out, path("--weights"), &usual]));
    assert!(text.contains("0.9 MB  lid.176.ftz"), "{text}");
    for file in ["NOTICE.md", "LICENSES/Apache-2.0.txt", "LICENSES/CC-BY-SA-3.0.txt"] {
        let shipped = std::fs::read(root.join("models/bases").join(file)).unwrap();
        assert_eq!(std::fs::read(made.out.join(file)).unwrap(), shipped, "{file}");
    }
}
