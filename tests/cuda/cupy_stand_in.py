"""An in-memory stand-in for CuPy: the few calls that the project makes, with CuPy's own refusals.

Its arrays are NumPy arrays in a wrapper that NumPy cannot look into, as it cannot look into a GPU; its
`RawModule` gives the kernels to `minialex.kernels.cuda_host`. So all that stands between a tensor and a
kernel of device ``cuda`` runs here, and a call that CuPy does not have, or would refuse, fails.
"""

from __future__ import annotations

import operator
import sys
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np

from minialex.kernels import cuda_host

# What is passed through to NumPy's method of the name.
_METHODS = ("astype", "clip", "copy", "dot", "fill", "max", "mean", "ravel", "reshape", "sum", "transpose")
_ATTRIBUTES = ("dtype", "flags", "itemsize", "nbytes", "ndim", "shape", "size", "strides")
_OPERATORS = (
    "add",
    "sub",
    "mul",
    "truediv",
    "pow",
    "matmul",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "neg",
    "and",
    "or",
    "invert",
    "iadd",
    "isub",
    "imul",
    "itruediv",
)
_REFLECTED = ("add", "sub", "mul", "truediv", "pow")


class ndarray:
    """An array of GPU 0, as ``cupy.ndarray``."""

    # NumPy's functions refuse it; CuPy's arrays would let some of them through.
    __array_ufunc__ = None

    def __init__(self, shape, dtype=float, memptr=None, strides=None):
        if memptr is None:
            self._values, self.base = np.empty(shape, dtype), None
        else:
            whole = memptr.array._values
            self._values = np.ndarray(shape, dtype, whole.reshape(-1).view(np.uint8), memptr.offset, strides)
            self.base = memptr.array
        self.device = SimpleNamespace(id=0)

    @property
    def data(self):
        return MemoryPointer(self, 0)

    @property
    def T(self):
        return self.transpose()

    def get(self):
        return self._values.copy()

    def set(self, array):
        if not isinstance(array, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if array.dtype != self.dtype or array.shape != self.shape:
            raise TypeError("array of another dtype or shape")
        self._values[...] = array

    def item(self):
        return self._values.item()

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __getitem__(self, index):
        return _wrapped(self._values[index], self)

    def __setitem__(self, index, value):
        self._values[index] = _plain(value)

    def __len__(self):
        return len(self._values)

    def __bool__(self):
        return bool(self._values)

    def __float__(self):
        return float(self._values)


class MemoryPointer:
    """As ``cupy.cuda.MemoryPointer``."""

    def __init__(self, array, offset):
        self.array, self.offset = array, offset

    @property
    def ptr(self):
        return self.array._values.__array_interface__["data"][0] + self.offset

    def __add__(self, offset):
        return MemoryPointer(self.array, self.offset + offset)


def _plain(value):
    """What NumPy computes with: the values of an array, or a scalar. NumPy arrays do not mix with CuPy's."""
    if isinstance(value, ndarray):
        return value._values
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def _wrapped(values, base=None):
    """An array of the stand-in. CuPy has no scalars: they are arrays without axes."""
    if not isinstance(values, np.ndarray | np.generic):
        return values
    array = ndarray.__new__(ndarray)
    array._values = np.asarray(values)
    array.device = SimpleNamespace(id=0)
    shares = base is not None and np.may_share_memory(array._values, base._values)
    array.base = (base if base.base is None else base.base) if shares else None
    return array


def _method(name):
    def method(self, *arguments, **options):
        options = {key: _plain(value) for key, value in options.items()}
        return _wrapped(getattr(self._values, name)(*map(_plain, arguments), **options), self)

    return method


def _binary(name):
    function = getattr(operator, f"__{name}__")

    def method(self, *others):
        result = function(self._values, *map(_plain, others))
        return self if result is self._values else _wrapped(result)

    return method


def _reflected(name):
    function = getattr(operator, name)

    def method(self, other):
        return _wrapped(function(_plain(other), self._values))

    return method


for _name in _METHODS:
    setattr(ndarray, _name, _method(_name))
for _name in _ATTRIBUTES:
    setattr(ndarray, _name, property(operator.attrgetter(f"_values.{_name}")))
for _name in _OPERATORS:
    setattr(ndarray, f"__{_name}__", _binary(_name))
for _name in _REFLECTED:
    setattr(ndarray, f"__r{_name}__", _reflected(_name))


class CompileException(Exception):
    """As ``cupy.cuda.compiler.CompileException``."""


class RawModule:
    """As ``cupy.RawModule``: compiles when it is asked for a function; takes what CuPy takes."""

    made: ClassVar[list[RawModule]] = []

    def __init__(self, *, code: str, options: tuple = (), backend: str = "nvrtc"):
        if not (isinstance(code, str) and isinstance(options, tuple) and backend == "nvrtc"):
            raise TypeError("code should be a str, options a tuple")
        self.code, self.options, self.functions = code, options, []
        RawModule.made.append(self)

    def get_function(self, name: str) -> RawKernel:
        try:
            module = cuda_host.load(source_text=self.code, options=self.options)
        except Exception as error:
            raise CompileException(str(error)) from None
        self.functions.append(name)
        return RawKernel(module[name])


class RawKernel:
    """As ``cupy.RawKernel``."""

    launches: ClassVar[list[tuple]] = []

    def __init__(self, kernel):
        self.kernel = kernel

    def __call__(self, grid, block, args, *, shared_mem=0):
        if not all(isinstance(each, tuple) for each in (grid, block, args)):
            raise TypeError("grid, block and args are tuples")
        for argument in args:
            # CuPy takes Python's numbers, too, as 8 bytes, whatever the kernel declares.
            if not isinstance(argument, ndarray | np.generic):
                raise TypeError(f"Unsupported type {type(argument)}")
        RawKernel.launches.append((self.kernel.name, grid, block))
        self.kernel(grid, block, tuple(_plain(a) for a in args))


def _function(name):
    def function(*arguments, **options):
        return _wrapped(getattr(np, name)(*map(_plain, arguments), **options))

    return function


def _on_gpu(values, dtype=None, **options):
    return _wrapped(np.array(values._values if isinstance(values, ndarray) else values, dtype, **options))


def _broadcast_to(array, shape):
    return _wrapped(np.broadcast_to(array._values, shape), array)


def make() -> ModuleType:
    """A module to stand in ``sys.modules`` as ``cupy``."""
    cupy = ModuleType("cupy")
    cupy.ndarray, cupy.RawModule = ndarray, RawModule
    for name in ("empty", "zeros", "ones", "zeros_like", "ones_like", "sign", "sqrt"):
        setattr(cupy, name, _function(name))
    cupy.array = _on_gpu
    cupy.asarray = lambda array, **options: array if isinstance(array, ndarray) else _on_gpu(array, **options)
    cupy.broadcast_to = _broadcast_to
    cupy.may_share_memory = lambda a, b: np.may_share_memory(a._values, b._values)
    cupy.cuda = SimpleNamespace(
        Device=lambda: SimpleNamespace(id=0),
        compiler=SimpleNamespace(CompileException=CompileException),
        runtime=SimpleNamespace(memGetInfo=lambda: (8 * 2**30, 16 * 2**30)),
    )
    cupy.get_default_memory_pool = lambda: SimpleNamespace(free_bytes=lambda: 0)
    return cupy


def install(monkeypatch) -> ModuleType:
    """Let the device ``cuda`` run on the stand-in for the length of a test."""
    from minialex import availability
    from minialex.kernels.cuda import availability as gpu_availability
    from minialex.kernels.cuda import gpu, registration

    cupy = make()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(gpu_availability, "why_not_usable", lambda: None)
    monkeypatch.setattr(availability, "_found_usable", set())
    RawModule.made, RawKernel.launches = [], []
    for cached in (gpu.compiled, gpu._module, registration.cuda_device):
        cached.cache_clear()
    return cupy


def uninstall() -> None:
    """Forget what was compiled by the stand-in."""
    from minialex.kernels.cuda import gpu, registration

    for cached in (gpu.compiled, gpu._module, registration.cuda_device):
        cached.cache_clear()
