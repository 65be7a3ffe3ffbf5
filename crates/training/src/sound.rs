//! Fitting of what the statistics of clips say: three logistic regressions and a fourth for moods, each at its optimum, so
//! that only the folds depend on a seed.

use jtav_model::networks::{Judge, SoundStatistics};
use jtav_model::{ModelError, STATISTICS};
use jtav_signal::statistics::{CHORDS, MFCC};

use crate::folds::grouped_folds;
use crate::logistic::{log_loss, sigmoid};
use crate::logistic_regression::{fit, fit_softmax};

/// Inverse weights of the penalties (scikit-learn's `C`), of a few hundred clips: chosen by cross-validation over songs and
/// speakers.
const GATE_C: f64 = 0.01;
const MUSIC_C: f64 = 0.01;
const SPEECH_C: f64 = 0.03;
const MOODS_C: f64 = 0.01;
/// The gate of a training set that holds one kind alone: always that kind.
const SURE: f32 = 20.0;
const FOLDS: usize = 5;
const MOODS: usize = 4;
/// Steps of Newton's method for two unknowns.
const STEPS: usize = 50;

/// One clip with its labels.
#[derive(Debug, Clone)]
pub struct SoundExample {
    /// [`STATISTICS`] values ([`jtav_signal::ClipStatistics`]), all finite.
    pub statistics: Vec<f32>,
    /// True for positive.
    pub positive: bool,
    /// Music and not speech.
    pub is_music: bool,
    /// Index of the mood (Q1 is 0), where the clip has one.
    pub mood: Option<usize>,
    /// What a fold must not part, for example the song or the speaker.
    pub group: String,
}

/// What [`fit_sound`] found.
#[derive(Debug, Clone)]
pub struct SoundFit {
    /// Fitted on all clips.
    pub statistics: SoundStatistics,
    /// Logit of each clip by regressions that saw no clip of its group, in order.
    pub held_out: Vec<f32>,
    /// Share of the music with a mood whose mood such regressions name; none without such clips.
    pub mood_accuracy: Option<f64>,
}

/// Fits on all clips, and five times on four fifths of their groups for the figures.
///
/// # Errors
/// [`ModelError::Input`] for a clip with another number of statistics, one that is not finite, or a mood beyond Q4.
pub fn fit_sound(examples: &[SoundExample], seed: u64) -> Result<SoundFit, ModelError> {
    for example in examples {
        if example.statistics.len() != STATISTICS || !example.statistics.iter().all(|value| value.is_finite()) {
            let values = example.statistics.len();
            return Err(ModelError::Input(format!(
                "a clip with {values} statistics, expected {STATISTICS} finite ones"
            )));
        }
        if let Some(mood) = example.mood.filter(|&mood| mood >= MOODS) {
            return Err(ModelError::Input(format!("mood {mood} of {MOODS}")));
        }
    }
    let positive: Vec<bool> = examples.iter().map(|example| example.positive).collect();
    let groups: Vec<String> = examples.iter().map(|example| example.group.clone()).collect();
    let fold_of = grouped_folds(&positive, &groups, FOLDS, seed);
    let mut held_out = vec![0.0; examples.len()];
    let (mut right, mut judged) = (0_usize, 0_usize);
    for fold in 0..FOLDS {
        let seen: Vec<&SoundExample> =
            of_fold(examples, &fold_of, |at| at != fold).map(|(_, example)| example).collect();
        let fitted = regressions(&seen);
        for (at, example) in of_fold(examples, &fold_of, |at| at == fold) {
            let verdict = fitted.judge(&example.statistics)?;
            held_out[at] = verdict.logit;
            if let Some(mood) = example.mood.filter(|_| example.is_music) {
                let said = (0..MOODS).max_by(|&a, &b| verdict.moods[a].total_cmp(&verdict.moods[b]));
                right += usize::from(said == Some(mood));
                judged += 1;
            }
        }
    }
    let mood_accuracy = (judged > 0).then(|| right as f64 / judged as f64);
    Ok(SoundFit { statistics: regressions(&examples.iter().collect::<Vec<_>>()), held_out, mood_accuracy })
}

fn of_fold<'a>(
    examples: &'a [SoundExample],
    fold_of: &'a [usize],
    wanted: impl Fn(usize) -> bool + 'a,
) -> impl Iterator<Item = (usize, &'a SoundExample)> {
    let examples = examples.iter().zip(fold_of).enumerate();
    examples.filter(move |(_, (_, fold))| wanted(**fold)).map(|(at, (example, _))| (at, example))
}

fn regressions(examples: &[&SoundExample]) -> SoundStatistics {
    let (music, speech): (Vec<&SoundExample>, Vec<&SoundExample>) =
        examples.iter().partition(|example| example.is_music);
    let of_music = judge(&music, STATISTICS, MUSIC_C, |example| example.positive);
    let (mood_weight, mood_bias) = moods(&music, &of_music);
    SoundStatistics {
        gate: match (music.is_empty(), speech.is_empty()) {
            (_, true) => Judge::constant(MFCC.len(), SURE),
            (true, _) => Judge::constant(MFCC.len(), -SURE),
            _ => judge(examples, MFCC.len(), GATE_C, |example| example.is_music),
        },
        speech: judge(&speech, CHORDS.start, SPEECH_C, |example| example.positive),
        music: of_music,
        mood_weight,
        mood_bias,
    }
}

