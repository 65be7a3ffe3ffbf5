//! The coefficients of a scan (T.81 F.2 and G.1).

use std::ops::RangeInclusive;

use super::bits::{BitReader, HuffmanTable, Pairs};
use super::frame::{Component, Frame, ScanHeader, State, ZIGZAG};
use super::idct::{SIDES, Steps, Transform};
use super::{Fault, Plane};

/// A component while it is decoded.
pub(super) struct Canvas {
    component: Component,
    /// Its own size in blocks, which a scan of this component alone walks.
    blocks_across: u32,
    blocks_down: u32,
    /// Blocks in a row of the canvas: whole units of interleaved scans.
    row_blocks: usize,
    /// What the picture covers of the canvas, in blocks.
    exact_blocks: (f64, f64),
    /// Pixels of a block's side after the transform.
    side: usize,
    pixels: Vec<u8>,
    /// Progressive: all coefficients of all blocks.
    coefficients: Vec<[i16; 64]>,
    /// Quantisation steps; those in force at the component's first scan.
    steps: Option<Box<Steps>>,
}

impl Canvas {
    pub(super) fn new(frame: &Frame, component: &Component, wanted: u32) -> Self {
        let (most_across, most_down) = (frame.most_across(), frame.most_down());
        let width = (frame.width * component.across).div_ceil(most_across);
        let height = (frame.height * component.down).div_ceil(most_down);
        let units_across = frame.width.div_ceil(8 * most_across);
        let units_down = frame.height.div_ceil(8 * most_down);
        let row_blocks = (units_across * component.across) as usize;
        let rows = (units_down * component.down) as usize;
        let side = smallest_side(width.min(height), wanted);
        let blocks = row_blocks * rows;
        Self {
            component: component.clone(),
            blocks_across: width.div_ceil(8),
            blocks_down: height.div_ceil(8),
            row_blocks,
            exact_blocks: (
                f64::from(frame.width * component.across) / f64::from(8 * most_across),
                f64::from(frame.height * component.down) / f64::from(8 * most_down),
            ),
            side,
            pixels: vec![0; blocks * side * side],
            coefficients: if frame.progressive { vec![[0; 64]; blocks] } else { Vec::new() },
            steps: None,
        }
    }

    fn draw(&mut self, transform: &Transform, x: usize, y: usize, coefficients: &[i16; 64], mean_alone: bool) {
        let Some(steps) = &self.steps else { return };
        let stride = self.row_blocks * self.side;
        let out = &mut self.pixels[y * self.side * stride + x * self.side..];
        if mean_alone {
            Transform::flat_block(self.side, coefficients[0], steps, out, stride);
        } else {
            transform.block(self.side, coefficients, steps, out, stride);
        }
    }

    /// The pixels of the picture, without what fills up the last blocks.
    pub(super) fn finish(mut self, transform: &Transform) -> Result<Plane, Fault> {
        if self.steps.is_none() {
            return Err(Fault::Damaged);
        }
        let coefficients = std::mem::take(&mut self.coefficients);
        for (row, blocks) in coefficients.chunks(self.row_blocks).enumerate() {
            for (column, block) in blocks.iter().enumerate() {
                self.draw(transform, column, row, block, false);
            }
        }
        let side = self.side as f64;
        let (exact_width, exact_height) = (self.exact_blocks.0 * side, self.exact_blocks.1 * side);
        let (width, height) = (exact_width.ceil() as usize, exact_height.ceil() as usize);
        let stride = self.row_blocks * self.side;
        if stride != width {
            for row in 1..height {
                self.pixels.copy_within(row * stride..row * stride + width, row * width);
            }
        }
        self.pixels.truncate(width * height);
        Ok(Plane { width: width as u32, height: height as u32, exact_width, exact_height, pixels: self.pixels })
    }
}

/// The smallest side of a block that leaves the shorter side of a plane at least `wanted` pixels.
fn smallest_side(shorter: u32, wanted: u32) -> usize {
    let enough = |side: &usize| u64::from(shorter) * *side as u64 >= u64::from(wanted) * 8;
    SIDES.into_iter().find(enough).unwrap_or(8)
}

/// A component's part in a scan.
struct Part<'a> {
    canvas: usize,
    means: Option<&'a HuffmanTable>,
    others: Option<&'a HuffmanTable>,
    pairs: Option<&'a Pairs>,
    /// The mean of the block before.
    mean: i32,
}

