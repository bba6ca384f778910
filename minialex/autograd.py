"""Reverse-mode differentiation.

An `Operation` computes arrays in `forward` and gradients in `backward`. Calling it on tensors records
it: its results name it as their creator, and its edges say where its inputs came from. To
differentiate is to walk these edges back from the result. Each operation gets a sequence number when it is
called, and descending numbers are a topological order: an operation is visited after everything that
used its results.

The `backward` of an operation is itself written in operations on tensors. With create_graph=True these
are recorded too, and gradients can be differentiated again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ContextDecorator, contextmanager
from functools import wraps
from inspect import isgeneratorfunction
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from minialex import kernels
from minialex.checks import in_words
from minialex.devices import array_module, array_of, is_array, native, to_numpy
from minialex.errors import DeviceError, GraphError
from minialex.kernels.runtime import memory
from minialex.tensor import FLOATS, Tensor, as_tensor, functions, require_dtype


class Edge(NamedTuple):
    """Where a tensor came from: result `index` of an operation, or a leaf (itself, 0)."""

    source: Operation | Tensor
    index: int


class _Mode(threading.local):
    """The mode of one thread."""

    def __init__(self):
        self.recording = True
        self.before: list[bool] = []  # what to restore, for each open block
        self.branches: list[np.ndarray] | None = None
        self.forward: Callable[[Operation, tuple], Any] | None = None


_mode = _Mode()
_numbers = count()
_FREED = "the graph was freed by an earlier backward pass; pass retain_graph=True to the first one"


class _recording(ContextDecorator):
    wanted: bool

    def __new__(cls, function: Callable | None = None) -> Any:
        """Decorate the function below a ``@no_grad`` without parentheses."""
        return super().__new__(cls) if function is None else cls()(function)

    def __call__(self, function: Callable):
        # A generator's body runs after the call, with other code between its steps.
        return _step_by_step(self, function) if isgeneratorfunction(function) else super().__call__(function)

    def __enter__(self):
        _mode.before.append(_mode.recording)
        _mode.recording = self.wanted
        return self

    def __exit__(self, *_):
        _mode.recording = _mode.before.pop()


def _step_by_step(block, function: Callable) -> Callable:
    """Decorate a generator: its steps run inside the block, its consumer between them outside."""

    @wraps(function)
    def decorated(*args, **kwargs):
        generator = function(*args, **kwargs)
        resume, value = generator.send, None
        try:
            while True:
                with block:
                    try:
                        result = resume(value)
                    except StopIteration as end:
                        return end.value
                try:
                    resume, value = generator.send, (yield result)
                except GeneratorExit:
                    raise
                except BaseException as error:
                    resume, value = generator.throw, error
        finally:
            with block:
                generator.close()

    return decorated


class no_grad(_recording):
    """Record nothing in this thread: a context manager and a decorator, also for generators."""

    wanted = False


class enable_grad(_recording):
    """Record again inside `no_grad`: a context manager and a decorator, also for generators."""

    wanted = True


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this thread."""
    return _mode.recording


def is_followed(*inputs: Tensor) -> bool:
    """Whether an operation on these inputs will be recorded, or the branch that it takes collected."""
    return _mode.branches is not None or (_mode.recording and any(t.requires_grad for t in inputs))


@contextmanager
def branches_taken() -> Iterator[list[np.ndarray]]:
    """Collect the branch that each operation in this thread takes: a list that grows as they are called.

    Two calls of a function with equal lists are on the same smooth piece of it.
    """
    before, _mode.branches = _mode.branches, []
    try:
        yield _mode.branches
    finally:
        _mode.branches = before


@contextmanager
def forward_by(run: Callable[[Operation, tuple], Any]) -> Iterator[None]:
    """In this thread, have ``run(operation, arrays)`` do what ``operation.forward(*arrays)`` does."""
    before, _mode.forward = _mode.forward, run
    try:
        yield
    finally:
        _mode.forward = before


