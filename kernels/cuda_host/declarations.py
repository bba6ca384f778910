"""Variables in shared, global and constant memory: CUDA's declarations as g++ takes them.

``__shared__``, ``__device__`` and ``__constant__`` may stand anywhere among the words of a declaration, which
may be in a function, a template or a namespace. What becomes of them:

- ``__shared__ float t[32]``: a static variable of the OS thread that runs the block.
- ``extern __shared__ float s[]``: a pointer to the launch's dynamic shared memory. Outside functions it is
  a variable, which `Rewritten.epilogue` has set before a block starts.
- ``__device__`` and ``__constant__`` variables outside functions: plain ones, whose names are noted for
  `Module.get_global`. As with NVRTC, ``extern`` is no reason to look for them in another module.
"""

from __future__ import annotations

# The patterns of this file are met wherever they are looked for: the preprocessor has written the text.
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false
import re
from dataclasses import dataclass

from minialex.errors import KernelError
from minialex.kernels.cuda_host import tokens

_BEFORE = re.compile(r"(?:\s+|^#[^\n]*\n|(?:case\b[^:]*|\w+)\s*:(?!:))*", re.MULTILINE)
_ALIGNMENT = re.compile(r"\b(?:__attribute__|alignas)\s*(?=\()")
_INTEGERS = re.compile(r"\btypedef\s+[\w\s]+?\b(u?int(?:64|ptr)_t)\s*;|\busing\s+(u?int(?:64|ptr)_t)\s*=")
_MARKERS = re.compile(rf"\b({tokens.DEVICE}|{tokens.CONSTANT})\((?:__constinit|\s)*\)")
_DECLARATOR = re.compile(
    r"(?P<type>.*?)\s*(?P<name>\b[A-Za-z_]\w*)\s*(?P<extents>(?:\[[^\]]*\]\s*)*)", re.DOTALL
)


@dataclass(frozen=True)
class Global:
    """A variable in global or constant memory.

    Attributes
    ----------
    name : str
        With its namespaces: ``"space::name"``.
    constant : bool
        Whether it is in constant memory.
    """

    name: str
    constant: bool


@dataclass(frozen=True)
class Rewritten:
    """A source that g++ takes.

    Attributes
    ----------
    text : str
        With as many lines as before.
    variables : tuple of Global
    epilogue : str
        Code to append.
    """

    text: str
    variables: tuple[Global, ...]
    epilogue: str


def rewrite(text: str) -> Rewritten:
    """Let g++ understand the declarations of a preprocessed source.

    Raises
    ------
    KernelError
        If a variable in shared memory has an initial value.
    """
    return _Rewriting(_with_own_integers(text)).result()


