//! Where the networks of a checkpoint run: on which device, and on a CPU by which engine.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jtav_engine::Precision;
use jtav_engine::openvino::Library;

use crate::device::{DeviceChoice, multiplies_bf16};
use crate::error::ModelError;

/// Which engine networks on a CPU are asked to run on. Text form: `auto`, `libtorch`, `openvino`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum CpuEngine {
    /// For each network the fastest here, by a measurement when it is built; libtorch where no other is installed.
    #[default]
    Auto,
    /// libtorch alone, as in training.
    Libtorch,
    /// OpenVINO for the networks that it can run; an error where it is not installed.
    OpenVino,
}

impl FromStr for CpuEngine {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "libtorch" => Ok(Self::Libtorch),
            "openvino" => Ok(Self::OpenVino),
            _ => Err(ModelError::Configuration(format!("engine `{text}`: use auto, libtorch or openvino"))),
        }
    }
}

impl std::fmt::Display for CpuEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Libtorch => "libtorch",
            Self::OpenVino => "openvino",
        })
    }
}

/// In which numbers networks on a CPU may multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum CpuPrecision {
    /// bf16 where the processor multiplies it and answers are near those in f32.
    #[default]
    Auto,
    /// f32 alone: processors differ by its rounding and by no more.
    F32,
}

/// A device, and what computes where it is a CPU. Of a device alone: libtorch, to whose numbers the others are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    pub device: DeviceChoice,
    pub cpu_engine: CpuEngine,
    pub cpu_precision: CpuPrecision,
}

impl From<DeviceChoice> for Placement {
    fn from(device: DeviceChoice) -> Self {
        Self { device, cpu_engine: CpuEngine::Libtorch, cpu_precision: CpuPrecision::Auto }
    }
}

impl Placement {
    /// On a CPU, in the precision that is best there.
    pub fn on_cpu(cpu_engine: CpuEngine) -> Self {
        Self { cpu_engine, ..Self::from(DeviceChoice::Cpu) }
    }

    /// Whether networks may multiply in bf16 on a device that this came to.
    pub fn takes_bf16(&self, device: tch::Device) -> bool {
        let may = device != tch::Device::Cpu || self.cpu_precision == CpuPrecision::Auto;
        may && multiplies_bf16(device)
    }
}

/// What computes a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Libtorch,
    OpenVino,
    /// The same, multiplying in bf16.
    OpenVinoBf16,
    /// Loops of our own over slices (`jtav-engine`), for networks of which one pass is shorter than a library's preparations.
    Own,
    /// The same, multiplying in bf16 what is multiplied once and does not come back to itself.
    OwnBf16,
}

impl Engine {
    /// `libtorch`, `openvino`, `openvino_bf16`, `own` or `own_bf16`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Libtorch => "libtorch",
            Self::OpenVino => "openvino",
            Self::OpenVinoBf16 => "openvino_bf16",
            Self::Own => "own",
            Self::OwnBf16 => "own_bf16",
        }
    }

    fn of(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::OpenVino,
            Precision::Bf16 => Self::OpenVinoBf16,
        }
    }

    /// Of OpenVINO; none where it does not compute.
    fn precision(self) -> Option<Precision> {
        match self {
            Self::OpenVino => Some(Precision::F32),
            Self::OpenVinoBf16 => Some(Precision::Bf16),
            Self::Libtorch | Self::Own | Self::OwnBf16 => None,
        }
    }
}

/// What was chosen for a network, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub engine: Engine,
    /// Whether it may multiply in bf16 on a CPU, and answers stand a little apart from those in f32.
    pub(crate) is_bf16: bool,
    /// For people: times of a pass, or what is missing.
    pub because: String,
}

/// Least cosine between an answer and the more exact one that it is held against.
const LEAST_COSINE: f32 = 0.999;
/// Passes of each engine that are timed; the shortest counts.
const TIMED_PASSES: usize = 4;

/// Why a network runs on libtorch that nobody measured.
pub(crate) const AS_PLACED: &str = "by its placement";

/// By version, engine and precision asked for, and network.
type Choices = BTreeMap<(String, CpuEngine, CpuPrecision, &'static str), Choice>;

static CHOICES: Mutex<Choices> = Mutex::new(BTreeMap::new());

fn choices() -> MutexGuard<'static, Choices> {
    CHOICES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the networks of a checkpoint run on that were built in this process: by its version and where they were asked for.
pub fn choices_of(version: &str, placement: Placement) -> BTreeMap<&'static str, Choice> {
    let asked = (placement.cpu_engine, placement.cpu_precision);
    let choices = choices();
    let of_version =
        choices.iter().filter(|((of, engine, precision, _), _)| of == version && (*engine, *precision) == asked);
    of_version.map(|((.., network), choice)| (*network, choice.clone())).collect()
}

