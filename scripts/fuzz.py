#!/usr/bin/env python3
"""Runs the fuzz targets of fuzz/ one after the other (or JOBS at a time) and says what they did; see fuzz/README.md.

    make fuzz MINUTES=10 TARGETS="image audio" JOBS=2 ARGS="--out docs/results"

Needs what every build needs (Rust, a C++ compiler) and nothing else: libFuzzer is compiled from the package libfuzzer-sys, and
the instruments are options of the stable compiler. `cargo fuzz run TARGET`, on a nightly, runs the same targets under
AddressSanitizer.

Exit code 0: nothing was found. 1: something was; the input is kept under fuzz/artifacts. 2: it could not be built or run.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUZZ = ROOT / "fuzz"
# What `cargo fuzz` passes for a run without sanitizer.
INSTRUMENTS = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
]
RSS_LIMIT_MB = 512
# By the clock, for what hangs. The targets themselves allow an input five seconds of CPU time.
HANG_SECONDS = 60
MAX_FINDINGS = 10
DICTIONARIES = {"post_json": "json", "schema_round_trip": "json"}
ENDS = {70: "hang", 71: "out of memory", 77: "crash"}


def say(text):
    print(text, file=sys.stderr, flush=True)


def stop(text):
    say(f"fuzz: {text}")
    sys.exit(2)


def targets():
    return [match for match in re.findall(r'\[\[bin\]\]\nname = "(\w+)"', (FUZZ / "Cargo.toml").read_text())]


def build(names):
    for program, reason in [("cargo", "see https://rustup.rs"), ("c++", "apt-get install g++; it compiles libFuzzer")]:
        if not shutil.which(program):
            stop(f"{program} is missing: {reason}")
    version = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    host = re.search(r"^host: (.*)$", version, re.M).group(1)
    say(f"fuzz: building {len(names)} targets with their instruments; the first time this takes several minutes")
    # With --target the flags are not given to build scripts and macros, which run on their own.
    command = ["cargo", "build", "--release", "--locked", "--target", host]
    for name in names:
        command += ["--bin", name]
    environment = os.environ | {"CARGO_ENCODED_RUSTFLAGS": "\x1f".join(INSTRUMENTS)}
    if subprocess.run(command, cwd=FUZZ, env=environment).returncode != 0:
        stop("the targets do not build; what the compiler says stands above")
    folder = Path(os.environ.get("CARGO_TARGET_DIR", FUZZ / "target"))
    return folder / host / "release", re.search(r"^release: (.*)$", version, re.M).group(1)


class Run:
    """One target for a given time, started again after every finding."""

    def __init__(self, name, binary, seconds):
        self.name, self.binary, self.seconds = name, binary, seconds
        self.executions = self.new_inputs = self.peak_rss_mb = self.cpu_seconds = 0
        self.coverage = 0
        self.status = "starting"
        self.findings, self.contained = [], []
        self.corpus = FUZZ / "work" / name
        self.artifacts = FUZZ / "artifacts" / name
        for folder in (self.corpus, self.artifacts):
            folder.mkdir(parents=True, exist_ok=True)

    def __call__(self):
        end = time.monotonic() + self.seconds
        before = len(list(self.corpus.iterdir()))
        while (left := round(end - time.monotonic())) > 0 and len(self.findings) < MAX_FINDINGS:
            if not self.once(left):
                break
        self.new_inputs = len(list(self.corpus.iterdir())) - before
        self.contained = sorted(path.name for path in (self.artifacts / "contained").glob("*") if path.suffix != ".txt")
        self.status = "done"
        return self

    def once(self, seconds):
        """True: ended before its time, with a finding."""
        seeds = [folder for folder in (FUZZ / "corpus" / self.name, FUZZ / "regressions" / self.name) if folder.is_dir()]
        words = FUZZ / "dictionaries" / f"{DICTIONARIES.get(self.name, self.name)}.dict"
        command = [
            str(self.binary),
            *([f"-dict={words}"] if words.exists() else []),
            f"-max_total_time={seconds}",
            f"-rss_limit_mb={RSS_LIMIT_MB}",
            f"-timeout={HANG_SECONDS}",
            f"-artifact_prefix={self.artifacts}/",
            "-print_final_stats=1",
            str(self.corpus),
            *map(str, seeds),
        ]
        environment = os.environ | {"JTAV_FUZZ_CONTAINED": str(self.artifacts / "contained")}
        log = (self.artifacts / "log.txt").open("w")
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, errors="replace", env=environment)
        base, kept, head = self.executions, None, []
        for line in process.stderr:
            log.write(line)
            if match := re.match(r"#(\d+)\s+\S+\s+cov: (\d+)(.*)", line):
                self.executions = base + int(match[1])
                self.coverage = int(match[2])
                self.status = f"#{match[1]} cov {match[2]}{match[3]}"
            elif match := re.match(r"stat::number_of_executed_units:\s+(\d+)", line):
                self.executions = base + int(match[1])
            elif match := re.match(r"stat::peak_rss_mb:\s+(\d+)", line):
                self.peak_rss_mb = max(self.peak_rss_mb, int(match[1]))
            elif match := re.search(r"Test unit written to (.*)", line):
                kept = match[1].strip()
            elif re.search(r"NOT CONTAINED|panicked at|ERROR: libFuzzer|SUMMARY", line):
                head.append(line.strip())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        log.close()
        self.cpu_seconds += usage.ru_utime + usage.ru_stime
        if process.returncode == 0:
            return False
        what = ENDS.get(process.returncode, f"exit {process.returncode}")
        self.findings.append({"what": what, "input": kept or "no input was kept", "log": head[:4]})
        say(f"fuzz: {self.name}: {what}: {kept or '; '.join(head) or self.artifacts / 'log.txt'}")
        return kept is not None


def watch(runs, stopped):
    while not stopped.wait(15):
        for run in runs:
            if run.status not in ("starting", "done", "waiting"):
                say(f"fuzz: {run.name:20} {run.status}")


def table(runs):
    rows = ["| target | executions | per second of CPU | CPU seconds | edges | new inputs | peak memory (MB) | contained panics, by place | findings |", "|---|---|---|---|---|---|---|---|---|"]
    for run in runs:
        rate = run.executions / max(run.cpu_seconds, 1e-9)
        rows.append(f"| {run.name} | {run.executions:,} | {rate:,.0f} | {run.cpu_seconds:,.0f} | {run.coverage:,} | {run.new_inputs:,} | {run.peak_rss_mb} | {len(run.contained)} | {len(run.findings)} |")
    return "\n".join(rows)


def report(runs, minutes, jobs, rustc):
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text()) if Path("/proc/cpuinfo").exists() else None
    lines = [
        "# Fuzzing",
        "",
        f"`make fuzz MINUTES={minutes:g} TARGETS=\"{' '.join(run.name for run in runs)}\" JOBS={jobs}` on {os.cpu_count()} cores ({cpu[1] if cpu else platform.machine()}), rustc {rustc}. "
        f"At most {RSS_LIMIT_MB} MB and five seconds of CPU time for an input; debug assertions and overflow checks are on, the checksums of some libraries off.",
        "",
        table(runs),
        "",
        "A contained panic is one that the decoder's guard turns into `decode_error`; a finding is anything else that ends the process: a panic that nobody catches, an abort, more memory or time than allowed.",
    ]
    for run in runs:
        for place in run.contained:
            lines.append(f"- {run.name}, contained: `{place}`")
        for finding in run.findings:
            lines.append(f"- {run.name}, {finding['what']}: `{Path(finding['input']).name}` {' '.join(finding['log'][:2])}")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="which (all)")
    parser.add_argument("--minutes", type=float, default=10, help="each (10)")
    parser.add_argument("--jobs", type=int, default=1, help="at a time (1)")
    parser.add_argument("--out", type=Path, help="folder for fuzz.md")
    parser.add_argument("--build-only", action="store_true", help="build the targets and stop")
    arguments = parser.parse_args()
    known = targets()
    chosen = arguments.targets or known
    for name in chosen:
        if name not in known:
            stop(f"there is no target `{name}`; there are: {' '.join(known)}")
    binaries, rustc = build(chosen)
    if arguments.build_only:
        return 0
    runs = [Run(name, binaries / name, round(arguments.minutes * 60)) for name in chosen]
    stopped = threading.Event()
    threading.Thread(target=watch, args=(runs, stopped), daemon=True).start()
    with ThreadPoolExecutor(max(1, arguments.jobs)) as pool:
        runs = list(pool.map(lambda run: run(), runs))
    stopped.set()
    print(table(runs))
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        path = arguments.out / "fuzz.md"
        path.write_text(report(runs, arguments.minutes, arguments.jobs, rustc))
        say(f"fuzz: written to {path}")
    found = [(run, finding) for run in runs for finding in run.findings]
    for run, finding in found:
        print(f"\n{run.name}: {finding['what']}\n  input: {finding['input']}\n  again: {binaries / run.name} {finding['input']}")
        print("\n".join(f"  {line}" for line in finding["log"]))
    for run in runs:
        for place in run.contained:
            print(f"\n{run.name}: contained panic, input and place in {run.artifacts / 'contained' / place}[.txt]")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
