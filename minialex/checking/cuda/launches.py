"""Launching a pair of CUDA kernels, and looking at the launches themselves.

Arrays that a launch should fill hold a pattern of bits that no kernel computes: an element that still has it
afterwards was never written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.availability import require_device
from minialex.checking.cuda.arguments import (
    WRITTEN,
    CudaKernel,
    Names,
    Part,
    Role,
    require_alike,
    require_fitting,
    scalar,
    signature,
)
from minialex.checking.cuda.source import Source
from minialex.checking.gradients.noise import ROUNDING
from minialex.checking.report import GradcheckError
from minialex.checks import in_words
from minialex.errors import MiniAlexError

_SHOWN = 5
# With all bits set it is a NaN that no instruction makes; the integer is no index.
_POISON = {"f": 0xFF, "i": 0xA5, "u": 0xA5, "b": 0x01}


@dataclass
class _Step:
    """One kernel, and what goes to its parameters."""

    launch: CudaKernel
    kernel: object
    roles: list[Role]

    @property
    def writes(self) -> set[Role]:
        """What it may write."""
        pairs = zip(self.kernel.signature, self.roles, strict=True)
        return {role for parameter, role in pairs if parameter.pointer and not parameter.constant}

    def size(self, block: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Its grid and its block."""
        if self.launch.threads is None:
            given = self.launch.grid, self.launch.block
            return tuple(tuple(each) if isinstance(each, tuple | list) else (each,) for each in given)
        return (math.ceil(self.launch.threads / block),), (block,)


