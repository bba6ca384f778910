"""The parts of CUDA C++ that the executor lacks: refused by name, before the compiler sees them.

The preprocessed text is read, so what an ``#if`` leaves out may hold anything. The system's headers, strings,
and names that the source declares itself are left alone.
"""

from __future__ import annotations

# The patterns of this file are met wherever they are looked for: the preprocessor has written the text.
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false
import re

from minialex.errors import KernelError
from minialex.kernels.cuda_host import tokens

_ELSEWHERE = "give the source a branch for MINIALEX_CUDA_HOST"

NAMES: tuple[tuple[str, str], ...] = (
    (r"__(?:all|any|ballot|shfl|shfl_up|shfl_down|shfl_xor)", "it is gone since sm_70: use {name}_sync"),
    (r"__barrier_sync(?:_count)?", "there are no named barriers: use __syncthreads()"),
    (r"__cluster\w+|__is(?:ClusterShared|CtaShared)", "there are no clusters of blocks"),
    (r"__cvta_\w+|__is(?:Global|Shared|Constant|Local|GridConstant)", "there are no address spaces"),
    (r"__pm[0-3]|__brkpt", "there are no debugger and profiler"),
    (r"__u128Atomic\w+", "there are no atomic operations on 128 bits"),
    (r"__nv_atomic_\w+", "there are no atomic operations with a memory order"),
    (r"__fmaf_ieee_\w+", "subnormal numbers are kept in a whole module or not at all (-ftz=false)"),
    (r"\w+4_(?:16|32)a", "there are no vectors of a chosen alignment"),
    (r"__pipeline_\w+|__mbarrier_\w+", "there are no asynchronous copies"),
    (r"__nvvm_\w+", "there are no instructions of NVVM"),
    (r"cooperative_groups", "there are no cooperative groups"),
    (r"nvcuda|wmma", "there are no matrix instructions (wmma)"),
    (r"half2?|__half2?|__half_raw|__\w*half\w*|__h(?:sub|mul|fma|div|neg|abs|max|min|eq|ne|gt|ge|lt|le)\w*",
     "there are no numbers of half precision"),
    (r"(?:__)?nv_bfloat16\w*|__\w*bfloat16\w*", "there are no bfloat16 numbers"),
    (r"__nv_fp(?:8|6|4)\w*", "there are no numbers of 8 bits or fewer"),
    (r"tex(?:1D|2D|3D|Cubemap)\w*|surf(?:1D|2D|3D|Cubemap)\w*|cuda(?:Texture|Surface)\w+|texture|surface",
     "there are no textures and surfaces"),
    (r"cuda[A-Z]\w+", "there is no host code, and no CUDA runtime"),
    (r"curand\w+", "there is no cuRAND"),
    (r"calloc|realloc|aligned_alloc", "and neither does CUDA: use malloc()"),
)  # fmt: skip
"""Names as regular expressions, each with what to say about it."""

LIBRARIES = {"cuda": "libcu++", "cub": "CUB", "thrust": "Thrust", "cutlass": "CUTLASS", "cute": "CuTe"}
"""Namespaces: ``cuda::`` is libcu++'s."""

NEWER: tuple[tuple[str, int], ...] = (
    (r"__reduce_\w+_sync", 80),
    (r"__threadfence_cluster", 90),
    (r"__f(?:add|mul|fma)2_r[nzud]", 100),
)
"""Functions that exist from an architecture on."""

_COMMON = {"half", "half2", "wmma", "texture", "surface"}  # words that a source may use for its own things
_NAME = re.compile("|".join(f"(?P<n{i}>{pattern})" for i, (pattern, _) in enumerate(NAMES)))
_TOKEN = re.compile(
    r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    r"|(?P<asm>\b(?:asm|__asm__|__asm)\b[\s\w]*\((?!\s*\"\"\s*[:)]))"
    r"|(?P<launch><<<)"
    r"|(?P<word>\b[A-Za-z_]\w*)"
)
_MISSING = re.compile(
    r"^(?P<place>[^\n]*?:\d+):\d+: fatal error: (?P<header>[^\n]+): No such file or directory", re.M
)
_TOOLKIT = re.compile(
    r"cuda\w*\.h|(?:cuda|cub|thrust|nv|cute|cutlass|cooperative_groups)/.*|cooperative_groups\.h|mma\.h|cu[A-Zbfrs]\w+\.h"
    r"|(?:device|vector|texture|surface|math|sm_\d+)_\w+\.h|curand\w*\.h|nv\w+\.h"
)
_NOT_A_TYPE = (
    "return|else|case|new|delete|throw|goto|sizeof|typename|const|volatile|static|inline|extern|and|or|not"
)


def refuse(text: str, architecture: int) -> None:
    """Refuse a preprocessed source that uses what is not there.

    Parameters
    ----------
    text : str
    architecture : int
        Such as 75.

    Raises
    ------
    KernelError
        One line: the file, the line, the name, and what to do.
    """
    for begin, end in tokens.own_regions(text):
        for token in _TOKEN.finditer(text, begin, end):
            problem = _problem(token, text, architecture)
            if problem is not None:
                file, line = tokens.place(text, token.start())
                raise KernelError(f"{file}:{line}: {problem}")


def missing_header(message: str) -> str | None:
    """What to say if a header of the CUDA Toolkit is missing; None if the message is about something else."""
    match = _MISSING.search(message)
    if match is None or not _TOOLKIT.fullmatch(match["header"]):
        return None
    return (
        f"{match['place']}: #include <{match['header']}>: cuda-host has no headers of the CUDA Toolkit. "
        f"What it supports of CUDA is there without them; for the rest, {_ELSEWHERE}"
    )


def _problem(token: re.Match, text: str, architecture: int) -> str | None:
    if token["asm"]:
        return f"asm: cuda-host has no inline PTX: {_ELSEWHERE}"
    if token["launch"]:
        return "<<<: cuda-host has no host code and no launches from kernels: keep kernels in their own file"
    word = token["word"]
    if word is None or re.search(r"(?:\.|->)\s*$", text[max(0, token.start() - 3) : token.start()]):
        return None
    if word in LIBRARIES:
        if not re.match(r"\s*::", text[token.end() : token.end() + 3]) or _declares(text, word):
            return None
        return f"{word}::: cuda-host has no {LIBRARIES[word]}: {_ELSEWHERE}"
    for pattern, since in NEWER:
        if architecture < since and re.fullmatch(pattern, word) and not _declares(text, word):
            return f"{word}: sm_{architecture} does not have it: load with -arch=sm_{since}"
    match = _NAME.fullmatch(word)
    if match is None or _declares(text, word):
        return None
    if word in _COMMON and not re.match(r"\s*[*&<>:(]|\s+[A-Za-z_]", text[token.end() : token.end() + 20]):
        return None
    reason = NAMES[int(match.lastgroup[1:])][1].format(name=word)
    return f"{word}: cuda-host does not have it, {reason}" + ("" if "use" in reason else f"; {_ELSEWHERE}")


def _declares(text: str, name: str) -> bool:
    """Whether the source declares something of its own with that name."""
    return (
        re.search(
            rf"\b(?:struct|class|union|enum|namespace|typename|using)\s+{name}\b"
            rf"|\btypedef\b[^;]*\b{name}\s*;"
            rf"|\b(?!(?:{_NOT_A_TYPE})\b)\w+(?:\s*[*&>]+\s*|\s+){name}\s*[=;,()\[{{:]",
            text,
        )
        is not None
    )
