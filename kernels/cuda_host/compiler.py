"""g++ and the shared libraries it makes of CUDA sources, which are kept in a cache.

A library is kept under a name that is the hash of all it depends on: the source with the files it includes,
the runtime, the options, the compiler and its version, and the processor. Its last bytes are the hash of the
others, without which it is not loaded but built again: loading a damaged library could end the process.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from minialex.errors import DeviceError, KernelError
from minialex.kernels.cuda_host import host_code, instrumentation, source, unsupported
from minialex.kernels.runtime import code_cache

RUNTIME = Path(__file__).parent / "runtime"
TOOLKIT = RUNTIME / "toolkit"
"""Headers of the CUDA Toolkit that sources include for what is there without them."""

ARCHITECTURES = (50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 88, 89, 90, 100, 101, 103, 110, 120, 121)
"""Those that NVRTC has known since CUDA 12."""

DEFAULT_ARCHITECTURE = "sm_75"
"""What NVRTC 13 compiles for if it is not told."""

LANGUAGE = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-w", "-fmax-errors=5", "-fcheck-new")
"""The flags of g++ for every source."""

# A fault happens where it stands in the source, and a full stack does not run over into the next one.
# Kernels have no exceptions, as in CUDA: nobody would catch one.
# A static variable of a function is initialised under no lock, which a fault in its constructor would keep.
_FAULTS = (
    "-fno-isolate-erroneous-paths-dereference",
    "-fstack-clash-protection",
    "-fno-exceptions",
    "-fno-threadsafe-statics",
)
# As CUDA compiles: multiply-adds are fused, and there are no errno and no floating-point traps.
# -g1 has the lines, for messages, and changes no instruction.
_FAST = (
    "-O3",
    "-g1",
    "-gdwarf-4",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-plt",
    "-fwhole-program",
)
_SANITIZERS = {
    "address": ("-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address"),
    "undefined": ("-O1", "-g", "-fsanitize=undefined", "-fno-sanitize-recover=undefined"),
}
_EXECUTOR = ("executor.h", "executor.cpp", "faults.h", "faults.cpp", "heap.cpp")
_HEADERS_OF_KERNELS = tuple(
    RUNTIME / name
    for name in ("assert.h", "cuda_language.h", "cuda_math.h", "cuda_simd.h", "executor.h", "kernel.h")
)
_REWRITING = tuple(
    RUNTIME.parent / name
    for name in ("declarations.py", "elf.py", "host_code.py", "source.py", "tokens.py", "unsupported.py")
)
"""What decides how a source is rewritten, and whether it is taken."""

_BEGIN = "#pragma minialex source"
_SEAL = b"minialex library 1\n"
_KEPT_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True)
class Build:
    """What is compiled, and how.

    Attributes
    ----------
    text : str
        The source.
    path : Path or None
        Its file; None if the text was given as such.
    options : tuple of str
        Those of `load`.
    instances : tuple of str
        Instances of templates to compile.
    checked : bool
        Whether it is instrumented for the checker.
    sanitize : str or None
        ``"address"``, ``"undefined"`` or None.
    """

    text: str
    path: Path | None
    options: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    checked: bool = False
    sanitize: str | None = None

    @property
    def where(self) -> str:
        """The name of the source, as it stands in messages."""
        return str(self.path) if self.path else "<source_text>"


@dataclass(frozen=True)
class Options:
    """The options of `load`, as g++ takes them; and whether subnormal numbers are flushed to zero."""

    flags: tuple[str, ...]
    folders: tuple[Path, ...]
    flush_to_zero: bool
    architecture: int


def runtime_library() -> Path:
    """The library with the executor, which the libraries of kernels need to be loaded."""
    files = {RUNTIME / name: (RUNTIME / name).read_bytes() for name in _EXECUTOR}
    flags = (*LANGUAGE, "-O2", "-shared", "-pthread")
    key = _key("executor", flags, files)

    def build(target: Path) -> None:
        # The libraries that need it know it by this name, wherever the cache is.
        _compile(
            [*flags, f"-Wl,-soname,{_file_name('executor', key)}", *_cpp_files(_EXECUTOR)],
            target,
            "the executor",
        )

    return _cached("executor", key, build)


def _checked_runtime() -> Path:
    """The executor and the checker as one object file, which is linked into each checked library."""
    names = (*_EXECUTOR, "checker.h", "checker.cpp")
    files = {RUNTIME / name: (RUNTIME / name).read_bytes() for name in names}
    flags = (*LANGUAGE, "-O2", "-DMINIALEX_CHECKED", "-r")
    key = _key("checker", flags, files)

    def build(target: Path) -> None:
        _compile([*flags, *_cpp_files(names)], target, "the checker")

    return _cached("checker", key, build)


def kernel_library(build: Build) -> Path:
    """The library with a source's kernels: from the cache, or compiled now.

    Raises
    ------
    DeviceError
        If there is no compiler.
    KernelError
        If the source does not compile, with the compiler's message; or defines no kernel.
    """
    options = read_options(build.options)
    folder = build.path.parent if build.path else None
    included = source.included_files(build.text, folder, [*options.folders, TOOLKIT])
    made_by = {path: path.read_bytes() for path in (*_HEADERS_OF_KERNELS, *_REWRITING)}
    if build.checked:
        flags = (
            *LANGUAGE,
            *_FAULTS,
            *instrumentation.COMPILER_FLAGS,
            "-DMINIALEX_INSTRUMENTED",
            *options.flags,
        )
        executor = _checked_runtime()
    else:
        mode = (*_SANITIZERS[build.sanitize], "-DMINIALEX_INSTRUMENTED") if build.sanitize else _FAST
        flags = (*LANGUAGE, *_FAULTS, *mode, *options.flags)
        executor = runtime_library()
    name = build.path.stem if build.path else "source"
    key = _key(
        name, (build.where, build.text, *flags, *build.instances, executor.name), {**included, **made_by}
    )

    def compile_(target: Path) -> None:
        search = [f"-I{path}" for path in (RUNTIME, *options.folders, TOOLKIT)]
        if folder:
            search.append(f"-iquote{folder}")
        text = f'#include "cuda_language.h"\n{_BEGIN}\n#line 1 "{build.where}"\n{build.text}\n'
        preprocessed = _run([*flags, *search, "-E", "-x", "c++", "-"], build.where, text)
        preamble, begin, own = preprocessed.partition(_BEGIN)
        unsupported.refuse(own, options.architecture)
        unit = source.unit(own, build.where, build.instances)
        file = target.with_suffix(".ii")
        file.write_text(preamble + begin + unit)
        compiled = target.with_suffix(".o")
        _compile([*flags, "-fpreprocessed", "-c", str(file)], compiled, build.where)

        def diagnose() -> None:
            # In C++20, where inline functions are constexpr if they can be, an empty constructor is no error.
            text = host_code.with_constant_initialisation(own)
            file.write_text(preamble + begin + source.unit(text, build.where, build.instances))
            lenient = ("-std=c++20", "-fimplicit-constexpr", "-fmax-errors=0", "-fsyntax-only")
            _run([*flags, *lenient, "-fpreprocessed", str(file)], build.where)

        instrumented = build.checked or build.sanitize is not None
        _refuse_initialisation(host_code.read(compiled, instrumented), build.where, diagnose)
        linked = ["-shared", "-Wl,-z,defs", str(compiled), str(executor)]
        if build.checked:
            # The executor first, so that none of its variables lie behind the kernels' shared ones.
            linked = ["-shared", "-Wl,-z,defs", str(executor), str(compiled), *instrumentation.LINKER_FLAGS]
        _compile([*flags, *linked], target, build.where)

    return _cached(re.sub(r"\W", "_", name), key, compile_)


@functools.cache
def find_compiler() -> tuple[tuple[str, ...], str]:
    """The command that compiles, and its version.

    Raises
    ------
    DeviceError
        If there is no compiler, or the system is not one that the executor runs on.
    """
    if sys.platform != "linux":
        raise DeviceError(f"cuda-host runs on Linux, not on {sys.platform}")
    command = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    found = shutil.which(command[0])
    if found is None:
        raise DeviceError(
            f"cuda-host compiles kernels with g++, and there is no {command[0]!r} on this machine: install "
            "GCC (Debian, Ubuntu: apt install g++; conda: conda install gxx), or name a compiler in CXX"
        )
    answer = subprocess.run([found, *command[1:], "--version"], capture_output=True, text=True, check=False)
    return (found, *command[1:]), answer.stdout


def read_options(options: tuple[str, ...]) -> Options:
    """The options of `load` as g++ takes them.

    Raises
    ------
    KernelError
        If one is unknown.
    """
    flags, folders, flush, architecture = [], [], True, DEFAULT_ARCHITECTURE
    for option in options:
        if option in ("-ftz=true", "--ftz=true", "-ftz=false", "--ftz=false"):
            flush = option.endswith("true")
        elif option in ("-fmad=true", "--fmad=true", "-fmad=false", "--fmad=false"):
            flags.append(f"-ffp-contract={'fast' if option.endswith('true') else 'off'}")
        elif re.match("(--gpu-architecture|-arch)=", option):
            architecture = option.partition("=")[2]
        elif option.startswith("-I") and len(option) > 2:
            folders.append(Path(option[2:]).absolute())
        elif option.startswith(("-D", "-U", "-O", "-std=", "-g")):
            flags.append(option)
        else:
            raise KernelError(
                f"option {option!r}: cuda-host knows -Dname[=value], -Uname, -Ifolder, -std=, -O, -g, "
                "-arch=sm_75, -ftz=true or false, -fmad=true or false"
            )
    if not any(flag.startswith("-ffp-contract") for flag in flags):
        flags.append("-ffp-contract=fast")
    number, definitions = _architecture(architecture)
    flags += [*definitions, f"-DMINIALEX_FTZ={int(flush)}"]
    return Options(tuple(flags), tuple(folders), flush, number)


def _architecture(name: str) -> tuple[int, list[str]]:
    """A GPU's number, such as 75, and the definitions from which cuda_language.h makes those of CUDA."""
    match = re.fullmatch(r"(?:sm|compute)_(\d+)([af]?)", name)
    if match is None or int(match[1]) not in ARCHITECTURES or (match[2] and int(match[1]) < 90):
        known = ", ".join(f"sm_{number}" for number in ARCHITECTURES)
        raise KernelError(f"-arch must be one of {known}, or compute_ with one of these numbers, not {name}")
    number = f"{match[1]}0"
    flags = [f"-DMINIALEX_ARCH={number}"]
    if match[2] == "a":
        flags += [f"-D__CUDA_ARCH_FEAT_SM{match[1]}_ALL=1", f"-D__CUDA_ARCH_SPECIFIC__={number}"]
    if match[2]:
        flags.append(f"-D__CUDA_ARCH_FAMILY_SPECIFIC__={number}")
    return int(match[1]), flags


