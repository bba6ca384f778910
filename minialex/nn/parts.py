"""The parts of a network that a reader follows: its modules, with plain sequences opened.

Of AlexNet these are its layers, of ResNet its first layers and then its blocks: what stands in a figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from minialex.nn.containers import ModuleDict, ModuleList, Sequential
from minialex.nn.module import Module


def named_parts(network: Module) -> Iterator[tuple[str, Module]]:
    """The parts with their dotted names, in the order in which they were assigned; a shared one once.

    A module without modules of its own is its only part.
    """
    found = list(_opened(network, ""))
    yield from found or [("", network)]


def named_layers(network: Module) -> Iterator[tuple[str, Module]]:
    """The modules without modules of their own, with their dotted names."""
    for name, module in network.named_modules():
        if is_layer(module):
            yield name, module


def is_layer(module: Module) -> bool:
    """Whether a module has no modules of its own."""
    return not any(True for _ in module.children())


def is_plain_sequence(module: Module) -> bool:
    """Whether a module only applies others in a row; a subclass with a forward of its own does more."""
    return isinstance(module, Sequential) and type(module).forward is Sequential.forward


def _is_never_called(module: Module) -> bool:
    """Whether a module only holds others."""
    return isinstance(module, ModuleList | ModuleDict)


def _opened(module: Module, prefix: str) -> Iterator[tuple[str, Module]]:
    for name, child in module.named_children():
        below = f"{prefix}.{name}" if prefix else name
        if (is_plain_sequence(child) or _is_never_called(child)) and not is_layer(child):
            yield from _opened(child, below)
        else:
            yield below, child


@contextmanager
def outputs_seen(
    modules: Iterable[tuple[str, Module]], see: Callable[[str, Module, Any], None]
) -> Iterator[None]:
    """Call ``see(name, module, output)`` after each run of one of the modules in the block."""
    hooks = [
        module.register_forward_hook(lambda m, _, output, name=name: see(name, m, output))
        for name, module in modules
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
