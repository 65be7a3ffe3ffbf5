//! Where the networks run, and how libtorch is told.

use std::ffi::CString;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::error::ModelError;

/// The device a network is asked to run on. Text form: `auto`, `cpu`, `cuda`, `cuda:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first GPU if libtorch sees one, else the CPU.
    #[default]
    Auto,
    Cpu,
    /// The GPU with this index; an error where there is none.
    Cuda(usize),
}

impl DeviceChoice {
    /// The device meant, or [`ModelError::Device`] when it is not there.
    pub fn resolve(self) -> Result<tch::Device, ModelError> {
        match self {
            Self::Cpu => Ok(tch::Device::Cpu),
            Self::Auto if cuda_devices() > 0 => Ok(tch::Device::Cuda(0)),
            Self::Auto => Ok(tch::Device::Cpu),
            Self::Cuda(index) if index < cuda_devices() => Ok(tch::Device::Cuda(index)),
            Self::Cuda(index) => {
                let why = cuda_library().err().map_or_else(String::new, |why| format!(" ({why}; see docs/gpu.md)"));
                Err(ModelError::Device(format!("cuda:{index} was asked for, {} GPUs are visible{why}", cuda_devices())))
            }
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || ModelError::Configuration(format!("device `{text}`: use auto, cpu, cuda or cuda:N"));
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let index = text.strip_prefix("cuda:").ok_or_else(unknown)?;
                index.parse().map(Self::Cuda).map_err(|_| unknown())
            }
        }
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// Opens libtorch's CUDA half (`$TCH_CUDA_LIB`, else `libtorch_cuda.so` by the loader's search) so that a binary
/// built for the CPU can use a GPU. True when it was found. Call it first thing in `main`: libtorch registers its
/// device hooks while the library loads, and a thread that has already asked for devices will not ask again.
pub fn open_cuda_library() -> bool {
    OPENED.get_or_init(open).is_ok()
}

/// What came of [`open_cuda_library`].
///
/// # Errors
/// What the loader said, or that nobody has asked it.
pub fn cuda_library() -> Result<(), String> {
    OPENED.get().cloned().unwrap_or_else(|| Err("libtorch_cuda.so was not opened".to_owned()))
}

static OPENED: OnceLock<Result<(), String>> = OnceLock::new();

fn open() -> Result<(), String> {
    let name = std::env::var("TCH_CUDA_LIB").unwrap_or_else(|_| "libtorch_cuda.so".to_owned());
    let name = CString::new(name).map_err(|error| format!("TCH_CUDA_LIB: {error}"))?;
    // SAFETY: `name` is a NUL-terminated string that outlives the call. RTLD_GLOBAL because libtorch_cpu looks
    // the hooks up by symbol; the handle is never closed, so the code stays mapped.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_GLOBAL) };
    if !handle.is_null() {
        return Ok(());
    }
    // SAFETY: after a call that failed, dlerror gives a string that is valid until this thread's next call of its kind.
    let why = unsafe {
        let why = libc::dlerror();
        if why.is_null() { None } else { Some(std::ffi::CStr::from_ptr(why).to_string_lossy().into_owned()) }
    };
    Err(why.unwrap_or_else(|| "the loader does not say why".to_owned()))
}

/// Number of GPUs that libtorch can use; 0 without [`open_cuda_library`].
pub fn cuda_devices() -> usize {
    if !tch::Cuda::is_available() {
        return 0;
    }
    usize::try_from(tch::Cuda::device_count()).unwrap_or(0)
}

/// Whether the hardware multiplies bf16 natively. Elsewhere libtorch emulates it, many times slower than f32.
pub fn multiplies_bf16(device: tch::Device) -> bool {
    match device {
        tch::Device::Cuda(_) => true,
        _ => jtav_simd::multiplies_bf16(),
    }
}

/// Makes libtorch compute on the calling thread alone. Call it first thing on every thread that owns a network: the
/// setting does not reach a thread that has used libtorch already, and N threads of one beat one of N (ADR 4).
pub fn single_threaded() {
    tch::set_num_threads(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_survives_its_text_form() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(3)] {
            assert_eq!(choice.to_string().parse::<DeviceChoice>().ok(), Some(choice));
        }
        for text in ["gpu", "cuda:", "cuda:-1", "CPU", ""] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_gpu_that_is_not_there_is_a_fatal_error_that_says_what_the_loader_said() {
        open_cuda_library();
        let error = DeviceChoice::Cuda(4096).resolve().unwrap_err();
        assert!(error.is_fatal(), "{error}");
        let text = error.to_string();
        assert!(cuda_devices() > 0 || text.contains("docs/gpu.md") && text.contains("libtorch_cuda"), "{text}");
    }
}