/// Decodes one scan into the canvases; gives the place of the marker that ends it.
pub(super) fn decode(
    bytes: &[u8],
    at: usize,
    header: &ScanHeader,
    state: &State,
    frame: &Frame,
    canvases: &mut [Canvas],
    transform: &Transform,
) -> Result<usize, Fault> {
    for (canvas, ..) in &header.parts {
        let canvas = &mut canvases[*canvas];
        if canvas.steps.is_none() {
            canvas.steps = Some(state.steps[canvas.component.quantisation].clone().ok_or(Fault::Damaged)?);
        }
    }
    let parts = header.parts.iter().map(|(canvas, means, others)| Part {
        canvas: *canvas,
        means: state.means[*means].as_deref(),
        others: state.others[*others].as_deref(),
        pairs: state.others[*others].as_deref().filter(|_| !frame.progressive).map(HuffmanTable::pairs),
        mean: 0,
    });
    let mut scan = Scan {
        bits: BitReader::new(bytes, at),
        header,
        progressive: frame.progressive,
        parts: parts.collect(),
        canvases,
        transform,
        empty_blocks: 0,
        block: [0; 64],
    };
    let (across, down) = match header.parts.as_slice() {
        // A scan of one component has its blocks in rows, without those that fill up the last units.
        [(canvas, ..)] => (scan.canvases[*canvas].blocks_across, scan.canvases[*canvas].blocks_down),
        _ => (frame.width.div_ceil(8 * frame.most_across()), frame.height.div_ceil(8 * frame.most_down())),
    };
    let mut until_restart = state.restart_interval;
    let mut restarts = 0_u8;
    for row in 0..down {
        for column in 0..across {
            if state.restart_interval > 0 {
                if until_restart == 0 {
                    scan.restart(restarts % 8)?;
                    restarts = restarts.wrapping_add(1);
                    until_restart = state.restart_interval;
                }
                until_restart -= 1;
            }
            scan.unit(column as usize, row as usize)?;
        }
        scan.bits.check()?;
    }
    scan.bits.end()
}

struct Scan<'a> {
    bits: BitReader<'a>,
    header: &'a ScanHeader,
    progressive: bool,
    parts: Vec<Part<'a>>,
    canvases: &'a mut [Canvas],
    transform: &'a Transform,
    /// Blocks of the band that hold nothing new (T.81 G.1.2.2, EOBRUN).
    empty_blocks: u32,
    /// Coefficients of a sequential block.
    block: [i16; 64],
}

impl Scan<'_> {
    fn restart(&mut self, number: u8) -> Result<(), Fault> {
        self.bits.check()?;
        self.bits.restart(number)?;
        self.parts.iter_mut().for_each(|part| part.mean = 0);
        self.empty_blocks = 0;
        Ok(())
    }

    fn unit(&mut self, column: usize, row: usize) -> Result<(), Fault> {
        if self.parts.len() == 1 {
            return self.one_block(0, column, row);
        }
        for part in 0..self.parts.len() {
            let component = &self.canvases[self.parts[part].canvas].component;
            let (across, down) = (component.across as usize, component.down as usize);
            for y in 0..down {
                for x in 0..across {
                    self.one_block(part, column * across + x, row * down + y)?;
                }
            }
        }
        Ok(())
    }

    fn one_block(&mut self, part: usize, x: usize, y: usize) -> Result<(), Fault> {
        let canvas = self.parts[part].canvas;
        if !self.progressive {
            let mean_alone = sequential(&mut self.bits, &mut self.parts[part], &mut self.block)?;
            self.canvases[canvas].draw(self.transform, x, y, &self.block, mean_alone);
            return Ok(());
        }
        let canvas = &mut self.canvases[canvas];
        let block = &mut canvas.coefficients[y * canvas.row_blocks + x];
        let part = &mut self.parts[part];
        match (self.header.first, self.header.refines) {
            (0, false) => {
                let mean = next_mean(&mut self.bits, part)?;
                block[0] = (mean << self.header.shift) as i16;
            }
            (0, true) => block[0] |= i16::from(self.bits.bit()) << self.header.shift,
            (_, refines) => {
                let band = Band { table: part.others.ok_or(Fault::Damaged)?, header: self.header };
                let empty_blocks = &mut self.empty_blocks;
                match refines {
                    false => band.first_pass(&mut self.bits, empty_blocks, block)?,
                    true => band.later_pass(&mut self.bits, empty_blocks, block)?,
                }
            }
        }
        Ok(())
    }
}

/// A band of coefficients of one component.
struct Band<'a> {
    table: &'a HuffmanTable,
    header: &'a ScanHeader,
}

