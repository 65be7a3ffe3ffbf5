//! What is heard of a clip's harmony, loudness over the octaves and register, as statistics of its constant-Q levels.
//!
//! The amplitudes of the twelve pitch classes, summed over the octaves, are a frame's chroma (Fujishima, ICMC 1999). Keys
//! are the probe-tone profiles of Krumhansl and Kessler (Psychological Review 89, 1982) correlated with it, chords are
//! templates correlated with the chroma of windows of 2 s and of 0.7 s. Levels are relative to the clip's loudest value, and
//! keys and chords are those of the best rotation: neither gain nor transposition enters them.

use crate::constants::{BINS, BINS_PER_OCTAVE, FLOOR_DB};
use crate::moments::Moments;
use crate::places::{self, HARMONY};

const CLASSES: usize = BINS_PER_OCTAVE;
const OCTAVES: usize = BINS / CLASSES;
/// Frames of a window; one begins every half of it, rounded down. 2 s and 0.7 s.
const WINDOWS: [usize; 2] = [43, 15];
/// Values of one size of windows.
const PER_WINDOW: usize = CHORDS.len() + 7;
/// Added to a sum of amplitudes before it divides.
const TINY: f64 = 1e-6;
/// Added to a deviation and to a sum over the clip before it divides.
const TINIER: f64 = 1e-9;
/// A bin that is not this share of its frame's loudest amplitude is neither its highest nor its lowest note.
const HEARD: f64 = 0.2;

const MAJOR: [f64; CLASSES] = [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88];
const MINOR: [f64; CLASSES] = [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17];
/// Semitones over the root: major, minor, diminished, augmented, major seventh, minor seventh, dominant seventh,
/// suspended fourth.
const CHORDS: [&[usize]; 8] =
    [&[0, 4, 7], &[0, 3, 7], &[0, 3, 6], &[0, 4, 8], &[0, 4, 7, 11], &[0, 3, 7, 10], &[0, 4, 7, 10], &[0, 5, 7]];

type Chroma = [f64; CLASSES];

/// The templates of keys and chords, standardised.
#[derive(Debug)]
pub(crate) struct Harmony {
    major: Chroma,
    minor: Chroma,
    chords: [Chroma; CHORDS.len()],
}

/// Keys of a chroma.
struct Keys {
    /// Best correlation with a major and with a minor key.
    major: f64,
    minor: f64,
    /// Pitch class of the best key's tonic.
    tonic: usize,
}

impl Harmony {
    pub fn new() -> Self {
        let chord = |notes: &[usize]| std::array::from_fn(|class| f64::from(u8::from(notes.contains(&class))));
        Self {
            major: standardised(&MAJOR),
            minor: standardised(&MINOR),
            chords: CHORDS.map(|notes| standardised(&chord(notes))),
        }
    }

    /// The values of [`places::CHROMA`] to [`places::CHORDS`], of `[frames, 96]` in dB below the clip's loudest. A
    /// level that is no number counts as silence, and so does a clip without frames. All are finite.
    pub fn of(&self, decibels: &[f32]) -> [f32; HARMONY] {
        const SILENCE: [f32; BINS] = [FLOOR_DB; BINS];
        let levels = if decibels.len() < BINS { &SILENCE } else { decibels };
        let mut heard = Heard::default();
        levels.chunks_exact(BINS).for_each(|frame| heard.add(frame));
        let mut values = [0.0; HARMONY];
        let mut write = |place: std::ops::Range<usize>, found: &[f64]| {
            let place = place.start - places::CHROMA.start..place.end - places::CHROMA.start;
            values[place].iter_mut().zip(found).for_each(|(value, &found)| *value = found as f32);
        };
        write(places::CHROMA, &mean_and_deviation(&heard.chroma_moments));
        write(places::KEY, &self.key(&heard));
        write(places::OCTAVE, &mean_and_deviation(&heard.octave_moments));
        write(places::REGISTER, &heard.register());
        let chords: Vec<f64> = WINDOWS.iter().flat_map(|&width| self.chords(&heard.chroma, width)).collect();
        write(places::CHORDS, &chords);
        values
    }

    fn keys(&self, chroma: &Chroma) -> Keys {
        let chroma = standardised_softly(chroma);
        let (major, of_major) = best_rotation(&self.major, &chroma);
        let (minor, of_minor) = best_rotation(&self.minor, &chroma);
        Keys { major, minor, tonic: if major > minor { of_major } else { of_minor } }
    }

