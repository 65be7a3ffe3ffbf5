use super::*;

#[test]
fn standardisation_is_the_mean_and_deviation_of_each_bin() {
    let mut spectrogram = vec![-40.0_f32; 4 * SEGMENT_BINS];
    for (frame, level) in [(0, -10.0), (1, -20.0), (2, -30.0), (3, -40.0)] {
        spectrogram[frame * SEGMENT_BINS + 5] = level;
    }
    let fitted = Standardisation::fit([spectrogram.as_slice()]).unwrap();
    assert_eq!((fitted.mean[5], fitted.mean[6]), (-25.0, -40.0));
    assert!((fitted.std[5] - 125.0_f32.sqrt()).abs() < 1e-4);
    assert_eq!(fitted.std[6], 1.0);
    assert!(Standardisation::fit(std::iter::empty()).is_err());
}

#[test]
fn calibration_falls_back_and_refuses_nonsense() {
    let calibration = Calibration::default();
    assert_eq!((calibration.temperature_of(ModalitySet::FULL), calibration.prior_log_odds), (1.0, 0.0));
    assert_eq!((calibration.bounds(), calibration.check()), ([NO_BOUND; 4], Ok(())));
    let refused = |calibration: Calibration| calibration.check().unwrap_err();
    let of = |name: &str, value: f32| BTreeMap::from([(name.to_owned(), value)]);
    let warm = |name, value| Calibration { temperature: of(name, value), ..Calibration::default() };
    assert!(refused(warm("audio+text", 1.0)).contains("audio+text"));
    assert!(refused(warm("text", 0.0)).contains("temperature"));
    let bounded = |name, value| Calibration { bound: of(name, value), ..Calibration::default() };
    assert!(refused(bounded("video", 1.0)).contains("video"));
    assert!(refused(bounded("image", 0.0)).contains("bound"));
    for prior_log_odds in [f32::NAN, f32::INFINITY] {
        assert!(refused(Calibration { prior_log_odds, ..Calibration::default() }).contains("prior_log_odds"));
    }
}

#[test]
fn a_middle_promises_nothing_by_itself_and_one_that_promises_nonsense_is_refused() {
    let text = ModalitySet::from_presence(true, false, false);
    let middle = Middle::default();
    assert_eq!((middle.check(), middle.certain_from_of(text)), (Ok(()), 1.0));
    let promising = Middle { certain_from: BTreeMap::from([("text".to_owned(), 0.8)]), ..middle.clone() };
    assert_eq!((promising.check(), promising.certain_from_of(text)), (Ok(()), 0.8));
    let json = serde_json::to_value(&promising).unwrap();
    for (field, wrong) in [
        ("temperature", serde_json::json!(0.0)),
        ("certain_from", serde_json::json!({ "text": 1.1 })),
        ("certain_from", serde_json::json!({ "video": 0.9 })),
        ("promised_accuracy", serde_json::json!(-0.1)),
        ("languages", serde_json::json!([])),
        ("languages", serde_json::json!(["English"])),
        ("language_confidence", serde_json::json!(2.0)),
    ] {
        let mut other = json.clone();
        other[field] = wrong;
        let read: Middle = serde_json::from_value(other).unwrap();
        assert!(read.check().unwrap_err().contains("middle"), "{field}");
    }
    let endless = Middle { media_only_neutral: f32::INFINITY, ..middle };
    assert!(endless.check().unwrap_err().contains("media_only_neutral"));
    let mut other = json;
    other["accuracy"] = serde_json::json!(0.9);
    assert!(serde_json::from_value::<Middle>(other).unwrap_err().to_string().contains("accuracy"));
}

fn manifest(profile: &str) -> Manifest {
    let standardisation = Standardisation { mean: vec![0.0; SEGMENT_BINS], std: vec![1.0; SEGMENT_BINS] };
    Manifest::new(profile, Dimensions::of_profile(profile), standardisation, 30, Calibration::default(), 1)
}

