"""A PyTorch function as functions of arrays: called, recorded, and differentiated by PyTorch itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from minialex.checking.adapters.foreign import GradientFunction
from minialex.checking.adapters.torch_arguments import Arguments
from minialex.checking.adapters.torch_modules import ModuleUnderCheck
from minialex.checking.adapters.torch_tensors import (
    as_numpy,
    generator_states,
    import_torch,
    is_dense,
    laid_out,
    leaves_of,
    own_array,
    same_values,
    seed_generators,
    strides_of,
    undisturbed,
)
from minialex.checks import in_words
from minialex.errors import MiniAlexError


class Recorded:
    """A function, and what it is called with: inputs first, then the parameters of a module.

    Attributes
    ----------
    arguments : Arguments
    module : ModuleUnderCheck or None
    names : list of str
        What messages call each of the arrays.
    arrays : list of array
        Those by which it is differentiated, in the dtype of the check.
    paths : list of str
        Where the function returns what: ``result[1]``. Set, as is `kept`, when the results are first seen.
    kept : list of int
        Which of these are differentiated.
    random : bool
        Whether it draws random numbers. They are drawn in the order of memory: for inputs in another layout
        it is another function, so that no other layout is tried.
    """

    def __init__(self, function, inputs, kwargs, dtype: np.dtype, seed: int):
        self.given_function, self.dtype, self.seed = function, dtype, seed
        self.real = getattr(import_torch(), dtype.name)
        self.call, self.module = _prepared(function, dtype)
        self.paths: list[str] = []
        self.kept: list[int] = []
        self.random = False
        self.take(inputs, kwargs)

    def take(self, inputs, kwargs=None) -> None:
        """Take these arguments, at first and whenever others are drawn."""
        kwargs, module = self.arguments.kwargs if kwargs is None else kwargs, self.module
        arguments = Arguments(inputs, kwargs, self.dtype)
        self.arguments = arguments
        self.names = [each.name for each in arguments.wanted]
        self.arrays = [each.array for each in arguments.wanted]
        self.positions: list[int | None] = [each.position for each in arguments.wanted]
        self.count = len(arguments.inputs)
        self.devices = {each.tensor.device for each in arguments.tensors}
        self.converted = arguments.converted
        if module is not None:
            self.names += [f"parameter {name!r}" for name in module.parameters]
            self.arrays += module.arrays
            self.positions += [None] * len(module.arrays)
            self.devices |= module.devices
            self.converted |= module.converted
        if not self.names:
            hint = "; pass tensors instead of arrays" if arguments.arrays_passed_on else ""
            raise MiniAlexError(
                "there is nothing to differentiate: no floating-point tensor of inputs requires a gradient, "
                f"and no parameter of a module; call requires_grad_() on what should be checked{hint}"
            )

    def afresh(self) -> Recorded:
        """The same, with a new copy of its module that was never called."""
        arguments = self.arguments
        new = Recorded(self.given_function, arguments.inputs, arguments.kwargs, self.dtype, self.seed)
        new.paths, new.kept = self.paths, self.kept
        return new

    def environment(self):
        """The context in which the function is called and differentiated."""
        return undisturbed(self.devices, self.real if self.converted else None)

    def record(self, arrays, asked: Sequence[int] | None = None, contiguous: bool = False):
        """Call the function; give the tensors to differentiate by, and all that it returns, with the paths.

        Parameters
        ----------
        arrays : sequence of array
        asked : sequence of int, optional
            Those that require a gradient; all of them by default.
        contiguous : bool
            Whether the inputs shall be contiguous, instead of having the strides that they came with.
        """
        asked = range(len(arrays)) if asked is None else asked
        own = [None if contiguous else each.tensor.stride() for each in self.arguments.wanted]
        if not self.random and not all(array.flags.c_contiguous for array in arrays):
            # The check asks for another layout. A function may refuse it, as view() does by raising; it may
            # not compute something else with it.
            other = [strides_of(array) or own for array, own in zip(arrays, own, strict=False)]
            try:
                return self._record(arrays, other, asked)
            except Exception:
                return self._record(arrays, own, asked)
        return self._record(arrays, own, asked)

    def _record(self, arrays, strides, asked):
        count = len(self.arguments.wanted)
        leaves = self.arguments.leaves(arrays[:count], strides, asked)
        args, kwargs = self.arguments.passed(leaves)
        if self.module is not None:
            leaves = leaves + self.module.load(arrays[count:], [i - count for i in asked])
        seed_generators(self.devices, self.seed)
        before = generator_states(self.devices)
        found = list(leaves_of(self.call(*args, **kwargs), "result"))
        self.random |= not all(map(same_values, before, generator_states(self.devices)))
        return leaves, found

    def results(self, arrays, **how):
        """The tensors to differentiate by, and the results that are differentiated."""
        leaves, found = self.record(arrays, **how)
        if [path for path, _ in found] != self.paths:
            raise ValueError(f"it returns {len(found)} results here, and {len(self.paths)} in the first call")
        return leaves, [found[k][1] for k in self.kept]

    def upstreams(self, arrays, results) -> list:
        """Upstream gradients as tensors, with the strides of the arrays where a tensor can have them."""
        tensors = []
        for array, y in zip(arrays, results, strict=True):
            tensor, strides = own_array(array).to(y.device), strides_of(array)
            if strides is not None and strides != tensor.stride():
                tensor = laid_out(tensor, strides)
            tensors.append(tensor)
        return tensors

    def forward(self, *arrays):
        """The results, as an array or a tuple of arrays."""
        with self.environment():
            _, results = self.results(arrays)
            values = tuple(as_numpy(y).copy() for y in results)
        return values if len(values) > 1 else values[0]

    def vjp(self, upstream, *arrays):
        """The gradients of all arrays."""
        with self.environment():
            leaves, results = self.results(arrays)
            parts = upstream if isinstance(upstream, tuple) else (upstream,)
            return _as_arrays(gradients_of(results, leaves, self.upstreams(parts, results)))


class RecordedGradient(GradientFunction, Recorded):
    """The gradient of a function, recorded so that it can be differentiated."""

    def record(self, arrays, asked=None, contiguous=False):
        first, count = self.first, len(self.first.arrays)
        leaves, results = first.results(arrays[:count], contiguous=contiguous)
        us = [
            u.detach().requires_grad_(asked is None or count + k in asked)
            for k, u in enumerate(first.upstreams(arrays[count:], results))
        ]
        gradients = gradients_of(results, leaves, us, create_graph=True)
        names = [f"the gradient of {name}" for name in first.names]
        return leaves + us, list(zip(names, gradients, strict=True))


def _prepared(function, dtype: np.dtype) -> tuple[Callable, ModuleUnderCheck | None]:
    """What is called, and the module that it belongs to."""
    torch = import_torch()
    if isinstance(function, type):
        if not issubclass(function, torch.autograd.Function):
            raise MiniAlexError(
                f"function={in_words(function)} is a class; pass an object of it, a function, or a "
                "torch.autograd.Function"
            )
        return function.apply, None
    if isinstance(function, torch.nn.Module):
        copied = ModuleUnderCheck(function, dtype, "function")
        return copied.module, copied
    owner = getattr(function, "__self__", None)
    if isinstance(owner, torch.nn.Module):
        copied = ModuleUnderCheck(owner, dtype, "function.__self__")
        return getattr(copied.module, function.__name__), copied
    return function, None


def gradients_of(results, leaves, upstreams, *, create_graph=False, only: int | None = None) -> list:
    """What backward gives for each leaf: zeros where the results do not depend on it.

    Parameters
    ----------
    results, leaves, upstreams : sequence of torch.Tensor
    create_graph : bool
        Whether the gradients are to be differentiated.
    only : int, optional
        The one result that is used.
    """
    torch = import_torch()
    pairs = [
        (y, u)
        for k, (y, u) in enumerate(zip(results, upstreams, strict=True))
        if y.requires_grad and only in (None, k)
    ]
    asked = [leaf for leaf in leaves if leaf.requires_grad]
    found = [None] * len(asked)
    if pairs:
        ys, us = zip(*pairs, strict=True)
        found = torch.autograd.grad(ys, asked, us, create_graph=create_graph, allow_unused=True)
    gradients = iter(found)
    every = [next(gradients) if leaf.requires_grad else None for leaf in leaves]
    return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, every, strict=True)]


def nodes_of(tensors) -> Iterator:
    """The nodes of the graph behind tensors."""
    waiting, seen = [t.grad_fn for t in tensors if t.grad_fn is not None], set()
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += [each for each, _ in node.next_functions if each is not None]
            yield node


def _as_arrays(gradients) -> tuple[np.ndarray, ...]:
    """Gradients as arrays that share no memory with each other.

    Those of a sum are one tensor in PyTorch, which never adds to a gradient that others hold. Memory that a
    later call would overwrite stays as it is, for the check to see.
    """
    seen, arrays = set(), []
    for gradient in gradients:
        array = as_numpy(gradient)
        memory = gradient.untyped_storage().data_ptr() if is_dense(gradient) else None
        arrays.append(array.copy() if memory in seen else array)
        seen.add(memory)
    return tuple(arrays)
