"""A pair of CUDA kernels, forward and backward, against numerical derivatives: `check_cuda`.

Before derivatives are compared, the launches themselves are looked at, with each size of block:

1. under the checker of `minialex.kernels.cuda_host`: races, accesses out of bounds, unwritten memory read;
2. whether every element of the results is written, and no input is changed;
3. whether the results are the same for each size of block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from minialex.availability import require_device
from minialex.checking.cuda.arguments import CudaKernel, Names, Part, Role
from minialex.checking.cuda.launches import Pair
from minialex.checking.cuda.source import Source
from minialex.checking.gradients.arguments import choose_inputs, prepare_inputs
from minialex.checking.gradients.rewording import reworded
from minialex.checking.gradients.vjp import check_vjp
from minialex.checking.report import Report
from minialex.checking.reproduction import Deferred, array_lines
from minialex.checks import in_words, is_int, require_choice, require_int
from minialex.errors import MiniAlexError

# Sizes that reach beyond the end of most arrays, each differently; not all of them are powers of two.
BLOCKS = (256, 96, 32)
# Up to this many characters, a source is written into the lines that reproduce a check.
_PRINTED = 4000
_STREAM = 5
_ATOMICS = "it has atomic functions, whose sums have no fixed order; allow for that with nondeterminism="

Arrays = Mapping[str, np.ndarray] | Sequence[np.ndarray] | np.ndarray
Kernels = str | CudaKernel | Sequence[str | CudaKernel]


def check_cuda(
    source: str | Path,
    forward: Kernels,
    backward: Kernels,
    inputs: Arrays,
    outputs: Mapping[str, Sequence[int]] | Sequence[Sequence[int]],
    *,
    parameters: Mapping[str, float] | Sequence[float] = (),
    saved: Mapping[str, Sequence[int]] | Sequence[Sequence[int]] = (),
    scratch: Mapping[str, Sequence[int]] | None = None,
    threads: int | None = None,
    blocks: Sequence[int] = BLOCKS,
    zeroed: Sequence[str] = (),
    gradients: Mapping[str, str] | None = None,
    real: str | None = None,
    dtype=None,
    flags: Sequence[str] = (),
    device: str = "cuda-host",
    wrt: Sequence[int | str] | None = None,
    seed: int = 0,
    name: str | None = None,
    reproduce: str | None = None,
    **options,
) -> Report:
    """Check that one CUDA kernel computes the gradients of another, and that both are well behaved.

    Parameters
    ----------
    source : str or path
        The ``.cu`` file; or the source itself, if it has more than one line.
    forward, backward : str, CudaKernel, or sequence of them
        The kernels, by name; several are launched one after another. `CudaKernel` says how one is launched
        where that differs from the others.
    inputs : dict or sequence of array
        What forward reads. Arrays of float32 and float64 are converted to the type that the kernels declare
        and are differentiated; those of integers and booleans are passed on, in exactly the declared type.
    outputs : dict or sequence of shape
        The arrays that forward writes, of the same type; each is differentiated.
    parameters : dict or sequence of numbers
        Those that the kernels take by value, converted to the declared types; None for a null pointer.
    saved : dict or sequence of shape
        Arrays that forward writes for backward, of any type: a maximum's position, a mean.
    scratch : dict of shape, optional
        Arrays that the kernels of one direction write for each other, of any type.
    threads : int
        How many threads a launch has at least: the grid follows for each size of block.
    blocks : sequence of int
        The sizes of block to try; (256, 96, 32), as far as a kernel's ``__launch_bounds__`` allow it.
    zeroed : sequence of str
        Names of parameters whose arrays (outputs, saved and scratch arrays, gradients) the caller fills with
        zeros before the launch, as kernels that add to them need.
    gradients : dict of str to str, optional
        For names of parameters of backward from which it does not show whose gradient they are: gy, grad_y,
        dy, y_grad and their like are that of y.
    real : str, optional
        The macro that the source has for its type, such as ``"T"``: it is compiled with ``#define T double``
        before it, for a check in float64.
    dtype : float64 or float32, optional
        The type of the kernels, which is asked of their declarations. float32 is a weak check, and is
        reported as one.
    flags : sequence of str
        For the compiler, as of `minialex.kernels.cuda_host.load`: ``"-DN=3"``, ``"-Iinclude"``.
    device : "cuda-host" or "cuda"
        Where the values are computed: on the processor, or by CuPy on a GPU. The launches are looked at on
        the processor either way, which needs g++.
    wrt : sequence of int or str, optional
        The inputs to differentiate, by position or name; all floating-point ones if not given.
    seed, name, reproduce
        As of `check_vjp`.
    **options
        The others of `check_vjp`, but for ``method``, ``branches`` and ``redraw``.

    Returns
    -------
    Report

    Raises
    ------
    GradcheckError
        If a check fails. Besides those of `check_vjp` there are the kinds of finding of
        `minialex.kernels.cuda_host.check` (``"race"``, ``"out-of-bounds"``, ``"uninitialised"``, ...),
        ``"unwritten"``, and ``"block size"``, where the results depend on it.
    MiniAlexError
        If an argument is not as described, or does not fit what the kernels declare.
    DeviceError
        If there is no g++, or no GPU for ``device="cuda"``.

    Notes
    -----
    Arguments are matched to the kernels' parameters by name if they are given as dictionaries, else by
    position: in forward inputs, outputs, saved and parameters; in backward upstream gradients, inputs,
    outputs (if it takes them), saved, gradients and parameters.
    """
    require_int("seed", seed, 0)
    for option in ("method", "branches", "redraw"):
        if option in options:
            raise MiniAlexError(f"check_cuda has no option {option}: CUDA kernels are compared as they are")
    require_choice("device", device, ("cuda-host", "cuda"))
    require_device("cuda-host")
    given = {"outputs": outputs, "parameters": parameters, "saved": saved, "scratch": scratch}
    given |= {"threads": threads, "blocks": blocks, "zeroed": zeroed, "gradients": gradients, "real": real}
    given |= {"flags": flags, "device": device, "wrt": wrt, "seed": seed}
    names, given_arrays = _named(inputs, outputs, saved, scratch or {}, parameters, gradients)
    launches = _launches("forward", forward, threads), _launches("backward", backward, threads)
    blocks = _block_sizes(blocks, [*launches[0], *launches[1]])
    kernels = dict.fromkeys(launch.name for group in launches for launch in group)
    code = Source(source, tuple(flags), real, tuple(kernels))
    dtype = code.dtype(dtype, launches[0])
    prepared = prepare_inputs(given_arrays, dtype, "inputs")
    chosen = choose_inputs(_positions(wrt, names.inputs), prepared)
    floating = [i for i, array in enumerate(prepared) if array.dtype.kind == "f"]
    names = replace(
        names,
        floating=tuple(names.inputs[i] for i in floating),
        differentiated=tuple(names.inputs[i] for i in chosen),
    )
    arrays = dict(zip(names.inputs, prepared, strict=True))
    name = name or f"{launches[0][0].name} and {launches[1][0].name}"
    given |= {"dtype": dtype.name, **options}
    kept = {key: array.copy() for key, array in arrays.items()}
    text = reproduce or Deferred(lambda: _reproduction(source, forward, backward, kept, names.by_name, given))
    shapes = _shapes(Part.OUTPUT, outputs, names.outputs) | _shapes(Part.SAVED, saved, names.saved)
    shapes |= _shapes(Part.SCRATCH, scratch or {}, names.scratch)
    values = dict(zip(names.parameters, _listed(parameters), strict=True))
    zeroed = (zeroed,) if isinstance(zeroed, str) else tuple(zeroed)
    pair = Pair(code.module(dtype), names, launches, dtype, shapes, values, zeroed, name, text)
    sizes = [size for size in blocks if pair.allows(size)] or [min(blocks)]
    pair.look_at(arrays, sizes, np.random.default_rng([seed, _STREAM]), options.get("nondeterminism", 0.0))
    run = pair.on_gpu(code, dtype) if device == "cuda" else pair.run

    def results(*values):
        found = pair.forward(dict(zip(names.inputs, values, strict=True)), sizes[0], run)
        outputs = tuple(found[Role(Part.OUTPUT, each)] for each in names.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def vjp(upstream, *values):
        upstreams = (upstream,) if len(names.outputs) == 1 else upstream
        found = pair.backward(dict(zip(names.inputs, values, strict=True)), upstreams, sizes[0], run)
        return tuple(found.get(Role(Part.GRADIENT, each)) for each in names.inputs)

    words = {}
    if "atomic" in code.text(dtype):
        words["seed its random numbers; it may read memory that nothing has written"] = _ATOMICS
    if names.by_name:
        words[r"\binput (\d+)"] = lambda match: f"input {names.inputs[int(match[1])]}"
    kernel = f"{device}, {_sizes_in_words(sizes) if pair.takes_blocks else 'as launched'}"
    common = {"dtype": dtype, "seed": seed, "name": name, "kernel": kernel, "reproduce": text}
    with reworded(words):
        return check_vjp(results, vjp, prepared, wrt=chosen, **common, **options)


def _sizes_in_words(sizes: Sequence[int]) -> str:
    *first, last = map(str, sizes)
    return f"blocks of {', '.join(first)}{' and ' if first else ''}{last} threads"


# What was given


def _named(inputs, outputs, saved, scratch, parameters, gradients) -> tuple[Names, list]:
    """What everything is called, and the inputs."""
    if isinstance(inputs, np.ndarray | np.generic):
        inputs = [inputs]
    groups = {
        "inputs": inputs,
        "outputs": outputs,
        "saved": saved,
        "scratch": scratch,
        "parameters": parameters,
    }
    for what, group in groups.items():
        if not isinstance(group, Mapping | Sequence) or isinstance(group, str):
            raise MiniAlexError(f"{what} must be a dictionary or a sequence, not {in_words(group)}")
    # An empty one is of neither kind.
    by_name = {what: isinstance(group, Mapping) for what, group in groups.items() if len(group)}
    if len(set(by_name.values())) > 1:
        kinds = ", ".join(f"{what} is a {'dictionary' if d else 'sequence'}" for what, d in by_name.items())
        raise MiniAlexError(f"all of them must be dictionaries, or all sequences: {kinds}")
    if not len(inputs) or not len(outputs):
        raise MiniAlexError("inputs and outputs must hold one array or more")
    named = by_name["inputs"]
    if gradients is not None and not named:
        raise MiniAlexError("gradients= names parameters: give inputs, outputs and parameters by name, too")
    if named:
        keys = {what: tuple(group) for what, group in groups.items()}
        every = [name for group in keys.values() for name in group]
        twice = sorted({name for name in every if every.count(name) > 1})
        if twice:
            raise MiniAlexError(
                f"{', '.join(twice)} stands in two of inputs, outputs, saved, scratch and parameters; a "
                "kernel that works in place cannot be checked, as backward needs what it overwrites"
            )
        whose = gradients or {}
        for parameter, of in whose.items():
            if of not in (*keys["inputs"], *keys["outputs"]):
                raise MiniAlexError(
                    f"gradients={{{parameter!r}: {of!r}}}: there is no input or output {of!r}"
                )
    else:
        keys = {what: tuple(map(str, range(len(group)))) for what, group in groups.items()}
        whose = {}
    return Names(*keys.values(), named, whose), _listed(inputs)


def _listed(given) -> list:
    return list(given.values() if isinstance(given, Mapping) else given)


def _launches(what: str, given: Kernels, threads: int | None) -> tuple[CudaKernel, ...]:
    several = given if isinstance(given, list | tuple) else [given]
    kernels = [CudaKernel(each) if isinstance(each, str) else each for each in several]
    if not kernels or not all(
        isinstance(each, CudaKernel) and isinstance(each.name, str) for each in kernels
    ):
        raise MiniAlexError(
            f"{what} must be a kernel's name, a CudaKernel, or a sequence of them, not {in_words(given)}"
        )
    found = []
    for each in kernels:
        if (each.grid is None) != (each.block is None) or (each.threads and each.grid):
            raise MiniAlexError(f"{each.name}: give threads, or grid and block")
        if each.grid is None and each.threads is None:
            if threads is None:
                raise MiniAlexError(
                    f"{what} {each.name}: how is it launched? Give threads=, the number of threads that it "
                    "needs, or CudaKernel(name, grid=..., block=...)"
                )
            each = replace(each, threads=threads)
        if each.threads is not None:
            require_int("threads", each.threads, 1)
        found.append(each)
    return tuple(found)


def _block_sizes(given, launches: Sequence[CudaKernel]) -> tuple[int, ...]:
    if not isinstance(given, Sequence) or not given or not all(is_int(size, 1, 1024) for size in given):
        raise MiniAlexError(f"blocks must be a sequence of integers from 1 to 1,024, not {in_words(given)}")
    # Where each launch states its grid and block, there is only one way to launch.
    return tuple(given) if any(each.threads is not None for each in launches) else (given[0],)


def _positions(wrt, names: Sequence[str]):
    """What to differentiate, by position; unknown names stay, to be refused with the rest."""
    if wrt is None:
        return None
    return [names.index(each) if each in names else each for each in ([wrt] if isinstance(wrt, str) else wrt)]


def _shapes(part: Part, given, names: Sequence[str]) -> dict[Role, tuple[int, ...]]:
    found = {}
    for name, shape in zip(names, _listed(given), strict=True):
        shape = (shape,) if is_int(shape, 0) else shape
        if not isinstance(shape, Sequence) or not all(is_int(n, 0) for n in shape):
            raise MiniAlexError(f"{Role(part, name)} must be a shape, such as (3, 4), not {in_words(shape)}")
        found[Role(part, name)] = tuple(map(int, shape))
    return found


# To reproduce it


def _reproduction(source, forward, backward, inputs: Mapping[str, np.ndarray], by_name: bool, options) -> str:
    def launched(given) -> str:
        if isinstance(given, str | CudaKernel):
            return repr(given)
        return f"[{', '.join(map(launched, given))}]"

    text, lines = repr(str(source)), []
    if "\n" in str(source):
        text = "source"
        whole = len(source) <= _PRINTED and "'''" not in source
        lines = [f"source = r'''{source}'''" if whole else "# source: the text as it was passed"]
    kernels = f"{launched(forward)}, {launched(backward)}"
    if "CudaKernel(" in kernels:
        lines.append("from minialex.checking import CudaKernel")
    names = [f"x{i}" for i in range(len(inputs))]
    arrays = ", ".join(f"{key!r}: {x}" for key, x in zip(inputs, names, strict=True)) if by_name else ""
    arrays = f"{{{arrays}}}" if by_name else f"[{', '.join(names)}]"
    usual = {"blocks": BLOCKS, "device": "cuda-host"}
    written = {
        key: value
        for key, value in options.items()
        if value is not None
        and value != usual.get(key)
        and not (isinstance(value, tuple | list) and not value)
    }
    shapes = written.pop("outputs")
    rest = "".join(f", {key}={value!r}" for key, value in written.items())
    lines = ["import numpy as np", "import minialex as ma", *lines, *array_lines(list(inputs.values()))]
    return "\n".join([*lines, f"ma.check_cuda({text}, {kernels}, {arrays}, {shapes!r}{rest})"])
