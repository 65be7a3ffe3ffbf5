//! What a backbone of the image network costs on the CPU:
//! `cargo run --release -p jtav-model --example image_backbones -- third_party/weights/efficientnet-lite0.safetensors`.
//!
//! EfficientNet-Lite0 with these weights, DenseNet-121 with drawn ones, on pictures of noise, which cost what others do.
//! Prints CPU milliseconds a picture on one thread, the least and the median of the repetitions.

use std::path::Path;

use jtav_model::networks::{DenseNet, DenseNetConfig, EfficientNetLite0, ImageHead};
use jtav_model::parameters::{Builder, to_vec};
use jtav_model::{ModelError, device};
use tch::{Device, Kind, Tensor};

const REPETITIONS: usize = 15;

fn main() -> Result<(), ModelError> {
    device::single_threaded();
    let _guard = tch::no_grad_guard();
    let path =
        std::env::args().nth(1).unwrap_or_else(|| "third_party/weights/efficientnet-lite0.safetensors".to_owned());
    let stored = EfficientNetLite0::from_file(Path::new(&path), Device::Cpu)?;
    let drawn = DenseNet::new(&Builder::fresh(1, Device::Cpu).scope("image"), DenseNetConfig::DENSENET_121)?;
    println!("backbone                      kind      side  batch  CPU ms: least  median");
    for batch in [1, 8] {
        for kind in [Kind::Float, Kind::BFloat16] {
            let lite = stored.for_serving(kind)?;
            let dense = drawn.for_serving(kind)?;
            for side in [224, 192, 160, 128] {
                measure("EfficientNet-Lite0, served", kind, side, batch, |x| lite.forward(x))?;
            }
            measure("EfficientNet-Lite0, as stored", kind, 224, batch, |x| stored.forward_in(x, kind))?;
            for side in [224, 128] {
                measure("DenseNet-121, served", kind, side, batch, |x| dense.forward(x, false))?;
            }
        }
    }
    Ok(())
}

fn measure(
    name: &str,
    kind: Kind,
    side: i64,
    batch: i64,
    forward: impl Fn(&Tensor) -> Result<Tensor, ModelError>,
) -> Result<(), ModelError> {
    let x = Tensor::f_rand([batch, 3, side, side], (Kind::Float, Device::Cpu))?.f_mul_scalar(2.0)?.f_sub_scalar(1.0)?;
    let pooled = || to_vec(&ImageHead::pool(&forward(&x)?)?);
    for _ in 0..2 {
        pooled()?;
    }
    let mut spent = Vec::with_capacity(REPETITIONS);
    for _ in 0..REPETITIONS {
        let before = cpu_ms();
        pooled()?;
        spent.push((cpu_ms() - before) / batch as f64);
    }
    spent.sort_by(f64::total_cmp);
    println!(
        "{name:<29} {:<8}  {side:4}  {batch:5}  {:13.2}  {:6.2}",
        format!("{kind:?}"),
        spent[0],
        spent[REPETITIONS / 2]
    );
    Ok(())
}

fn cpu_ms() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 * 1e-6
}
