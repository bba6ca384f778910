"""A CUDA source as machine code of one architecture (a "cubin"), and what the assembler says about it.

Two compilers can do it, neither of which needs a GPU or a driver:

- NVRTC, the one that CuPy runs on a GPU machine, from the wheel ``nvidia-cuda-nvrtc``, with CuPy's own flags;
- nvcc, from the CUDA toolkit.

The registers and the spills come from ptxas, the assembler inside both, which prints them with ``-v``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minialex.errors import DeviceError, KernelError
from minialex.kernels.cuda.source import Source, compiler_options

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
"""Turing, Ampere (A100; GeForce), Ada, Hopper, Blackwell (B200; GeForce)."""

COMPILERS = ("nvrtc", "nvcc")

# What CuPy adds to the options of each RawModule (cupy/cuda/compiler.py).
_OF_CUPY = ("-ftz=true", "--device-as-default-execution-space")


@dataclass(frozen=True)
class Resources:
    """What a kernel takes of a multiprocessor, according to ptxas.

    Attributes
    ----------
    registers : int
        32-bit registers a thread.
    stack, spill_stores, spill_loads : int
        Bytes of local memory a thread, which lie in global memory: arrays that are indexed at run time or
        called functions (stack), and values that found no register (spills).
    shared : int
        Bytes of static shared memory a block.
    """

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int

    @property
    def spills(self) -> int:
        """The bytes stored and loaded, for lack of registers."""
        return self.spill_stores + self.spill_loads


@dataclass(frozen=True)
class Cubin:
    """A compiled source.

    Attributes
    ----------
    code : bytes
        The ELF file that a driver loads.
    resources : dict from kernel name to Resources
    compiler : str
        Which one made it, and its version: ``"nvrtc 13.5"``.
    """

    code: bytes
    resources: dict[str, Resources]
    compiler: str


def check_architecture(name: str) -> str:
    """Return the name of one of `ARCHITECTURES`; `KernelError` for any other."""
    if name not in ARCHITECTURES:
        raise KernelError(f"architecture {name!r} is unknown; there are: {', '.join(ARCHITECTURES)}")
    return name


def choose_compiler(wanted: str | None = None) -> str:
    """The compiler that was asked for, or the first of `COMPILERS` that is installed.

    Raises
    ------
    DeviceError
        If it, or each of them, is missing: what to install.
    """
    if wanted is not None and wanted not in COMPILERS:
        raise DeviceError(f"compiler {wanted!r} is unknown; there are: {', '.join(COMPILERS)}")
    missing = {name: _why_missing(name) for name in ([wanted] if wanted else COMPILERS)}
    for name, reason in missing.items():
        if reason is None:
            return name
    raise DeviceError(f"CUDA sources cannot be compiled: {'; '.join(filter(None, missing.values()))}")


def compiler_version(compiler: str) -> str:
    """The compiler and its version, such as ``"nvrtc 13.5"``."""
    if compiler == "nvrtc":
        return "nvrtc {}.{}".format(*_nvrtc().getVersion())
    release = re.search(r"release (\d+\.\d+)", _run([_nvcc(), "--version"]).stdout)
    return f"nvcc {release[1] if release else '(version unknown)'}"


def compile_source(
    source: Source, architecture: str, real: str = "float32", compiler: str | None = None
) -> Cubin:
    """Compile a source for one architecture.

    Parameters
    ----------
    source : Source
    architecture : str
        One of `ARCHITECTURES`.
    real : "float32" or "float64"
        What ``real`` of ``real.cuh`` stands for.
    compiler : "nvrtc" or "nvcc", optional
        See `choose_compiler`.

    Raises
    ------
    KernelError
        If it does not compile: the first error, with the file and the line.
    DeviceError
        If the compiler is missing.
    """
    check_architecture(architecture)
    compiler = choose_compiler(compiler)
    options = (f"-arch={architecture}", *compiler_options(np.dtype(real)), _OF_CUPY[0])
    if compiler == "nvrtc":
        code, log = _with_nvrtc(source, (*options, _OF_CUPY[1], "--ptxas-options=-v"))
    else:
        code, log = _with_nvcc(source, (*options, "-Xptxas=-v"))
    return Cubin(code, read_resources(log), compiler_version(compiler))


_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_MEMORY = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


def read_resources(log: str) -> dict[str, Resources]:
    """What ``ptxas -v`` printed, by kernel."""
    found = {}
    # The first part is what was printed before the first kernel.
    for name, part in zip(*[iter(_ENTRY.split(log)[1:])] * 2, strict=True):
        memory, used, shared = (pattern.search(part) for pattern in (_MEMORY, _USED, _SHARED))
        if memory is None or used is None:
            raise KernelError(f"ptxas printed nothing about {name}'s registers; its output has another form")
        stack, stores, loads = map(int, memory.groups())
        found[name] = Resources(int(used[1]), stack, stores, loads, int(shared[1]) if shared else 0)
    return found


def _why_missing(compiler: str) -> str | None:
    """What to install for a compiler; None if it is there."""
    if compiler == "nvcc":
        return None if _nvcc() else "nvcc is not in PATH; install the CUDA toolkit"
    try:
        _nvrtc().getVersion()
    except ImportError:
        return "CuPy is not installed (pip install 'minialex[cuda]')"
    except Exception as error:
        # CuPy loads the library at the first call; what it raises if there is none depends on its version.
        return f"CuPy cannot load NVRTC ({type(error).__name__}): pip install nvidia-cuda-nvrtc"
    return None


def _nvrtc():
    from cupy.cuda import nvrtc

    return nvrtc


def _nvcc() -> str | None:
    return shutil.which("nvcc")


def _with_nvrtc(source: Source, options: tuple[str, ...]) -> tuple[bytes, str]:
    nvrtc = _nvrtc()
    program = nvrtc.createProgram(source.text, source.path.name, [], [])
    try:
        try:
            nvrtc.compileProgram(program, options)
        except nvrtc.NVRTCError:
            raise KernelError(_first_error(source, options[0], nvrtc.getProgramLog(program))) from None
        # CuPy takes the last byte for a terminating zero, and drops it.
        return nvrtc.getCUBIN(program) + b"\0", nvrtc.getProgramLog(program)
    finally:
        nvrtc.destroyProgram(program)


def _with_nvcc(source: Source, options: tuple[str, ...]) -> tuple[bytes, str]:
    with tempfile.TemporaryDirectory() as folder:
        text, code = Path(folder, source.path.name), Path(folder, "code.cubin")
        text.write_text(source.text, encoding="utf-8")
        done = _run([_nvcc(), "-cubin", *options, "-o", code, text])
        if done.returncode:
            raise KernelError(_first_error(source, options[0], done.stderr + done.stdout))
        return code.read_bytes(), done.stderr + done.stdout


def _run(command: list) -> subprocess.CompletedProcess:
    # nvcc's messages in English, whatever the user's language.
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=dict(os.environ, LC_ALL="C")
    )


def _first_error(source: Source, option: str, log: str) -> str:
    """The compiler's first line that says error, which holds the file and the line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    said = next((line for line in lines if "error" in line), lines[0] if lines else "it says nothing")
    return f"{source.path.name} does not compile for {option.removeprefix('-arch=')}: {said}"
