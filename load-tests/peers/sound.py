"""What the audio network looks at: constant-Q levels in dB and the statistics of a clip, as crates/signal makes them.

librosa's own `cqt` and `mfcc` give the same numbers and take ten times as long, so only its filter bank is used: the lower bins are
made in the spectrum of a block and brought to the rate of the frames by folding, the upper ones are products of frames with short
kernels, and everything after that is numpy over all frames at once.
"""

from __future__ import annotations

import functools

import librosa
import numpy as np
import scipy.fft
import scipy.sparse

RATE_HZ = 22_050
HOP = 1_024
BINS, PER_OCTAVE, OCTAVES = 96, 12, 8
F_MIN_HZ = 32.703
SEGMENT_FRAMES, MIN_REMAINDER_FRAMES, FRAMES_PER_STEP, STEPS = 215, 54, 8, 27
FLOOR_DB = -80.0
BLOCK_HOPS, MARGIN_HOPS = 128, 6
SIDE_LOBES = 17.0
FOLDED = 48
N_FFT, STATISTICS_HOP, MELS, COEFFICIENTS = 2_048, 512, 128, 20
TAU = 2 * np.pi


def centres_hz() -> np.ndarray:
    return F_MIN_HZ * 2.0 ** (np.arange(BINS) / PER_OCTAVE)


def lengths() -> np.ndarray:
    """Of the kernels, in samples; librosa's quality factor since 0.10."""
    two_steps = 2.0 ** (2.0 / PER_OCTAVE)
    return (two_steps + 1.0) / (two_steps - 1.0) * RATE_HZ / centres_hz()


