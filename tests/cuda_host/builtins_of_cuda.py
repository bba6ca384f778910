"""CUDA's own list of built-in functions, and who compiles a call of each: NVRTC, the executor.

``builtins.txt`` has the prototypes, one a line, by the architecture from which they exist. It is made from
the headers of a CUDA Toolkit, whose preprocessed text has every declaration that a kernel sees:

    python tests/cuda_host/builtins_of_cuda.py path/to/nvcc > tests/cuda_host/builtins.txt
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("builtins.txt")

HEADERS = (
    "crt/common_functions.h",
    "crt/device_functions.h",
    "crt/math_functions.h",
    "crt/device_double_functions.h",
    "crt/sm_70_rt.h",
    "crt/sm_80_rt.h",
    "crt/sm_90_rt.h",
    "crt/sm_100_rt.h",
    "device_atomic_functions.h",
    "sm_20_atomic_functions.h",
    "sm_20_intrinsics.h",
    "sm_30_intrinsics.h",
    "sm_32_atomic_functions.h",
    "sm_32_intrinsics.h",
    "sm_35_atomic_functions.h",
    "sm_35_intrinsics.h",
    "sm_60_atomic_functions.h",
    "sm_61_intrinsics.h",
    "texture_indirect_functions.h",
    "surface_indirect_functions.h",
    "vector_functions.h",
)
ARCHITECTURES = (75, 80, 90, 100)

# Not what the compiler and the C library have for themselves.
_FOR_KERNELS = re.compile(
    r"(?!_)\w+|__(?!nv_|device|cuda|internal|signbit|isnan|isinf|isfinite|finite|assert)\w+"
)


@dataclass(frozen=True)
class Prototype:
    """A function as a header declares it.

    Attributes
    ----------
    result, name : str
    parameters : tuple of str
        Their types.
    architecture : int
        The lowest of `ARCHITECTURES` that has it.
    """

    result: str
    name: str
    parameters: tuple[str, ...]
    architecture: int

    def __str__(self) -> str:
        return f"{self.architecture} {self.result} {self.name}({', '.join(self.parameters)})"


def read() -> list[Prototype]:
    """Those of ``builtins.txt``."""
    prototypes = []
    for line in FILE.read_text().splitlines():
        match = re.fullmatch(r"(\d+) (.+?) ?(\w+)\((.*)\)", line)
        if match is not None:
            parameters = tuple(filter(None, match[4].split(", ")))
            prototypes.append(Prototype(match[2], match[3], parameters, int(match[1])))
    return prototypes


def source(prototypes: Iterable[Prototype]) -> str:
    """A source that calls each, the one of number i in line i + 3, and demands its result's exact type."""
    lines = [
        "template <class A, class B> struct Same { static constexpr bool value = false; };",
        "template <class A> struct Same<A, A> { static constexpr bool value = true; };",
    ]
    for number, prototype in enumerate(prototypes):
        names = [f"x{i}" for i in range(len(prototype.parameters))]
        call = f"{prototype.name}({', '.join(names)})"
        parameters = ", ".join(f"{t} {x}" for t, x in zip(prototype.parameters, names, strict=True))
        body = f'{call}; static_assert(Same<decltype({call}), {prototype.result}>::value, "its type");'
        lines.append(f"__device__ void call_{number}({parameters}) {{ {body} }}")
    return "\n".join(lines) + "\n"


# ---- Made from the headers ------------------------------------------------------------------------------


def preprocessed(nvcc: str, architecture: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.cu"
        empty.write_text("")
        command = [nvcc, "-E", f"-arch=sm_{architecture}", str(empty)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def declarations(text: str) -> set[tuple[str, str, tuple[str, ...]]]:
    """The functions that the listed headers declare: result, name, parameters."""
    kept, keep = [], False
    for line in text.splitlines():
        marker = re.match(r'# \d+ "(.*?)"', line)
        if marker:
            keep = any(re.sub(r"/\./", "/", marker[1]).endswith(f"/include/{header}") for header in HEADERS)
        elif keep:
            kept.append(line)
    text = _without_bodies("\n".join(kept))
    text = re.sub(
        r"__attribute__\s*\(\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)\)|__asm__\s*\([^)]*\)", " ", text
    )
    text = re.sub(r"\b(?:extern|static|inline|__inline__|__forceinline__|constexpr)\b", " ", text)
    text = re.sub(r"\bnoexcept\b(?:\s*\(\s*\w*\s*\))?|\bthrow\s*\(\s*\)|\"C(?:\+\+)?\"", " ", text)
    found = set()
    for statement in re.split(r"[;{}]", text):
        match = re.fullmatch(r"\s*([\w\s*&]+?[\s*&])(\w+)\s*\(([^()]*)\)\s*", statement)
        if match is None:
            continue
        result, name = " ".join(match[1].split()), match[2]
        parameters = tuple(map(_type, filter(str.strip, match[3].split(","))))
        if parameters == ("void",):
            parameters = ()
        if {"return", "typedef", "using", "else", "template", "struct", "operator"} & set(result.split()):
            continue
        if "..." in parameters:
            continue
        if not _FOR_KERNELS.fullmatch(name) or any("long double" in each for each in (result, *parameters)):
            continue
        found.add((_type(result + " x"), name, parameters))
    return found


def _type(parameter: str) -> str:
    """The type of a parameter, in one way of writing it."""
    parameter = re.sub(r"\*\s*const\b", "*", parameter.partition("=")[0])
    parameter = re.sub(r"\b(?:volatile|__restrict__|__restrict)\b", " ", parameter)
    words = re.findall(r"[\w:]+|[*&]", parameter)
    basic = {"unsigned", "signed", "char", "short", "int", "long", "float", "double", "const", "void", "bool"}
    if len(words) > 1 and re.match(r"\w", words[-1]) and words[-1] not in basic:
        words.pop()
    pointers = "".join(word for word in words if word in "*&")
    words = [word for word in words if word not in "*&"]
    constant = ["const"] if "const" in words and pointers else []
    words = [word for word in words if word != "const"]
    if words == ["unsigned"]:
        words = ["unsigned", "int"]
    if words[-1:] == ["int"] and {"short", "long"} & set(words):
        words.pop()
    return " ".join([*constant, *words]) + pointers


def _without_bodies(text: str) -> str:
    """Without the bodies of functions; those of extern "C" stay."""
    result, depth, skipped = [], 0, []
    for piece in re.split(r"([{}])", text):
        if piece == "{":
            is_linkage = bool(re.search(r'extern\s*"C(?:\+\+)?"\s*$', "".join(result[-1:])))
            skipped.append(not is_linkage)
            depth += not is_linkage
            result.append(";")
        elif piece == "}":
            if skipped:
                depth -= skipped.pop()
        elif depth == 0:
            result.append(piece)
    return "".join(result)


def main(nvcc: str) -> None:
    known: dict[tuple[str, str, tuple[str, ...]], int] = {}
    for architecture in ARCHITECTURES:
        for each in declarations(preprocessed(nvcc, architecture)):
            known.setdefault(each, architecture)
    release = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"release ([0-9.]+)", release)[1]
    print(f"# Of CUDA {version}, by builtins_of_cuda.py: architecture, result, name, parameters.")
    for line in sorted(
        (
            str(Prototype(result, name, parameters, architecture))
            for (result, name, parameters), architecture in known.items()
        ),
        key=lambda line: (re.search(r"(\w+)\(", line)[1].lstrip("_").lower(), line),
    ):
        print(line)


if __name__ == "__main__":
    main(sys.argv[1])
