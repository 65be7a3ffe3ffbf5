"""Decoding and signal processing beside Pillow, ffmpeg and librosa, in one run (scripts/compare-media.sh starts it).

The same inputs for both sides, made here of the bundled sample feed. CPU time of one thread, so that a busy machine
blames nobody; the sides take turns in every round, and the median over the rounds counts. ffmpeg is a process: what it
takes for a fiftieth of a second of the same file is subtracted as its start.
"""

import argparse
import importlib.metadata
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Before numpy is imported: one thread on this side too.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import librosa  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image, features  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
FEED = ROOT / "services/feed-simulator/sample-feed/media"
RATE_HZ = 22_050
F_MIN_HZ = 32.703
TILE = (400, 320)
ROUNDS = 7


class Ours:
    """The example `media_speed`, which stays and answers line by line."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, runs, *fields):
        print(*fields, runs, sep="\t", file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            sys.exit(f"{' '.join(map(str, fields))}: {answer['error']}")
        return answer["ms"]


def in_process(runs, work):
    work()
    before = time.process_time()
    for _ in range(runs):
        work()
    return (time.process_time() - before) * 1e3 / runs


def child_cpu_ms(command):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(map(str, command))}: status {status}")
    process.returncode = 0
    return (usage.ru_utime + usage.ru_stime) * 1e3


def ffmpeg(*arguments):
    return ["ffmpeg", "-v", "error", "-nostdin", "-y", "-threads", "1", "-filter_threads", "1", *map(str, arguments)]


def decode_with_ffmpeg(path, output):
    def measure(_runs):
        whole = child_cpu_ms(ffmpeg("-i", path, "-threads", "1", *output))
        start = child_cpu_ms(ffmpeg("-i", path, "-t", "0.02", "-threads", "1", *output))
        return whole - start

    return measure


def mosaic():
    """Sixteen pictures of the feed, four by four: 1600 x 1280 pixels with more detail than a camera's."""
    paths = sorted(path for path in (FEED / "image").iterdir())[:16]
    whole = Image.new("RGB", (4 * TILE[0], 4 * TILE[1]))
    for at, path in enumerate(paths):
        with Image.open(path) as picture:
            whole.paste(picture.convert("RGB").resize(TILE), (at % 4 * TILE[0], at // 4 * TILE[1]))
    return whole


def camera():
    """One picture of the feed enlarged to the same size, with the noise of a sensor."""
    with Image.open(sorted((FEED / "image").iterdir())[0]) as picture:
        enlarged = picture.convert("RGB").resize((4 * TILE[0], 4 * TILE[1]), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(20261126).normal(0, 4, (4 * TILE[1], 4 * TILE[0], 3))
    return Image.fromarray(np.clip(np.asarray(enlarged) + noise, 0, 255).astype(np.uint8))


def make_pictures(folder):
    whole, photo = mosaic(), camera()
    small = whole.resize((640, 512), Image.Resampling.LANCZOS)
    files = {
        "JPEG 1600x1280, one photo with noise": (photo, "photo.jpg", dict(quality=85)),
        "JPEG 1600x1280, 4:2:0": (whole, "a.jpg", dict(quality=85)),
        "JPEG 1600x1280, 4:2:0, quality 75": (whole, "h.jpg", dict(quality=75)),
        "JPEG 1600x1280, 4:4:4": (whole, "b.jpg", dict(quality=85, subsampling=0)),
        "JPEG 1600x1280, progressive": (whole, "c.jpg", dict(quality=85, progressive=True)),
        "JPEG 640x512, 4:2:0": (small, "d.jpg", dict(quality=85)),
        "WebP 1600x1280, lossy": (whole, "e.webp", dict(quality=80)),
        "WebP 1600x1280, lossless": (whole, "f.webp", dict(lossless=True)),
        "PNG 1600x1280": (whole, "g.png", {}),
    }
    paths = {}
    for label, (picture, name, options) in files.items():
        paths[label] = folder / name
        picture.save(paths[label], **options)
        print(f"compare-media: {label}: {paths[label].stat().st_size} bytes", file=sys.stderr)
    return {f"{label}, {path.stat().st_size // 1000} kB": path for label, path in paths.items()}


def with_pillow(path, draft):
    """To the square that the encoder sees; `draft` is how much larger than needed a JPEG is decoded, at least."""
    encoded = path.read_bytes()

    def work():
        picture = Image.open(io.BytesIO(encoded))
        shorter = min(picture.size)
        size = tuple(length * 256 // shorter for length in picture.size)
        box = None
        if draft:
            _, box = picture.draft("RGB", tuple(draft * length for length in size)) or (None, None)
        picture = picture.convert("RGB").resize(size, Image.Resampling.BILINEAR, box=box)
        left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
        return picture.crop((left, top, left + 224, top + 224)).tobytes()

    return lambda runs: in_process(runs, work)


def make_sounds(folder):
    """A minute of the feed's clips, one after the other, in every format."""
    second = 44_100 * 2 * 2
    pcm = b""
    for path in sorted((FEED / "audio").iterdir()):
        if len(pcm) >= 60 * second:
            break
        command = ffmpeg("-i", path, "-ac", "2", "-ar", "44100", "-f", "s16le", "-")
        pcm += subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout
    raw = folder / "raw.s16"
    raw.write_bytes(pcm[: 60 * second])
    source = ("-f", "s16le", "-ar", "44100", "-ac", "2", "-i", raw)
    formats = {
        "MP3 128 kbit/s": ("a.mp3", "-c:a", "libmp3lame", "-b:a", "128k"),
        "AAC 128 kbit/s (M4A)": ("b.m4a", "-c:a", "aac", "-b:a", "128k"),
        "FLAC": ("c.flac", "-c:a", "flac"),
        "Ogg Vorbis q4": ("d.ogg", "-c:a", "libvorbis", "-q:a", "4"),
        "WAV 16 bit": ("e.wav", "-c:a", "pcm_s16le"),
    }
    paths = {}
    for label, (name, *codec) in formats.items():
        paths[label] = folder / name
        subprocess.run(ffmpeg(*source, *codec, paths[label]), check=True)
    floats = {}
    for rate_hz in (RATE_HZ, 44_100, 48_000):
        floats[rate_hz] = folder / f"{rate_hz}.f32"
        output = ("-t", "30", "-ac", "1", "-ar", rate_hz, "-f", "f32le", floats[rate_hz])
        subprocess.run(ffmpeg(*source, *output), check=True)
    return paths, floats


def picture_cases(ours, folder):
    for label, path in make_pictures(folder).items():
        jpeg = label.startswith("JPEG")
        others = {"image + imageops": lambda runs, path=path: ours(runs, "naive-image", path)}
        if jpeg:
            others["Pillow, draft 2x"] = with_pillow(path, 2)
            others["Pillow, draft 1x"] = with_pillow(path, 1)
        others["Pillow"] = with_pillow(path, 0)
        goals = {"image + imageops": 4, "Pillow, draft 2x": 1} if jpeg and "1600" in label else {}
        if label.startswith("WebP"):
            goals = {"Pillow": 1}
        yield "picture", label, 5, lambda runs, path=path: ours(runs, "image", path), others, goals


def sound_cases(ours, paths):
    mono = ("-ac", "1", "-ar", RATE_HZ, "-f", "f32le", "/dev/null")
    for label, path in paths.items():
        others = {
            "ffmpeg to mono 22.05 kHz": decode_with_ffmpeg(path, mono),
            "ffmpeg, decoding alone": decode_with_ffmpeg(path, ("-f", "null", "-")),
        }
        goals = {"ffmpeg to mono 22.05 kHz": 1}
        yield "60 s of sound", label, 1, lambda runs, path=path: ours(runs, "audio", path), others, goals


def signal_cases(ours, floats):
    for rate_hz in (44_100, 48_000):
        y = np.fromfile(floats[rate_hz], np.float32)

        def soxr(y=y, rate_hz=rate_hz):
            return librosa.resample(y, orig_sr=rate_hz, target_sr=RATE_HZ, res_type="soxr_hq")

        def mine(runs, rate_hz=rate_hz):
            return ours(runs, "resample", floats[rate_hz], rate_hz, RATE_HZ)

        others = {"librosa (soxr_hq)": lambda runs, work=soxr: in_process(runs, work)}
        yield "30 s of signal", f"resampling {rate_hz} to {RATE_HZ} Hz", 5, mine, others, {}
    y = np.fromfile(floats[RATE_HZ], np.float32)
    for bins, hop in ((96, 1024), (84, 512)):

        def cqt(bins=bins, hop=hop):
            settings = dict(sr=RATE_HZ, hop_length=hop, fmin=F_MIN_HZ, n_bins=bins, bins_per_octave=12, tuning=0.0)
            return np.abs(librosa.cqt(y, **settings))

        def mine(runs, bins=bins, hop=hop):
            return ours(runs, "cqt", floats[RATE_HZ], bins, hop)

        others = {"librosa": lambda runs, work=cqt: in_process(runs, work)}
        yield "30 s of signal", f"constant Q, {bins} bins, hop {hop}", 5, mine, others, {"librosa": 5}
    for bands, hop in ((96, 1024), (128, 512)):

        def mel(bands=bands, hop=hop):
            return librosa.feature.melspectrogram(y=y, sr=RATE_HZ, n_fft=2048, hop_length=hop, n_mels=bands)

        def mine(runs, bands=bands, hop=hop):
            return ours(runs, "mel", floats[RATE_HZ], bands, hop)

        others = {"librosa": lambda runs, work=mel: in_process(runs, work)}
        yield "30 s of signal", f"mel, {bands} bands, hop {hop}", 5, mine, others, {"librosa": 5}


def measure(cases, rounds):
    times = {}
    for turn in range(rounds):
        print(f"compare-media: round {turn + 1} of {rounds}", file=sys.stderr)
        for _, label, runs, mine, others, _ in cases:
            times.setdefault((label, "jtav"), []).append(mine(runs))
            for name, other in others.items():
                times.setdefault((label, name), []).append(other(runs))
    rows = []
    for group, label, _, _, others, goals in cases:
        mine = times[label, "jtav"]
        row = {"group": group, "case": label, "jtav_ms": statistics.median(mine), "others": []}
        for name in others:
            theirs = times[label, name]
            ratios = [b / a for a, b in zip(mine, theirs)]
            other = {"name": name, "ms": statistics.median(theirs), "ratio": statistics.median(ratios)}
            other |= {"least_ratio": min(ratios), "greatest_ratio": max(ratios), "goal": goals.get(name)}
            row["others"].append(other)
        rows.append(row)
    return rows


def processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions():
    first = subprocess.run(["ffmpeg", "-version"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    found = {name: importlib.metadata.version(name) for name in ("pillow", "librosa", "soxr", "numpy", "scipy")}
    return found | {
        "ffmpeg": first[2],
        "libjpeg-turbo": features.version_feature("libjpeg_turbo"),
        "libwebp": features.version_module("webp"),
        "python": platform.python_version(),
    }


def markdown(result):
    about = result["about"]
    lines = [
        "# Media: decoding and signal processing beside Pillow, ffmpeg and librosa",
        "",
        f"Written by `make compare-media`: {about['rounds']} rounds in which the sides take turns, medians; CPU time of one",
        f"thread, for one item. {about['processor']}, {about['cores']} cores, load {about['load']}.",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in about["versions"].items()) + ".",
        "",
        "A ratio above 1 says how many times longer the other side takes, with the range over the rounds.",
        "",
        "| of one | case | jtav ms | other | ms | ratio | goal |",
        "|---|---|---:|---|---:|---|---|",
    ]
    for row in result["rows"]:
        for other in row["others"]:
            goal = other["goal"]
            verdict = "" if goal is None else f"{goal}: {'met' if other['ratio'] >= goal else 'missed'}"
            spread = f"{other['least_ratio']:.2f} to {other['greatest_ratio']:.2f}"
            lines.append(
                f"| {row['group']} | {row['case']} | {row['jtav_ms']:.2f} | {other['name']} | {other['ms']:.2f} "
                f"| **{other['ratio']:.2f}** ({spread}) | {verdict} |"
            )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="the example media_speed")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--out", type=Path, help="files OUT.json and OUT.md instead of stdout")
    arguments = parser.parse_args()
    ours = Ours(arguments.program)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sounds, floats = make_sounds(folder)
        cases = [*picture_cases(ours, folder), *sound_cases(ours, sounds), *signal_cases(ours, floats)]
        cases = [case for case in cases if arguments.only in case[1]]
        load = os.getloadavg()[0]
        rows = measure(cases, arguments.rounds)
    about = {"rounds": arguments.rounds, "processor": processor(), "cores": os.cpu_count(), "versions": versions()}
    about["load"] = f"{load:.1f} before and {os.getloadavg()[0]:.1f} after"
    result = {"about": about, "rows": rows}
    if arguments.out:
        arguments.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        arguments.out.with_suffix(".md").write_text(markdown(result))
    else:
        print(markdown(result))


if __name__ == "__main__":
    main()