    /// The fit of the best major and the best minor key of the whole clip and how far the one exceeds the other, the share
    /// of each class counted from the tonic, and how much sounds together one to six semitones apart.
    fn key(&self, heard: &Heard) -> Vec<f64> {
        let roots = &heard.roots;
        let keys = self.keys(&roots.map(|class| class + TINIER));
        let sum = roots.iter().sum::<f64>() + TINIER;
        let from_tonic = (0..CLASSES).map(|class| roots[(class + keys.tonic) % CLASSES] / sum);
        let fits = [keys.major, keys.minor, keys.major - keys.minor].into_iter();
        fits.chain(from_tonic).chain(heard.intervals.iter().map(Moments::mean)).collect()
    }

    /// Windows of `width` frames: the mean fit of each chord, the share of windows in which major fits better than minor,
    /// how much better, how much better the dissonant triads fit than both, the same of keys (mean, deviation, share), and
    /// how much the chroma changes from window to window.
    fn chords(&self, chroma: &[Chroma], width: usize) -> [f64; PER_WINDOW] {
        let hop = width / 2;
        let frames = chroma.len();
        let mut fits = [Moments::default(); CHORDS.len()];
        let [mut major_wins, mut major_leads, mut dissonance, mut key, mut key_wins, mut change] =
            [Moments::default(); 6];
        let mut before: Option<Chroma> = None;
        for first in (0..frames.saturating_sub(hop).max(1)).step_by(hop.max(1)) {
            let window = mean_chroma(&chroma[first..(first + width).min(frames)]);
            let standard = standardised_softly(&window);
            let fit = self.chords.map(|chord| best_rotation(&chord, &standard).0);
            let [major, minor, diminished, augmented, ..] = fit;
            fits.iter_mut().zip(fit).for_each(|(moments, fit)| moments.add(fit));
            major_wins.add(f64::from(u8::from(major > minor)));
            major_leads.add(major - minor);
            dissonance.add(diminished.max(augmented) - major.max(minor));
            let lead = best_rotation(&self.major, &standard).0 - best_rotation(&self.minor, &standard).0;
            key.add(lead);
            key_wins.add(f64::from(u8::from(lead > 0.0)));
            if let Some(before) = before.replace(window) {
                change.add(before.iter().zip(&window).map(|(a, b)| (b - a).abs()).sum());
            }
        }
        let [maj, min, dim, aug, maj7, min7, dom7, sus] = fits.map(|moments| moments.mean());
        let others = [major_wins.mean(), major_leads.mean(), dissonance.mean(), key.mean(), key.deviation()];
        let [wins, leads, dissonant, key, spread] = others;
        [maj, min, dim, aug, maj7, min7, dom7, sus, wins, leads, dissonant, key, spread, key_wins.mean(), change.mean()]
    }
}

/// What is gathered frame by frame.
#[derive(Default)]
struct Heard {
    /// Of each frame, divided by its sum.
    chroma: Vec<Chroma>,
    chroma_moments: [Moments; CLASSES],
    /// Sum over frames and octaves of the roots of the amplitudes: loud notes do not drown the others.
    roots: Chroma,
    /// Product of the chroma and itself one to six semitones higher.
    intervals: [Moments; CLASSES / 2],
    octave_moments: [Moments; OCTAVES],
    energies: Energies,
    pitch: Moments,
    top: Moments,
    top_change: Moments,
    last_top: Option<f64>,
    bottom: Moments,
}

/// Sum over the frames of the squared amplitudes of each bin.
struct Energies([f64; BINS]);

impl Default for Energies {
    fn default() -> Self {
        Self([0.0; BINS])
    }
}

impl Heard {
    /// One frame, 96 levels in dB.
    fn add(&mut self, frame: &[f32]) {
        let level =
            |bin: usize| f64::from(if frame[bin].is_nan() { FLOOR_DB } else { frame[bin].clamp(FLOOR_DB, 0.0) });
        let levels: [f64; BINS] = std::array::from_fn(level);
        let amplitudes = levels.map(|level| (level * (std::f64::consts::LN_10 / 20.0)).exp());
        self.add_chroma(&amplitudes);
        for (octave, moments) in levels.chunks_exact(CLASSES).zip(&mut self.octave_moments) {
            moments.add(octave.iter().sum::<f64>() / CLASSES as f64);
        }
        self.add_register(&amplitudes);
    }