impl Band<'_> {
    /// The coefficients but for their last bits (T.81 G.1.2.2).
    fn first_pass(&self, bits: &mut BitReader<'_>, empty_blocks: &mut u32, block: &mut [i16; 64]) -> Result<(), Fault> {
        if *empty_blocks > 0 {
            *empty_blocks -= 1;
            return Ok(());
        }
        let mut at = self.header.first;
        while at <= self.header.last {
            bits.refill();
            let symbol = bits.symbol(self.table)?;
            let (zeros, count) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            if count == 0 {
                if zeros < 15 {
                    *empty_blocks = run_of_empty_blocks(bits, zeros as u32) - 1;
                    break;
                }
                at += 16;
                continue;
            }
            at += zeros;
            if at > self.header.last {
                return Err(Fault::Damaged);
            }
            block[usize::from(ZIGZAG[at])] = (bits.signed(count) << self.header.shift) as i16;
            at += 1;
        }
        Ok(())
    }

    /// One more bit of each coefficient (T.81 G.1.2.3).
    fn later_pass(&self, bits: &mut BitReader<'_>, empty_blocks: &mut u32, block: &mut [i16; 64]) -> Result<(), Fault> {
        let unit = 1_i16 << self.header.shift;
        let mut at = self.header.first;
        while *empty_blocks == 0 && at <= self.header.last {
            bits.refill();
            let symbol = bits.symbol(self.table)?;
            let (zeros, count) = (usize::from(symbol >> 4), symbol & 15);
            let value = match count {
                0 if zeros < 15 => {
                    *empty_blocks = run_of_empty_blocks(bits, zeros as u32);
                    break;
                }
                0 => 0,
                _ => {
                    if bits.bit() {
                        unit
                    } else {
                        -unit
                    }
                }
            };
            at = refine(bits, block, at..=self.header.last, unit, zeros);
            if value != 0 && at <= self.header.last {
                block[usize::from(ZIGZAG[at])] = value;
            }
            at += 1;
        }
        if *empty_blocks > 0 {
            refine(bits, block, at..=self.header.last, unit, 64);
            *empty_blocks -= 1;
        }
        Ok(())
    }
}

/// How many blocks hold nothing new, this one included.
fn run_of_empty_blocks(bits: &mut BitReader<'_>, exponent: u32) -> u32 {
    bits.refill();
    (1 << exponent) + if exponent > 0 { bits.take(exponent) } else { 0 }
}

/// Adds a bit to each coefficient of the range that is not zero, up to and without the zero behind `zeros` of them; gives
/// its place.
fn refine(
    bits: &mut BitReader<'_>,
    block: &mut [i16; 64],
    range: RangeInclusive<usize>,
    unit: i16,
    zeros: usize,
) -> usize {
    let mut left = zeros;
    let end = *range.end() + 1;
    for at in range {
        let coefficient = &mut block[usize::from(ZIGZAG[at])];
        if *coefficient == 0 {
            if left == 0 {
                return at;
            }
            left -= 1;
        } else if bits.bit() && *coefficient & unit == 0 {
            *coefficient = coefficient.wrapping_add(if *coefficient > 0 { unit } else { -unit });
        }
    }
    end
}

/// The mean of a block, which is coded as the difference to that of the block before.
#[inline(always)]
fn next_mean(bits: &mut BitReader<'_>, part: &mut Part<'_>) -> Result<i32, Fault> {
    bits.refill();
    let count = u32::from(bits.symbol(part.means.ok_or(Fault::Damaged)?)?);
    if count > 15 {
        return Err(Fault::Damaged);
    }
    if count > 0 {
        part.mean = part.mean.wrapping_add(bits.signed(count));
    }
    Ok(part.mean)
}

/// A block of a sequential scan; says whether it has nothing but its mean.
#[inline]
fn sequential(bits: &mut BitReader<'_>, part: &mut Part<'_>, block: &mut [i16; 64]) -> Result<bool, Fault> {
    let (table, pairs) = part.others.zip(part.pairs).ok_or(Fault::Damaged)?;
    block.fill(0);
    block[0] = next_mean(bits, part)? as i16;
    let mut at = 1;
    while at < 64 {
        bits.refill();
        if let Some(pair) = bits.pair(pairs, at) {
            for (place, value) in pair.coefficients() {
                block[usize::from(ZIGZAG[(at + place) & 63] & 63)] = value;
            }
            at += pair.step();
            continue;
        }
        let symbol = bits.symbol(table)?;
        let (zeros, count) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if count == 0 && zeros < 15 {
            break;
        }
        at += zeros;
        if count > 0 {
            let place = *ZIGZAG.get(at).ok_or(Fault::Damaged)?;
            block[usize::from(place & 63)] = bits.signed(count) as i16;
        }
        at += 1;
    }
    // The end of the block, 64 places on, was all there was.
    Ok(at == 65)
}
