"""Makes the torch wheel of PyPI run without CUDA. That wheel is the CUDA build and wants two gigabytes of libraries of a GPU before it
imports; here it computes on the CPU alone, as the libtorch that jtav links does (scripts/setup-libtorch.sh), and takes no more memory.

The libraries of the GPU go, and in their place come ones that hold nothing but the names that torch looks up while it is loaded.
`torch.cuda.is_available()` is then false. Needs `cc` and `nm`, which every Rust toolchain needs too.

    python cpu_torch.py
"""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

GONE = ("libtorch_cuda.so", "libtorch_cuda_linalg.so", "libtorch_nvshmem.so", "libcaffe2_nvrtc.so")
EMPTY = ("libcudnn.so.9", "libcufile.so.0")
LOADED = ("libtorch_python.so", "libtorch.so", "libshm.so")
DEFINED = ("libtorch_cpu.so", "libc10.so", "libc10_cuda.so", "libshm.so", "libtorch_python.so")
NOTE = '.section .note.GNU-stack,"",@progbits\n'
# The stand-in is smaller, the library larger, by three orders of magnitude each.
MOST_BYTES = 1 << 20


def symbols(path: Path, which: str) -> set[str]:
    """Names of the dynamic symbols that a library defines or lacks, without versions."""
    lines = subprocess.run(["nm", "-D", which, str(path)], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return {line.split()[-1].split("@")[0] for line in lines if line.strip()}


def stand_in(name: str, number: int) -> str:
    """What stands for a symbol: nothing for a table of functions, a type that is none of those that are looked for, a function that
    answers 0; and a place to write to for the one function that is called while torch is loaded and answers a reference."""
    if name.startswith("_ZTI"):
        own = f'{name}: .quad _ZTVN10__cxxabiv117__class_type_infoE+16\n.quad type{number}\n.zero 48\ntype{number}: .asciz "{name[4:]}"'
        return f".data\n.globl {name}\n.type {name},@object\n.size {name},64\n.balign 16\n{own}"
    if name.startswith("_ZTV"):
        return f".data\n.globl {name}\n.type {name},@object\n.size {name},4096\n.balign 16\n{name}: .zero 4096"
    answer = "lea room(%rip),%rax" if "get_gil_checker" in name else "xor %eax,%eax"
    return f".text\n.globl {name}\n.type {name},@function\n{name}: {answer}\nret"


def build(target: Path, text: str) -> None:
    options = ["-shared", "-nostdlib", "-x", "assembler", "-", f"-Wl,-soname,{target.name}", "-o", str(target)]
    subprocess.run(["cc", *options], check=True, input=text.encode())


def main() -> None:
    packages = Path(sysconfig.get_paths()["purelib"])
    folder = packages / "torch" / "lib"
    if (folder / "libtorch_cuda.so").stat().st_size < MOST_BYTES:
        return
    lacking: set[str] = set()
    for name in LOADED:
        lacking |= symbols(folder / name, "--undefined-only")
    for name in DEFINED:
        lacking -= symbols(folder / name, "--defined-only")
    wanted = sorted(lacking & symbols_of_cuda(folder))
    for name in GONE:
        (folder / name).unlink(missing_ok=True)
    text = ".bss\n.balign 64\nroom: .zero 4096\n" + "\n".join(stand_in(name, at) for at, name in enumerate(wanted)) + "\n"
    for name in EMPTY:
        build(folder / name, NOTE)
    build(folder / "libtorch_cuda.so", text + NOTE)


def symbols_of_cuda(folder: Path) -> set[str]:
    """What the libraries that go would have given; those of cuDNN and cuFile, which were never fetched, by their names."""
    given: set[str] = set().union(*(symbols(folder / name, "--defined-only") for name in GONE))
    lacked = symbols(folder / "libtorch_python.so", "--undefined-only")
    return given | {name for name in lacked if name.startswith(("cudnn", "cuFile"))}


if __name__ == "__main__":
    main()