/// A choice that is still to be made.
pub(crate) struct Contest<'a> {
    /// Of the checkpoint.
    version: &'a str,
    network: &'static str,
    asked: Placement,
    /// In which OpenVINO and our own forms take part, the most exact first.
    precisions: &'static [Precision],
}

impl<'a> Contest<'a> {
    /// Of a checkpoint's network; in bf16 too where the processor multiplies it.
    pub fn new(version: &'a str, network: &'static str, asked: Placement) -> Self {
        let precisions: &[_] = match asked.takes_bf16(tch::Device::Cpu) {
            true => &[Precision::F32, Precision::Bf16],
            false => &[Precision::F32],
        };
        Self { version, network, asked, precisions }
    }

    /// Notes what needs no measurement.
    pub fn note(&self, engine: Engine, because: &str) {
        choices().insert(self.key(), self.choice(engine, because.to_owned()));
    }

    fn choice(&self, engine: Engine, because: String) -> Choice {
        let is_bf16 = match engine {
            Engine::OpenVinoBf16 | Engine::OwnBf16 => true,
            Engine::Libtorch => self.asked.takes_bf16(tch::Device::Cpu),
            Engine::OpenVino | Engine::Own => false,
        };
        Choice { engine, is_bf16, because }
    }

    /// Of two forms of our own the one in bf16, if it is there and answers what the one in f32 answers; compared once for a process, as
    /// [`Self::choose`] does it.
    ///
    /// # Errors
    /// What `build` and `ask` say of the form in f32.
    pub fn own<T>(
        &self,
        build: impl Fn(Precision) -> Result<T, ModelError>,
        ask: impl Fn(&T) -> Result<Vec<Vec<f32>>, ModelError>,
    ) -> Result<T, ModelError> {
        let mut choices = choices();
        if choices.get(&self.key()).is_some_and(|choice| choice.engine == Engine::OwnBf16) {
            drop(choices);
            return build(Precision::Bf16);
        }
        let exact = build(Precision::F32)?;
        if choices.contains_key(&self.key()) || !self.precisions.contains(&Precision::Bf16) {
            choices.entry(self.key()).or_insert_with(|| self.choice(Engine::Own, "on a CPU".to_owned()));
            return Ok(exact);
        }
        let expected = ask(&exact)?;
        let fast = build(Precision::Bf16).and_then(|fast| Ok((least_cosine(&expected, &ask(&fast)?), fast)));
        let (engine, network, because) = match fast {
            Ok((cosine, fast)) => {
                let because = format!("on a CPU; in bf16 a cosine of {cosine:.5} with f32");
                if agrees(cosine) { (Engine::OwnBf16, fast, because) } else { (Engine::Own, exact, because) }
            }
            Err(error) => (Engine::Own, exact, format!("on a CPU; in bf16: {error}")),
        };
        choices.insert(self.key(), self.choice(engine, because));
        Ok(network)
    }

