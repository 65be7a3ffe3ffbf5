//! A bidirectional gated recurrent unit that knows how long each row is.

use jtav_engine::Precision;
use jtav_engine::gru::{BiGru as OnSlices, Direction};
use tch::{Device, Kind, Tensor};

use crate::error::ModelError;
use crate::parameters::{Init, Scope, to_vec};

/// One bidirectional layer with torch's equations and names (`weight_ih_l0`, `..._reverse`), gates in the order
/// reset, update, new (Cho et al. 2014, "reset after" form).
pub struct BiGru {
    /// Forward then backward: input weights, hidden weights, input bias, hidden bias.
    weights: Vec<Tensor>,
    hidden: i64,
}

impl BiGru {
    /// `hidden` units per direction over `inputs` values a step.
    pub fn new(scope: &Scope, inputs: i64, hidden: i64) -> Result<Self, ModelError> {
        // torch's own rule; the update gate saturates with larger values.
        let init = Init::Uniform(1.0 / (hidden as f32).sqrt());
        let mut weights = Vec::with_capacity(8);
        for suffix in ["", "_reverse"] {
            weights.push(scope.weight(&format!("weight_ih_l0{suffix}"), &[3 * hidden, inputs], init)?);
            weights.push(scope.weight(&format!("weight_hh_l0{suffix}"), &[3 * hidden, hidden], init)?);
            weights.push(scope.weight(&format!("bias_ih_l0{suffix}"), &[3 * hidden], init)?);
            weights.push(scope.weight(&format!("bias_hh_l0{suffix}"), &[3 * hidden], init)?);
        }
        Ok(Self { weights, hidden })
    }

    /// The same layer over slices, for a CPU; its inputs are multiplied in `precision`.
    pub(crate) fn on_slices(&self, precision: Precision) -> Result<OnSlices, ModelError> {
        let direction = |first: usize| {
            Ok::<_, ModelError>(Direction {
                input_weight: to_vec(&self.weights[first])?,
                hidden_weight: to_vec(&self.weights[first + 1])?,
                input_bias: to_vec(&self.weights[first + 2])?,
                hidden_bias: to_vec(&self.weights[first + 3])?,
            })
        };
        let (_, inputs) = self.weights[0].size2()?;
        Ok(OnSlices::new(&[direction(0)?, direction(4)?], inputs as usize, precision))
    }

    /// `[batch, time, inputs]` to `[batch, time, 2 hidden]`, zero beyond each row's length. The backward direction
    /// starts at the last valid step of each row, so that padding changes nothing. Lengths are 1 to `time`.
    pub fn forward(&self, x: &Tensor, lengths: &[i64]) -> Result<Tensor, ModelError> {
        let (batch, time, _) = x.size3()?;
        let start = Tensor::f_zeros([2, batch, self.hidden], (x.kind(), x.device()))?;
        // There is no dropout in here, so all that this changes is whether cuDNN keeps what its backward pass needs.
        let train = self.weights.iter().any(Tensor::requires_grad);
        if lengths.iter().all(|&length| length == time) {
            return Ok(x.f_gru(&start, &self.weights, true, 1, 0.0, train, true, true)?.0);
        }
        // Packing wants the longest row first.
        let mut order: Vec<i64> = (0..batch).collect();
        order.sort_by_key(|&row| std::cmp::Reverse(lengths[row as usize]));
        let mut back = vec![0_i64; order.len()];
        for (position, &row) in order.iter().enumerate() {
            back[row as usize] = position as i64;
        }
        let sorted: Vec<i64> = order.iter().map(|&row| lengths[row as usize]).collect();
        let index = |rows: &[i64]| Tensor::f_from_slice(rows)?.f_to_device(x.device());

        let (packed, steps) = x
            .f_index_select(0, &index(&order)?)?
            .f_internal_pack_padded_sequence(&Tensor::f_from_slice(&sorted)?, true)?;
        let (packed, _) = Tensor::f_gru_data(&packed, &steps, &start, &self.weights, true, 1, 0.0, train, true)?;
        let (padded, _) = Tensor::f_internal_pad_packed_sequence(&packed, &steps, true, 0.0, time)?;
        Ok(padded.f_index_select(0, &index(&back)?)?)
    }

    /// `[batch, 2 hidden]` of the output of [`forward`](Self::forward): the forward direction after the last valid step
    /// beside the backward direction after the first one. There each has read the whole row; the backward half of the
    /// last step has read that step alone.
    pub fn last_states(&self, outputs: &Tensor, lengths: &[i64]) -> Result<Tensor, ModelError> {
        let (batch, _, _) = outputs.size3()?;
        let last: Vec<i64> = lengths.iter().map(|length| length - 1).collect();
        let last = Tensor::f_from_slice(&last)?.f_view([-1, 1, 1])?.f_to_device(outputs.device())?;
        let last = last.f_expand([batch, 1, self.hidden], false)?;
        let forward = outputs.f_narrow(2, 0, self.hidden)?.f_gather(1, &last, false)?.f_squeeze_dim(1)?;
        let backward = outputs.f_narrow(2, self.hidden, self.hidden)?.f_select(1, 0)?;
        Ok(Tensor::f_cat(&[forward, backward], 1)?)
    }

