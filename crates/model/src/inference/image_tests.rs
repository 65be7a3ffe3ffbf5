use super::*;
use crate::inference::drawn;
use crate::manifest::{LIGHT, MODERN, Manifest};
use crate::placement::{CpuEngine, choices_of};

fn pictures() -> Vec<Rgb224> {
    let picture = |n: usize| Rgb224::new((0..Rgb224::BYTES).map(|i| (i / (n + 1) % 251) as u8).collect::<Vec<_>>());
    (0..6).map(|n| picture(n).unwrap()).collect()
}

/// A checkpoint whose image network looks at `side` pixels.
fn checkpoint(profile: &str, image_backbone: ImageBackbone, side: i64) -> Checkpoint {
    let mut manifest = Manifest { image_backbone, ..drawn::manifest(profile) };
    manifest.dimensions.image_resolution = side;
    drawn::checkpoint(manifest).unwrap()
}

fn assert_sound(encoded: &[Encoded]) {
    assert_eq!(encoded.len(), 6);
    for Encoded { vector, attention } in encoded {
        assert_eq!((vector.len(), attention.len()), (100, IMAGE_CELLS));
        assert!(vector.iter().all(|value| value.is_finite()));
        assert!(attention.iter().all(|share| *share >= 0.0));
        assert!((attention.iter().sum::<f32>() - 1.0).abs() < 1e-4);
    }
    assert_ne!(encoded[0].vector, encoded[5].vector);
}

#[test]
fn on_openvino_a_picture_is_encoded_as_on_libtorch() {
    let checkpoint = checkpoint(MODERN, ImageBackbone::EfficientNetLite0, 224);
    let exact = ImageNetwork::from_checkpoint_f32(&checkpoint, DeviceChoice::Cpu).unwrap();
    let placement = Placement::on_cpu(CpuEngine::OpenVino);
    let network = ImageNetwork::from_checkpoint(&checkpoint, placement).unwrap();
    network.warm_up().unwrap();
    let choice = &choices_of(&checkpoint.model_version(), placement)["image"];
    let (precision, far) = if choice.is_bf16 { ("bf16", 3e-2) } else { ("f32", 1e-4) };
    assert_eq!((network.precision(), network.normalisation()), (precision, Normalisation::LITE));
    let found = network.encode(&pictures()).unwrap();
    assert_sound(&found);
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < far);
    for (found, expected) in found.iter().zip(exact.encode(&pictures()).unwrap()) {
        assert!(near(&found.vector, &expected.vector) && near(&found.attention, &expected.attention));
    }
}

#[test]
fn a_network_that_openvino_does_not_take_stays_on_libtorch_and_says_why() {
    let small = checkpoint(MODERN, ImageBackbone::EfficientNetLite0, 64);
    let placement = Placement::on_cpu;
    let network = ImageNetwork::from_checkpoint(&small, placement(CpuEngine::Auto)).unwrap();
    assert_sound(&network.encode(&pictures()).unwrap());
    let choice = &choices_of(&small.model_version(), placement(CpuEngine::Auto))["image"];
    assert!(choice.engine == Engine::Libtorch && choice.because.contains("224 px"), "{choice:?}");
    assert!(ImageNetwork::from_checkpoint(&small, placement(CpuEngine::OpenVino)).is_err());
}

#[test]
fn both_profiles_serve_vectors_and_cells_on_the_base_that_the_manifest_names() {
    for (profile, side) in [(MODERN, 224), (MODERN, 64), (LIGHT, 192)] {
        let checkpoint = checkpoint(profile, ImageBackbone::EfficientNetLite0, side);
        assert!(checkpoint.model_version().starts_with(&format!("jtav-{profile}-")));
        let network = ImageNetwork::from_checkpoint(&checkpoint, DeviceChoice::Cpu).unwrap();
        assert_eq!((network.normalisation(), network.resolution_px()), (Normalisation::LITE, side as usize));
        network.warm_up().unwrap();
        assert_sound(&network.encode(&pictures()).unwrap());
        assert!(network.encode(&[]).unwrap().is_empty());
    }
}

#[test]
fn a_checkpoint_may_hold_a_backbone_of_its_own() {
    let checkpoint = checkpoint(MODERN, ImageBackbone::DenseNet121, 64);
    let network = ImageNetwork::from_checkpoint_f32(&checkpoint, DeviceChoice::Cpu).unwrap();
    assert_eq!((network.normalisation(), network.precision()), (Normalisation::IMAGENET, "f32"));
    assert_sound(&network.encode(&pictures()).unwrap());
}

#[test]
fn a_backbone_of_another_network_or_one_that_is_missing_is_refused() {
    let checkpoint = checkpoint(MODERN, ImageBackbone::EfficientNetLite0, 64);
    let refused = |manifest: Manifest| {
        ImageNetwork::from_checkpoint(&checkpoint.with_manifest(manifest), DeviceChoice::Cpu).err().unwrap()
    };
    let error = refused(Manifest { image_backbone: ImageBackbone::DenseNet121, ..checkpoint.manifest().clone() });
    assert!(matches!(error, ModelError::MissingTensor { .. }), "{error}");
    let mut unnamed = checkpoint.manifest().clone();
    unnamed.bases.remove(roles::IMAGE);
    assert!(matches!(refused(unnamed), ModelError::Configuration(_)));
    let mut elsewhere = checkpoint.manifest().clone();
    elsewhere.bases.get_mut(roles::IMAGE).unwrap().file = "nowhere.safetensors".to_owned();
    assert!(matches!(refused(elsewhere), ModelError::BaseMissing { .. }));
}
