use super::*;
use crate::inference::drawn;
use crate::manifest::{LIGHT, MODERN, roles};
use crate::placement::{CpuPrecision, choices_of};
use crate::text::TextFrontEnd;

/// Drawn weights on the bases, which set-up puts there; their absence is no reason to skip a test.
fn open(profile: &str) -> (TextNetwork, TextFrontEnd) {
    tch::set_num_threads(1);
    let checkpoint = drawn::checkpoint(drawn::manifest(profile)).unwrap_or_else(|error| panic!("{error}"));
    let network = TextNetwork::from_checkpoint_f32(&checkpoint, DeviceChoice::Cpu);
    let network = network.unwrap_or_else(|error| panic!("{error}"));
    (network, TextFrontEnd::of_checkpoint(&checkpoint).unwrap())
}

fn inputs(front_end: &TextFrontEnd) -> Vec<TextInput> {
    let long = "we waited two hours for a table and the soup was cold, but nobody minded. ".repeat(8);
    let posts: [Vec<(&str, &str)>; 5] = [
        vec![("body", "Best day ever!"), ("caption", "we went to the sea and nobody wanted to leave")],
        vec![("body", &long)],
        vec![("body", "no")],
        vec![("body", "\u{1F600}\u{1F600}"), ("caption", "not so good")],
        vec![("body", "wir waren am Meer")],
    ];
    posts.iter().map(|parts| front_end.input(parts).unwrap().unwrap()).collect()
}

