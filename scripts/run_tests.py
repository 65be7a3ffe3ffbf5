#!/usr/bin/env python3
"""Runs every test of the workspace, two programs at a time: what `make test` does without ARGS.

cargo runs test programs one after the other. Half of ours wait most of the time, for a broker to start, a deadline to pass, a
browser to draw; the other half computes and waits for nobody. So there are two lanes: programs with real parts and deadlines run
one after the other, as under cargo, and beside them, at the lowest priority so that they take only what the others leave, those
that only compute, the tests in the documentation, and what --beside names.

Prints what cargo would print; says in the end which programs took longest. Exit status 1 where one failed.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CARGO = os.environ.get("CARGO", "cargo")
# Packages whose tests compute: no broker, no store, no socket, no deadline. The rest keeps the machine to itself.
COMPUTING = {
    "jtav-engine", "jtav-explain", "jtav-media-codecs", "jtav-model", "jtav-neighbours", "jtav-picture", "jtav-research",
    "jtav-schemas", "jtav-settings", "jtav-signal", "jtav-simd", "jtav-text", "jtav-trainer", "jtav-training",
}
PROFILE = ["--release", "--workspace"]
LOWEST_PRIORITY = 19
NAMED = 12


def built() -> list[tuple[str, Path, Path]]:
    """Package, program and the package's folder of every test program, built first where that is needed."""
    # Of programs that are built for tests alone cargo leaves no list of sources, by which a test sees that one is current; without it
    # each would build again, and wait for whoever builds beside the tests.
    programs_built = subprocess.run([CARGO, "build", *PROFILE, "--bins"], cwd=ROOT, check=False)
    if programs_built.returncode:
        sys.exit(programs_built.returncode)
    command = [CARGO, "test", *PROFILE, "--no-run", "--message-format=json-render-diagnostics"]
    building = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if building.returncode:
        sys.exit(building.returncode)
    programs = []
    for line in building.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message.get("executable") and message["profile"]["test"]:
            folder = Path(message["manifest_path"]).parent
            programs.append((name_of(folder), Path(message["executable"]), folder))
    return programs


def name_of(folder: Path) -> str:
    return tomllib.loads((folder / "Cargo.toml").read_text())["package"]["name"]


def environment() -> dict[str, str]:
    """What cargo sets for programs it runs, as far as ours look at it."""
    settings = tomllib.loads((ROOT / ".cargo/config.toml").read_text()).get("env", {})
    values = {}
    for name, value in settings.items():
        is_relative = isinstance(value, dict) and value.get("relative")
        text = value["value"] if isinstance(value, dict) else value
        values[name] = str(ROOT / text) if is_relative else text
    return {**values, **os.environ}


class Run:
    """Runs jobs, prints each one's output when it ends, and keeps what failed."""

    def __init__(self) -> None:
        self.printing = threading.Lock()
        self.failed: list[str] = []
        self.seconds: list[tuple[float, str]] = []

    def job(self, name: str, command: list[str], folder: Path, env: dict[str, str], priority: int) -> None:
        began = time.monotonic()
        work = subprocess.run(
            ["nice", "-n", str(priority), *command], cwd=folder, env=env, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        took = time.monotonic() - began
        with self.printing:
            sys.stdout.write(f"     Running {name} ({took:.0f} s{', beside' if priority else ''})\n")
            sys.stdout.flush()
            sys.stdout.buffer.write(work.stdout)
            if work.returncode:
                self.failed.append(name)
                sys.stdout.write(f"error: {name} failed: exit status {work.returncode}\n")
            sys.stdout.flush()
            self.seconds.append((took, name))


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--beside", metavar="COMMAND", action="append", default=[], help="run this too, at the lowest priority")
    given = arguments.parse_args()
    programs, env, run = built(), environment(), Run()
    beside = [(package, program, folder) for package, program, folder in programs if package in COMPUTING]
    alone = [job for job in programs if job not in beside]

    def lane(jobs: list[tuple[str, Path, Path]], priority: int) -> None:
        for package, program, folder in jobs:
            own = {**env, "CARGO_MANIFEST_DIR": str(folder), "CARGO_PKG_NAME": package}
            run.job(f"{package} {program.name.rpartition('-')[0]}", [str(program)], folder, own, priority)

    def computing() -> None:
        lane(beside, LOWEST_PRIORITY)
        run.job("documentation", [CARGO, "test", *PROFILE, "--doc"], ROOT, dict(os.environ), LOWEST_PRIORITY)
        for command in given.beside:
            run.job(command, ["bash", "-c", command], ROOT, dict(os.environ), LOWEST_PRIORITY)

    other = threading.Thread(target=computing)
    other.start()
    lane(alone, 0)
    other.join()
    print("\nlongest: " + ", ".join(f"{name} {took:.0f} s" for took, name in sorted(run.seconds, reverse=True)[:NAMED]))
    for name in run.failed:
        print(f"FAILED: {name}", file=sys.stderr)
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
