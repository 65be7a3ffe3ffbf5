use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::checkpoint::weights::{Precision, encode_weights};
use crate::networks::formula::wave;

fn fresh() -> EfficientNetLite0 {
    EfficientNetLite0::new(&Builder::fresh(11, Device::Cpu).scope("")).unwrap()
}

#[test]
fn the_trunk_has_the_tensors_of_a_base_file_and_trains_none() {
    let builder = Builder::fresh(1, Device::Cpu);
    EfficientNetLite0::new(&builder.scope("")).unwrap();
    let parameters = builder.finish();
    assert!(parameters.trainable.is_empty());
    // 49 convolutions with a bias. efficientnet_lite_pytorch counts 4,652,008 trained values, of them 1,281,000 in the
    // classifier and 42,016 in normalisations, half of which are left as biases.
    assert_eq!(parameters.tensors.len(), 98);
    let values: usize = parameters.tensors.values().map(Tensor::numel).sum();
    assert_eq!(values, 4_652_008 - 1_281_000 - 42_016 / 2);
    for (name, shape) in [
        ("stem.weight", vec![32, 3, 3, 3]),
        ("blocks.0.depthwise.weight", vec![32, 1, 3, 3]),
        ("blocks.1.expand.bias", vec![96]),
        ("blocks.15.project.weight", vec![320, 1152, 1, 1]),
        ("head.weight", vec![1280, 320, 1, 1]),
    ] {
        assert_eq!(parameters.tensors[name].size(), shape, "{name}");
    }
    assert!(!parameters.tensors.contains_key("blocks.0.expand.weight"));
}

#[test]
fn wider_kernels_give_the_map_of_zeros_at_the_right_and_bottom() {
    let _guard = tch::no_grad_guard();
    let trunk = fresh();
    let x = wave(&[2, 3, 64, 96], 0.037);
    let padded = trunk.forward(&x).unwrap();
    let widened = trunk.for_serving(Kind::Float).unwrap();
    let (padded, widened, twice) = (
        to_vec(&padded).unwrap(),
        to_vec(&widened.forward(&x).unwrap()).unwrap(),
        to_vec(&widened.for_serving(Kind::Float).unwrap().forward(&x).unwrap()).unwrap(),
    );
    assert_eq!(padded.len(), 2 * 1280 * 2 * 3);
    assert!(padded.iter().zip(&widened).all(|(a, b)| (a - b).abs() < 1e-4));
    assert_eq!(widened, twice);
    assert!(padded.iter().all(|value| (0.0..=6.0).contains(value)) && padded.iter().any(|value| *value > 0.1));
}

#[test]
fn a_picture_that_cannot_be_halved_five_times_is_refused() {
    let trunk = fresh();
    for shape in [[1, 3, 64, 65], [1, 3, 0, 64], [1, 3, 31, 32]] {
        let error = trunk.forward(&Tensor::zeros(shape, (Kind::Float, Device::Cpu))).unwrap_err();
        assert!(matches!(error, ModelError::Input(_)), "{error}");
    }
    assert!(trunk.forward(&Tensor::zeros([3, 64, 64], (Kind::Float, Device::Cpu))).is_err());
    assert_eq!(trunk.forward(&Tensor::zeros([0, 3, 64, 64], (Kind::Float, Device::Cpu))).unwrap().size()[0], 0);
}

/// What reading a base file says after `change`.
fn read_back(change: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> Result<EfficientNetLite0, ModelError> {
    let builder = Builder::fresh(5, Device::Cpu);
    EfficientNetLite0::new(&builder.scope("")).unwrap();
    let mut tensors = builder.finish().tensors;
    change(&mut tensors);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base.safetensors");
    std::fs::write(&path, encode_weights(&tensors, Precision::Half, None).unwrap()).unwrap();
    EfficientNetLite0::from_file(&path, Device::Cpu)
}

#[test]
fn a_base_file_is_read_whole_or_refused_by_name() {
    read_back(|_| {}).unwrap();
    let missing = read_back(|tensors| drop(tensors.remove("head.bias"))).err().unwrap();
    assert!(matches!(&missing, ModelError::MissingTensor { name } if name == "head.bias"), "{missing}");
    let classifier = Tensor::zeros([1000, 1280], (Kind::Float, Device::Cpu));
    let other = read_back(|tensors| drop(tensors.insert("fc.weight".to_owned(), classifier))).err().unwrap();
    assert!(matches!(&other, ModelError::UnexpectedTensor { name } if name == "fc.weight"), "{other}");
    let narrow = Tensor::zeros([32, 3, 2, 2], (Kind::Float, Device::Cpu));
    let misshaped = read_back(|tensors| drop(tensors.insert("stem.weight".to_owned(), narrow))).err().unwrap();
    assert!(matches!(misshaped, ModelError::Misshaped { .. }), "{misshaped}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base.safetensors");
    assert!(matches!(EfficientNetLite0::from_file(&path, Device::Cpu), Err(ModelError::Io { .. })));
    std::fs::write(&path, b"no safetensors").unwrap();
    assert!(matches!(EfficientNetLite0::from_file(&path, Device::Cpu), Err(ModelError::Malformed { .. })));
}

proptest! {
    #[test]
    fn a_kernel_rounded_to_bf16_keeps_its_sum(kernel in prop::collection::vec(-8.0_f32..8.0, 1..26)) {
        let mut rounded = kernel.clone();
        round_keeping_sums(&mut rounded);
        let largest = kernel.iter().fold(0.0_f32, |most, tap| most.max(tap.abs()));
        let smallest = kernel.iter().fold(f32::MAX, |least, tap| least.min(tap.abs()));
        for (tap, before) in rounded.iter().zip(&kernel) {
            prop_assert_eq!(bf16::from_f32(*tap).to_f32(), *tap);
            prop_assert!((tap - before).abs() <= largest / 128.0);
        }
        let sum = |taps: &[f32]| taps.iter().map(|tap| f64::from(*tap)).sum::<f64>();
        // Half a step of the smallest tap, and of what the larger ones left for it.
        let step = f64::from(smallest) / 256.0 + f64::from(largest) / 65_536.0;
        prop_assert!((sum(&rounded) - sum(&kernel)).abs() <= step + 1e-5 * f64::from(largest));
    }
}
