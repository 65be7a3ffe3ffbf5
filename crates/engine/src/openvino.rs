//! OpenVINO: networks on one thread of a CPU.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use openvino::{
    CompiledModel, Core, DeviceType, ElementType, InferRequest, InferenceError, RwPropertyKey, Shape, Tensor,
};

use crate::error::EngineError;
use crate::precision::Precision;

/// Folder of the libraries, below a checkout or an installation.
pub const FOLDER: &str = "third_party/openvino/lib";
/// Variable of the environment that names a folder of them.
pub const VARIABLE: &str = "JTAV_OPENVINO_DIR";
/// The one that is opened; the others lie beside it.
const FILE: &str = "libopenvino_c.so";

/// A thread that owns a network computes alone, as with libtorch (ADR 4): no thread of the engine runs beside it, and none is tied to a
/// core.
///
/// What it makes ready for a shape that it has not seen is kept, for so many layers and shapes at most: whoever posts chooses the
/// shapes, and another one costs a millisecond or two.
fn properties(precision: Precision) -> [(RwPropertyKey, &'static str); 6] {
    let precision = match precision {
        Precision::F32 => "f32",
        Precision::Bf16 => "bf16",
    };
    [
        (RwPropertyKey::HintPerformanceMode, "LATENCY"),
        (RwPropertyKey::NumStreams, "1"),
        (RwPropertyKey::InferenceNumThreads, "1"),
        (RwPropertyKey::HintEnableCpuPinning, "NO"),
        (RwPropertyKey::HintInferencePrecision, precision),
        (RwPropertyKey::Other(Cow::Borrowed("CPU_RUNTIME_CACHE_CAPACITY")), "1000"),
    ]
}

/// The libraries, opened.
#[derive(Debug)]
pub struct Library {
    folder: PathBuf,
    version: String,
}

impl Library {
    /// Opens them once in the life of the process: in [`VARIABLE`], then in [`FOLDER`] below `$JTAV_HOME`, below `../share/jtav`
    /// beside the executable's folder, and in the checkout that this was compiled in.
    ///
    /// # Errors
    /// [`EngineError::Missing`] where they are in none of these, [`EngineError::Unusable`] where they do not open.
    pub fn open() -> Result<&'static Self, EngineError> {
        static OPENED: OnceLock<Result<Library, EngineError>> = OnceLock::new();
        OPENED.get_or_init(|| Self::open_first(&folders())).as_ref().map_err(Clone::clone)
    }

    fn open_first(folders: &[PathBuf]) -> Result<Self, EngineError> {
        let Some(file) = folders.iter().find_map(|folder| library_in(folder)) else {
            let places = folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");
            return Err(EngineError::Missing { file: FILE.to_owned(), places });
        };
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let unusable = |reason| EngineError::Unusable { folder: folder.display().to_string(), reason };
        openvino_sys::library::load_from(&file).map_err(unusable)?;
        let version = openvino::version().build_number;
        Ok(Self { folder, version })
    }

    /// Where they lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `2026.4.1-…`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Makes a network of the bytes of an ONNX file ready. Takes a second at most for the networks here.
    ///
    /// # Errors
    /// [`EngineError::Refused`] with what OpenVINO says.
    pub fn compile(&self, onnx: &[u8], precision: Precision) -> Result<Network, EngineError> {
        let refused = |error: InferenceError| EngineError::Refused(error.to_string());
        let mut core = Core::new().map_err(|error| EngineError::Refused(error.to_string()))?;
        for (key, value) in properties(precision) {
            core.set_property(&DeviceType::CPU, &key, value).map_err(refused)?;
        }
        let model = core.read_model_from_buffer(onnx, None).map_err(refused)?;
        let mut compiled = core.compile_model(&model, DeviceType::CPU).map_err(refused)?;
        let request = compiled.create_infer_request().map_err(refused)?;
        let outputs = compiled.get_output_size().map_err(refused)?;
        Ok(Network { request, given: Vec::new(), outputs, _compiled: compiled, _core: core })
    }
}

/// The shared library in a folder, with whatever version its name ends in.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FILE)));
    files.sort();
    files.pop()
}

fn folders() -> Vec<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
    let executable = std::env::current_exe().ok();
    let installed = executable.as_deref().and_then(Path::parent).and_then(Path::parent);
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let homes = variable("JTAV_HOME")
        .into_iter()
        .chain(installed.map(|prefix| prefix.join("share/jtav")))
        .chain(checkout.map(Path::to_owned));
    variable(VARIABLE).into_iter().chain(homes.map(|home| home.join(FOLDER))).collect()
}

/// Values that go in, row-major.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    F32(&'a [f32]),
    U8(&'a [u8]),
    I64(&'a [i64]),
}

impl Input<'_> {
    fn element(&self) -> ElementType {
        match self {
            Self::F32(_) => ElementType::F32,
            Self::U8(_) => ElementType::U8,
            Self::I64(_) => ElementType::I64,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::F32(values) => bytemuck::cast_slice(values),
            Self::U8(values) => values,
            Self::I64(values) => bytemuck::cast_slice(values),
        }
    }
}

