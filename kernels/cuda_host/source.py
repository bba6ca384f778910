"""A CUDA source on its way to the compiler: what it includes, and the kernels it defines.

The preprocessor runs first, with ``runtime/cuda_language.h``. So kernels are found wherever they come from,
even a macro or a header, and what g++ has no word for can be rewritten. The compiler then gets a **unit**:
the preprocessed text with one line for each kernel, from which templates deduce the types of its parameters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from minialex.errors import KernelError
from minialex.kernels.cuda_host import declarations, tokens

KERNELS_SYMBOL, GLOBALS_SYMBOL = "minialex_kernels", "minialex_globals"

_INCLUDE = re.compile(
    r'^[ \t]*#[ \t]*include(?:_next)?\b[ \t]*(?P<name>"[^"\n]+"|<[^>\n]+>|[^\s"<].*)', re.MULTILINE
)
_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_BOUNDS = re.compile(r"__attribute__\(\(__minialex_launch_bounds__\(")
_ATTRIBUTE = re.compile(r"__attribute__\s*\(\(")


def included_files(text: str, folder: Path | None, folders: list[Path]) -> dict[Path, bytes]:
    """The files that a source includes, directly or not, with their contents.

    Those of the system, which are in none of the folders, are left out. Conditions are not evaluated: a file
    in a branch that is not taken is included.

    Raises
    ------
    KernelError
        If an ``#include`` names its file by a macro.
    """
    found: dict[Path, bytes] = {}
    waiting = [(text, folder)]
    while waiting:
        text, folder = waiting.pop()
        text = _COMMENT.sub(lambda match: match[0] if match[0][0] == '"' else " ", text)
        for match in _INCLUDE.finditer(text):
            name = match["name"]
            if name[0] not in '"<':
                raise KernelError(f"#include {name.strip()}: name the file itself, not a macro")
            places = ([folder] if name[0] == '"' and folder else []) + folders
            path = next((place / name[1:-1] for place in places if (place / name[1:-1]).is_file()), None)
            if path is not None and path not in found:
                found[path] = path.read_bytes()
                waiting.append((found[path].decode(errors="replace"), path.parent))
    return found


@dataclass(frozen=True)
class _Definition:
    """A kernel in the preprocessed text."""

    name: str
    namespaces: tuple[str, ...]
    parameters: tuple[str, ...]
    bounds: str
    line: int
    file: str

    @property
    def qualified(self) -> str:
        return "::".join([*(name for name in self.namespaces if name), self.name])


def unit(preprocessed: str, where: str, instances: tuple[str, ...]) -> str:
    """What is compiled: the rewritten text, and the tables of its kernels and variables.

    Parameters
    ----------
    preprocessed : str
    where : str
        The source's name, for messages.
    instances : tuple of str
        Instances of templates to compile, such as ``"scale<float>"``.

    Raises
    ------
    KernelError
        If there is no kernel, or a declaration is wrong.
    """
    rewritten = declarations.rewrite(preprocessed)
    text = rewritten.text
    definitions: dict[str, _Definition] = {}
    for marker in tokens.markers(text):
        if marker.text == tokens.KERNEL and marker.namespaces is not None and not marker.template:
            definition = _definition(text, marker)
            definitions.setdefault(definition.qualified, definition)
    if not definitions and not instances:
        raise KernelError(
            f"{where} defines no kernel: there must be a __global__ void function that is not a template"
        )
    lines = [text]
    entries = []
    for number, definition in enumerate(definitions.values()):
        opening = "".join(f"namespace {name} {{ " for name in definition.namespaces)
        lines.append(f'# {definition.line} "{definition.file}"')
        lines.append(
            f"{opening}static constexpr minialex::Kernel minialex_kernel_{number} = "
            f"minialex::Invocation<{definition.name}>::kernel("
            f'"{definition.qualified}", "{",".join(definition.parameters)}", '
            f"minialex::first({definition.bounds}));" + "}" * len(definition.namespaces)
        )
        prefix = "".join(f"{name}::" for name in definition.namespaces if name)
        entries.append(f"{prefix}minialex_kernel_{number}")
    for instance in instances:
        lines.append(f'# 1 "{_quoted(f"<instance {instance}>")}"')
        entries.append(f'minialex::Invocation<{instance}>::kernel("{_quoted(instance)}", "", 0)')
    lines.append('# 1 "<kernels>"')
    lines.append(
        'extern "C" __attribute__((visibility("default"), externally_visible, used)) '
        f"const minialex::Kernel {KERNELS_SYMBOL}[] = {{{', '.join(entries)}, {{}}}};"
    )
    variables = "".join(
        f'minialex::describe_global({variable.name}, "{variable.name}", {int(variable.constant)}), '
        for variable in rewritten.variables
    )
    lines.append(
        'extern "C" __attribute__((visibility("default"), externally_visible, used)) '
        f"const minialex::Global {GLOBALS_SYMBOL}[] = {{{variables}{{}}}};"
    )
    lines.append(rewritten.epilogue)
    return "\n".join(lines) + "\n"


def _definition(text: str, marker: tokens.Marker) -> _Definition:
    begin = max(text.rfind(mark, 0, marker.begin) for mark in ";{}\n") + 1
    position, head = marker.end, ""
    bounds = _BOUNDS.search(text, begin, marker.begin)
    while True:
        opening = text.index("(", position)
        attribute = _ATTRIBUTE.search(text, position, opening + 2)
        if attribute is None:
            break
        if _BOUNDS.match(text, attribute.start()):
            bounds = _BOUNDS.match(text, attribute.start())
        head += text[position : attribute.start()]
        position = tokens.closing(text, opening)
    head += text[position:opening]
    name = re.findall(r"\w+", head)[-1]
    end = tokens.closing(text, opening)
    file, line = tokens.place(text, marker.begin)
    bound = text[bounds.end() : tokens.closing(text, bounds.end() - 1) - 1] if bounds else "0"
    return _Definition(
        name,
        marker.namespaces or (),
        _parameter_names(text[opening + 1 : end - 1]),
        " ".join(bound.split()),
        line,
        file,
    )


def _parameter_names(declarations: str) -> tuple[str, ...]:
    """The names in a list of parameters; none at all if one of them is unnamed."""
    declarations = re.sub(r"^#.*$", "", declarations, flags=re.MULTILINE)
    parts, depth = [""], 0
    for character in declarations:
        depth += {"(": 1, "<": 1, ")": -1, ">": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    names = []
    for part in parts:
        words = re.findall(r"[A-Za-z_]\w*", re.sub(r"\[[^\]]*\]|=.*", "", part))
        # "const float" and "unsigned int" are types without a name.
        if len(words) < 2 or words[-1] in _TYPE_WORDS:
            return ()
        names.append(words[-1])
    return tuple(names)


_TYPE_WORDS = {
    "const",
    "int",
    "long",
    "short",
    "char",
    "float",
    "double",
    "unsigned",
    "signed",
    "bool",
    "__restrict__",
}


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')