class ConstantQ:
    """`[1 + samples / 1024, 96]` magnitudes on librosa's scale."""

    def __init__(self) -> None:
        self._kernels = [self._spectrum(at) for at in range(FOLDED)]
        reach = max(first + len(weights) for first, weights in self._kernels)
        self._turn = np.exp(1j * np.pi * np.arange(reach) / (BLOCK_HOPS * HOP)).astype(np.complex64)
        self._octaves = [self._octave(first) for first in range(FOLDED, BINS, PER_OCTAVE)]

    @staticmethod
    def _spectrum(at: int) -> tuple[int, np.ndarray]:
        """A kernel in the spectrum of a block: of a Hann window, in closed form."""
        length, block = lengths()[at], BLOCK_HOPS * HOP
        taps = 2.0 * np.floor(length / 2.0) + 1.0
        centre, step = TAU * centres_hz()[at] / RATE_HZ, TAU / block
        first = max(0, int(np.ceil((centre - TAU * SIDE_LOBES / taps) / step)))
        last = min(block // 2, int(np.floor((centre + TAU * SIDE_LOBES / taps) / step)))
        half, line = (np.arange(first, last + 1) * step - centre) / 2.0, np.pi / taps
        pole = np.sin(line) ** 2 - np.sin(half) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            value = 0.5 * np.sin(taps * half) / np.tan(half) * np.sin(line) ** 2 / pole
        value[np.abs(pole) < 1e-7 * np.sin(line) ** 2] = taps / 4.0
        value[np.abs(half) < 1e-7 * line] = taps / 2.0
        return first, (np.sqrt(length) / (taps / 2.0) * value).astype(np.float32)

    @staticmethod
    def _octave(first: int) -> tuple[int, np.ndarray]:
        """Kernels of an octave as a matrix `[samples, 24]`, and how many samples lie before the frame's middle."""
        own = lengths()[first : first + PER_OCTAVE]
        before = int(np.floor(own[0] / 2.0)) - 1
        matrix = np.zeros((2 * before + 2, 2 * PER_OCTAVE), np.float32)
        for at, length in enumerate(own):
            half = int(np.floor(length / 2.0))
            # The window's middle lies half a sample behind the frame's, as in the closed form.
            place = np.arange(1 - half, half + 1)
            taps = 2.0 * half + 1.0
            scale = np.sqrt(length) / (taps / 2.0) * (0.5 + 0.5 * np.cos(TAU * (place - 0.5) / taps))
            phase = TAU * centres_hz()[first + at] / RATE_HZ * place
            rows = slice(before + 1 - half, before + 1 + half)
            matrix[rows, at], matrix[rows, PER_OCTAVE + at] = scale * np.cos(phase), scale * np.sin(phase)
        return before, matrix

    def powers(self, samples: np.ndarray) -> np.ndarray:
        """`[frames, 96]`: squares of the magnitudes."""
        frames = 1 + len(samples) // HOP
        powers = np.empty((frames, BINS), np.float32)
        per_block = BLOCK_HOPS - 2 * MARGIN_HOPS
        blocks = -(-frames // per_block)
        lead = MARGIN_HOPS * HOP
        padded = np.zeros(lead + (blocks * per_block + MARGIN_HOPS) * HOP + BLOCK_HOPS * HOP, np.float32)
        padded[lead : lead + len(samples)] = samples
        starts = np.lib.stride_tricks.sliding_window_view(padded, BLOCK_HOPS * HOP)[:: per_block * HOP][:blocks]
        spectra = scipy.fft.rfft(starts, axis=1)[:, : len(self._turn)] * self._turn
        folded = np.zeros((blocks, FOLDED, BLOCK_HOPS), np.complex64)
        for at, (first, weights) in enumerate(self._kernels):
            offset = first % BLOCK_HOPS
            rows = -(-(offset + len(weights)) // BLOCK_HOPS)
            if rows == 1:
                folded[:, at, offset : offset + len(weights)] = spectra[:, first : first + len(weights)] * weights
                continue
            wide = np.zeros((blocks, rows * BLOCK_HOPS), np.complex64)
            wide[:, offset : offset + len(weights)] = spectra[:, first : first + len(weights)] * weights
            folded[:, at] = wide.reshape(blocks, rows, BLOCK_HOPS).sum(1)
        # The inverse transform divides by the frames of a block, a block's own by its samples.
        found = scipy.fft.ifft(folded, axis=2)[:, :, MARGIN_HOPS:-MARGIN_HOPS] * np.float32(1.0 / HOP)
        square = (found.real**2 + found.imag**2).transpose(0, 2, 1).reshape(-1, FOLDED)
        powers[:, :FOLDED] = square[:frames]
        for nth, (before, matrix) in enumerate(self._octaves):
            views = np.lib.stride_tricks.as_strided(
                padded[lead - before :], (frames, len(matrix)), (HOP * padded.itemsize, padded.itemsize)
            )
            products = views @ matrix
            square = products[:, :PER_OCTAVE] ** 2 + products[:, PER_OCTAVE:] ** 2
            start = FOLDED + nth * PER_OCTAVE
            powers[:, start : start + PER_OCTAVE] = square
        return powers

    def levels(self, samples: np.ndarray) -> np.ndarray:
        """`[frames, 96]` dB below the loudest value of the clip, no lower than -80."""
        levels = 10.0 * np.log10(np.maximum(self.powers(samples), 1e-10))
        loudest = levels.max()
        if loudest <= -99.999:
            return np.full_like(levels, FLOOR_DB)
        return np.clip(levels - loudest, FLOOR_DB, 0.0)


def segments(levels: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """`[segments, 1, 215, 96]` and their frames of sound; a remainder under 2.5 s is left out."""
    frames = [min(SEGMENT_FRAMES, len(levels) - start) for start in range(0, len(levels), SEGMENT_FRAMES)]
    frames = [count for at, count in enumerate(frames) if at == 0 or count >= MIN_REMAINDER_FRAMES]
    cut = np.full((len(frames), 1, SEGMENT_FRAMES, BINS), FLOOR_DB, np.float32)
    for at, count in enumerate(frames):
        cut[at, 0, :count] = levels[at * SEGMENT_FRAMES : at * SEGMENT_FRAMES + count]
    return cut, frames


def steps_of(frames: int) -> int:
    return min(STEPS, max(1, -(-frames // FRAMES_PER_STEP)))


MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
CHORDS = ((0, 4, 7), (0, 3, 7), (0, 3, 6), (0, 4, 8), (0, 4, 7, 11), (0, 3, 7, 10), (0, 4, 7, 10), (0, 5, 7))
WINDOWS = (43, 15)
QUANTILES = np.array([0.05, 0.25, 0.5, 0.75, 0.95])


def _rotations(template: np.ndarray) -> np.ndarray:
    """`[12, 12]`: for each root the template turned onto it, divided by the number of classes."""
    standard = (template - template.mean()) / template.std()
    return np.stack([np.roll(standard, root) for root in range(PER_OCTAVE)]) / PER_OCTAVE


class Statistics:
    """173 numbers of a clip, in the order of crates/signal/src/places.rs."""

    def __init__(self) -> None:
        # Triangles: as a dense product it would be most of the work.
        self._mel = scipy.sparse.csr_array(librosa.filters.mel(sr=RATE_HZ, n_fft=N_FFT, n_mels=MELS).astype(np.float32))
        self._window = (0.5 - 0.5 * np.cos(TAU * np.arange(N_FFT) / N_FFT)).astype(np.float32)
        bands = np.arange(MELS)
        cosines = np.cos(np.pi * np.arange(COEFFICIENTS)[:, None] * (2 * bands + 1) / (2 * MELS))
        cosines *= np.where(np.arange(COEFFICIENTS) == 0, np.sqrt(1 / MELS), np.sqrt(2 / MELS))[:, None]
        self._cosines = cosines.astype(np.float32)
        self._major, self._minor = _rotations(MAJOR), _rotations(MINOR)
        self._chords = [_rotations(np.isin(np.arange(PER_OCTAVE), notes).astype(float)) for notes in CHORDS]

    def of(self, samples: np.ndarray, levels: np.ndarray) -> np.ndarray:
        return np.concatenate([self._timbre(samples), self._harmony(levels)]).astype(np.float32)

    def _timbre(self, samples: np.ndarray) -> np.ndarray:
        padded = np.pad(samples, N_FFT // 2 + STATISTICS_HOP)[STATISTICS_HOP:]
        frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::STATISTICS_HOP][: 1 + len(samples) // STATISTICS_HOP]
        windowed = frames * self._window
        spectrum = scipy.fft.rfft(windowed, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        decibels = 10.0 * np.log10(np.maximum((self._mel @ power.T).T, 1e-10))
        decibels = np.maximum(decibels, decibels.max() + FLOOR_DB)
        tracks = (decibels @ self._cosines.T).astype(np.float64)
        slopes = np.zeros(COEFFICIENTS)
        if len(tracks) >= 9:
            whole = sum(d * (tracks[4 + d : len(tracks) - 4 + d] - tracks[4 - d : len(tracks) - 4 - d]) for d in range(1, 5)) / 60.0
            slopes = np.concatenate([np.repeat(whole[:1], 4, 0), whole, np.repeat(whole[-1:], 4, 0)]).std(0)
        loud = 20.0 * np.log10(np.sqrt(np.einsum("ij,ij->i", windowed, windowed).astype(np.float64) / N_FFT) + 1e-5)
        quantiles = np.quantile(loud, QUANTILES)
        change = np.diff(loud).std() if len(loud) > 1 else 0.0
        rest = [loud.std(), change, (loud > loud.max() - 30.0).mean()]
        return np.concatenate([tracks.mean(0), tracks.std(0), slopes, quantiles, quantiles - loud.max(), rest])

    def _harmony(self, levels: np.ndarray) -> np.ndarray:
        levels = np.clip(levels.astype(np.float64), FLOOR_DB, 0.0)
        amplitudes = np.exp(levels * (np.log(10) / 20.0))
        by_octave = amplitudes.reshape(-1, OCTAVES, PER_OCTAVE)
        chroma = by_octave.sum(1)
        chroma /= chroma.sum(1, keepdims=True) + 1e-6
        roots = np.sqrt(by_octave).sum((0, 1))
        octaves = levels.reshape(-1, OCTAVES, PER_OCTAVE).mean(2)
        return np.concatenate([
            chroma.mean(0), chroma.std(0), self._key(roots, chroma), octaves.mean(0), octaves.std(0), _register(amplitudes),
            *(self._windows(chroma, width) for width in WINDOWS),
        ])  # fmt: skip

    def _key(self, roots: np.ndarray, chroma: np.ndarray) -> np.ndarray:
        standard = _standard((roots + 1e-9)[None])[0]
        of_major, of_minor = self._major @ standard, self._minor @ standard
        major, minor = of_major.max(), of_minor.max()
        tonic = int((of_major if major > minor else of_minor).argmax())
        shares = np.roll(roots, -tonic) / (roots.sum() + 1e-9)
        intervals = [(chroma * np.roll(chroma, semitones, 1)).sum(1).mean() for semitones in range(1, 7)]
        return np.array([major, minor, major - minor, *shares, *intervals])

    def _windows(self, chroma: np.ndarray, width: int) -> np.ndarray:
        hop, frames = width // 2, len(chroma)
        starts = range(0, max(1, frames - hop), max(1, hop))
        windows = np.stack([chroma[start : start + width].mean(0) for start in starts])
        standard = _standard(windows)
        fits = np.stack([(standard @ chord.T).max(1) for chord in self._chords], 1)
        major, minor = fits[:, 0], fits[:, 1]
        dissonance = np.maximum(fits[:, 2], fits[:, 3]) - np.maximum(major, minor)
        lead = (standard @ self._major.T).max(1) - (standard @ self._minor.T).max(1)
        change = np.abs(np.diff(windows, axis=0)).sum(1).mean() if len(windows) > 1 else 0.0
        return np.array([
            *fits.mean(0), (major > minor).mean(), (major - minor).mean(), dissonance.mean(), lead.mean(), lead.std(),
            (lead > 0).mean(), change,
        ])  # fmt: skip


def _standard(rows: np.ndarray) -> np.ndarray:
    return (rows - rows.mean(1, keepdims=True)) / (rows.std(1, keepdims=True) + 1e-9)


def _register(amplitudes: np.ndarray) -> np.ndarray:
    bins = np.arange(BINS)
    energies = (amplitudes**2).sum(0)
    share = energies / max(energies.sum(), np.finfo(float).tiny)
    centre = (share * bins).sum()
    spread = np.sqrt((share * (bins - centre) ** 2).sum())
    pitch = (amplitudes @ bins) / (amplitudes.sum(1) + 1e-6)
    heard = amplitudes > 0.2 * amplitudes.max(1, keepdims=True)
    top, bottom = BINS - 1 - heard[:, ::-1].argmax(1), heard.argmax(1)
    step = np.abs(np.diff(top)).mean() if len(top) > 1 else 0.0
    return np.array([centre, spread, pitch.mean(), pitch.std(), top.mean(), top.std(), step, bottom.mean(), bottom.std()])


class Verdict:
    """The regressions over the statistics: music and speech, the gate between them, moods."""

    def __init__(self, own: dict[str, np.ndarray]) -> None:
        part = {name.removeprefix("audio.statistics."): value.astype(np.float32) for name, value in own.items() if "statistics" in name}
        self._part = part

    def _standardised(self, name: str, values: np.ndarray) -> np.ndarray:
        deviation = np.maximum(self._part[f"{name}.deviation"], np.finfo(np.float32).tiny)
        return np.clip((values - self._part[f"{name}.mean"]) / deviation, -3.0, 3.0)

    def _logit(self, name: str, values: np.ndarray) -> float:
        return float(self._part[f"{name}.weight"] @ self._standardised(name, values) + self._part[f"{name}.bias"][0])

    def of(self, statistics: np.ndarray) -> np.ndarray:
        """The logit and four moods, which stand in front of DCRNN's values."""
        share = 1.0 / (1.0 + np.exp(-self._logit("gate", statistics[:60])))
        speech, music = self._logit("speech", statistics[:143]), self._logit("music", statistics)
        moods = self._part["moods.weight"] @ self._standardised("music", statistics) + self._part["moods.bias"]
        return np.array([share * music + (1.0 - share) * speech, *moods], np.float32)


@functools.cache
def constant_q() -> ConstantQ:
    return ConstantQ()


@functools.cache
def statistics() -> Statistics:
    return Statistics()
