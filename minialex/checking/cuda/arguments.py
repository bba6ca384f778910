"""Which argument goes to which parameter of a pair of CUDA kernels.

A kernel knows its parameters by name and type, and a check knows arrays by the part that they play: inputs,
outputs, what is saved between the two, the upstream gradients and the gradients. Given as dictionaries, they
are matched by name:

    forward(const float* x, const float* w, float* y, int n)                 x, w, y, n
    backward(const float* gy, const float* x, const float* w, ...            gy is y's gradient
             float* gx, float* gw, int n)                                    gx, gw are those of x, w

Given as sequences, by position, in the order of these two examples.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from minialex.checks import in_words, is_int, is_number
from minialex.errors import MiniAlexError

if TYPE_CHECKING:
    from minialex.kernels.cuda_host import Kernel
    from minialex.kernels.cuda_host.arguments import Parameter


class Part(Enum):
    """What an argument is to the check."""

    INPUT = "input"
    OUTPUT = "output"
    SAVED = "saved array"
    SCRATCH = "scratch array"
    UPSTREAM = "upstream gradient"
    GRADIENT = "gradient"
    PARAMETER = "parameter"


_Orders = Sequence[Sequence[tuple[Part, Sequence[str]]]]
WRITTEN = (
    (Part.OUTPUT, Part.SAVED, Part.SCRATCH),
    (Part.GRADIENT, Part.SCRATCH),
)
"""What forward writes, and what backward does."""


@dataclass(frozen=True)
class Role:
    """A part, and whose it is: the upstream gradient of output ``"y"``, the gradient of input ``"x"``."""

    part: Part
    of: str

    def __str__(self) -> str:
        whose = {Part.UPSTREAM: "of output ", Part.GRADIENT: "of input "}.get(self.part, "")
        return f"the {self.part.value} {whose}{self.of}"


@dataclass(frozen=True)
class CudaKernel:
    """A kernel of a pair, and how it is launched where that differs from the others.

    Attributes
    ----------
    name : str
        In the source; of a template with its arguments, ``"scale<double>"``.
    threads : int, optional
        How many threads there are at least, in one dimension, for any block.
    grid, block : int or tuple of int, optional
        Blocks of the grid and threads of a block, instead.
    shared_mem : int
        Bytes of dynamic shared memory.
    arguments : str, optional
        The names of its parameters, ``"gy x w gx gw n"``, where the source has others, or none: those of an
        instance of a template are not known.
    """

    name: str
    threads: int | None = None
    grid: int | tuple[int, ...] | None = None
    block: int | tuple[int, ...] | None = None
    shared_mem: int = 0
    arguments: str | None = None

    def names(self, kernel: Kernel) -> list[str | None]:
        """What its parameters are called."""
        if self.arguments is None:
            return [parameter.name for parameter in kernel.signature]
        names = self.arguments.replace(",", " ").split()
        if len(names) != len(kernel.signature):
            raise MiniAlexError(
                f"{self.name}: arguments={self.arguments!r} names {len(names)} parameters, and the kernel "
                f"takes {len(kernel.signature)}: {signature(kernel)}"
            )
        return names


def signature(kernel: Kernel) -> str:
    """A kernel as it is declared."""
    return f"{kernel.name}({', '.join(map(str, kernel.signature))})"


@dataclass(frozen=True)
class Names:
    """What the arrays and parameters of a check are called.

    Attributes
    ----------
    inputs, outputs, saved, scratch, parameters : tuple of str
    floating : tuple of str
        The inputs that may have gradients.
    differentiated : tuple of str
        Those whose gradients are compared.
    by_name : bool
        Whether they were given with names, by which they are matched.
    gradients : mapping of str to str
        The parameters that are gradients, each with the input or output that it belongs to.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    saved: tuple[str, ...]
    scratch: tuple[str, ...]
    parameters: tuple[str, ...]
    by_name: bool
    gradients: Mapping[str, str]
    floating: tuple[str, ...] = ()
    differentiated: tuple[str, ...] = ()

    def roles_of_forward(self, launch: CudaKernel, kernel: Kernel) -> list[Role]:
        """The role of each parameter of a forward kernel."""
        groups = [(Part.INPUT, self.inputs), (Part.OUTPUT, self.outputs), (Part.SAVED, self.saved)]
        groups += [(Part.SCRATCH, self.scratch), (Part.PARAMETER, self.parameters)]
        if self.by_name:
            known = {name: Role(part, name) for part, names in groups for name in names}
            return [self._named(kernel, name, known) for name in self._all_named(launch, kernel)]
        return self._by_position(kernel, [groups])

    def roles_of_backward(self, launch: CudaKernel, kernel: Kernel) -> list[Role]:
        """The role of each parameter of a backward kernel."""
        upstream, inputs = (Part.UPSTREAM, self.outputs), (Part.INPUT, self.inputs)
        outputs, saved = (Part.OUTPUT, self.outputs), (Part.SAVED, self.saved)
        parameters = (Part.PARAMETER, self.parameters)
        if self.by_name:
            groups = [inputs, outputs, saved, (Part.SCRATCH, self.scratch), parameters]
            known = {name: Role(part, name) for part, names in groups for name in names}
            return [self._named(kernel, name, known, True) for name in self._all_named(launch, kernel)]
        # Kernels have their parameters whatever is compared: one for each gradient, or only for those.
        orders = []
        for written in dict.fromkeys((self.floating, self.differentiated)):
            rest = [saved, (Part.GRADIENT, written), parameters]
            orders.append([[upstream, inputs, *rest], [upstream, inputs, outputs, *rest]])
        return self._by_position(kernel, *orders)

    def _all_named(self, launch: CudaKernel, kernel: Kernel) -> list[str]:
        names = launch.names(kernel)
        if None in names:
            raise MiniAlexError(
                f"{kernel.name}: the names of its parameters are not known, {signature(kernel)}; give them: "
                f'CudaKernel({kernel.name!r}, arguments="...")'
            )
        return names

    def _named(self, kernel: Kernel, name: str, known: Mapping[str, Role], backward: bool = False) -> Role:
        if name in known:
            return known[name]
        found = self._gradient_roles(name) if backward else set()
        if len(found) == 1:
            return found.pop()
        there = ", ".join(known) or "none"
        if found:
            what = f"could be {' or '.join(sorted(map(str, found)))}: say which, gradients={{{name!r}: ...}}"
        elif backward:
            what = (
                f"is none of {there}, nor the gradient of one by its name, as gx is of x; say whose it is: "
                f"gradients={{{name!r}: ...}}"
            )
        else:
            what = f"is none of the arrays and parameters that were given: {there}"
        raise MiniAlexError(f"{signature(kernel)}: {name} {what}")

    def _gradient_roles(self, name: str) -> set[Role]:
        if name in self.gradients:
            bases = {self.gradients[name]}
        else:
            bases = {found[1] for pattern in _OF_GRADIENTS if (found := re.fullmatch(pattern, name))}
        return {Role(Part.UPSTREAM, base) for base in bases if base in self.outputs} | {
            Role(Part.GRADIENT, base) for base in bases if base in self.floating
        }

    def _by_position(self, kernel: Kernel, *choices: _Orders) -> list[Role]:
        """The roles in the order that is as long as the kernel's parameters, in the first choice with one."""
        for orders in choices:
            rows = [[Role(part, name) for part, names in groups for name in names] for groups in orders]
            fitting = [row for row in rows if len(row) == len(kernel.signature)]
            if len(fitting) == 1:
                return fitting[0]
        expected = " or ".join(_counted(groups) for orders in choices for groups in orders)
        raise MiniAlexError(
            f"{signature(kernel)} takes {len(kernel.signature)} arguments, and by position there are "
            f"{expected}; give inputs, outputs and parameters as dictionaries, to be matched by name"
        )


