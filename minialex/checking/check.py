"""Checking anyone's gradient on plain arrays: a forward function, and its vector-Jacobian product.

Values alone do not make a gradient right. A check goes through, in this order,

1. forward: an array of the dtype asked for, finite, the same twice, inputs untouched;
2. the gradients: one an input, of its shape and dtype, finite; inputs and upstream untouched; no memory
   shared with the inputs, each other or the next call's;
3. the same bits when it is run again, after freed memory was filled with other garbage;
4. zero for a zero upstream gradient, and linear in the upstream gradient;
5. the same for inputs and upstream gradients that are strided, transposed or read-only;
6. the values: against numerical derivatives, one by one (`differences`), and for random upstream gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from minialex.checking.differences import (
    Derivative,
    accuracy_wanted,
    central,
    complex_step,
    largest,
    refined,
    smallest_step,
    steps_to_try,
    too_uncertain,
)
from minialex.checking.patterns import recognise
from minialex.checking.report import GradcheckError, InputReport, Report
from minialex.kernels import memory
from minialex.tensor import Tensor

Arrays = Sequence[np.ndarray]

# Random upstream gradients whose products are compared beside the Jacobian.
UPSTREAMS = 3
# How often another direction is drawn where one meets a kink, and unwritten memory is looked for.
_REDRAWS = 8
_REPEATS = 2
# What the analytic gradient may lose to rounding, in units of it.
ANALYTIC_ROUNDING = 512
# Inputs are often drawn from the same seed: upstream gradients from the same stream would be equal to them,
# and a transposed product of the two is symmetric.
_STREAM = 1


@dataclass
class Check:
    """One check under way: the functions, how they are called, and what to say on failure."""

    forward: Callable[..., np.ndarray]
    vjp: Callable[..., Sequence[np.ndarray | None]]
    inputs: list[np.ndarray]
    wrt: tuple[int, ...]
    dtype: np.dtype
    report: Report
    method: str
    max_skipped: float
    branches: Callable[..., Sequence[np.ndarray]] | None
    reproduce: str
    random: np.random.Generator = field(init=False)

    def __post_init__(self):
        self.random = np.random.default_rng([self.report.seed, _STREAM])

    def fail(self, check: str, summary: str, **details) -> None:
        raise GradcheckError(
            check,
            summary,
            operation=self.report.name,
            kernel=self.report.kernel,
            seed=self.report.seed,
            reproduce=self.reproduce,
            **{"step": self.report.step} | details,
        )

    # Calling the functions under check

    def evaluate(self, inputs: Arrays) -> np.ndarray:
        return self.forward(*inputs)

    def gradients(self, upstream: np.ndarray, inputs: Arrays | None = None) -> list[np.ndarray]:
        """The gradients of the inputs that are checked."""
        results = self.vjp(upstream, *(self.inputs if inputs is None else inputs))
        if not isinstance(results, tuple | list) and results is not None and len(self.inputs) == 1:
            results = (results,)
        count = len(self.inputs)
        if not isinstance(results, tuple | list) or len(results) != count:
            several = isinstance(results, tuple | list)
            given = f"{len(results)} gradients" if several else described(as_array(results, self.dtype))
            self.fail(
                "result",
                f"vjp gives {given} for {count} input{'s' * (count != 1)}; it should return a tuple with one "
                "gradient for each, None for those that are not differentiated",
            )
        return [self._gradient(i, results[i]) for i in self.wrt]

    def _gradient(self, i: int, result) -> np.ndarray:
        if result is None:
            self.fail("values", f"vjp gives None for input {i}, which is to be differentiated", input=i)
        gradient = as_array(result, self.dtype)
        if gradient is None or gradient.dtype.kind not in "fciub":
            self.fail(
                "result",
                f"vjp gives {described(gradient)} for input {i}; it should give an array of its shape",
                input=i,
            )
        return gradient

    def upstream(self) -> np.ndarray:
        return self.random.standard_normal(self.y.shape).astype(self.dtype)

    # The checks

    def run(self) -> None:
        self.y = self._check_forward()
        if self.branches is not None:
            self.branch = [np.array(b) for b in self.branches(*self.inputs)]
        # Results may be small because larger numbers cancel: rounding is relative to those.
        self.scale = max(largest(a) for a in (self.y, *self.inputs) if a.dtype.kind == "f")
        self._check_gradients()
        self._check_repeatable()
        self._check_linear()
        self._check_layouts()
        if self.report.mode == "jacobian":
            self._check_jacobian()
        else:
            self._check_directions()

    def _check_forward(self) -> np.ndarray:
        before = [a.copy() for a in self.inputs]
        y = self.evaluate(self.inputs)
        for i, (a, b) in enumerate(zip(self.inputs, before, strict=True)):
            if not _same_bits(a, b):
                self.fail("changed input", f"forward changes its input {i}", input=i)
        if y.dtype != self.dtype:
            self.fail(
                "dtype", f"forward gives {y.dtype} for inputs of {self.dtype}; it should keep the dtype"
            )
        if not np.isfinite(y).all():
            self.fail(
                "finite", f"forward gives {np.count_nonzero(~np.isfinite(y))} values that are not finite"
            )
        y = y.copy()
        # A number: a gradient that reads freed memory is told apart from one that is not finite.
        _fill_freed_memory([y, *self.inputs], 1e30)
        if not _same_bits(self.evaluate(self.inputs), y):
            self.fail(
                "not deterministic",
                "forward gives another result when it is called again: seed its random numbers; it may read "
                "memory that nothing has written",
            )
        return y

    def _check_gradients(self) -> None:
        upstream = self.upstream()
        before = [a.copy() for a in (upstream, *self.inputs)]
        gradients = self.gradients(upstream)
        for name, a, b in zip(
            ("the upstream gradient", *(f"input {i}" for i in range(len(self.inputs)))),
            (upstream, *self.inputs),
            before,
            strict=True,
        ):
            if not _same_bits(a, b):
                self.fail("changed input", f"vjp changes {name}")
        for i, gradient in zip(self.wrt, gradients, strict=True):
            shape = self.inputs[i].shape
            if gradient.shape != shape:
                self.fail(
                    "shape", f"the gradient of input {i} has shape {gradient.shape}, not {shape}", input=i
                )
            if gradient.dtype != self.dtype:
                self.fail(
                    "dtype",
                    f"the gradient of input {i} has dtype {gradient.dtype}, not {self.dtype}",
                    input=i,
                )
            if not np.isfinite(gradient).all():
                wrong = np.argwhere(~np.isfinite(gradient))
                self.fail(
                    "finite",
                    f"the gradient of input {i} has {len(wrong)} values that are not finite, "
                    f"the first at {tuple(wrong[0].tolist())}",
                    input=i,
                )
        others: list[tuple[str, np.ndarray]] = [(f"input {i}", a) for i, a in enumerate(self.inputs)]
        for i, gradient in zip(self.wrt, gradients, strict=True):
            for name, array in others:
                if np.shares_memory(gradient, array) and not _passes_on(gradient, array, upstream):
                    self.fail("aliasing", f"the gradient of input {i} shares its memory with {name}", input=i)
            others.append((f"the gradient of input {i}", gradient))
        for i, gradient, another in zip(self.wrt, gradients, self.gradients(self.upstream()), strict=True):
            if np.shares_memory(gradient, another):
                self.fail(
                    "aliasing",
                    f"the gradient of input {i} stands in memory that the next call overwrites",
                    input=i,
                )

    def _check_repeatable(self) -> None:
        upstream = self.upstream()
        kept = [self.inputs[i] for i in self.wrt]
        # Which freed memory a new array gets is up to the allocator: try more than once.
        for _ in range(_REPEATS):
            _fill_freed_memory([self.y, *kept], 1e30)
            first = [g.copy() for g in self.gradients(upstream)]
            _fill_freed_memory([self.y, *kept], np.nan)
            for i, a, b in zip(self.wrt, first, self.gradients(upstream), strict=True):
                if not _same_bits(a, b):
                    self.fail(
                        "not deterministic",
                        f"the gradient of input {i} differs when it is computed again: it may read memory "
                        "that nothing has written, or draw random numbers",
                        input=i,
                    )

    def _check_linear(self) -> None:
        for i, gradient in zip(self.wrt, self.gradients(np.zeros_like(self.y)), strict=True):
            if np.any(gradient):
                self.fail(
                    "zero upstream",
                    f"the gradient of input {i} is not zero for a zero upstream gradient",
                    input=i,
                )
        u, v = self.upstream(), self.upstream()
        a, b = self.dtype.type(2), self.dtype.type(-0.5)
        parts = zip(self.gradients(u), self.gradients(v), strict=True)
        expected = [a * first + b * second for first, second in parts]
        sum_of_both = a * u + b * v
        self._require_same(
            self.gradients(sum_of_both), expected, "not linear", "in the upstream gradient", sum_of_both
        )

    def _check_layouts(self) -> None:
        upstream = self.upstream()
        expected = [g.copy() for g in self.gradients(upstream)]
        y = self.evaluate(self.inputs).copy()
        for how, layout in (("read-only", _read_only), ("strided", _strided), ("transposed", _transposed)):
            inputs = [layout(a) for a in self.inputs]
            try:
                result, gradients = self.evaluate(inputs), self.gradients(layout(upstream), inputs)
            except GradcheckError:
                raise
            except Exception as error:
                self.fail("layout", f"{how} inputs raise {type(error).__name__}: {error}")
            self._require_same(
                [result], [y], "layout", f"with {how} inputs, in forward", names=("the result",)
            )
            self._require_same(gradients, expected, "layout", f"with {how} inputs", upstream)

    def _require_same(self, actual, expected, check, what, upstream=None, names=None) -> None:
        """Fail unless two lists of arrays agree but for rounding."""
        names = names or tuple(f"the gradient of input {i}" for i in self.wrt)
        # Terms may cancel: the result's are of the magnitude of the inputs, a gradient's of the upstream's.
        terms = self.scale if upstream is None else largest(upstream) * max(1, self.scale)
        for name, a, b in zip(names, actual, expected, strict=True):
            scale = largest(b) + largest(a) + terms
            limit = ANALYTIC_ROUNDING * float(np.finfo(self.dtype).eps) * scale
            if a.shape != b.shape or not np.all(np.abs(a - b) <= limit):
                found = "not linear" if check == "not linear" else "not the same"
                self.fail(check, f"{name} is {found} {what}")

    # Values

    def differentiated(
        self, along: Callable[[complex | float], Arrays], weights=None, *, position: float, noise: float = 0.0
    ) -> Callable[[float], Derivative]:
        """The numerical derivative of all outputs (or their weighted sum) along a path, for any step.

        `position` and `noise` are those of `differences.central`.
        """

        def project(y):
            wide = y.ravel().astype(np.complex128 if np.iscomplexobj(y) else np.float64)
            return wide if weights is None else np.atleast_1d(weights @ wide)

        if self.method == "complex":
            return lambda step: complex_step(lambda t: project(self.evaluate(along(t))), self.dtype)
        middle = project(self.y)
        scale = self.scale if weights is None else self.scale * float(np.linalg.norm(weights))

        def at(step: float) -> Derivative:
            branched = False

            def f(t):
                nonlocal branched
                inputs = along(t)
                y = project(self.evaluate(inputs))
                if self.branches is not None and abs(t) == step:
                    branched |= not same_branches(self.branch, self.branches(*inputs))
                return y

            # A step too wide may leave the domain of the function, which is then told by its values.
            with np.errstate(all="ignore"):
                found = central(f, middle, step, self.dtype, scale, position=position, noise=noise)
            return replace(found, kinked=np.ones_like(found.kinked)) if branched else found

        return at

    def along_element(self, i: int, element: int):
        """The inputs as a function of a change of one element, and the unit of that change."""
        scale = max(1.0, abs(float(self.inputs[i].flat[element])))

        def inputs(t):
            moved = list(self.inputs)
            moved[i] = self.inputs[i].astype(complex) if isinstance(t, complex) else self.inputs[i].copy()
            moved[i].flat[element] += t * scale
            return moved

        return inputs, scale

    def by_element(self, i: int, element: int) -> tuple[Callable[[float], Derivative], float, float]:
        """The derivative by one element for any step; the unit of the step, and |x| in that unit."""
        path, unit = self.along_element(i, element)
        position = abs(float(self.inputs[i].flat[element])) / unit
        return self.differentiated(path, position=position), unit, position

    def numeric_jacobian(self, i: int) -> Derivative:
        """The derivatives of all M outputs by all elements of input i: arrays (M, size)."""
        whole = Derivative.zeros((self.y.size, self.inputs[i].size))
        for element in range(self.inputs[i].size):
            at, unit, _ = self.by_element(i, element)
            whole.put(element, at(self.report.step).per_unit(unit))
        if self.method == "complex":
            return whole
        # What is small beside the others need not be known as well.
        floor = 1e-3 * largest(whole.value[~whole.kinked])
        accuracy = accuracy_wanted(self.dtype)
        doubtful = whole.kinked | too_uncertain(whole, accuracy, floor)
        for element in np.flatnonzero(doubtful.any(axis=0)):
            at, unit, position = self.by_element(i, element)
            first = whole.column(element).per_unit(1 / unit)
            steps = steps_to_try(self.report.step, position, self.dtype)
            whole.put(element, refined(first, at, steps, accuracy, floor * unit).per_unit(unit))
        return whole

    def analytic_jacobians(self) -> list[np.ndarray]:
        """One array (M, size) for each input that is checked, row by row from unit upstream gradients."""
        rows = [np.zeros((self.y.size, self.inputs[i].size)) for i in self.wrt]
        for m in range(self.y.size):
            unit = np.zeros_like(self.y)
            unit.flat[m] = 1
            for jacobian, gradient in zip(rows, self.gradients(unit), strict=True):
                jacobian[m] = gradient.ravel()
        return rows

    def _check_jacobian(self) -> None:
        analytic = self.analytic_jacobians()
        numeric = [self.numeric_jacobian(i) for i in self.wrt]
        self.largest_derivative = max(largest(found.value[~found.kinked]) for found in numeric)
        tolerances = []
        for i, jacobian, found in zip(self.wrt, analytic, numeric, strict=True):
            tolerances.append(self.tolerance_of(found))
            self._require_few_kinks(i, found)
            self._compare(i, jacobian, found, tolerances[-1])
        for _ in range(UPSTREAMS):
            u = self.upstream()
            weights = u.ravel().astype(np.float64)
            for i, gradient, found, tolerance in zip(
                self.wrt, self.gradients(u), numeric, tolerances, strict=True
            ):
                whole = found.weighted(weights)
                limit = (np.abs(weights) @ tolerance)[None]
                self._compare(i, gradient.reshape(1, -1), whole, limit, of_outputs=False)

    def tolerance_of(self, found: Derivative) -> np.ndarray:
        """What each derivative may be off by: four times the numerical error, and the analytic rounding."""
        scale = largest(found.value[~found.kinked])
        return 4 * found.error + ANALYTIC_ROUNDING * float(np.finfo(self.dtype).eps) * scale

    def _require_few_kinks(self, i: int, found: Derivative) -> None:
        kinked = found.kinked
        if not kinked.size:
            return
        # Most outputs do not depend on most elements, as in ReLU: those zeros alone compare nothing.
        known = (~kinked & (found.value != 0)).any(axis=0)
        nothing = (kinked.any(axis=0) & ~known).all()
        share, but = (1.0, " that are not 0") if nothing else (kinked.mean(), "")
        if share > self.max_skipped:
            self.fail(
                "kinks",
                f"{share:.0%} of the derivatives of input {i}{but} lie at a kink at any step: none to "
                f"compare with (allowed: {self.max_skipped:.0%}); move the inputs away, or pass redraw",
                input=i,
            )

    def _compare(
        self, i: int, analytic: np.ndarray, found: Derivative, tolerance: np.ndarray, *, of_outputs=True
    ) -> None:
        """Compare rows of derivatives (M, size) of input i; fail with the worst element.

        A row belongs to an output; or, if not `of_outputs`, to a random upstream gradient: not counted.
        """
        smooth = ~found.kinked
        entry = self._entry(i)
        if of_outputs:
            entry.compared += int(smooth.sum())
            entry.skipped += int((~smooth).sum())
        if not smooth.any():
            return
        error = np.where(smooth, np.abs(analytic - found.value), 0.0)
        error[np.isnan(error)] = np.inf
        wrong = error > tolerance
        # Where the function is constant the tolerance is 0; where it is kinked it means nothing.
        share = np.divide(error, tolerance, out=np.where(wrong, np.inf, 0.0), where=smooth & (tolerance > 0))
        if not wrong.any():
            # Relative to the largest derivative by any input: where one has none, its own are rounding alone.
            if of_outputs and self.largest_derivative:
                at = share.argmax() if share.any() else np.where(smooth, tolerance, 0).argmax()
                pair = float(error.flat[at]), float(tolerance.flat[at])
                entry.add(*(each / self.largest_derivative for each in pair))
            return
        shape = self.inputs[i].shape
        row, element = np.unravel_index(int(share.argmax()), error.shape)
        a, n = float(analytic[row, element]), float(found.value[row, element])
        norm = float(np.linalg.norm(np.where(smooth, found.value, 0)))
        self.fail(
            "values",
            f"the gradient of input {i} is wrong",
            input=i,
            index=tuple(int(k) for k in np.unravel_index(element, shape)),
            output_index=tuple(int(k) for k in np.unravel_index(row, self.y.shape)) if of_outputs else None,
            analytic=a,
            numeric=n,
            absolute_error=abs(a - n),
            relative_error=abs(a - n) / max(abs(a), abs(n)),
            norm_error=float(np.linalg.norm(error)) / norm if norm else math.inf,
            tolerance=float(tolerance[row, element]),
            step=float(found.step[row, element]) / max(1.0, abs(float(self.inputs[i].flat[element]))),
            wrong=int(wrong.sum()),
            compared=int(smooth.sum()),
            pattern=self._pattern(analytic, found, shape),
        )

    def _pattern(self, analytic, found, shape) -> str:
        # Looked for in the gradient of one random upstream, which has the shape of the input.
        smooth = ~found.kinked
        weights = self.random.standard_normal(len(analytic))
        wrong, right = (weights @ np.where(smooth, j, 0) for j in (analytic, found.value))
        return recognise(wrong.reshape(shape), right.reshape(shape), self.y.shape)

    def _entry(self, i: int) -> InputReport:
        for entry in self.report.inputs:
            if entry.input == i:
                return entry
        self.report.inputs.append(InputReport(i))
        return self.report.inputs[-1]

    def _check_directions(self) -> None:
        kinks = 0
        for number in range(self.report.directions):
            u = self.upstream()
            weights = u.ravel().astype(np.float64)
            gradients = self.gradients(u)
            for i, gradient in zip(self.wrt, gradients, strict=True):
                found, slope = self._along_direction(i, gradient, weights)
                entry = self._entry(i)
                if found.kinked.any():
                    kinks += 1
                    entry.skipped += 1
                    continue
                size = float(np.abs(gradient).sum())
                limit = 4 * float(found.error[0])
                limit += ANALYTIC_ROUNDING * float(np.finfo(self.dtype).eps) * size
                error = abs(slope - float(found.value[0]))
                entry.compared += 1
                if size and error <= limit:
                    entry.add(error / size, limit / size)
                if not error <= limit:
                    n = float(found.value[0])
                    self.fail(
                        "values",
                        f"the gradient of input {i} is wrong along random direction {number}",
                        input=i,
                        index=(),
                        analytic=slope,
                        numeric=n,
                        absolute_error=error,
                        relative_error=error / max(abs(slope), abs(n)),
                        norm_error=error / abs(n) if n else math.inf,
                        tolerance=limit,
                        step=float(found.step[0]),
                        wrong=1,
                        compared=1,
                    )
        total = self.report.directions * len(self.wrt)
        if kinks > self.max_skipped * total:
            self.fail(
                "kinks", f"{kinks} of {total} random directions meet a kink; pass redraw, or a smaller step"
            )

    def _along_direction(self, i: int, gradient: np.ndarray, weights: np.ndarray):
        """The numeric and the analytic slope of input i along a random direction of elements up to 1.

        Any dense direction crosses the kink of an element that lies on it. Where one meets a kink,
        directions that leave a random half of the elements alone are tried.
        """
        # Each of the outputs is rounded, and so is their sum.
        terms = np.abs(weights) @ np.maximum(np.abs(self.y.astype(np.float64).ravel()), self.scale)
        noise = 4 * float(np.finfo(self.dtype).eps) * float(terms)
        largest_input = largest(self.inputs[i])
        unit = max(1.0, largest_input)
        position = largest_input / unit
        step = max(self.report.step / unit, smallest_step(position, self.dtype))
        for attempt in range(_REDRAWS + 1):
            direction = self.random.uniform(-1, 1, self.inputs[i].shape)
            if attempt:
                direction *= self.random.integers(0, 2, direction.shape)

            def path(t, direction=direction):
                moved = list(self.inputs)
                moved[i] = (self.inputs[i] + t * unit * direction).astype(
                    complex if isinstance(t, complex) else self.dtype
                )
                return moved

            at = self.differentiated(path, weights, position=position, noise=noise)
            found = at(step)
            if self.method == "complex":
                break
            steps = steps_to_try(step, position, self.dtype)
            found = refined(found, at, steps, accuracy_wanted(self.dtype))
            if not found.kinked.any():
                break
        found = found.per_unit(unit)
        return found, float(np.vdot(gradient.astype(np.float64), direction))


def as_array(result, dtype: np.dtype) -> np.ndarray | None:
    """What a function returned as an array; a Python number, which has no dtype of its own, in this dtype.

    None stands for what NumPy cannot make an array of.
    """
    if isinstance(result, int | float):
        return np.asarray(result, dtype)
    if isinstance(result, Tensor):
        return result.numpy()
    try:
        return np.asarray(result)
    except ValueError:  # lists of different lengths
        return None


def described(array: np.ndarray | None) -> str:
    """What `as_array` made of a result, for a message."""
    if array is None:
        return "lists of different lengths"
    if array.dtype == object and array.ndim == 0:
        return "None" if array.item() is None else f"a result of type {type(array.item()).__name__}"
    return f"an array of {array.dtype}"


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def same_branches(first, second) -> bool:
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def _passes_on(gradient, array, upstream) -> bool:
    """Whether two gradients share memory because both are the upstream gradient itself, passed through."""
    return np.shares_memory(gradient, upstream) and np.shares_memory(array, upstream)


def _fill_freed_memory(like: Arrays, value: float) -> None:
    """Leave `value` in freed memory of these sizes, which the next uninitialised array is likely to get."""
    for array in like:
        if array.dtype.kind != "f":
            continue
        # Each may come from NumPy or, where it is large, from the kernels' arena.
        garbage = [
            allocate(array.shape, array.dtype) for allocate in (np.empty, memory.empty) for _ in range(8)
        ]
        for each in garbage:
            each.fill(value)
        del garbage, each


def _read_only(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _transposed(array: np.ndarray) -> np.ndarray:
    return array.copy(order="F")


def _strided(array: np.ndarray) -> np.ndarray:
    """Every second element of an array that holds the largest number in between.

    Not backwards: PyTorch, whose functions people check, has no negative strides.
    """
    if array.ndim == 0:
        return array.copy()
    filler = np.finfo(array.dtype).max if array.dtype.kind == "f" else 0
    wide = np.full([2 * n for n in array.shape], filler, array.dtype)
    view = wide[(slice(None, None, 2),) * array.ndim]
    view[...] = array
    return view
