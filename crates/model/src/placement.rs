//! Where the networks of a checkpoint run: on which device, and on a CPU by which engine.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jtav_engine::openvino::Library;

use crate::device::DeviceChoice;
use crate::error::ModelError;

/// Which engine networks on a CPU are asked to run on. Text form: `auto`, `libtorch`, `openvino`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum CpuEngine {
    /// For each network the one that is faster here, by a measurement when it is built; libtorch where no other is installed.
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

/// A device, and what computes where it is a CPU. Of a device alone: libtorch, to whose numbers the others are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    pub device: DeviceChoice,
    pub cpu_engine: CpuEngine,
}

impl From<DeviceChoice> for Placement {
    fn from(device: DeviceChoice) -> Self {
        Self { device, cpu_engine: CpuEngine::Libtorch }
    }
}

/// What computes a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Libtorch,
    OpenVino,
    /// Loops of our own over slices (`jtav-engine`), for networks of which one pass is shorter than a library's preparations.
    Own,
}

impl Engine {
    /// `libtorch`, `openvino` or `own`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Libtorch => "libtorch",
            Self::OpenVino => "openvino",
            Self::Own => "own",
        }
    }
}

/// What was chosen for a network, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub engine: Engine,
    /// For people: times of a pass, or what is missing.
    pub because: String,
}

/// Least cosine between an answer of another engine and libtorch's.
const LEAST_COSINE: f32 = 0.999;
/// Passes of each engine that are timed; the shortest counts.
const TIMED_PASSES: usize = 4;

/// Why a network runs on libtorch that nobody measured.
pub(crate) const AS_PLACED: &str = "by its placement";

type Choices = BTreeMap<(String, CpuEngine, &'static str), Choice>;

static CHOICES: Mutex<Choices> = Mutex::new(BTreeMap::new());

fn choices() -> MutexGuard<'static, Choices> {
    CHOICES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the networks of a checkpoint run on that were built in this process: by its version and the engine asked for.
pub fn choices_of(version: &str, asked: CpuEngine) -> BTreeMap<&'static str, Choice> {
    let of_version = |((of, by, network), choice): (&(String, CpuEngine, &'static str), &Choice)| {
        (of == version && *by == asked).then(|| (*network, choice.clone()))
    };
    choices().iter().filter_map(of_version).collect()
}

/// A choice that is still to be made.
pub(crate) struct Contest<'a> {
    /// Of the checkpoint.
    pub version: &'a str,
    pub network: &'static str,
    pub asked: CpuEngine,
}

impl Contest<'_> {
    /// Notes what needs no measurement.
    pub fn note(&self, engine: Engine, because: &str) {
        choices().insert(self.key(), Choice { engine, because: because.to_owned() });
    }

    /// Builds the network on the engine that is asked for or that is faster. It is measured once for a process: every further
    /// network of the same name is built on the same engine. Until then others wait, so that they do not disturb it.
    ///
    /// `ask` is a pass over some batch, and gives its rows.
    ///
    /// # Errors
    /// What `libtorch` says; of OpenVINO where it alone was asked for, also that it is missing or computes something else.
    pub fn choose<T>(
        &self,
        libtorch: impl FnOnce() -> Result<T, ModelError>,
        openvino: impl FnOnce(&'static Library) -> Result<T, ModelError>,
        ask: impl Fn(&mut T) -> Result<Vec<Vec<f32>>, ModelError>,
    ) -> Result<T, ModelError> {
        if self.asked == CpuEngine::Libtorch {
            self.note(Engine::Libtorch, AS_PLACED);
            return libtorch();
        }
        let mut choices = choices();
        if let Some(choice) = choices.get(&self.key()) {
            let engine = choice.engine;
            drop(choices);
            return if engine == Engine::OpenVino { openvino(Library::open()?) } else { libtorch() };
        }
        let mut first = libtorch()?;
        let second = match (self.asked, Library::open().map_err(ModelError::from).and_then(openvino)) {
            (_, Ok(second)) => Ok(second),
            (CpuEngine::OpenVino, Err(error)) => return Err(error),
            (_, Err(error)) => Err(error.to_string()),
        };
        let compared = second.and_then(|mut second| {
            let compared = Compared::of(&mut first, &mut second, &ask).map_err(|error| error.to_string())?;
            Ok((second, compared))
        });
        let (chosen, choice) = match compared {
            Ok((second, compared))
                if compared.agree() && (self.asked == CpuEngine::OpenVino || compared.is_faster()) =>
            {
                (second, Choice { engine: Engine::OpenVino, because: compared.to_string() })
            }
            Ok((_, compared)) if self.asked == CpuEngine::OpenVino => {
                return Err(ModelError::Parity(format!("{} on OpenVINO: {compared}", self.network)));
            }
            Ok((_, compared)) => (first, Choice { engine: Engine::Libtorch, because: compared.to_string() }),
            Err(because) => (first, Choice { engine: Engine::Libtorch, because }),
        };
        choices.insert(self.key(), choice);
        Ok(chosen)
    }

    fn key(&self) -> (String, CpuEngine, &'static str) {
        (self.version.to_owned(), self.asked, self.network)
    }
}

/// One batch through two engines.
struct Compared {
    least_cosine: f32,
    libtorch: Duration,
    openvino: Duration,
}

impl Compared {
    fn of<T>(
        libtorch: &mut T,
        openvino: &mut T,
        ask: &impl Fn(&mut T) -> Result<Vec<Vec<f32>>, ModelError>,
    ) -> Result<Self, ModelError> {
        // The first pass of either pays for what later ones find ready.
        let (expected, found) = (ask(libtorch)?, ask(openvino)?);
        let mut cosines = expected.iter().zip(&found).map(|(a, b)| cosine(a, b));
        // `f32::min` would pass over a NaN.
        let least_cosine = match expected.len() == found.len() {
            true => cosines.try_fold(1.0_f32, |least, cosine| (!cosine.is_nan()).then(|| least.min(cosine))),
            false => None,
        };
        let mut times = [Duration::MAX; 2];
        for _ in 0..TIMED_PASSES {
            for (time, network) in times.iter_mut().zip([&mut *libtorch, &mut *openvino]) {
                let started = Instant::now();
                ask(network)?;
                *time = started.elapsed().min(*time);
            }
        }
        Ok(Self { least_cosine: least_cosine.unwrap_or(f32::NAN), libtorch: times[0], openvino: times[1] })
    }

    /// Written so that a NaN does not.
    fn agree(&self) -> bool {
        self.least_cosine >= LEAST_COSINE
    }

    fn is_faster(&self) -> bool {
        self.openvino < self.libtorch
    }
}

impl std::fmt::Display for Compared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (openvino, libtorch) = (ms(self.openvino), ms(self.libtorch));
        write!(f, "{openvino:.1} ms a pass of openvino, {libtorch:.1} of libtorch, cosine {:.5}", self.least_cosine)
    }
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