class _Rewriting:
    def __init__(self, text: str):
        self.text = text
        self.pieces: list[str] = []
        self.copied = 0  # up to here the text is in the pieces
        self.variables: dict[str, Global] = {}
        self.pointers: dict[str, str] = {}  # to dynamic shared memory, outside functions: name, type
        self.defined = set()
        self.markers = [marker for marker in tokens.markers(text) if marker.text != tokens.KERNEL]
        for marker in self.markers:
            if marker.text != tokens.SHARED and marker.namespaces is not None:
                _, words, names = self.global_variables(marker)
                if "extern" not in words:
                    self.defined.update(names)

    def result(self) -> Rewritten:
        for marker in self.markers:
            if marker.begin < self.copied:
                continue  # the second one of a statement
            if marker.text == tokens.SHARED:
                self.shared(marker)
            else:
                self.in_global_memory(marker)
        self.pieces.append(self.text[self.copied :])
        assignments = " ".join(
            f"{name} = static_cast<decltype({name})>(here.dynamic_shared);" for name in self.pointers
        )
        epilogue = f"namespace minialex {{ static void find_dynamic_shared() {{ {assignments} }} }}"
        return Rewritten("".join(self.pieces), tuple(self.variables.values()), epilogue)

    def replace(self, begin: int, end: int, by: str) -> None:
        """On one line, so that those after it keep their numbers."""
        lines = self.text.count("\n", begin, end)
        self.pieces += [self.text[self.copied : begin], " ".join(by.split()), "\n" * lines]
        self.copied = end

    def statement(self, marker: tokens.Marker) -> tuple[int, int]:
        begin = _BEFORE.match(self.text, max(marker.statement, self.copied)).end()
        return min(begin, marker.begin), tokens.find_outside(self.text, ";", marker.end)

    # ---- Shared memory ----

    def shared(self, marker: tokens.Marker) -> None:
        begin, end = self.statement(marker)
        declaration = f"{self.text[begin : marker.begin]} {self.text[marker.end : end]}"
        if tokens.find_outside(declaration, "=") < len(declaration):
            file, line = tokens.place(self.text, marker.begin)
            raise KernelError(
                f"{file}:{line}: a __shared__ variable cannot have an initial value: let a thread assign it"
            )
        if re.search(r"\bextern\b", declaration):
            self.replace(begin, end, self.extern_shared(marker, declaration))
            return
        for word in re.finditer(r"\bstatic\b", self.text[begin : marker.begin]):
            self.replace(begin + word.start(), begin + word.end(), "")
        self.replace(marker.begin, marker.end, marker.words)
        following = re.compile(r"[\w\s]*?\bstatic\b").match(self.text, marker.end)
        if following:
            self.replace(following.end() - len("static"), following.end(), "")

    def extern_shared(self, marker: tokens.Marker, declaration: str) -> str:
        declaration = re.sub(r'\bextern\b(?:\s*"C")?|\bstatic\b', " ", _without_alignment(declaration))
        first, *others = tokens.split(declaration)
        match = _DECLARATOR.fullmatch(first.strip())
        if match is None:
            file, line = tokens.place(self.text, marker.begin)
            raise KernelError(f"{file}:{line}: extern __shared__ must declare an array: T name[]")
        base = match["type"].rstrip("*& \n\t")
        result = []
        for declarator in (first.strip()[len(base) :], *others):
            match = _DECLARATOR.fullmatch(declarator.strip())
            element, name, extents = f"{base} {match['type']}", match["name"], match["extents"]
            if not re.match(r"\[\s*\]", extents):  # as NVRTC: it has a size, hence is a variable
                result.append(f"{marker.words} {element} {name}{extents}")
                continue
            element += extents[extents.index("]") + 1 :]
            if marker.namespaces is None:
                result.append(f"auto* const {name} = minialex::dynamic_shared<{element}>()")
                continue
            qualified = _qualified(marker.namespaces, name)
            if qualified not in self.pointers:
                self.pointers[qualified] = element
                thread_local = "__thread" if "__thread" in marker.words else ""
                result.append(f"static {thread_local} decltype(minialex::dynamic_shared<{element}>()) {name}")
        return "; ".join(result)

    # ---- Global and constant memory ----

    def global_variables(self, marker: tokens.Marker) -> tuple[int, str, list[str]]:
        """The start of a declaration outside functions, the words before the first name, and the names.

        There are no names in the declaration of a function or a template.
        """
        begin, end = self.statement(marker)
        text = _MARKERS.sub(r"\1", _without_alignment(self.text[begin:end]))
        parts = tokens.split(text)
        head = parts[0][: tokens.find_outside(parts[0], "({=[")]
        words = set(re.findall(r"\w+", head))
        after = text[len(head) : len(head) + 1]
        if marker.template or after == "(" or len(words) < 2 or {"operator", "friend"} & words:
            return begin, head, []
        if after == "{" and {"struct", "class", "union", "enum"} & words:
            return begin, head, []
        names = [re.findall(r"\w+", part[: tokens.find_outside(part, "({=[")])[-1:] for part in parts]
        scope = marker.namespaces or ()
        return begin, head, [_qualified(scope, name) for found in names for name in found]

    def in_global_memory(self, marker: tokens.Marker) -> None:
        if marker.namespaces is None:
            self.replace(marker.begin, marker.end, "")
            return
        begin, head, names = self.global_variables(marker)
        for name in names:
            self.variables.setdefault(name, Global(name, tokens.CONSTANT in head))
        edits = [(marker.begin, marker.end, marker.words if names else "")]
        external = re.compile(r'\bextern\b(?:\s*"C")?').search(self.text, begin)
        if names and "extern" in head and self.defined.isdisjoint(names):
            self.defined.update(names)
            edits.append((external.start(), external.end(), ""))
        for edit in sorted(edits):
            self.replace(*edit)


def _with_own_integers(text: str) -> str:
    """Rename the uint64_t and the like that a source defines for itself, as NVRTC lacks them.

    The C library has types with these names already, which are other ones: unsigned long.
    """
    pieces, copied = [], 0
    regions = list(tokens.own_regions(text))
    names = {
        name
        for begin, end in regions
        for pair in _INTEGERS.findall(text, begin, end)
        for name in pair
        if name
    }
    if not names:
        return text
    for begin, end in regions:
        renamed = re.sub(rf"\b({'|'.join(names)})\b", r"minialex_\1", text[begin:end])
        pieces += [text[copied:begin], renamed]
        copied = end
    return "".join([*pieces, text[copied:]])


def _qualified(namespaces: tuple[str, ...], name: str) -> str:
    return "::".join([*filter(None, namespaces), name])


def _without_alignment(declaration: str) -> str:
    """Without attributes and alignas, which white space replaces."""
    while match := _ALIGNMENT.search(declaration):
        end = tokens.closing(declaration, match.end())
        declaration = declaration[: match.start()] + " " * (end - match.start()) + declaration[end:]
    return declaration