/// Values that came out.
pub struct Output(Tensor);

impl Output {
    /// f32, row-major.
    ///
    /// # Errors
    /// An output of another kind.
    pub fn values(&self) -> Result<&[f32], EngineError> {
        match self.0.get_element_type().map_err(run)? {
            ElementType::F32 => self.0.get_data().map_err(run),
            other => Err(EngineError::Run(format!("an output of {other}, expected F32"))),
        }
    }
}

/// A network on one thread: `Send`, not shared.
pub struct Network {
    request: InferRequest,
    /// What was given in the last pass, kept for the next one of the same shapes.
    given: Vec<(Vec<usize>, Tensor)>,
    outputs: usize,
    _compiled: CompiledModel,
    _core: Core,
}

impl Network {
    /// One pass: values and shape of each input, in the order of the file; every output, in the order of the file.
    ///
    /// # Errors
    /// Values that do not fill their shape, and whatever OpenVINO says.
    pub fn run(&mut self, inputs: &[(Input<'_>, &[usize])]) -> Result<Vec<Output>, EngineError> {
        for (at, (input, shape)) in inputs.iter().enumerate() {
            self.give(at, input, shape)?;
        }
        self.request.infer().map_err(run)?;
        let output = |at| self.request.get_output_tensor_by_index(at).map(Output).map_err(run);
        (0..self.outputs).map(output).collect()
    }

    fn give(&mut self, at: usize, input: &Input<'_>, shape: &[usize]) -> Result<(), EngineError> {
        if self.given.get(at).is_none_or(|(of_last, _)| of_last != shape) {
            let sides: Vec<i64> = shape.iter().map(|&side| side as i64).collect();
            let tensor = Tensor::new(input.element(), &Shape::new(&sides).map_err(run)?).map_err(run)?;
            self.request.set_input_tensor_by_index(at, &tensor).map_err(run)?;
            self.given.truncate(at);
            self.given.push((shape.to_vec(), tensor));
        }
        let Some((_, tensor)) = self.given.get_mut(at) else { return Err(EngineError::Run(format!("no input {at}"))) };
        let place = tensor.get_raw_data_mut().map_err(run)?;
        let bytes = input.bytes();
        if place.len() != bytes.len() {
            return Err(EngineError::Run(format!("{} bytes for an input of {}", bytes.len(), place.len())));
        }
        place.copy_from_slice(bytes);
        Ok(())
    }
}

fn run(error: InferenceError) -> EngineError {
    EngineError::Run(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{Attribute, Dim, Element, Graph};

    /// `max(x w, 0)`, the rows of `x` as many as come.
    fn product() -> Vec<u8> {
        let mut graph = Graph::new("product");
        let x = graph.input("x", Element::F32, &[Dim::Any("rows"), Dim::Of(2)]);
        let w = graph.weights("w", &[1.0, 10.0, 100.0, -1.0, -10.0, -100.0], &[2, 3]);
        let product = graph.node("MatMul", &[&x, &w], Vec::new());
        let positive = graph.node("Relu", &[&product], Vec::new());
        graph.output(&positive, "y", Element::F32, &[Dim::Any("rows"), Dim::Of(3)]);
        graph.encode()
    }

    #[test]
    fn a_network_runs_on_as_many_rows_as_come() {
        let mut network = Library::open().unwrap().compile(&product(), Precision::F32).unwrap();
        for rows in [1, 4, 4, 2] {
            let x: Vec<f32> = (0..rows * 2).map(|at| if at % 2 == 0 { at as f32 } else { 1.0 }).collect();
            let found = network.run(&[(Input::F32(&x), &[rows, 2])]).unwrap();
            let expected: Vec<f32> =
                x.chunks(2).flat_map(|row| [1.0, 10.0, 100.0].map(|by| ((row[0] - row[1]) * by).max(0.0))).collect();
            assert_eq!(found[0].values().unwrap(), expected);
        }
        let short = network.run(&[(Input::F32(&[1.0]), &[1, 2])]);
        assert!(matches!(short, Err(EngineError::Run(_))));
    }

    #[test]
    fn an_operator_that_nobody_knows_is_refused_with_its_name() {
        let mut graph = Graph::new("strange");
        let x = graph.input("x", Element::F32, &[Dim::Of(2)]);
        let y = graph.node("Crystallise", &[&x], vec![Attribute::Int("axis", 1), Attribute::Float("alpha", 0.5)]);
        graph.output(&y, "y", Element::F32, &[Dim::Of(2)]);
        let error = Library::open().unwrap().compile(&graph.encode(), Precision::F32).err().unwrap();
        assert!(matches!(&error, EngineError::Refused(reason) if reason.contains("Crystallise")), "{error}");
    }

    #[test]
    fn a_folder_without_the_libraries_is_an_error_that_names_it_and_the_command() {
        let error = Library::open_first(&[PathBuf::from("/nowhere/at/all")]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/nowhere/at/all") && text.contains("scripts/setup-openvino.sh"), "{text}");
    }
}
