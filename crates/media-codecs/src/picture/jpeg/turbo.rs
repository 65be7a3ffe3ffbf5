//! libjpeg-turbo, through the interface that tells a warning from a failure (the safe crate makes one of both).
//!
//! It starts no threads and opens no files, so it runs inside the sandbox of a decode worker.

use std::ffi::{CStr, c_int};

use turbojpeg_sys as tj;

/// What a decoder was asked for.
pub(super) struct Order<'a> {
    pub(super) bytes: &'a [u8],
    /// As the header says; libjpeg must read the same.
    pub(super) size: (u32, u32),
    pub(super) components: usize,
    /// Width and height are divided by this: 1, 2, 4 or 8.
    pub(super) divisor: u32,
    pub(super) scans: u32,
    pub(super) max_memory_bytes: u64,
}

/// What came of it.
pub(super) struct DecodedJpeg {
    /// Rows of grey, RGB or CMYK; [`UNREACHED`] where nothing was painted.
    pub(super) pixels: Vec<u8>,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) end: End,
}

/// How decoding ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing was missing.
    Whole,
    /// Something was, or was wrong; what could be read is painted.
    Damaged,
    /// More memory, or more scans, than was allowed.
    TooLarge,
}

/// What libjpeg itself paints where bits are missing.
pub(super) const UNREACHED: u8 = 128;

/// Decodes what could be read. `None`: the header is none, or says something else to libjpeg.
pub(super) fn decode(order: &Order<'_>) -> Option<DecodedJpeg> {
    let decoder = Decoder::new()?;
    let (width, height) = (order.size.0.div_ceil(order.divisor), order.size.1.div_ceil(order.divisor));
    let (format, channels) = match order.components {
        1 => (tj::TJPF_TJPF_GRAY, 1),
        3 => (tj::TJPF_TJPF_RGB, 3),
        _ => (tj::TJPF_TJPF_CMYK, 4),
    };
    let memory_mib = order.max_memory_bytes.div_ceil(1 << 20).min(i32::MAX as u64) as c_int;
    // Profiles and comments are of no use here.
    decoder.set(tj::TJPARAM_TJPARAM_SAVEMARKERS, 0)?;
    decoder.set(tj::TJPARAM_TJPARAM_SCANLIMIT, c_int::try_from(order.scans).ok()?)?;
    decoder.set(tj::TJPARAM_TJPARAM_MAXMEMORY, memory_mib)?;
    let header = decoder.header(order.bytes)?;
    if header != order.size {
        return None;
    }
    decoder.scale(order.divisor as c_int)?;
    let stride = width as usize * channels;
    let mut pixels = vec![UNREACHED; stride * height as usize];
    let end = decoder.pixels(order.bytes, &mut pixels, c_int::try_from(stride).ok()?, format as c_int);
    Some(DecodedJpeg { pixels, width, height, end })
}

/// Owns the handle.
struct Decoder(tj::tjhandle);

impl Decoder {
    fn new() -> Option<Self> {
        // SAFETY: no argument that could be wrong; a null pointer says that memory ran out.
        let handle = unsafe { tj::tj3Init(tj::TJINIT_TJINIT_DECOMPRESS as c_int) };
        (!handle.is_null()).then_some(Self(handle))
    }

    fn set(&self, parameter: tj::TJPARAM, value: c_int) -> Option<()> {
        // SAFETY: the handle is valid as long as `self`.
        let status = unsafe { tj::tj3Set(self.0, parameter as c_int, value) };
        (status == 0).then_some(())
    }

    fn scale(&self, divisor: c_int) -> Option<()> {
        // SAFETY: the handle is valid as long as `self`.
        let status = unsafe { tj::tj3SetScalingFactor(self.0, tj::tjscalingfactor { num: 1, denom: divisor }) };
        (status == 0).then_some(())
    }

    /// Width and height, also where something in front of them was odd.
    fn header(&self, bytes: &[u8]) -> Option<(u32, u32)> {
        // SAFETY: the handle is valid as long as `self`, and `bytes`, which is only read, for the call.
        let status = unsafe { tj::tj3DecompressHeader(self.0, bytes.as_ptr(), bytes.len() as _) };
        if status != 0 && !self.only_warned() {
            return None;
        }
        let side = |parameter: tj::TJPARAM| {
            // SAFETY: the handle is valid as long as `self`.
            u32::try_from(unsafe { tj::tj3Get(self.0, parameter as c_int) }).ok()
        };
        Some((side(tj::TJPARAM_TJPARAM_JPEGWIDTH)?, side(tj::TJPARAM_TJPARAM_JPEGHEIGHT)?))
    }

    /// `pixels` has room for as many rows of `stride` bytes as the picture has after scaling: the caller has compared
    /// the header that this call will read again with the one by which it made the room.
    fn pixels(&self, bytes: &[u8], pixels: &mut [u8], stride: c_int, format: c_int) -> End {
        // SAFETY: the handle is valid as long as `self`. `bytes` is only read, and `pixels`, only written, is as long as
        // the rows that libjpeg will write: it computes their number from the same header.
        let status = unsafe {
            tj::tj3Decompress8(self.0, bytes.as_ptr(), bytes.len() as _, pixels.as_mut_ptr(), stride, format)
        };
        if status == 0 {
            return End::Whole;
        }
        // A failure after a warning has the warning's code and its own text, and no number tells failures apart.
        let message = self.message();
        if message.contains("memory") || message.contains("scans") { End::TooLarge } else { End::Damaged }
    }

    fn only_warned(&self) -> bool {
        // SAFETY: the handle is valid as long as `self`.
        unsafe { tj::tj3GetErrorCode(self.0) == tj::TJERR_TJERR_WARNING as c_int }
    }

    fn message(&self) -> String {
        // SAFETY: the handle is valid as long as `self`, and so is the text, which ends with a zero, until its next call.
        unsafe { CStr::from_ptr(tj::tj3GetErrorStr(self.0)) }.to_string_lossy().into_owned()
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the handle came from `tj3Init` and is used no more.
        unsafe { tj::tj3Destroy(self.0) };
    }
}
