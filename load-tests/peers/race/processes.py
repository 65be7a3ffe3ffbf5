"""What the kernel says of a side: all processes of its session."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Stat:
    """The fields of /proc/PID/stat that count here."""

    pid: int
    parent: int
    session: int
    cpu_s: float
    resident_bytes: int

    @classmethod
    def parse(cls, text: str) -> Stat:
        """The command may hold blanks and brackets, so what counts begins behind the last bracket."""
        head, _, tail = text.rpartition(")")
        fields = tail.split()
        # Own time, and that of children that ended and were waited for.
        ticks = sum(int(fields[at]) for at in (11, 12, 13, 14))
        pid = int(head.split(" ", 1)[0])
        return cls(pid, int(fields[1]), int(fields[3]), ticks / TICKS_PER_SECOND, int(fields[21]) * PAGE_BYTES)


def stats() -> list[Stat]:
    """Of all processes that are there."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found.append(Stat.parse((folder / "stat").read_text()))
            except (OSError, IndexError):
                continue
    return found


def of_tree(everything: list[Stat], root: int) -> list[Stat]:
    """The processes of the session that `root` leads, and whatever they started."""
    tree = {stat.pid for stat in everything if stat.pid == root or stat.session == root}
    while True:
        more = {stat.pid for stat in everything if stat.parent in tree} - tree
        if not more:
            return [stat for stat in everything if stat.pid in tree]
        tree |= more


class Side:
    """A running side."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self._log = log.open("wb")
        self.log = log
        self.started_s = time.monotonic()
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL, start_new_session=True, env=environment
        )
        self.pid = self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def tree(self) -> list[Stat]:
        return of_tree(stats(), self.pid)

    def cpu_s(self) -> float:
        """User and system time of all its processes since their start."""
        return sum(stat.cpu_s for stat in self.tree())

    def memory_mib(self) -> tuple[float, float]:
        """Resident sets added up, and proportional ones, in which a page that several share counts once."""
        resident, proportional = 0.0, 0.0
        for stat in self.tree():
            resident += stat.resident_bytes / 2**20
            try:
                rollup = Path(f"/proc/{stat.pid}/smaps_rollup").read_text()
            except OSError:
                continue
            proportional += next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0) / 1024
        return resident, proportional

    def kill(self) -> None:
        """SIGKILL to every process at once."""
        for stat in self.tree():
            try:
                os.kill(stat.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait()
        self._log.close()

    def stop(self, patience_s: float = 30.0) -> None:
        """SIGTERM, and SIGKILL to what is left after `patience_s`."""
        if self.is_alive():
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                pass
        self.kill()


def load_average() -> float:
    return os.getloadavg()[0]


def wait_for_quiet(most: float, patience_s: float) -> float:
    """Waits until the load average of a minute is below `most`; gives what it was when the wait ended."""
    deadline = time.monotonic() + patience_s
    while load_average() >= most and time.monotonic() < deadline:
        time.sleep(2)
    return load_average()


def processor() -> str:
    """As /proc/cpuinfo names it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    known = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{name}, {os.cpu_count()} cores, {'+'.join(known) or 'no vector extension that is asked about'}"
