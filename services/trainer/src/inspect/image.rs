//! A picture: decoded facts, the crop that is encoded, the class-activation cells.

use jtav_media_codecs::{DecodeLimits, MediaFacts, PictureFacts};
use jtav_model::{IMAGE_SIDE, ImageNetwork, Normalisation, Rgb224};
use jtav_picture::{CellOverlay, cell_overlay};
use jtav_schemas::{AbsentReason, Decoded, Modality};
use serde_json::{Value, json};

use super::{InspectError, decoded};
use crate::npy::npy_f32;

/// Cells in a row of the class-activation map.
const CELLS_PER_ROW: usize = 7;

/// What became of a picture.
#[derive(Debug, Clone)]
pub struct ImageInspection {
    /// What the file is.
    pub facts: PictureFacts,
    /// The square that is encoded, 224 × 224.
    pub crop: Rgb224,
    /// Side in pixels to which the network scales the square first.
    pub network_px: usize,
    /// The scale of the pixels that the network was trained on.
    pub normalisation: Normalisation,
    /// `[7, 7]`, row by row: how much each cell argues for the label found; sums to 1.
    pub cells: Vec<f32>,
}

/// Decodes a picture and asks `network` where it looked.
///
/// # Errors
/// A picture that the worker would leave out, too; a device fault.
pub fn inspect_image(
    bytes: &[u8],
    limits: &DecodeLimits,
    network: &ImageNetwork,
) -> Result<ImageInspection, InspectError> {
    let (Decoded::Image(image), MediaFacts::Picture(facts)) = decoded(bytes, Modality::Image, limits)? else {
        return Err(InspectError::Absent { reason: AbsentReason::TypeMismatch });
    };
    let crop = Rgb224::new(image.pixels)?;
    let encoded = network.encode(std::slice::from_ref(&crop))?;
    let cells = encoded.into_iter().next().map(|picture| picture.attention).unwrap_or_default();
    let (network_px, normalisation) = (network.resolution_px(), network.normalisation());
    Ok(ImageInspection { facts, crop, network_px, normalisation, cells })
}

impl ImageInspection {
    /// The normalised crop as an `.npy` file: f32 `[3, 224, 224]`.
    pub fn npy(&self) -> Option<Vec<u8>> {
        npy_f32(&[3, IMAGE_SIDE, IMAGE_SIDE], &self.crop.normalised(&self.normalisation))
    }

    /// The crop, and beside it the crop under its cells.
    ///
    /// # Errors
    /// Those of the drawing.
    pub fn picture(&self, name: &str) -> Result<Vec<u8>, InspectError> {
        let title = format!("{name}: the crop, and what argues for the label (shares in %)");
        let overlay =
            CellOverlay { title: &title, pixels: self.crop.as_bytes(), side: IMAGE_SIDE, weights: &self.cells };
        Ok(cell_overlay(&overlay)?)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let PictureFacts { format, width, height, orientation, resized_width, resized_height, .. } = &self.facts;
        let PictureFacts { crop_left, crop_top, crop_px, .. } = self.facts;
        json!({
            "modality": "image",
            "format": format,
            "width": width,
            "height": height,
            "orientation": orientation,
            "resized": { "width": resized_width, "height": resized_height },
            "crop": { "left": crop_left, "top": crop_top, "side": crop_px },
            "network_px": self.network_px,
            "cells": self.cells.chunks(CELLS_PER_ROW).collect::<Vec<_>>(),
        })
    }

    /// For a person.
    pub fn text(&self) -> String {
        let facts = &self.facts;
        let turned = if facts.orientation == 1 { "upright" } else { "turned upright" };
        let mut text = format!(
            "file     {}, {} x {} pixels, EXIF orientation {} ({turned})\n\
             resized  {} x {} pixels\n\
             crop     {side} x {side} pixels from ({}, {}); the network looks at it at {} x {}\n\
             cells    share of each in the label found, in per cent\n",
            facts.format,
            facts.width,
            facts.height,
            facts.orientation,
            facts.resized_width,
            facts.resized_height,
            facts.crop_left,
            facts.crop_top,
            self.network_px,
            self.network_px,
            side = facts.crop_px,
        );
        for row in self.cells.chunks(CELLS_PER_ROW) {
            let shares: Vec<String> = row.iter().map(|share| format!("{:>5.1}", share * 100.0)).collect();
            text.push_str(&format!("  {}\n", shares.join(" ")));
        }
        text
    }
}