@dataclass
class Pair:
    """The kernels of both directions, with arguments by role.

    Attributes
    ----------
    module : minialex.kernels.cuda_host.Module
    names : Names
    launches : pair of sequences of CudaKernel
        Those of forward, and those of backward.
    dtype : dtype
        Of all arrays of floats.
    shapes : mapping of Role to tuple of int
        Those of the outputs, the saved and the scratch arrays.
    parameters : mapping
        The values that are not arrays, by name.
    zeroed : sequence of str
        Names of parameters whose arrays hold zeros before a launch.
    name, reproduce : str
        For messages.

    Raises
    ------
    MiniAlexError
        If these do not fit what the kernels declare.
    """

    module: Any
    names: Names
    launches: tuple[Sequence[CudaKernel], Sequence[CudaKernel]]
    dtype: np.dtype
    shapes: Mapping[Role, tuple[int, ...]]
    parameters: Mapping[str, object]
    zeroed: Sequence[str]
    name: str
    reproduce: str

    def __post_init__(self):
        names, (forward, backward), dtype = self.names, self.launches, self.dtype
        kernels = [[self.module[launch.name] for launch in group] for group in (forward, backward)]
        if not names.by_name and any(len(group) > 1 for group in kernels):
            raise MiniAlexError(
                "several kernels share the work: give inputs, outputs and parameters as dictionaries, so "
                "that each gets what it asks for by name"
            )
        self.steps = (
            [_Step(f, k, names.roles_of_forward(f, k)) for f, k in zip(forward, kernels[0], strict=True)],
            [_Step(b, k, names.roles_of_backward(b, k)) for b, k in zip(backward, kernels[1], strict=True)],
        )
        if not names.by_name:
            (first,), (last,) = self.steps
            pairs = list(zip([p.name for p in first.kernel.signature], first.roles, strict=True))
            require_alike(pairs, last.kernel, last.roles)
        self.dtypes = {
            Role(part, each): dtype for part in (Part.UPSTREAM, Part.OUTPUT) for each in names.outputs
        }
        # All that are written, compared or not.
        self.gradients = [
            Role(Part.GRADIENT, each)
            for each in names.floating
            if any(Role(Part.GRADIENT, each) in step.roles for step in self.steps[1])
        ]
        self.dtypes |= dict.fromkeys(self.gradients, dtype)
        self._require_all()
        self.roles_zeroed = self._zeroed()
        for step in (*self.steps[0], *self.steps[1]):
            for parameter, role in zip(step.kernel.signature, step.roles, strict=True):
                if role.part in (Part.SAVED, Part.SCRATCH):
                    self.dtypes.setdefault(role, parameter.dtype)
                elif role.part is Part.PARAMETER:
                    scalar(step.kernel, parameter, self.parameters[role.of])

    def _require_all(self) -> None:
        """Refuse a pair that leaves something unread or unwritten."""
        there = [{role for step in steps for role in step.roles} for steps in self.steps]
        for part, whose, among, does in (
            (Part.OUTPUT, self.names.outputs, 0, "forward writes"),
            (Part.SAVED, self.names.saved, 0, "forward writes"),
            (Part.GRADIENT, self.names.differentiated, 1, "backward writes"),
            (Part.UPSTREAM, self.names.outputs, 1, "backward reads"),
        ):
            missing = [str(Role(part, each)) for each in whose if Role(part, each) not in there[among]]
            if missing:
                kernels = ", ".join(signature(step.kernel) for step in self.steps[among])
                hint = "; leave inputs that have none out of wrt" if part is Part.GRADIENT else ""
                raise MiniAlexError(f"no kernel of {does} {', '.join(missing)}: {kernels}{hint}")
        unused = [each for each in self.names.scratch if Role(Part.SCRATCH, each) not in there[0] | there[1]]
        if unused:
            raise MiniAlexError(f"no kernel takes the scratch array {', '.join(unused)}")
        unread = [each for each in self.names.inputs if Role(Part.INPUT, each) not in there[0]]
        if unread:
            kernels = ", ".join(signature(step.kernel) for step in self.steps[0])
            raise MiniAlexError(f"no kernel of forward reads the input {', '.join(unread)}: {kernels}")

    def _zeroed(self) -> set[Role]:
        """The arrays that hold zeros before a launch, by the names of their parameters."""
        named = {}
        for steps, ours in zip(self.steps, WRITTEN, strict=True):
            for step in steps:
                parameters = zip(step.launch.names(step.kernel), step.roles, strict=True)
                named |= {name: role for name, role in parameters if name and role.part in ours}
        for each in self.zeroed:
            if each not in named:
                raise MiniAlexError(
                    f"zeroed={in_words(each)} is none of the parameters that are written: "
                    f"{', '.join(named) or 'which have no names'}"
                )
        return {named[each] for each in self.zeroed}

    @property
    def takes_blocks(self) -> bool:
        return any(step.launch.threads is not None for steps in self.steps for step in steps)

    def allows(self, block: int) -> bool:
        """Whether every kernel may have blocks of that many threads."""
        bounds = [
            step.kernel.launch_bound
            for steps in self.steps
            for step in steps
            if step.launch.threads is not None and step.kernel.launch_bound is not None
        ]
        return block <= min(bounds, default=block)

    def fail(self, check: str, summary: str) -> None:
        raise GradcheckError(
            check, summary, operation=self.name, kernel="cuda-host", reproduce=self.reproduce
        )

    def forward(self, inputs: Mapping[str, np.ndarray], block: int, run: Callable) -> dict[Role, np.ndarray]:
        """The outputs and the saved arrays."""
        arrays = self._inputs(inputs) | {
            role: self._fresh(role, shape) for role, shape in self.shapes.items()
        }
        self._launch(self.steps[0], arrays, block, run)
        return {role: arrays[role] for role in self.shapes if role.part is not Part.SCRATCH}

    def backward(
        self, inputs: Mapping[str, np.ndarray], upstreams, block: int, run: Callable
    ) -> dict[Role, np.ndarray]:
        """The gradients."""
        arrays = self._inputs(inputs)
        if any(role.part in (Part.OUTPUT, Part.SAVED) for step in self.steps[1] for role in step.roles):
            arrays |= self.forward(inputs, block, self.run if run == self.look else run)
        for each, upstream in zip(self.names.outputs, upstreams, strict=True):
            arrays[Role(Part.UPSTREAM, each)] = np.array(upstream, order="C")
        found = {role: self._fresh(role, inputs[role.of].shape) for role in self.gradients}
        scratch = [role for role in self.shapes if role.part is Part.SCRATCH]
        arrays |= found | {role: self._fresh(role, self.shapes[role]) for role in scratch}
        self._launch(self.steps[1], arrays, block, run)
        return found

    def _inputs(self, inputs: Mapping[str, np.ndarray]) -> dict[Role, np.ndarray]:
        # Copies: kernels take arrays in C order, and may declare as writeable what they only read.
        return {Role(Part.INPUT, each): np.array(array, order="C") for each, array in inputs.items()}

    def _fresh(self, role: Role, shape: tuple[int, ...]) -> np.ndarray:
        """An array that nothing has written: zeros if the caller fills it with them, else the pattern."""
        dtype = self.dtypes[role]
        if role in self.roles_zeroed:
            return np.zeros(shape, dtype)
        pattern = _poison(dtype)
        if role.part is Part.SCRATCH and dtype.kind == "f":
            # NaN passes its bits on: what is computed from it should not look unwritten.
            pattern = np.copysign(pattern, dtype.type(1))
        return np.full(shape, pattern, dtype)

    def _launch(
        self, steps: Sequence[_Step], arrays: dict[Role, np.ndarray], block: int, run: Callable
    ) -> None:
        written: set[Role] = set()
        for step in steps:
            arguments = []
            for parameter, role in zip(step.kernel.signature, step.roles, strict=True):
                if role.part is Part.PARAMETER:
                    arguments.append(scalar(step.kernel, parameter, self.parameters[role.of]))
                else:
                    arguments.append(arrays[role])
            run(step, block, tuple(arguments), written)
            written |= step.writes

    # How a launch is run

    def run(self, step: _Step, block: int, arguments: tuple, written: set[Role]) -> None:
        """On the processor."""
        step.kernel(*step.size(block), arguments, shared_mem=step.launch.shared_mem)

    def look(self, step: _Step, block: int, arguments: tuple, written: set[Role]) -> None:
        """On the processor, under the checker."""
        from minialex.kernels import cuda_host

        ours = WRITTEN[step in self.steps[1]]
        fresh = [
            i
            for i, role in enumerate(step.roles)
            if role.part in ours and role not in written and role not in self.roles_zeroed
        ]
        others = [
            (role, array, array.copy())
            for role, array in zip(step.roles, arguments, strict=True)
            if role.part not in ours and isinstance(array, np.ndarray)
        ]
        grid, size = step.size(block)
        report = cuda_host.check(
            step.kernel, grid, size, arguments, shared_mem=step.launch.shared_mem, uninitialised=fresh
        )
        if report.findings:
            where = f"{step.launch.name} with grid {grid} and block {size}"
            names = [step.launch.names(step.kernel)[i] for i in fresh]
            self.fail(
                report.findings[0].kind, "\n  ".join([where, *_findings_in_words(report.findings, names)])
            )
        for role, array, before in others:
            if array.tobytes() != before.tobytes():
                self.fail("changed input", f"{step.launch.name} changes {role}")

    def on_gpu(self, source: Source, dtype: np.dtype) -> Callable:
        """How a launch is run on a GPU, by CuPy."""
        require_device("cuda")
        import cupy

        module = cupy.RawModule(
            code=source.text(dtype),
            options=("-std=c++17", *source.options),
            **({"name_expressions": source.instances} if source.instances else {}),
        )
        names = {step.launch.name for steps in self.steps for step in steps}
        functions = {name: module.get_function(name) for name in names}

        def run(step: _Step, block: int, arguments: tuple, written: set[Role]) -> None:
            there = [cupy.asarray(each) if isinstance(each, np.ndarray) else each for each in arguments]
            grid, size = step.size(block)
            functions[step.launch.name](grid, size, tuple(there), **_shared(step.launch))
            for mine, theirs, parameter in zip(arguments, there, step.kernel.signature, strict=True):
                if isinstance(mine, np.ndarray) and not parameter.constant:
                    mine[...] = theirs.get()

        return run

    # Looking at the launches

    def look_at(self, inputs: Mapping[str, np.ndarray], sizes, random, nondeterminism: float) -> None:
        """Run both directions under the checker, with each size of block, and compare what they give."""
        dtypes = self.dtypes | {Role(Part.INPUT, each): array.dtype for each, array in inputs.items()}
        for steps, ours in zip(self.steps, WRITTEN, strict=True):
            taken = {role for step in steps for role in step.roles if role.part in ours}
            unwritten = taken - {role for step in steps for role in step.writes}
            for step in steps:
                require_fitting(step.kernel, step.roles, dtypes, unwritten)
        upstreams = [
            random.standard_normal(self.shapes[Role(Part.OUTPUT, each)]).astype(self.dtype)
            for each in self.names.outputs
        ]
        first: dict[Role, np.ndarray] = {}
        for block in sizes:
            found = self._looked_at("forward", block, lambda b: self.forward(inputs, b, self.look))
            found |= self._looked_at(
                "backward", block, lambda b: self.backward(inputs, upstreams, b, self.look)
            )
            first = first or found
            for role, array in found.items():
                self._require_same(role, array, first[role], block, sizes[0], nondeterminism)

    def _looked_at(self, what: str, block: int, call: Callable) -> dict[Role, np.ndarray]:
        found = call(block)
        for role, array in found.items():
            where = np.argwhere(_is_poison(array))
            if len(where):
                size = f" with blocks of {block} threads" if self.takes_blocks else ""
                self.fail(
                    "unwritten",
                    f"{what}{size} leaves {len(where):,} of {array.size:,} elements of {role} unwritten, the "
                    f"first at {tuple(where[0].tolist())}",
                )
        return found

    def _require_same(self, role: Role, array, first, block: int, other: int, nondeterminism: float) -> None:
        if array.tobytes() == first.tobytes():
            return
        limit = nondeterminism
        if array.dtype.kind == "f":
            both = np.abs(first).max(initial=0) + np.abs(array).max(initial=0)
            limit += ROUNDING * float(np.finfo(array.dtype).eps) * float(both)
        a, b = (each.astype(np.float64) for each in (first, array))
        wrong = np.argwhere(~((np.abs(a - b) <= limit) | (np.isnan(a) & np.isnan(b))))
        if len(wrong):
            at = tuple(wrong[0].tolist())
            self.fail(
                "block size",
                f"{role} depends on the size of the blocks: at {at} it is {first[at].item()!r} with {other} "
                f"threads and {array[at].item()!r} with {block} ({len(wrong):,} of {array.size:,} elements)",
            )


def _findings_in_words(findings, fresh: Sequence[str | None]) -> list[str]:
    """A line for each finding; `fresh` are the arrays that nothing has written."""
    lines = [f"{each.kind}: {each.message}, at {each.file}:{each.line}" for each in findings[:_SHOWN]]
    if len(findings) > _SHOWN:
        lines.append(f"and {len(findings) - _SHOWN} more")
    for name in fresh:
        if any(each.kind == "uninitialised" and f" {name}[" in each.message for each in findings):
            lines.append(
                f"if the caller fills {name} with zeros before the launch, say so: zeroed=[{name!r}]"
            )
    return lines


def _shared(launch: CudaKernel) -> dict:
    return {"shared_mem": launch.shared_mem} if launch.shared_mem else {}


def _poison(dtype: np.dtype):
    return np.frombuffer(bytes([_POISON[dtype.kind]] * dtype.itemsize), dtype)[0]


def _is_poison(array: np.ndarray) -> np.ndarray:
    # An integer of one byte may well be the pattern.
    if array.dtype.itemsize == 1:
        return np.zeros(array.shape, bool)
    bits = f"u{array.dtype.itemsize}"
    return np.ascontiguousarray(array).view(bits).reshape(array.shape) == _poison(array.dtype).view(bits)