# What people call the gradient of x.
_OF_GRADIENTS = (
    *(r"g_?(.+)", r"d_?(.+)", r"grad_?(.+)", r"d[lL]_?d_?(.+)"),
    *(r"(.+)_?grad", r"(.+)_grad", r"(.+)_bar"),
)


def _counted(groups: Sequence[tuple[Part, Sequence[str]]]) -> str:
    parts = [f"{len(names)} {part.value}{'s' * (len(names) != 1)}" for part, names in groups if names]
    return f"{sum(len(names) for _, names in groups)} ({', '.join(parts)})"


def require_alike(forward: Sequence[tuple[str | None, Role]], kernel: Kernel, roles: Sequence[Role]) -> None:
    """Refuse an order of the parameters that their names contradict.

    Parameters
    ----------
    forward : sequence of (str or None, Role)
        What the parameters of the forward kernel are called, and what they are.
    kernel : Kernel
        The backward kernel.
    roles : sequence of Role
        What its parameters would be.
    """
    known = {name: role for name, role in forward if name}
    for parameter, role in zip(kernel.signature, roles, strict=True):
        if parameter.name in known and known[parameter.name] != role:
            raise MiniAlexError(
                f"{signature(kernel)}: by position {parameter.name} would be {role}, and in forward that is "
                f"the name of {known[parameter.name]}; give inputs, outputs and parameters as dictionaries, "
                "to be matched by name"
            )


