"""Functions called around a module: before its forward, after it, and with its gradients.

The names, the arguments and the order are those of ``torch.nn.Module``. A module without hooks never comes
here. For the gradients, the module's inputs and outputs pass through an operation that changes nothing: its
backward is where they are seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minialex.autograd import Operation
from minialex.errors import GraphError
from minialex.gradient_hooks import Hook
from minialex.tensor import Tensor


class Hooks:
    """The hooks of one module, in three dictionaries that keep the order of their calls."""

    def __init__(self):
        self.before: dict[int, tuple] = {}
        self.after: dict[int, tuple] = {}
        self.backward: dict[int, Callable] = {}


class Hooked:
    """What registers hooks, for `Module`."""

    _hooks: Hooks | None = None

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> Hook:
        """Call ``hook(module, args)`` before each forward.

        Parameters
        ----------
        hook : callable
            Returns None, or what takes the place of the arguments: a tuple, or one value.
        prepend : bool
            Whether to call it before the hooks that there are.
        with_kwargs : bool
            Call ``hook(module, args, kwargs)``, which returns None or a pair (args, kwargs).

        Returns
        -------
        Hook
            With a method ``remove``.
        """
        return _registered(self._own_hooks().before, (_callable(hook), with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> Hook:
        """Call ``hook(module, args, output)`` after each forward.

        Parameters
        ----------
        hook : callable
            Returns None, or what takes the place of the output.
        prepend : bool
            Whether to call it before the hooks that there are.
        with_kwargs : bool
            Call ``hook(module, args, kwargs, output)``.

        Returns
        -------
        Hook
            With a method ``remove``.
        """
        return _registered(self._own_hooks().after, (_callable(hook), with_kwargs), prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> Hook:
        """Call ``hook(module, grad_input, grad_output)`` once the gradients of the inputs are there.

        Parameters
        ----------
        hook : callable
            Gets two tuples: a gradient, or None, for each positional argument and for each output. It returns
            None, or a tuple that takes the place of grad_input.
        prepend : bool
            Whether to call it before the hooks that there are.

        Returns
        -------
        Hook
            With a method ``remove``.

        Notes
        -----
        If no argument requires a gradient, as with a batch of images, grad_input holds None only, and the
        hook is called as soon as grad_output is there.
        """
        return _registered(self._own_hooks().backward, _callable(hook), prepend)

    def _own_hooks(self) -> Hooks:
        if self._hooks is None:
            self._hooks = Hooks()
        return self._hooks


def _callable(hook) -> Callable:
    if not callable(hook):
        raise TypeError(f"hook must be a function, not {type(hook).__name__}")
    return hook


def _registered(hooks: dict, entry: Any, prepend: bool) -> Hook:
    others = dict(hooks)
    handle = Hook(hooks, entry)
    if prepend:
        for number in others:
            hooks[number] = hooks.pop(number)
    return handle


def call_with_hooks(module, hooks: Hooks, args: tuple, kwargs: dict) -> Any:
    """The module's forward, with everything that is registered around it, in PyTorch's order."""
    for hook, with_kwargs in tuple(hooks.before.values()):
        if with_kwargs:
            changed = hook(module, args, kwargs)
            if changed is not None:
                if not isinstance(changed, tuple) or len(changed) != 2:
                    raise TypeError(
                        "what a forward pre-hook with kwargs returns must be None or (args, kwargs), not "
                        f"{type(changed).__name__}"
                    )
                args, kwargs = changed
        else:
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
    seen = _GradientsSeen(module, hooks.backward) if hooks.backward else None
    if seen is not None:
        args = seen.of_inputs(args)
    output = module.forward(*args, **kwargs)
    for hook, with_kwargs in tuple(hooks.after.values()):
        changed = hook(module, args, kwargs, output) if with_kwargs else hook(module, args, output)
        output = output if changed is None else changed
    return output if seen is None else seen.of_outputs(output)


class _Passed(Operation):
    """Tensors as they are; their gradients are shown to a function, which may return others."""

    def __init__(self, look: Callable):
        self.look = look

    def forward(self, *arrays):
        return arrays

    def backward(self, *upstream):
        return self.look(upstream)


class _GradientsSeen:
    """The gradients that pass through one call of a module, brought together for its backward hooks."""

    def __init__(self, module, hooks: dict[int, Callable]):
        self.module, self.hooks = module, hooks
        self.places: list[int] = []  # of the arguments that require a gradient
        self.count = 0
        self.grad_output: tuple | None = None

    def of_inputs(self, args: tuple) -> tuple:
        self.count = len(args)
        passed, self.places = _pass(args, self._inputs_arrived)
        return passed

    def of_outputs(self, output):
        single = not isinstance(output, tuple | list)
        outputs = (output,) if single else tuple(output)
        count = len(outputs)

        def arrived(upstream):
            self.grad_output = _spread(upstream, places, count)
            if not self.places:
                self._call((None,) * self.count)
            return upstream

        passed, places = _pass(outputs, arrived)
        return passed[0] if single else type(output)(passed) if type(output) in (tuple, list) else passed

    def _inputs_arrived(self, upstream):
        grad_input = self._call(_spread(upstream, self.places, self.count))
        return tuple(grad_input[i] for i in self.places)

    def _call(self, grad_input: tuple) -> tuple:
        for hook in tuple(self.hooks.values()):
            changed = hook(self.module, grad_input, self.grad_output)
            if changed is None:
                continue
            changed = changed if isinstance(changed, tuple | list) else (changed,)
            if not self.places:
                raise GraphError(
                    "a backward hook must return None where no input of its module requires a gradient"
                )
            if len(changed) != len(grad_input):
                raise GraphError(
                    f"what a backward hook returns must be {len(grad_input)} gradients, one for each "
                    f"argument, not {len(changed)}"
                )
            grad_input = tuple(changed)
        return grad_input


def _pass(values: tuple, look: Callable) -> tuple[tuple, list[int]]:
    """The values, with those that require a gradient passed through an operation, and their places."""
    places = [i for i, value in enumerate(values) if isinstance(value, Tensor) and value.requires_grad]
    if not places:
        return values, places
    passed = dict(zip(places, _Passed(look)(*(values[i] for i in places)), strict=True))
    return tuple(passed.get(i, value) for i, value in enumerate(values)), places


def _spread(gradients, places: list[int], count: int) -> tuple:
    found = dict(zip(places, gradients, strict=True))
    return tuple(found.get(i) for i in range(count))
