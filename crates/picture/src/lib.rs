//! Diagrams and overlays as PNG files: plain numbers in, the bytes of a file out.
//!
//! Drawn by `plotters` into memory with a font of its own (`font/LICENCE.md`), so that a machine without a display, a
//! font or a graphics library draws the same picture. Nothing here knows a network or a file system.

mod canvas;
mod curves;
mod overlay;
mod reliability;
mod spectrogram;
mod square;
mod timeline;

pub use canvas::PictureError;
pub use curves::{CurvePanel, curves};
pub use overlay::{CellOverlay, cell_overlay};
pub use reliability::{ReliabilityDot, reliability};
pub use spectrogram::{FrequencyTick, MarkedSpan, SpectrogramPlot, spectrogram, spectrogram_strip};
pub use square::{SquarePicture, TintedCell, square_picture};
pub use timeline::{TimelinePanel, TimelineSeries, timeline};