#[test]
fn both_profiles_serve_a_vector_and_a_weight_for_every_word() {
    for profile in [MODERN, LIGHT] {
        let (network, front_end) = open(profile);
        network.warm_up().unwrap();
        assert!(network.encode(&[]).unwrap().is_empty());
        let inputs = inputs(&front_end);
        let found = network.encode(&inputs).unwrap();
        assert_eq!(found.len(), inputs.len());
        for (input, EncodedText { encoded, semantic }) in inputs.iter().zip(&found) {
            assert_eq!((encoded.vector.len(), encoded.attention.len()), (100, input.word_count()));
            assert!(encoded.vector.iter().all(|value| value.is_finite() && value.abs() <= 1.0));
            assert!(encoded.attention.iter().all(|weight| *weight >= 0.0));
            assert!((encoded.attention.iter().sum::<f32>() - 1.0).abs() < 1e-4);
            // The last two values are counted: what the bag says, squeezed, and the lexicon's compound.
            assert_eq!((encoded.vector[98] != 0.0, encoded.vector[99]), (profile == LIGHT, input.lexicon), "{profile}");
            assert_eq!(semantic.is_some(), profile == MODERN);
            let length = semantic.iter().flatten().map(|value| value * value).sum::<f32>().sqrt();
            assert!(profile == LIGHT || (length - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn a_post_alone_is_encoded_as_among_others() {
    for profile in [MODERN, LIGHT] {
        let (network, front_end) = open(profile);
        let inputs = inputs(&front_end);
        let near = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
        for (input, there) in inputs.iter().zip(network.encode(&inputs).unwrap()) {
            let here = network.encode(std::slice::from_ref(input)).unwrap().remove(0);
            assert!(near(&here.encoded.vector, &there.encoded.vector), "{profile}");
            assert!(near(&here.encoded.attention, &there.encoded.attention), "{profile}");
            assert!(near(&here.semantic.unwrap_or_default(), &there.semantic.unwrap_or_default()), "{profile}");
        }
    }
}

#[test]
fn on_every_engine_of_a_cpu_a_post_is_encoded_as_on_libtorch() {
    tch::set_num_threads(1);
    for profile in [MODERN, LIGHT] {
        let checkpoint = drawn::checkpoint(drawn::manifest(profile)).unwrap();
        let exact = TextNetwork::from_checkpoint_f32(&checkpoint, DeviceChoice::Cpu).unwrap();
        let inputs = inputs(&TextFrontEnd::of_checkpoint(&checkpoint).unwrap());
        let expected = exact.encode(&inputs).unwrap();
        for cpu_engine in [CpuEngine::OpenVino, CpuEngine::Auto] {
            let placement = Placement::on_cpu(cpu_engine);
            let network = TextNetwork::from_checkpoint(&checkpoint, placement).unwrap();
            network.warm_up().unwrap();
            let choices = choices_of(&checkpoint.model_version(), placement);
            let far = if choices.values().any(|choice| choice.is_bf16) { 3e-2 } else { 2e-4 };
            let near = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < far);
            for (found, expected) in network.encode(&inputs).unwrap().iter().zip(&expected) {
                assert!(near(&found.encoded.vector, &expected.encoded.vector), "{profile} {cpu_engine}");
                assert!(near(&found.encoded.attention, &expected.encoded.attention), "{profile} {cpu_engine}");
                assert_eq!(found.semantic.is_some(), expected.semantic.is_some());
                let semantic = [found, expected].map(|text| text.semantic.clone().unwrap_or_default());
                assert!(near(&semantic[0], &semantic[1]), "{profile} {cpu_engine}");
            }
            let own = if placement.takes_bf16(Device::Cpu) { Engine::OwnBf16 } else { Engine::Own };
            assert_eq!(choices["text_attbigru"].engine, own);
            assert_eq!(choices.contains_key("text_trunk"), profile == MODERN);
        }
    }
}

#[test]
fn in_f32_alone_no_processor_rounds_what_others_do_not() {
    tch::set_num_threads(1);
    let checkpoint = drawn::checkpoint(drawn::manifest(LIGHT)).unwrap();
    let exact = TextNetwork::from_checkpoint_f32(&checkpoint, DeviceChoice::Cpu).unwrap();
    let inputs = inputs(&TextFrontEnd::of_checkpoint(&checkpoint).unwrap());
    let placement = Placement { cpu_precision: CpuPrecision::F32, ..Placement::on_cpu(CpuEngine::Auto) };
    let network = TextNetwork::from_checkpoint(&checkpoint, placement).unwrap();
    assert!(choices_of(&checkpoint.model_version(), placement).values().all(|choice| !choice.is_bf16));
    for (found, expected) in network.encode(&inputs).unwrap().iter().zip(exact.encode(&inputs).unwrap()) {
        let pairs = found.encoded.vector.iter().zip(&expected.encoded.vector);
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

#[test]
fn a_text_without_pieces_is_refused() {
    let stand_in = TextFrontEnd::without_pieces().input(&[("body", "good")]).unwrap().unwrap();
    for cpu_engine in [CpuEngine::Libtorch, CpuEngine::Auto] {
        let checkpoint = drawn::checkpoint(drawn::manifest(LIGHT)).unwrap();
        let placement = Placement::on_cpu(cpu_engine);
        let network = TextNetwork::from_checkpoint(&checkpoint, placement).unwrap();
        assert!(matches!(network.encode(std::slice::from_ref(&stand_in)), Err(ModelError::Input(_))));
    }
}

#[test]
fn a_manifest_that_does_not_fit_its_base_is_refused() {
    let checkpoint = drawn::checkpoint(drawn::manifest(LIGHT)).unwrap();
    let refused =
        |manifest| TextNetwork::from_checkpoint(&checkpoint.with_manifest(manifest), DeviceChoice::Cpu).err().unwrap();
    let mut wide = checkpoint.manifest().clone();
    wide.dimensions.word_width = 768;
    assert!(refused(wide).to_string().contains("word_width"));
    let mut unnamed = checkpoint.manifest().clone();
    unnamed.bases.remove(roles::TRUNK);
    assert!(matches!(refused(unnamed), ModelError::Configuration(_)));
}

#[test]
fn words_are_credited_as_the_two_paths_add_to_the_logit() {
    let mut attention = [0.5, 0.5, 0.0];
    credit(&mut attention, &[0.0, 3.0, 1.0], &[-1.0, 3.0]);
    assert_eq!(attention, [0.125, 0.6875, 0.1875]);
}

#[test]
fn a_bag_that_says_nothing_leaves_the_attention_alone() {
    let mut attention = [0.25, 0.75];
    credit(&mut attention, &[0.0, 0.0], &[1.0, 2.0]);
    credit(&mut attention, &[1.0, 0.0], &[0.0, 0.0]);
    credit(&mut attention, &[1.0, 0.0], &[2.0, 0.0]);
    assert_eq!(attention, [0.25, 0.75]);
}

proptest::proptest! {
    #[test]
    fn every_post_runs_once_and_no_pass_is_over_its_limits(
        lengths in proptest::collection::vec(1_usize..=100, 0..400)
    ) {
        let passes = passes(&lengths, has_room);
        let mut posts: Vec<usize> = passes.concat();
        posts.sort_unstable();
        proptest::prop_assert_eq!(posts, (0..lengths.len()).collect::<Vec<_>>());
        for pass in passes {
            let longest = pass.iter().map(|&post| lengths[post]).max().unwrap_or(0);
            proptest::prop_assert!(pass.len() <= MAX_BATCH && pass.len() * longest <= MAX_PADDED_WORDS);
        }
    }

    #[test]
    fn credited_words_sum_to_one_and_none_is_negative(
        words in proptest::collection::vec((0.01_f32..1.0, 0.0_f32..5.0), 1..30), read in -9.0_f32..9.0, counted in -9.0_f32..9.0
    ) {
        let sum: f32 = words.iter().map(|word| word.0).sum();
        let mut attention: Vec<f32> = words.iter().map(|word| word.0 / sum).collect();
        let per_word: Vec<f32> = words.iter().map(|word| word.1).collect();
        credit(&mut attention, &per_word, &[read, counted]);
        proptest::prop_assert!((attention.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        proptest::prop_assert!(attention.iter().all(|weight| *weight >= 0.0));
    }
}