@functools.cache
def _processor() -> str:
    """What ``-march=native`` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    wanted = ("model name", "flags", "CPU implementer", "CPU part", "Features")
    found = {line.partition(":")[0].strip(): line for line in reversed(lines)}
    return "\n".join([platform.machine(), *(found.get(name, "") for name in wanted)])


def _key(name: str, texts: tuple[str, ...], files: dict[Path, bytes]) -> str:
    command, version = find_compiler()
    parts = [name, *command, version, _processor(), *texts]
    for path, content in files.items():
        parts += [str(path), hashlib.sha256(content).hexdigest()]
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:32]


def _file_name(name: str, key: str) -> str:
    return f"{name}-{key}.so"


def _cached(name: str, key: str, build) -> Path:
    """The file of a library, built if there is none or if it is damaged."""
    folder = code_cache.root() / "cuda-host"
    path = folder / _file_name(name, key)
    if _is_whole(path):
        return path
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        code_cache.make_private(folder)
    except OSError as error:
        raise KernelError(
            f"the folder for compiled kernels cannot be used: {folder}: {error.strerror or error}; set "
            "MINIALEX_CACHE_DIR to a folder that only you can write to"
        ) from None
    _remove_old(folder)
    # In a folder of its own: the linker removes and makes its output as it likes.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as scratch:
        target = Path(scratch) / path.name
        build(target)
        content = target.read_bytes()
        with open(target, "ab") as file:
            file.write(_SEAL + hashlib.sha256(content).digest())
        target.chmod(0o600)
        os.replace(target, path)
    return path


def _is_whole(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            if not code_cache.is_private(os.fstat(file.fileno())):
                return False
            content = file.read()
    except OSError:
        return False
    size = len(_SEAL) + 32
    return content[-size:] == _SEAL + hashlib.sha256(content[:-size]).digest()


def _remove_old(folder: Path) -> None:
    """Remove libraries that nobody has used for a month, and what interrupted builds left behind."""
    for path in folder.iterdir():
        try:
            if path.stat().st_atime >= time.time() - _KEPT_SECONDS:
                continue
        except FileNotFoundError:  # another process was faster
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _refuse_initialisation(compiled: host_code.ObjectFile, where: str, diagnose) -> None:
    """Refuse variables that would be initialised at run time; `diagnose` has the compiler name them."""
    if not compiled.runs and not compiled.guards:
        return
    try:
        diagnose()
    except KernelError as error:
        if host_code.RULE in str(error):
            raise
    if compiled.runs:
        raise KernelError(
            f"{where}: code would run when it is loaded, a constructor or destructor of a variable outside "
            f"of functions. {host_code.RULE}"
        )


def _cpp_files(names: tuple[str, ...]) -> list[str]:
    return [str(RUNTIME / name) for name in names if name.endswith(".cpp")]


def _compile(arguments: list[str], target: Path, where: str) -> None:
    _run([*arguments, "-o", str(target)], where)


def _run(arguments: list[str], where: str, text: str = "") -> str:
    """Run the compiler; what it writes."""
    command, _ = find_compiler()
    answer = subprocess.run(
        [*command, *arguments],
        input=text,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    if answer.returncode != 0:
        if text and (problem := unsupported.missing_header(answer.stderr)):
            raise KernelError(problem)
        if problem := host_code.dynamic_initialisation(answer.stderr):
            raise KernelError(problem)
        raise KernelError(f"{where} does not compile:\n{answer.stderr.strip()}")
    return answer.stdout