/// Fits the first `width` statistics, standardised and bounded as the network does it.
fn judge(examples: &[&SoundExample], width: usize, c: f64, label: impl Fn(&SoundExample) -> bool) -> Judge {
    let count = examples.len().max(1) as f64;
    let moment = |place: usize, of: &dyn Fn(f64) -> f64| {
        examples.iter().map(|example| of(f64::from(example.statistics[place]))).sum::<f64>() / count
    };
    let (mut mean, mut deviation) = (Vec::with_capacity(width), Vec::with_capacity(width));
    for place in 0..width {
        let of_place = moment(place, &|value| value);
        let spread = moment(place, &|value| (value - of_place).powi(2)).sqrt();
        mean.push(of_place as f32);
        // What never changes says nothing; it is not to be divided by nothing.
        deviation.push(if spread > 1e-6 * of_place.abs().max(1e-3) { spread as f32 } else { 1.0 });
    }
    let mut judge = Judge { mean, deviation, ..Judge::constant(width, 0.0) };
    let positive: Vec<bool> = examples.iter().map(|&example| label(example)).collect();
    let fitted = fit(&standardised(examples, &judge), &positive, c);
    judge.weight = if examples.is_empty() { vec![0.0; width] } else { as_f32(&fitted.weights) };
    judge.bias = fitted.bias as f32;
    judge
}

fn standardised(examples: &[&SoundExample], by: &Judge) -> Vec<Vec<f64>> {
    let row = |example: &&SoundExample| by.standardised(&example.statistics).into_iter().map(f64::from).collect();
    examples.iter().map(row).collect()
}

fn moods(music: &[&SoundExample], standardise: &Judge) -> (Vec<Vec<f32>>, Vec<f32>) {
    let with_mood: Vec<&SoundExample> = music.iter().filter(|example| example.mood.is_some()).copied().collect();
    if with_mood.is_empty() {
        return (vec![vec![0.0; STATISTICS]; MOODS], vec![0.0; MOODS]);
    }
    let labels: Vec<usize> = with_mood.iter().filter_map(|example| example.mood).collect();
    let fitted = fit_softmax(&standardised(&with_mood, standardise), &labels, MOODS, MOODS_C);
    fitted.into_iter().map(|class| (as_f32(&class.weights), class.bias as f32)).unzip()
}

fn as_f32(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

/// How much of a network's logit is to be added to that of the statistics, at least 0: the weight of least log loss on
/// these clips, none of which the network or the regressions were trained on. 0 where, over five folds of the groups, the
/// weight does not lower the log loss of clips that it was not fitted on.
pub fn stack_weight(of_statistics: &[f32], of_network: &[f32], positive: &[bool], groups: &[String], seed: u64) -> f32 {
    let clips: Vec<Stacked> = (of_statistics.iter().zip(of_network).zip(positive))
        .map(|((&statistics, &network), &positive)| Stacked {
            statistics: f64::from(statistics),
            network: f64::from(network),
            positive,
        })
        .collect();
    let fold_of = grouped_folds(positive, groups, FOLDS, seed);
    let mut gain = 0.0;
    for fold in 0..FOLDS {
        let (held_out, seen): (Vec<_>, Vec<_>) = clips.iter().zip(&fold_of).partition(|(_, at)| **at == fold);
        let seen: Vec<Stacked> = seen.into_iter().map(|(&clip, _)| clip).collect();
        let (with, without) = (stack(&seen, true), stack(&seen, false));
        gain += held_out.iter().map(|(clip, _)| clip.loss(without) - clip.loss(with)).sum::<f64>();
    }
    if gain > 0.0 { stack(&clips, true).0 as f32 } else { 0.0 }
}

#[derive(Debug, Clone, Copy)]
struct Stacked {
    statistics: f64,
    network: f64,
    positive: bool,
}

impl Stacked {
    fn logit(&self, (weight, bias): (f64, f64)) -> f64 {
        self.statistics + weight * self.network + bias
    }

    fn loss(&self, by: (f64, f64)) -> f64 {
        log_loss(self.logit(by), self.positive)
    }
}

/// Weight (at least 0, or none at all) and constant of least log loss; Newton's method.
fn stack(clips: &[Stacked], with_network: bool) -> (f64, f64) {
    let (mut weight, mut bias) = (0.0, 0.0);
    for _ in 0..STEPS {
        // A little of the identity, so that a logit that is the same everywhere leaves something to divide by.
        let (mut slope, mut bend) = ([1e-6 * weight, 1e-6 * bias], [1e-6, 0.0, 1e-6]);
        for clip in clips {
            let share = sigmoid(clip.logit((weight, bias)));
            let (error, curvature) = (share - f64::from(u8::from(clip.positive)), share * (1.0 - share));
            slope = [slope[0] + error * clip.network, slope[1] + error];
            bend[0] += curvature * clip.network.powi(2);
            bend[1] += curvature * clip.network;
            bend[2] += curvature;
        }
        let determinant = bend[0] * bend[2] - bend[1] * bend[1];
        let (of_weight, of_bias) = match with_network && determinant > 0.0 {
            true => (
                (bend[2] * slope[0] - bend[1] * slope[1]) / determinant,
                (bend[0] * slope[1] - bend[1] * slope[0]) / determinant,
            ),
            false => (0.0, slope[1] / bend[2]),
        };
        // Labels that can be parted have no finite optimum.
        (weight, bias) = (weight - of_weight.clamp(-1.0, 1.0), bias - of_bias.clamp(-1.0, 1.0));
    }
    if weight < 0.0 { stack(clips, false) } else { (weight.min(10.0), bias) }
}

#[cfg(test)]
#[path = "sound_tests.rs"]
mod tests;
