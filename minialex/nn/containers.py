"""Modules that hold others: in a row, in a list, in a dictionary."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from minialex.nn.module import Module
from minialex.tensor import Tensor


class _Row(Module):
    """Modules in an order, named by their numbers unless somebody names them."""

    def _required(self, name, module) -> Module:
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__} takes modules; {name} is of type {type(module).__name__}")
        return module

    def _set(self, named: Iterable[tuple[str, Module]]) -> None:
        given = list(named)
        for name, module in given:
            self._required(name, module)
        self._modules = dict(given)

    def _replaced(self, modules: list[Module], names: list[str]) -> None:
        """Take other modules; numbers stay numbers, in order."""
        if all(name.isdigit() for name in names):
            names = [str(i) for i in range(len(modules))]
        self._set(zip(names, modules, strict=True))

    def _new_name(self) -> str:
        number = len(self._modules)
        while str(number) in self._modules:
            number += 1
        return str(number)

    def _place(self, index: int) -> int:
        length, i = len(self._modules), operator.index(index)
        if not -length <= i < length:
            raise IndexError(f"index must be from {-length} to {length - 1}, not {i}")
        return i % length

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __setitem__(self, index: int, module: Module) -> None:
        name = list(self._modules)[self._place(index)]
        self._modules[name] = self._required(name, module)

    def __delitem__(self, index: int | slice) -> None:
        modules, names = list(self._modules.values()), list(self._modules)
        place = index if isinstance(index, slice) else self._place(index)
        del modules[place], names[place]
        self._replaced(modules, names)

    def append(self, module: Module) -> Self:
        """Add a module at the end; its name is its number."""
        name = self._new_name()
        self._modules[name] = self._required(name, module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        for i, module in enumerate(given := list(modules)):
            self._required(i, module)
        for module in given:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Add a module before that of a number; the numbers of those behind it grow."""
        modules, names = list(self._modules.values()), list(self._modules)
        length = len(modules)
        if not -length <= operator.index(index) <= length:
            raise IndexError(f"index must be from {-length} to {length}, not {index}")
        name = self._new_name()
        modules.insert(index, self._required(name, module))
        names.insert(index, name)
        self._replaced(modules, names)
        return self

    def pop(self, index: int = -1) -> Module:
        """Take a module out."""
        module = list(self._modules.values())[self._place(index)]
        del self[index]
        return module


class Sequential(_Row):
    """Modules applied one after the other, given in order or as a dictionary of names.

    A slice is a network of the same class with the same modules and names, if the class has no constructor of
    its own; else it is a `Sequential`.
    """

    def __init__(self, *modules: Module | dict[str, Module]):
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], dict):
            self._set(modules[0].items())
        else:
            self._set((str(i), module) for i, module in enumerate(modules))  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        for module in self._modules.values():
            x = module(x)
        return x

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            kind = type(self) if type(self).__init__ is Sequential.__init__ else Sequential
            return kind(dict(list(self._modules.items())[index]))
        return list(self._modules.values())[self._place(index)]


class ModuleList(_Row):
    """A list whose modules are trained, moved and saved with the module it is an attribute of.

    Parameters
    ----------
    modules : iterable of Module, optional
    """

    def __init__(self, modules: Iterable[Module] | None = None):
        super().__init__()
        self._set((str(i), module) for i, module in enumerate(modules or ()))

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return list(self._modules.values())[self._place(index)]

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __add__(self, modules: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *modules])


class ModuleDict(Module):
    """A dictionary whose modules are trained, moved and saved with the module it is an attribute of.

    Parameters
    ----------
    modules : mapping or iterable of pairs, optional
        Modules by their names, words without a dot.
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None):
        super().__init__()
        self.update(modules or {})

    def __getitem__(self, key: str) -> Module:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"ModuleDict takes modules; {key} is of type {type(module).__name__}")
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key) -> bool:
        return key in self._modules

    def keys(self):
        """The names."""
        return self._modules.keys()

    def values(self):
        """The modules."""
        return self._modules.values()

    def items(self):
        """Pairs of name and module."""
        return self._modules.items()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules, or put them in the places of those that have their names."""
        pairs: Any = modules.items() if isinstance(modules, Mapping | ModuleDict) else modules
        for key, module in pairs:
            self[key] = module

    def pop(self, key: str) -> Module:
        """Take a module out."""
        return self._modules.pop(key)

    def clear(self) -> None:
        """Take all modules out."""
        self._modules.clear()
