"""Checking PyTorch's gradients: of functions, `torch.autograd.Function` and modules.

The backward under check is the function's own: what `torch.autograd.grad` finds in the graph that it records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minialex.checking.adapters.foreign import (
    ForeignCheck,
    ForeignReport,
    Origin,
    function_name,
    in_one_line,
    prepare_options,
    run_orders,
)
from minialex.checking.adapters.torch_graphs import Recorded, RecordedGradient, gradients_of, nodes_of
from minialex.checking.adapters.torch_tensors import as_numpy, import_torch, is_dense, own_array, same_values
from minialex.checking.report import GradcheckError
from minialex.checking.reproduction import Reproduction
from minialex.checks import in_words

# What PyTorch says of an in-place operation on an input, and the node of a graph that refuses a second order.
_IN_PLACE = "leaf Variable that requires grad"
_REFUSING_NODE = "torch::autograd::Error"


def check_torch(
    function: Callable, inputs: Any, *, kwargs: Mapping[str, Any] | None = None, order: int = 1, **options
) -> ForeignReport:
    """Check the gradient of a PyTorch function, `torch.autograd.Function` or module.

    Parameters
    ----------
    function : callable, torch.autograd.Function or torch.nn.Module
        Called with `inputs` and `kwargs`. It gives a tensor, or several in a tuple, list or dict; integers,
        booleans and None among these have no gradient, which the report says. Of a module, or of a method of
        one, a copy is called: its parameters that require a gradient are differentiated as well, and its
        buffers are given back their values before each call.
    inputs : tensor or sequence
        The arguments, also nested in tuples, lists and dicts. Floating-point tensors that require a gradient
        are differentiated; other tensors, None and whatever else are passed on. Each tensor stays on its
        device and keeps its strides; elements that share memory, as those of ``expand``, go on sharing it.
    kwargs : mapping, optional
        Arguments by name, in the same way.
    order : 1 or 2
        With 2 the gradient is checked, and then its gradient by inputs and upstream gradients:
        ``torch.autograd.grad(..., create_graph=True)`` is differentiated.
    **options
        Those of `check_vjp`, but for ``wrt``, ``branches`` and the complex step. Floating-point tensors and
        modules are converted to ``dtype``, float64 by default; if one had another dtype, what the function
        creates without a dtype is of this one, too. ``constraints`` has one for each of `inputs`, and
        ``redraw(generator)`` gives other `inputs`. Random numbers start from ``seed`` in each call.

    Returns
    -------
    ForeignReport
        A `Report`, with notes.

    Raises
    ------
    GradcheckError
        If the gradient is wrong, or something about how it is computed. To the checks of `check_vjp` come:
        inputs, parameters or upstream gradients changed in place (``"changed input"``); other results or
        gradients for contiguous inputs than for these strides (``"layout"``); another gradient where only
        one input requires one, or only one result is used (``"values"``); a module that keeps in an
        attribute what it computed in an earlier call (``"not deterministic"``); a function, or its backward,
        that raises (``"raises"``); nothing that can be differentiated (``"result"``).
    MiniAlexError
        If an argument is not as described.

    Examples
    --------
    >>> x = torch.randn(2, 3, requires_grad=True)
    >>> ma.check_torch(torch.nn.Linear(3, 4), x)
    """
    import_torch()
    if type(given := options.get("dtype")).__module__ == "torch":
        options["dtype"] = str(given).removeprefix("torch.")
    dtype = prepare_options("check_torch", function, order, options, chosen_by="requires_grad")
    options["name"] = options.get("name") or _name(function)
    recorded = Recorded(function, inputs, {} if kwargs is None else kwargs, dtype, options["seed"])
    if options.get("reproduce") is None:
        options["reproduce"] = _reproduction(recorded, options, order)
    return run_orders(_Check(recorded, options, options["name"]), _SecondCheck, order)


class _Check(ForeignCheck):
    """The check of a function, or of its gradient: what is looked at once, and the comparison."""

    backward = "backward"
    one_input = "where only {} requires a gradient (ctx.needs_input_grad)"
    one_result = "where only {} is used, so that others have no upstream gradient"
    function: Recorded

    def _raised(self, what: str, error: Exception) -> None:
        """Report an exception of the function under check."""
        text = in_one_line(error)
        if _IN_PLACE in text:
            self.fail(
                "changed input",
                "the function changes an input or a parameter in place: let it work on a copy, x.clone()",
                error,
            )
        hint, dtype = "", self.function.dtype
        if self.function.converted and any(word in text for word in ("dtype", "Double", "Float", "float")):
            other = "float32" if dtype == np.float64 else "float64"
            hint = f" (tensors were converted to {dtype.name}: dtype={other!r} checks it in the other)"
        self.fail("raises", f"{what} raises {text}{hint}", error)

    def probe(self) -> None:
        """Call the function and its backward once: refuse what cannot be checked, see what they change."""
        recorded = self.function
        try:
            leaves, found = recorded.record(recorded.arrays)
        except GradcheckError:
            raise
        except Exception as error:
            self._raised("the function", error)
        self._require_results(found)
        self.require_unchanged("the function", leaves)
        self._note_buffers()
        results = [found[k][1] for k in recorded.kept]
        drawn = self.drawn(tuple(y.shape) for y in results)
        us = recorded.upstreams(drawn, results)
        try:
            gradients = gradients_of(results, leaves, us)
        except Exception as error:
            self._raised(self.backward, error)
        if not all(map(same_values, us, recorded.upstreams(drawn, results))):
            self.fail("changed input", f"{self.backward} changes the upstream gradient in place")
        self.require_unchanged(self.backward, leaves)
        self._note_buffers()
        self.check_strides(results, gradients, drawn)
        self.check_state()

    def _require_results(self, found) -> None:
        torch, recorded = import_torch(), self.function
        recorded.paths, recorded.kept = [path for path, _ in found], []
        alone = len(found) == 1
        for k, (path, value) in enumerate(found):
            if torch.is_tensor(value) and (value.is_floating_point() or value.is_complex()):
                self._require_result("what it returns" if alone else path, value)
                recorded.kept.append(k)
                continue
            without = torch.is_tensor(value) or value is None or isinstance(value, bool | int | str)
            kind = str(value.dtype).removeprefix("torch.") if torch.is_tensor(value) else in_words(value)
            if alone or not without:
                self.fail(
                    "result",
                    f"{'what it returns' if alone else path} is {kind}: return floating-point tensors that "
                    "operations on its inputs give, not what .item(), .tolist() or .numpy() make of them",
                )
            self.notes.append(f"{path} is {kind} and has no gradient")
        if not recorded.kept:
            self.fail("result", "it returns no floating-point tensor: there is nothing to differentiate")
        self.require_graph([found[k][1] for k in recorded.kept])
        for path, value in (found[k] for k in recorded.kept):
            if not value.requires_grad:
                self.notes.append(f"{path} is outside the graph: its derivatives have to be 0")

    def _require_result(self, what: str, value) -> None:
        if value.is_complex():
            self.fail("result", f"{what} is {value.dtype}: return real tensors, as torch.view_as_real(y)")
        if not is_dense(value):
            self.fail("result", f"{what} is not dense: return y.to_dense()")
        if value.dtype != self.function.real:
            kind, dtype = str(value.dtype).removeprefix("torch."), self.function.dtype.name
            self.fail("dtype", f"{what} is {kind} for inputs of {dtype}: the function should keep the dtype")

    def require_graph(self, results) -> None:
        if not any(y.requires_grad for y in results):
            self.fail(
                "result",
                "nothing that it returns is part of the graph: return what operations on its inputs give, "
                "not what .detach(), .data or .numpy() make of them, nor what torch.no_grad() keeps out",
            )

    def require_unchanged(self, who: str, leaves) -> None:
        """See that inputs, constants and parameters hold what they held."""
        recorded = self.function
        changed = [
            name
            for name, leaf, array in zip(recorded.names, leaves, recorded.arrays, strict=True)
            if not same_values(leaf.detach().cpu(), own_array(array))
        ]
        changed += [each.name for each in recorded.arguments.tensors if each.changed()]
        for name, array, before in recorded.arguments.constants:
            if array.tobytes() != before.tobytes():
                changed.append(name)
                array[...] = before
        if recorded.module is not None:
            changed += [f"parameter {name!r}" for name in recorded.module.changed_constants()]
        if changed:
            self.fail(
                "changed input",
                f"{who} changes {', '.join(changed)} in place: let it work on a copy, x.clone()",
            )

    def _note_buffers(self) -> None:
        module = self.function.module
        changed = [] if module is None else module.changed_buffers()
        note = f"changes buffers ({', '.join(changed)}), undone before each call"
        if changed and note not in self.notes:
            self.notes.append(note)

    def check_strides(self, results, gradients, drawn) -> None:
        """See that contiguous inputs give what inputs with these strides gave."""
        recorded = self.function
        strided = [each.name for each in recorded.arguments.wanted if not each.tensor.is_contiguous()]
        if not strided or recorded.random:
            return
        values = [as_numpy(y).copy() for y in results]
        expected = [as_numpy(g).copy() for g in gradients]
        try:
            _, others = recorded.results(recorded.arrays, contiguous=True)
        except Exception:
            return  # It takes no other layout.
        failure = "layout", f"for contiguous inputs than for {', '.join(strided)} as it came"
        others = list(map(as_numpy, others))
        self.require_same(values, others, ["the result"] * len(values), failure, Origin())
        found = self.part("for contiguous inputs", drawn, contiguous=True)
        self.require_same(expected, found, self.gradient_names(), failure, Origin(drawn))

    def check_state(self) -> None:
        """See that a module keeps nothing of a call: at another point it gives what a new copy gives."""
        recorded = self.function
        if recorded.module is None:
            return
        moved = [np.where(a == 0, 2.0**-10, a * (1 + 2.0**-6)).astype(a.dtype) for a in recorded.arrays]
        try:
            both = [each.results(moved)[1] for each in (recorded, recorded.afresh())]
        except Exception:
            return  # Not everywhere is a function defined.
        found, expected = ([as_numpy(y).copy() for y in results] for results in both)
        if all(np.isfinite(y).all() for y in (*found, *expected)):
            where = "for a module that was called before: it keeps what it computed, and not in a buffer"
            names, failure = ["the result"] * len(found), ("not deterministic", where)
            self.require_same(expected, found, names, failure, Origin(arrays=moved))

    def used_results(self) -> tuple[list[np.ndarray], list[int]]:
        _, results = self.function.results(self.function.arrays)
        used = [k for k, y in enumerate(results) if y.requires_grad]
        return self.drawn(tuple(y.shape) for y in results), used

    def part(self, where: str, drawn, *, asked=None, only=None, contiguous=False):
        recorded = self.function
        try:
            leaves, results = recorded.results(recorded.arrays, asked=asked, contiguous=contiguous)
            found = gradients_of(results, leaves, recorded.upstreams(drawn, results), only=only)
            return [as_numpy(found[i]).copy() for i in (range(len(found)) if asked is None else asked)]
        except Exception as error:
            self.fail("raises", f"{where} backward raises {in_one_line(error)}", error)


class _SecondCheck(_Check):
    """The check of the gradient, as a function of inputs and upstream gradients."""

    backward = "differentiating its gradient"

    def __init__(self, first: _Check):
        recorded, self.first = first.function, first
        with recorded.environment():
            _, results = recorded.results(recorded.arrays)
        gradient = RecordedGradient(recorded, first.drawn(tuple(y.shape) for y in results))
        super().__init__(gradient, first.options, f"gradient of {first.name}")

    def require_graph(self, results) -> None:
        cure = "write backward in operations on tensors, or leave out order=2"
        if not any(y.requires_grad for y in results):
            self.fail(
                "result",
                f"its backward cannot be differentiated, what it gives is not part of the graph: {cure}",
            )
        if any(node.name() == _REFUSING_NODE for node in nodes_of(results)):
            self.fail("result", f"its backward is marked @once_differentiable: {cure}")

    def require_unchanged(self, who: str, leaves) -> None:
        self.first.require_unchanged(who, leaves[: len(self.first.function.arrays)])

    def check_strides(self, results, gradients, drawn) -> None:
        """The first order has compared them."""

    def check_state(self) -> None:
        """The first order has seen to it."""

    def check_parts(self) -> None:
        """Ask for the gradients of the inputs only: in a gradient penalty no upstream gradient needs one."""
        count, (drawn, _) = len(self.first.function.arrays), self.used_results()
        where = "where no upstream gradient requires one (ctx.needs_input_grad)"
        whole = self.part("once more", drawn)
        found = self.part(where, drawn, asked=range(count))
        names = self.gradient_names()[:count]
        self.require_same(whole[:count], found, names, ("values", where), Origin(drawn))


def _reproduction(recorded: Recorded, options: dict, order: int) -> Reproduction:
    arguments = recorded.arguments
    given = [arguments.structure(each, f"inputs[{i}]") for i, each in enumerate(arguments.inputs)]
    chosen = {key: value for key, value in options.items() if key not in ("name", "kernel")}
    chosen |= {"order": order}
    if arguments.kwargs:
        chosen["kwargs"] = arguments.structure(arguments.kwargs, "kwargs")
    before = [] if recorded.module is None or not recorded.module.state else [recorded.module]
    note = f"function: {options['name']}"
    return Reproduction(check_torch, ("function",), given, chosen, note, ["import torch"], before)


def _name(function) -> str:
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type) and issubclass(owner, import_torch().autograd.Function):
        return f"{owner.__qualname__}.{function.__name__}"
    return function_name(function)