def require_fitting(
    kernel: Kernel, roles: Sequence[Role], dtypes: Mapping[Role, np.dtype | None], unwritten: Collection[Role]
) -> None:
    """Refuse what a parameter cannot take: an array for a number, another dtype, results for a const pointer.

    Parameters
    ----------
    kernel : Kernel
    roles : sequence of Role
    dtypes : mapping of Role to dtype
        Of the arrays; None for one that takes the dtype that is declared.
    unwritten : collection of Role
        What has to be written, and what no other kernel of its direction can write.
    """
    for parameter, role in zip(kernel.signature, roles, strict=True):
        if role.part is Part.PARAMETER:
            continue
        problem = None
        dtype = dtypes.get(role)
        if not parameter.pointer:
            problem = "and an array has to be passed there"
        elif dtype is not None and parameter.dtype is not None and parameter.dtype != dtype:
            problem = f"and the array is {dtype}: give it as {parameter.dtype}"
        elif parameter.constant and role in unwritten:
            problem = "a pointer to const, and the kernel has to write there"
        if problem:
            raise MiniAlexError(
                f"{signature(kernel)}: {parameter} is {role}, {problem}; if it is something else, give "
                "inputs, outputs and parameters as dictionaries, to be matched by name"
            )


def scalar(kernel: Kernel, parameter: Parameter, value):
    """A parameter's value in exactly the type that is declared; None is a null pointer."""
    if parameter.pointer:
        if value is None:
            return None
        raise MiniAlexError(
            f"{signature(kernel)}: parameters has {in_words(value)} for {parameter}, a pointer; arrays are "
            "inputs (those of integers are not differentiated), and None is a null pointer"
        )
    kind = getattr(parameter.dtype, "kind", None)
    if isinstance(value, bool) or not (is_number(value) and kind in ("f", "i", "u", "b")):
        if parameter.problem(value) is None:
            return value
        if kind == "b" and isinstance(value, bool | np.bool_):
            return np.bool_(value)
        raise MiniAlexError(f"{signature(kernel)}: parameters has {in_words(value)} for {parameter}")
    if kind in ("i", "u"):
        limits = np.iinfo(parameter.dtype)
        if not is_int(value, limits.min, limits.max):
            raise MiniAlexError(
                f"{signature(kernel)}: parameters has {in_words(value)} for {parameter}, which takes an int "
                f"from {limits.min} to {limits.max}"
            )
    return parameter.dtype.type(value)
