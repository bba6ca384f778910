"""One test for all kernels of an operation, on every device that needs no GPU."""

from __future__ import annotations

import pytest

from minialex.kernels import list_kernels


def every_algorithm(operation: str, *, only: tuple[str, ...] | None = None, device: str | None = None):
    """Run a test once for each kernel of an operation.

    Its argument ``algorithm`` holds the keywords with which `minialex.kernels.find_kernel` finds the kernel.
    Those of device ``cuda-host`` are marked ``needs_gxx``.

    Parameters
    ----------
    operation : str
        All of its directions should have the same algorithms: ``"max_pool2d"``. Or one direction, such as
        ``"relu.forward"``.
    only : tuple of str, optional
        The names of the algorithms to keep.
    device : str, optional
        The only device to keep.

    Returns
    -------
    A decorator

    Examples
    --------
    >>> @every_algorithm("max_pool2d")
    ... def test_the_largest_wins(algorithm):
    ...     pool = find_kernel("max_pool2d.forward", **algorithm)
    """
    found = sorted({(entry.device, entry.algorithm) for entry in list_kernels(operation)})
    return pytest.mark.parametrize(
        "algorithm",
        [
            pytest.param(
                {"algo": algorithm, "device": where},
                id=f"{where}-{algorithm}",
                marks=[pytest.mark.needs_gxx] if where == "cuda-host" else [],
            )
            for where, algorithm in found
            if where != "cuda" and device in (None, where) and (only is None or algorithm in only)
        ],
    )