fn read(json: &serde_json::Value) -> Result<Manifest, String> {
    Manifest::from_json(json.to_string().as_bytes())
}

#[test]
fn a_manifest_of_either_profile_reads_back() {
    for profile in [MODERN, LIGHT] {
        let json = serde_json::to_value(manifest(profile)).unwrap();
        assert_eq!(read(&json).unwrap(), manifest(profile));
    }
    assert!(manifest(MODERN).reads_with_trunk() && !manifest(LIGHT).reads_with_trunk());
}

#[test]
fn a_folder_of_an_earlier_or_later_format_says_what_to_do() {
    let mut json = serde_json::to_value(manifest(MODERN)).unwrap();
    for (format, advice) in [(1, "train again"), (2, "train again"), (4, "the version of jtav that wrote it")] {
        json["format"] = format.into();
        let error = read(&json).unwrap_err();
        assert!(error.contains(&format!("format {format}")) && error.contains(advice), "{error}");
    }
    // Whatever else an older one holds: the format is looked at first.
    assert!(read(&serde_json::json!({ "format": 2, "vocabulary": {} })).unwrap_err().contains("train again"));
}

#[test]
fn an_unknown_profile_a_missing_middle_and_a_field_that_nobody_knows_are_refused() {
    let json = serde_json::to_value(manifest(MODERN)).unwrap();
    let mut other = json.clone();
    other["profile"] = "pretrained".into();
    assert!(read(&other).unwrap_err().contains("`pretrained`"));
    let mut other = json.clone();
    other.as_object_mut().unwrap().remove("middle").unwrap();
    assert!(read(&other).unwrap_err().contains("middle"));
    let mut other = json;
    other["vocabulary"] = serde_json::json!({});
    assert!(read(&other).unwrap_err().contains("vocabulary"));
}

#[test]
fn a_manifest_without_the_seconds_of_a_clip_is_refused() {
    let mut json = serde_json::to_value(manifest(LIGHT)).unwrap();
    json["max_audio_seconds"] = 0.into();
    assert!(read(&json).unwrap_err().contains("max_audio_seconds"));
    json.as_object_mut().unwrap().remove("max_audio_seconds").unwrap();
    assert!(read(&json).unwrap_err().contains("max_audio_seconds"));
}

#[test]
fn the_pinned_bases_have_their_roles_and_one_that_leads_out_of_its_folder_is_refused() {
    let manifest = manifest(LIGHT);
    for (role, base) in [
        (roles::TRUNK, Base::minilm()),
        (roles::PIECES, Base::minilm_tokenizer()),
        (roles::LANGUAGE, Base::language_identification()),
        (roles::IMAGE, Base::efficientnet_lite0()),
    ] {
        assert_eq!(manifest.base(role).unwrap(), &base);
    }
    assert!(matches!(manifest.base("voice"), Err(ModelError::Configuration(_))));
    let mut json = serde_json::to_value(manifest).unwrap();
    json["bases"]["trunk"]["file"] = "../secret".into();
    assert!(read(&json).unwrap_err().contains("../secret"));
}

#[test]
fn sizes_out_of_bounds_are_named() {
    for of_profile in [Dimensions::modern(), Dimensions::light()] {
        assert_eq!(of_profile.check(), Ok(()));
        for (name, dimensions) in [
            ("word_width", Dimensions { word_width: i64::MAX, ..of_profile }),
            ("ngram_buckets", Dimensions { ngram_buckets: (1 << 24) + 1, ..of_profile }),
            ("ngram_buckets", Dimensions { ngram_buckets: -1, ..of_profile }),
            ("semantic", Dimensions { semantic: 385, ..of_profile }),
            ("vector", Dimensions { vector: 5, ..of_profile }),
            ("audio_channels", Dimensions { audio_channels: 3, ..of_profile }),
            ("image_resolution", Dimensions { image_resolution: 100, ..of_profile }),
        ] {
            assert!(dimensions.check().unwrap_err().contains(name), "{name}");
        }
    }
}
