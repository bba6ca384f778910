"""Modules of CUDA kernels that run on the CPU, called as CuPy's are."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minialex.checks import require_int
from minialex.errors import DeviceError, KernelError
from minialex.kernels.cuda_host import compiler, instrumentation, source
from minialex.kernels.cuda_host.arguments import DTYPES, CParameter, Parameter
from minialex.kernels.cuda_host.limits import MAX_BLOCK, MAX_GRID, MAX_THREADS, three_axes
from minialex.kernels.runtime.threads import num_threads

MAX_SHARED_BYTES = 227 * 1024
"""The most dynamic shared memory that a block may have on any GPU so far (sm_90, sm_100)."""


_GLOBAL_DTYPES = {**DTYPES, "pointer": np.dtype(np.uintp)}


class _CKernel(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("parameter_names", ctypes.c_char_p),
        ("parameters", ctypes.POINTER(CParameter)),
        ("parameter_count", ctypes.c_int),
        ("launch_bound", ctypes.c_int),
        ("run", ctypes.c_void_p),
        ("library", ctypes.c_void_p),
        ("code_begin", ctypes.c_void_p),
        ("code_end", ctypes.c_void_p),
        ("file", ctypes.c_char_p),
        ("line", ctypes.c_int),
    )


@dataclass(frozen=True)
class GlobalVariable:
    """A ``__device__`` or ``__constant__`` variable, as the compiler laid it out.

    Attributes
    ----------
    name : str
    address : int
    dtype : numpy.dtype
        Of the elements; uint8 where they are structures.
    shape : tuple of int
        As declared, with an axis for the elements of a vector or the bytes of a structure.
    bytes, element_bytes : int
        Of the whole, and of what the source has as an element.
    constant, read_only : bool
        Whether it is in constant memory, and whether it is declared const.
    """

    name: str
    address: int
    dtype: np.dtype
    shape: tuple[int, ...]
    bytes: int
    element_bytes: int
    constant: bool
    read_only: bool


class _CGlobal(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
        ("element", ctypes.c_char_p),
        ("constant", ctypes.c_int),
        ("read_only", ctypes.c_int),
        ("bytes", ctypes.c_uint64),
        ("element_bytes", ctypes.c_uint64),
        ("rank", ctypes.c_int),
        ("extents", ctypes.c_uint64 * 8),
    )


class _CFailure(ctypes.Structure):
    _fields_ = (("place", ctypes.c_uint64), ("message", ctypes.c_char * 4096))


class Module:
    """The kernels of a CUDA source: ``module["name"]``. Made by `load`.

    Attributes
    ----------
    names : tuple of str
        The kernels, in the order of the source; those in a namespace as ``"space::name"``.
    global_names : tuple of str
        The ``__device__`` and ``__constant__`` variables, for `get_global`.
    build : compiler.Build
        What was compiled, and how.
    file : Path
        The shared library.
    library : ctypes.CDLL
        The library, loaded.
    """

    def __init__(self, build: compiler.Build):
        self.build = build
        self.file = compiler.kernel_library(build)
        runtime = None if build.checked else _runtime()
        self.library = ctypes.CDLL(str(self.file))
        self._launch = (runtime or self.library).minialex_launch
        self._launch.argtypes = (
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_uint64,
            ctypes.c_uint32,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_void_p,
        )
        self._flush_to_zero = compiler.read_options(build.options).flush_to_zero
        self._kernels = {}
        for entry in self._entries(source.KERNELS_SYMBOL, _CKernel):
            kernel = Kernel(self, entry)
            self._kernels[kernel.name] = kernel
        self.names = tuple(self._kernels)
        variables = map(_global_variable, self._entries(source.GLOBALS_SYMBOL, _CGlobal))
        self._globals = {variable.name: variable for variable in variables}
        self.global_names = tuple(self._globals)

    def _entries(self, table: str, structure):
        address = ctypes.addressof(ctypes.c_char.in_dll(self.library, table))
        while True:
            entry = structure.from_address(address)
            if not entry.name:
                return
            yield entry
            address += ctypes.sizeof(structure)

    def __getitem__(self, name: str) -> Kernel:
        """A kernel.

        Raises
        ------
        KernelError
            If there is none of that name.
        """
        if name not in self._kernels:
            raise KernelError(f"{self.build.where} has no kernel {name!r}; it has {', '.join(self.names)}")
        return self._kernels[name]

    def get_global(self, name: str) -> np.ndarray:
        """A ``__device__`` or ``__constant__`` variable, as an array that shares its memory.

        Kernels read what is written to it from then on, and the reverse. Modules of the same source
        and options share their variables; `check` works on copies, as it does with arrays.

        Parameters
        ----------
        name : str
            As in the source, with its namespaces: ``"space::name"``.

        Returns
        -------
        numpy.ndarray
            Of the shape that the source declares, ``()`` for a single number. Vectors such as float4 add an
            axis of their elements. Pointers are np.uintp; structures are an axis of their bytes, np.uint8.
            Read-only if the variable is declared ``const``.

        Raises
        ------
        KernelError
            If there is none of that name.
        """
        variable = self.global_variable(name)
        buffer = (ctypes.c_char * variable.bytes).from_address(variable.address)
        array = np.frombuffer(memoryview(buffer), variable.dtype).reshape(variable.shape)
        array.flags.writeable = not variable.read_only
        return array

    def global_variable(self, name: str) -> GlobalVariable:
        """What is known about a ``__device__`` or ``__constant__`` variable.

        Raises
        ------
        KernelError
            If there is none of that name.
        """
        if name not in self._globals:
            there = ", ".join(self._globals) or "none"
            raise KernelError(
                f"{self.build.where} has no __device__ or __constant__ variable {name!r}; it has {there}"
            )
        return self._globals[name]

    def __repr__(self) -> str:
        return f"<cuda-host module {self.build.where}: {', '.join(self.names)}>"


class Kernel:
    """A kernel of a module, called as ``kernel(grid, block, args)``. Taken from a `Module`.

    Attributes
    ----------
    name : str
    module : Module
    parameters : list of (str or None, str)
        The name, if the source gives one, and the type of each parameter, such as ``("x", "const float*")``.
    signature : tuple of Parameter
        The same, with everything that is known about them.
    launch_bound : int or None
        The most threads of a block, if the kernel declares that.
    defined : tuple of str and int
        The file and the line of its definition.
    """

    def __init__(self, module: Module, entry: _CKernel):
        self.module, self.name = module, entry.name.decode()
        self._entry = entry
        count = entry.parameter_count
        names = entry.parameter_names.decode().split(",")
        if len(names) != count:
            names = [None] * count
        self.signature = tuple(
            Parameter.read(name or None, entry.parameters[i])
            for i, name in zip(range(count), names, strict=True)
        )
        self._slot_count = sum(parameter.slots for parameter in self.signature)
        self.parameters = [(parameter.name, parameter.type) for parameter in self.signature]
        self.launch_bound = entry.launch_bound or None
        self.defined = (entry.file.decode(), entry.line)

    def __call__(self, grid, block, args, *, shared_mem: int = 0) -> None:
        """Run the kernel for all threads of a grid, and return when they have ended.

        Parameters
        ----------
        grid, block : int or tuple of up to three int
            Blocks of the grid, threads of a block.
        args : tuple
            One for each parameter. For a pointer a C-contiguous NumPy array of its exact type, or None for a
            null pointer; for a scalar a NumPy scalar of its exact type, such as ``np.float32(2)``; for a
            vector such as float3 an array of shape (3,), or a structured scalar; for another structure a
            structured scalar of its size.
        shared_mem : int
            Bytes of dynamic shared memory (``extern __shared__``).

        Raises
        ------
        KernelError
            If the grid, the block or an argument is not what CUDA or the kernel allows; nothing has run.
            Or if the kernel fails: threads wait for each other forever, a warp operation is wrong, an
            assertion does not hold, the processor refuses an access or a division. The contents of its
            arrays are then undefined.
        """
        grid = three_axes(f"{self.name}: grid", grid, MAX_GRID)
        block = three_axes(f"{self.name}: block", block, MAX_BLOCK)
        self._check_threads(block)
        shared_mem = require_int(
            f"{self.name}: shared_mem", shared_mem, 0, MAX_SHARED_BYTES, error=KernelError
        )
        slots = self._slots(args)
        failure = _CFailure()
        failed = self.module._launch(
            ctypes.addressof(self._entry),
            slots,
            (ctypes.c_uint32 * 3)(*grid),
            (ctypes.c_uint32 * 3)(*block),
            shared_mem,
            num_threads(),
            self.module._flush_to_zero,
            self.module.build.sanitize is None,  # a sanitizer says more about a fault
            ctypes.byref(failure),
        )
        if failed:
            where = self._where(failure.place) if failure.place else ""
            raise KernelError(f"{self.name}: {failure.message.decode(errors='replace')}{where}")

    def _where(self, place: int) -> str:
        """The end of a message: the line of a return address, given as an offset into the library."""
        try:
            found = instrumentation.places(self.module.file, [place])[place]
        except DeviceError as error:
            return f" (in no known line: {error})"
        if found.line == 0 or found.is_in_runtime:  # what the compiler puts before the first line
            return f", in the kernel at {self.defined[0]}:{self.defined[1]}"
        return f", at {found.file}:{found.line}"

    def _check_threads(self, block: tuple[int, int, int]) -> None:
        threads = block[0] * block[1] * block[2]
        if threads > MAX_THREADS:
            raise KernelError(
                f"{self.name}: block={block} has {threads} threads; a block has {MAX_THREADS} at most"
            )
        if self.launch_bound is not None and threads > self.launch_bound:
            raise KernelError(
                f"{self.name}: block={block} has {threads} threads; the kernel declares "
                f"__launch_bounds__({self.launch_bound})"
            )

    def _slots(self, args):
        """The arguments as the executor takes them: each in as many words of eight bytes as it needs."""
        if not isinstance(args, tuple | list):
            raise KernelError(f"{self.name}: args must be a tuple, not {type(args).__name__}")
        if len(args) != len(self.signature):
            raise KernelError(
                f"{self.name}: {len(args)} arguments were given; it takes {len(self.signature)}: "
                f"({', '.join(map(str, self.signature))})"
            )
        slots = (ctypes.c_uint64 * self._slot_count)()
        at = 0
        for number, (value, parameter) in enumerate(zip(args, self.signature, strict=True)):
            problem = parameter.problem(value)
            if problem:
                raise KernelError(f"{self.name}: argument {number} ({parameter}): {problem}")
            if parameter.slots > 1:
                ctypes.memmove(ctypes.byref(slots, 8 * at), value.tobytes(), parameter.bytes)
            elif not parameter.pointer:
                slots[at] = int.from_bytes(value.tobytes().ljust(8, b"\0"), "little")
            elif value is not None:
                slots[at] = value.__array_interface__["data"][0]
            at += parameter.slots
        return slots

    def __repr__(self) -> str:
        return f"<cuda-host kernel {self.name}({', '.join(map(str, self.signature))})>"


def load(
    path=None,
    *,
    source_text: str | None = None,
    options: tuple[str, ...] = (),
    instances: tuple[str, ...] = (),
    checked: bool = False,
    sanitize: str | None = None,
) -> Module:
    """Compile a CUDA source for the CPU, or take it from the cache.

    Parameters
    ----------
    path : str or path-like, optional
        The ``.cu`` file.
    source_text : str, optional
        The source itself, instead of a file.
    options : tuple of str
        As of NVRTC: ``-DNAME=VALUE``, ``-Ifolder``, ``-std=c++17``, ``-ftz=false`` to keep subnormal numbers,
        ``-fmad=false`` to keep products and sums apart, ``-arch=sm_90`` (or ``--gpu-architecture=sm_90``) for
        the GPU that ``__CUDA_ARCH__`` names; sm_75 unless it is given, as with NVRTC 13.
    instances : tuple of str
        Kernels from templates, by the expressions that name them: ``"scale<float>"``.
    checked : bool
        Whether to compile it with instrumentation, for `minialex.kernels.cuda_host.check`.
    sanitize : str, optional
        ``"address"`` or ``"undefined"``: with that sanitizer of g++. The process must have been started with
        the sanitizer's library preloaded.

    Returns
    -------
    Module

    Raises
    ------
    DeviceError
        If there is no compiler.
    KernelError
        If the file cannot be read, or the source does not compile; the message has the compiler's.
    """
    if (path is None) == (source_text is None):
        raise KernelError("load takes either the path of a .cu file or source_text")
    if isinstance(options, str) or isinstance(instances, str):
        raise KernelError("load: options and instances must be tuples of str")
    if sanitize not in (None, "address", "undefined") or (checked and sanitize):
        raise KernelError(
            f"sanitize must be 'address', 'undefined' or None, and None with checked, not {sanitize!r}"
        )
    if path is not None:
        path = Path(path).absolute()
        try:
            source_text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise KernelError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return Module(
        compiler.Build(source_text or "", path, tuple(options), tuple(instances), bool(checked), sanitize)
    )


_runtimes: dict[str, ctypes.CDLL] = {}


def _runtime() -> ctypes.CDLL:
    """The library with the executor, loaded once: libraries of kernels find it by its name."""
    path = compiler.runtime_library()
    if path.name not in _runtimes:
        _runtimes[path.name] = ctypes.CDLL(str(path))
    return _runtimes[path.name]


def _global_variable(entry: _CGlobal) -> GlobalVariable:
    dtype = _GLOBAL_DTYPES[entry.element.decode()] if entry.element else np.dtype(np.uint8)
    shape = tuple(entry.extents[: entry.rank])
    if entry.element_bytes != dtype.itemsize:
        shape += (entry.element_bytes // dtype.itemsize,)
    return GlobalVariable(
        entry.name.decode(),
        entry.address,
        dtype,
        shape,
        entry.bytes,
        entry.element_bytes,
        bool(entry.constant),
        bool(entry.read_only),
    )