    /// One fused buffer makes cuDNN faster and quiet; a no-op elsewhere.
    pub fn flatten(&self, inputs: i64) -> Result<(), ModelError> {
        let on_gpu = self.weights.first().is_some_and(|weight| matches!(weight.device(), Device::Cuda(_)));
        if on_gpu && tch::Cuda::cudnn_is_available() && self.weights[0].kind() == Kind::Float {
            let _guard = tch::no_grad_guard();
            // 3 is torch's number for a GRU (aten/src/ATen/native/cudnn/RNN.cpp).
            let _flat = Tensor::f_internal_cudnn_rnn_flatten_weight(
                &self.weights,
                4,
                inputs,
                3,
                self.hidden,
                0,
                1,
                true,
                true,
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::{Builder, to_rows};

    fn layer() -> BiGru {
        BiGru::new(&Builder::fresh(5, Device::Cpu).scope("gru"), 6, 4).unwrap()
    }

    fn wave(rows: i64, time: i64) -> Tensor {
        let values: Vec<f32> = (0..rows * time * 6).map(|i| ((i * i + 3) as f32 * 0.37).sin()).collect();
        Tensor::from_slice(&values).view([rows, time, 6])
    }

    #[test]
    fn a_padded_batch_equals_its_rows_run_alone() {
        let (gru, x) = (layer(), wave(3, 7));
        let _guard = tch::no_grad_guard();
        let lengths = [4, 7, 1];
        let together = gru.forward(&x, &lengths).unwrap();
        for (row, &length) in lengths.iter().enumerate() {
            let alone = gru.forward(&x.narrow(0, row as i64, 1).narrow(1, 0, length), &[length]).unwrap();
            let same = together.narrow(0, row as i64, 1).narrow(1, 0, length);
            let difference = to_vec(&(alone - same)).unwrap();
            assert!(difference.iter().all(|d| d.abs() < 1e-6), "row {row}: {difference:?}");
            let beyond = to_vec(&together.get(row as i64).narrow(0, length, 7 - length)).unwrap();
            assert!(beyond.iter().all(|&v| v == 0.0));
        }
    }

    #[test]
    fn over_slices_the_layer_gives_what_it_gives_over_tensors() {
        let (gru, x) = (layer(), wave(3, 7));
        let _guard = tch::no_grad_guard();
        let lengths = [4, 7, 1];
        let together = gru.forward(&x, &lengths).unwrap();
        let rows = |of: &Tensor| -> Vec<f32> {
            let row = |(row, &length): (usize, &i64)| to_vec(&of.get(row as i64).narrow(0, 0, length)).unwrap();
            lengths.iter().enumerate().flat_map(row).collect()
        };
        let found = gru.on_slices(Precision::F32).unwrap().forward(&rows(&x), &lengths.map(|length| length as usize));
        let expected = rows(&together);
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 2e-6), "{found:?} {expected:?}");
    }

    /// The last state of the backward direction stands at the first step, not at the last.
    #[test]
    fn the_backward_direction_reads_from_the_end() {
        let (gru, x) = (layer(), wave(1, 5));
        let _guard = tch::no_grad_guard();
        let whole = to_rows(&gru.forward(&x, &[5]).unwrap()).unwrap();
        let tail = to_rows(&gru.forward(&x.narrow(1, 4, 1), &[1]).unwrap()).unwrap();
        let differ = |from: usize| (from..from + 4).map(|i| (whole[4][i] - tail[0][i]).abs()).fold(0.0, f32::max);
        assert!(differ(4) < 1e-6 && differ(0) > 1e-3, "forward {}, backward {}", differ(0), differ(4));
    }

    /// libtorch returns the final state of each direction beside the outputs.
    #[test]
    fn the_last_states_are_the_final_states_that_libtorch_reports() {
        let (gru, x) = (layer(), wave(3, 7));
        let _guard = tch::no_grad_guard();
        let lengths = [4, 7, 1];
        let picked = to_rows(&gru.last_states(&gru.forward(&x, &lengths).unwrap(), &lengths).unwrap()).unwrap();
        for (row, &length) in lengths.iter().enumerate() {
            let alone = x.narrow(0, row as i64, 1).narrow(1, 0, length);
            let start = Tensor::zeros([2, 1, 4], (Kind::Float, Device::Cpu));
            let (_, last) = alone.gru(&start, &gru.weights, true, 1, 0.0, false, true, true);
            let expected = to_vec(&last).unwrap();
            assert!(picked[row].iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "row {row}");
        }
    }

    /// On a GPU where there is one: cuDNN's backward pass has rules of its own.
    #[test]
    fn gradients_flow_through_the_packed_and_the_full_form() {
        crate::device::open_cuda_library();
        let device = Device::cuda_if_available();
        for lengths in [[2, 4], [4, 4]] {
            let gru = BiGru::new(&Builder::fresh(5, device).scope("gru"), 6, 4).unwrap();
            gru.flatten(6).unwrap();
            gru.forward(&wave(2, 4).to_device(device), &lengths).unwrap().sum(Kind::Float).backward();
            assert!(gru.weights.iter().all(|weight| weight.grad().defined()), "{lengths:?}");
        }
    }
}