class Operation:
    """A differentiable function of tensors.

    A subclass defines

    - ``forward(self, *arrays)``: the result, an array or a tuple of arrays. It runs kernels
      (`kernel`) and must not change its inputs. Optional inputs may be None. A result of
      integers or bools is a constant: it has no gradient.
    - ``backward(self, *upstream)``: given the gradient of each result (a Tensor, or None where none
      arrived), a tuple with the gradient of each input, in its shape and dtype, None where there is none. It
      computes with tensors, so that it can be differentiated. If that is not needed, arrays and numbers will
      do as well, and a gradient in place of a tuple of one.
    - ``saved_inputs``, ``saved_outputs``: the positions of the inputs and results that backward needs,
      which it finds in `saved`, inputs first. Everything else can be freed.

    - ``branch(self, inputs, results)``: for a function with kinks, an array that tells its pieces apart.

    An instance is called once.
    """

    saved_inputs: tuple[int, ...] = ()
    saved_outputs: tuple[int, ...] = ()
    shapes: tuple[Any, ...]  # of the inputs; None for one not given
    edges: Any  # where each input came from, a tuple of Edge or None; None once the graph is freed
    _saved_inputs: Any
    _saved_outputs: Any
    _called = False
    hooks: dict[int, dict] | None = None  # what to call with the gradient of each result

    def forward(self, *arrays):
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def backward(self, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        raise NotImplementedError(f"{type(self).__name__} must define backward")

    def branch(self, inputs: tuple, results: tuple) -> np.ndarray | None:
        """Which piece of a piecewise function these inputs and results are on; None for a smooth one."""
        return None

    def __call__(self, *inputs: Tensor | None) -> Any:
        if self._called:
            raise GraphError(
                f"this {type(self).__name__} was called before, and an instance keeps what backward needs of "
                f"one call; make another: {type(self).__name__}(...)(...)"
            )
        self._called = True
        self.device = _common_device(type(self).__name__, inputs)
        given = tuple([None if t is None else t.data for t in inputs])
        results = self.forward(*given) if _mode.forward is None else _mode.forward(self, given)
        # Lists, because a generator would cost more than the work here.
        arrays = [
            r if type(r) is np.ndarray and r.dtype in FLOATS else self._as_result(r, inputs)
            for r in (results if isinstance(results, tuple) else (results,))
        ]
        if _mode.branches is not None:
            taken = self.branch(tuple(None if t is None else t.data for t in inputs), tuple(arrays))
            if taken is not None:
                _mode.branches.append(to_numpy(taken))
        recorded = _mode.recording and any(t is not None and t.requires_grad for t in inputs)
        if recorded:
            self.number = next(_numbers)
            self.edges = tuple(_edge(t) for t in inputs)
            self.shapes = tuple(None if t is None else t.data.shape for t in inputs)
            self.dtypes = tuple(None if t is None else t.data.dtype for t in inputs)
            self.results = len(arrays)
            self._saved_inputs = self._named("saved_inputs", inputs)
            self._versions = tuple(None if t is None else t.version for t in self._saved_inputs)
            # A result refers to its creator: keeping only the array avoids a reference cycle.
            self._saved_outputs = self._named("saved_outputs", tuple(enumerate(arrays)))
        tensors = [self._result(i, array, recorded) for i, array in enumerate(arrays)]
        for tensor in tensors:
            _count_changes_together(tensor, inputs)
        return tuple(tensors) if isinstance(results, tuple) else tensors[0]

    def _as_result(self, result, inputs: tuple):
        """What forward returned, as an array that a tensor holds; a number takes the first input's dtype."""
        name = f"{type(self).__name__}.forward"
        if isinstance(result, np.generic):  # NumPy's scalar
            result = np.asarray(result)
        if is_array(result):
            try:
                return require_dtype(result)
            except TypeError as error:
                raise TypeError(f"{name} returned an array of {result.dtype}: {error}") from None
        if isinstance(result, int | float):
            (first, *_) = (t for t in inputs if t is not None)
            return as_tensor(result, first).data
        raise GraphError(f"{name} must return an array or a tuple of arrays, not {type(result).__name__}")

    def _result(self, i: int, array, recorded: bool = True) -> Tensor:
        """Result i as a tensor: part of the graph if it can have a gradient."""
        creator = self if recorded and array.dtype in FLOATS else None
        return Tensor._made_by(creator, i, array, self.device)

    def _named(self, attribute: str, values: tuple) -> tuple:
        """The values at the positions that the subclass names."""
        positions = getattr(self, attribute)
        try:
            return tuple(values[i] for i in positions)
        except (IndexError, TypeError):
            raise GraphError(
                f"{type(self).__name__}: {attribute} must be a tuple of positions, each from 0 to "
                f"{len(values) - 1}, not {positions!r}"
            ) from None

    def kernel(self, operation: str, *arrays, **parameters):
        """Run the kernel that the registry chooses for the inputs' device."""
        return kernels.run(operation, self.device, *arrays, **parameters)

    def empty(self, shape, dtype):
        """Memory for a result on the inputs' device; on the cpu that of the arena."""
        xp = array_module(self.device)
        return (memory if xp is np else xp).empty(shape, dtype)

    def needs(self, i: int) -> bool:
        """Whether the gradient of input i is needed."""
        return self.edges[i] is not None

    @property
    def saved(self) -> tuple[Any, ...]:
        """The inputs and results kept for backward, as tensors of the graph.

        Raises
        ------
        GraphError
            If an input was changed in place since: the gradient would be that of another function.
        """
        for i, t, version in zip(self.saved_inputs, self._saved_inputs, self._versions, strict=True):
            if t is not None and t.version != version:
                raise GraphError(
                    f"{type(self).__name__}.backward needs its input {i}, of shape {t.shape}, which was "
                    "changed after the result was computed (as an optimiser's step and load_state_dict do): "
                    "call backward before, or compute the result again"
                )
        outputs = (self._result(i, array) for i, array in self._saved_outputs)
        return (*self._saved_inputs, *outputs)

    def release(self) -> None:
        """Free everything kept for backward."""
        self.edges = self._saved_inputs = self._saved_outputs = None


class Copy(Operation):
    """The same values in memory of their own."""

    def forward(self, x):
        y = self.empty(x.shape, x.dtype)
        y[...] = x
        return y

    def backward(self, g):
        return (g,)


def backward(
    result: Tensor,
    gradient: Tensor | np.ndarray | float | list | None = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add the gradient of `result` with respect to each leaf to the leaf's ``grad``.

    Parameters
    ----------
    result : Tensor
        What to differentiate.
    gradient : Tensor, array, number or list of numbers, optional
        The upstream gradient, in the shape of `result`, and in its dtype if it has one; by default 1, if
        `result` has one element.
    retain_graph : bool, optional
        Keep the graph for another pass; by default the value of create_graph. Otherwise each operation is
        freed as soon as it has been passed.
    create_graph : bool
        Record the pass itself, so that the gradients can be differentiated.

    Raises
    ------
    GraphError
        If `result` depends on no leaf that requires a gradient, or its graph was freed.
    """
    retain_graph = create_graph if retain_graph is None else retain_graph
    upstream = [_upstream(result, gradient)]
    operations = _operations_behind([result])
    if any(operation.edges is None for operation in operations):
        raise GraphError(_FREED)
    leaves = dict.fromkeys(
        edge
        for source in ([_edge(result)], *(operation.edges for operation in operations))
        for edge in source
        if edge is not None and isinstance(edge.source, Tensor)
    )
    found = _propagate([result], upstream, leaves, operations, create_graph, retain_graph)
    taken = {_memory(tensor) for tensor in upstream}
    with _grad_mode(create_graph):
        for edge, collected in found.items():
            leaf: Any = edge.source
            leaf.grad = _with_own_memory(collected, taken) if leaf.grad is None else leaf.grad + collected


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the sum of `outputs`, each weighted by its upstream gradient, as a tuple.

    The signature is that of ``torch.autograd.grad``. The ``grad`` of the leaves is not touched, and
    only the operations between inputs and outputs are passed (and freed).

    Parameters
    ----------
    outputs, inputs : Tensor or sequence of Tensor
        What to differentiate, and with respect to what: leaves or results inside the graph.
    grad_outputs : Tensor, array, number or sequence of these, optional
        The upstream gradient of each output, as in `backward`; None is 1 for an output of one element.
    retain_graph, create_graph : bool
        As in `backward`.
    allow_unused : bool
        Return None, instead of raising an error, for an input that the outputs do not depend on.
    """
    single = isinstance(outputs, Tensor) and not isinstance(grad_outputs, list | tuple)
    outputs, inputs = _as_list("outputs", outputs), _as_list("inputs", inputs)
    if grad_outputs is None:
        given = [None] * len(outputs)
    else:
        given = [grad_outputs] if single or isinstance(grad_outputs, Tensor) else list(grad_outputs)
    if len(given) != len(outputs):
        raise GraphError(f"{len(outputs)} outputs, but {len(given)} grad_outputs")
    retain_graph = create_graph if retain_graph is None else retain_graph
    upstream = [_upstream(*each) for each in zip(outputs, given, strict=True)]
    for i, each in enumerate(inputs):
        if not each.requires_grad:
            raise GraphError(f"inputs[{i}] does not require a gradient")
    wanted = dict.fromkeys(_edge(each) for each in inputs)
    behind = _operations_behind(outputs)
    operations = _operations_towards(wanted, behind)
    freed = any(operation.edges is None for operation in behind)
    found = _propagate(outputs, upstream, wanted, operations, create_graph, retain_graph)
    for i, each in enumerate(inputs):
        if _edge(each) not in found and freed:
            raise GraphError(_FREED)
        if _edge(each) not in found and not allow_unused:
            raise GraphError(
                f"outputs do not depend on inputs[{i}]; pass allow_unused=True to get None for it"
            )
    taken = {_memory(tensor) for tensor in upstream}
    with _grad_mode(create_graph):
        own: dict[Any, Tensor] = {edge: _with_own_memory(tensor, taken) for edge, tensor in found.items()}
    return tuple(own.get(_edge(each)) for each in inputs)


def _propagate(outputs, upstream, wanted, operations, create_graph, retain_graph):
    """Walk back over `operations`, latest first; return {edge: gradient} for the wanted edges."""
    gradients: dict[Edge, Tensor] = {}  # those that have arrived and are not passed on yet
    found: dict[Edge, Tensor] = {}
    passed = set(operations)

    def arrive(edge, gradient):
        if edge in wanted or edge.source in passed:
            before = gradients.get(edge)
            gradients[edge] = gradient if before is None else before + gradient

    with _grad_mode(create_graph):
        for output, gradient in zip(outputs, upstream, strict=True):
            arrive(_edge(output), gradient)
        for operation in operations:
            results = [Edge(operation, i) for i in range(operation.results)]
            if operation.hooks:
                _call_hooks(operation.hooks, gradients, results)
            found.update((edge, gradients[edge]) for edge in results if edge in gradients.keys() & wanted)
            arrived = [gradients.pop(edge, None) for edge in results]
            if any(gradient is not None for gradient in arrived):
                for edge, gradient in _backward_of(operation, arrived):
                    arrive(edge, gradient)
            if not retain_graph:
                operation.release()
        for edge in gradients:
            if isinstance(edge.source, Tensor) and edge.source.hooks:
                _call_hooks({0: edge.source.hooks}, gradients, [edge])
    return found | gradients


def _call_hooks(hooks: dict, gradients: dict, edges: list[Edge]) -> None:
    """Show the gradients that arrived at these edges to whoever asked, and take what they return instead."""
    for edge in edges:
        for hook in tuple(hooks.get(edge.index, {}).values()):
            if edge in gradients:
                changed = hook(gradients[edge])
                if changed is not None:
                    before = gradients[edge]
                    like = before.shape, before.dtype, before.device
                    gradients[edge] = _as_gradient(
                        changed, *like, what="what a hook returned", of="the gradient"
                    )


def _backward_of(operation, arrived):
    """Call backward, check what it returns, and pair it with the edges of the inputs."""
    results = operation.backward(*arrived)
    count = len(operation.edges)
    name = f"{type(operation).__name__}.backward"
    if count == 1 and not isinstance(results, tuple | list):
        results = (results,)
    if not isinstance(results, tuple | list) or len(results) != count:
        given = f"{len(results)}" if isinstance(results, tuple | list) else f"a {type(results).__name__}"
        raise GraphError(
            f"{name} must return a tuple of {count}, a gradient or None for each input, not {given}"
        )
    for i, (edge, gradient) in enumerate(zip(operation.edges, results, strict=True)):
        if edge is not None and gradient is not None:
            like = operation.shapes[i], operation.dtypes[i], operation.device
            if not isinstance(gradient, Tensor) and _mode.recording:
                raise GraphError(
                    f"{name} returned a {type(gradient).__name__} for input {i}, which cannot be "
                    "differentiated again; for create_graph=True it must compute with tensors"
                )
            if not isinstance(gradient, Tensor) or (gradient.shape, gradient.dtype, gradient.device) != like:
                what = f"the gradient that {name} returned for input {i}"
                gradient = _as_gradient(gradient, *like, what=what, of="the input")
            yield edge, gradient


def _as_gradient(given, shape: tuple[int, ...], dtype: np.dtype, device: str, what: str, of: str) -> Tensor:
    """A gradient given by a caller, as a tensor of exactly this shape, dtype and device.

    Numbers and lists of them have no dtype of their own, and take this one; anything else must have it.
    """
    if isinstance(given, Tensor):
        if given.device != device:
            raise DeviceError(f"{what} is on {given.device!r}; {of} is on {device!r}")
        array = given.data
    else:
        array = native(given) if is_array(given) else array_of(given)
        if array.dtype.kind not in "biuf":
            raise GraphError(f"{what} must be a tensor, an array, or numbers, not {in_words(given)}")
        if isinstance(given, int | float | list | tuple):
            array = array.astype(dtype)
    if array.shape != shape or array.dtype != dtype:
        raise GraphError(
            f"{what} has shape {array.shape} and dtype {array.dtype}; {of} has {shape} and {dtype}"
        )
    return given if isinstance(given, Tensor) else Tensor(array, device=device)


def _operations_behind(outputs: Iterable[Tensor]) -> list[Operation]:
    """Every operation that the outputs depend on, latest first. The search ends at freed operations."""
    pending = [t.creator for t in outputs if t.creator is not None]
    found = set(pending)
    while pending:
        for edge in pending.pop().edges or ():
            if edge and isinstance(edge.source, Operation) and edge.source not in found:
                found.add(edge.source)
                pending.append(edge.source)
    return sorted(found, key=lambda operation: -operation.number)


def _operations_towards(wanted, operations: list[Operation]) -> list[Operation]:
    """The operations on a path to a wanted edge, in the same order."""
    leading: set[Operation] = set()
    for operation in reversed(operations):
        if any(edge in wanted or (edge and edge.source in leading) for edge in operation.edges or ()):
            leading.add(operation)
    return [operation for operation in operations if operation in leading]


def _upstream(result: Tensor, gradient) -> Tensor:
    if not result.requires_grad:
        raise GraphError(
            "there is nothing to differentiate: the tensor was computed under no_grad, "
            "or no tensor it depends on has requires_grad=True"
        )
    if gradient is None:
        if result.size != 1:
            raise GraphError(
                f"a result of shape {result.shape} needs an upstream gradient of that shape; "
                "only a result of one element has 1 by default"
            )
        return Tensor._made_by(None, 0, array_module(result.device).ones_like(result.data), result.device)
    if isinstance(gradient, int | float) and result.size == 1:
        gradient = np.full(result.shape, gradient).tolist()
    like = result.shape, result.dtype, result.device
    return _as_gradient(gradient, *like, what="the upstream gradient", of="the result")


def _edge(tensor: Tensor | None) -> Edge | None:
    if tensor is None or not tensor.requires_grad:
        return None
    return Edge(tensor if tensor.creator is None else tensor.creator, tensor.index)


def _grad_mode(recording: bool):
    return enable_grad() if recording else no_grad()


def _as_list(name: str, tensors) -> list[Tensor]:
    """A tensor, or an iterable of tensors, as a list."""
    given = [tensors] if isinstance(tensors, Tensor) else tensors
    given = list(given) if isinstance(given, Iterable) else [given]
    for i, each in enumerate(given):
        if not isinstance(each, Tensor):
            raise TypeError(f"{name}[{i}] must be a Tensor, not {type(each).__name__}")
    return given


def _memory(tensor: Tensor) -> int:
    """The identity of the array that owns the tensor's memory."""
    array = tensor.data
    while is_array(array.base):
        array = array.base
    return id(array)


def _with_own_memory(gradient: Tensor, taken: set[int]) -> Tensor:
    """Copy a gradient that is a view, or whose memory is handed out already: the caller may write to it."""
    if not memory.owns(gradient.data) or _memory(gradient) in taken:
        gradient = Copy()(gradient)
    taken.add(_memory(gradient))
    return gradient


def _count_changes_together(result: Tensor, inputs) -> None:
    """Let a result that is a view share the version of the input that it is a view of."""
    array = result.data
    base = array.base  # the array that owns the memory, even for a view of a view
    for t in inputs:
        if t is not None:
            other = t.data
            if other is array or (base is not None and (other is base or other.base is base)):
                result._changes = t._changes


def _common_device(name: str, inputs) -> str:
    devices = set()
    for value in inputs:
        if isinstance(value, Tensor):
            devices.add(value.device)
        elif value is not None:
            raise TypeError(
                f"{name} takes tensors, not {type(value).__name__}; wrap an array with minialex.Tensor(array)"
            )
    if not devices:
        raise TypeError(f"{name} was called without inputs; pass at least one tensor")
    if len(devices) != 1:
        raise DeviceError(
            f"{name}: the inputs are on {', '.join(sorted(devices))}; move them with .to(device)"
        )
    return devices.pop()


functions.backward = backward