    /// Builds the network on the engine that is asked for or that is fastest. It is measured once for a process: every further
    /// network of the same name is built on the same engine. Until then others wait, so that they do not disturb it.
    ///
    /// `ask` is a pass over some batch, and gives its rows.
    ///
    /// # Errors
    /// What `libtorch` says; of OpenVINO where it alone was asked for, also that it is missing or computes something else.
    pub fn choose<T>(
        &self,
        libtorch: impl FnOnce() -> Result<T, ModelError>,
        openvino: impl Fn(&'static Library, Precision) -> Result<T, ModelError>,
        ask: impl Fn(&mut T) -> Result<Vec<Vec<f32>>, ModelError>,
    ) -> Result<T, ModelError> {
        if self.asked.cpu_engine == CpuEngine::Libtorch {
            self.note(Engine::Libtorch, AS_PLACED);
            return libtorch();
        }
        let mut choices = choices();
        if let Some(choice) = choices.get(&self.key()) {
            let precision = choice.engine.precision();
            drop(choices);
            return precision.map_or_else(libtorch, |precision| openvino(Library::open()?, precision));
        }
        let mut first = libtorch()?;
        let others = Library::open().map_err(ModelError::from).and_then(|library| {
            let of = |precision: &Precision| Ok((Engine::of(*precision), openvino(library, *precision)?));
            let mut others = self.precisions.iter().map(of).collect::<Result<Vec<_>, ModelError>>()?;
            let results = compare(&mut first, &mut others, &ask)?;
            Ok((others, results))
        });
        let (chosen, choice) = match others {
            Ok((mut others, results)) => {
                let because = results.to_string();
                match results.best_other(self.asked.cpu_engine) {
                    Some(at) => {
                        let (engine, network) = others.swap_remove(at);
                        (network, self.choice(engine, because))
                    }
                    None if self.asked.cpu_engine == CpuEngine::OpenVino => {
                        return Err(ModelError::Parity(format!("{} on OpenVINO: {because}", self.network)));
                    }
                    None => (first, self.choice(Engine::Libtorch, because)),
                }
            }
            Err(error) if self.asked.cpu_engine == CpuEngine::OpenVino => return Err(error),
            Err(error) => (first, self.choice(Engine::Libtorch, error.to_string())),
        };
        choices.insert(self.key(), choice);
        Ok(chosen)
    }

    fn key(&self) -> (String, CpuEngine, CpuPrecision, &'static str) {
        (self.version.to_owned(), self.asked.cpu_engine, self.asked.cpu_precision, self.network)
    }
}

/// One batch through several engines.
struct Results {
    libtorch: Duration,
    others: Vec<Rated>,
}

struct Rated {
    engine: Engine,
    time: Duration,
    /// With the answers it is held against: of the first, libtorch's; of the others, those of the first, which is more exact.
    least_cosine: f32,
}

/// A pass of each pays for what later ones find ready; then the shortest of some counts, in turns, so that a busy moment is nobody's
/// alone.
fn compare<T>(
    libtorch: &mut T,
    others: &mut [(Engine, T)],
    ask: &impl Fn(&mut T) -> Result<Vec<Vec<f32>>, ModelError>,
) -> Result<Results, ModelError> {
    let mut expected = ask(libtorch)?;
    let mut rated = Vec::new();
    for (engine, network) in &mut *others {
        let found = ask(network)?;
        rated.push(Rated { engine: *engine, time: Duration::MAX, least_cosine: least_cosine(&expected, &found) });
        if rated.len() == 1 {
            expected = found;
        }
    }
    let timed = |network: &mut T, least: &mut Duration| -> Result<(), ModelError> {
        let started = Instant::now();
        ask(network)?;
        *least = started.elapsed().min(*least);
        Ok(())
    };
    let mut of_libtorch = Duration::MAX;
    for _ in 0..TIMED_PASSES {
        timed(libtorch, &mut of_libtorch)?;
        for ((_, network), rated) in others.iter_mut().zip(&mut rated) {
            timed(network, &mut rated.time)?;
        }
    }
    Ok(Results { libtorch: of_libtorch, others: rated })
}

impl Results {
    /// The fastest of those that agree; none where libtorch is faster still, unless it takes no part. One that is held against
    /// another is right only if that one is.
    fn best_other(&self, asked: CpuEngine) -> Option<usize> {
        if !self.others.first()?.agrees() {
            return None;
        }
        let (at, best) =
            self.others.iter().enumerate().filter(|(_, other)| other.agrees()).min_by_key(|(_, other)| other.time)?;
        (asked == CpuEngine::OpenVino || best.time < self.libtorch).then_some(at)
    }
}

impl Rated {
    fn agrees(&self) -> bool {
        agrees(self.least_cosine)
    }
}

/// Written so that a NaN does not.
fn agrees(cosine: f32) -> bool {
    cosine >= LEAST_COSINE
}

impl std::fmt::Display for Results {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(f, "a pass: {:.1} ms of libtorch", ms(self.libtorch))?;
        for Rated { engine, time, least_cosine } in &self.others {
            write!(f, ", {:.1} of {} (cosine {least_cosine:.5})", ms(*time), engine.as_str())?;
        }
        Ok(())
    }
}

/// Over all rows; NaN for a row that is not there.
fn least_cosine(expected: &[Vec<f32>], found: &[Vec<f32>]) -> f32 {
    let mut cosines = expected.iter().zip(found).map(|(a, b)| cosine(a, b));
    // `f32::min` would pass over a NaN.
    let least = match expected.len() == found.len() {
        true => cosines.try_fold(1.0_f32, |least, cosine| (!cosine.is_nan()).then(|| least.min(cosine))),
        false => None,
    };
    least.unwrap_or(f32::NAN)
}

/// NaN where a value is.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return 0.0;
    }
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()) as f32
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