    fn add_chroma(&mut self, amplitudes: &[f64; BINS]) {
        let mut chroma = [0.0; CLASSES];
        for octave in amplitudes.chunks_exact(CLASSES) {
            for (class, amplitude) in octave.iter().enumerate() {
                chroma[class] += amplitude;
                self.roots[class] += amplitude.sqrt();
            }
        }
        let sum = chroma.iter().sum::<f64>() + TINY;
        let chroma = chroma.map(|class| class / sum);
        self.chroma_moments.iter_mut().zip(chroma).for_each(|(moments, class)| moments.add(class));
        for (semitones, moments) in (1..).zip(&mut self.intervals) {
            let product = |class: usize| chroma[class] * chroma[(class + CLASSES - semitones) % CLASSES];
            moments.add((0..CLASSES).map(product).sum());
        }
        self.chroma.push(chroma);
    }

    fn add_register(&mut self, amplitudes: &[f64; BINS]) {
        let (mut sum, mut weighted, mut loudest) = (0.0, 0.0, 0.0_f64);
        for (bin, (amplitude, energy)) in amplitudes.iter().zip(&mut self.energies.0).enumerate() {
            *energy += amplitude * amplitude;
            sum += amplitude;
            weighted += amplitude * bin as f64;
            loudest = loudest.max(*amplitude);
        }
        self.pitch.add(weighted / (sum + TINY));
        let is_heard = |amplitude: &f64| *amplitude > HEARD * loudest;
        let top = amplitudes.iter().rposition(is_heard).unwrap_or(0) as f64;
        self.top.add(top);
        if let Some(before) = self.last_top.replace(top) {
            self.top_change.add((top - before).abs());
        }
        self.bottom.add(amplitudes.iter().position(is_heard).unwrap_or(BINS - 1) as f64);
    }

    /// In bins from C1: centre and spread of the energy; the frames' centre of amplitude, highest note (with its mean
    /// step) and lowest note.
    fn register(&self) -> [f64; 9] {
        let energies = &self.energies.0;
        let sum = energies.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let mean = |of: &dyn Fn(f64) -> f64| {
            energies.iter().enumerate().map(|(bin, energy)| energy / sum * of(bin as f64)).sum::<f64>()
        };
        let centre = mean(&|bin| bin);
        let spread = mean(&|bin| (bin - centre) * (bin - centre)).sqrt();
        let Self { pitch, top, top_change, bottom, .. } = self;
        let of_pitch = [centre, spread, pitch.mean(), pitch.deviation()];
        let [centre, spread, pitch, pitch_spread] = of_pitch;
        let (highest, step) = (top, top_change.mean());
        [
            centre,
            spread,
            pitch,
            pitch_spread,
            highest.mean(),
            highest.deviation(),
            step,
            bottom.mean(),
            bottom.deviation(),
        ]
    }
}

fn mean_and_deviation(moments: &[Moments]) -> Vec<f64> {
    moments.iter().map(Moments::mean).chain(moments.iter().map(Moments::deviation)).collect()
}

fn mean_chroma(frames: &[Chroma]) -> Chroma {
    let mut mean = [0.0; CLASSES];
    for frame in frames {
        mean.iter_mut().zip(frame).for_each(|(sum, class)| *sum += class);
    }
    mean.map(|sum| sum / frames.len().max(1) as f64)
}

/// Mean 0 and deviation 1.
fn standardised(values: &Chroma) -> Chroma {
    let moments = Moments::of(values.iter().copied());
    values.map(|value| (value - moments.mean()) / moments.deviation())
}

/// The same for values that may all be equal.
fn standardised_softly(values: &Chroma) -> Chroma {
    let moments = Moments::of(values.iter().copied());
    values.map(|value| (value - moments.mean()) / (moments.deviation() + TINIER))
}

/// The largest correlation of a chroma with the twelve rotations of a template, both standardised, and the first class that
/// the template's own first class falls on there.
fn best_rotation(template: &Chroma, chroma: &Chroma) -> (f64, usize) {
    let mut best = (f64::NEG_INFINITY, 0);
    for root in 0..CLASSES {
        let (low, high) = chroma.split_at(root);
        let rotated = high.iter().chain(low);
        let fit = template.iter().zip(rotated).map(|(a, b)| a * b).sum::<f64>() / CLASSES as f64;
        if fit > best.0 {
            best = (fit, root);
        }
    }
    best
}

#[cfg(test)]
#[path = "harmony_tests.rs"]
mod tests;
