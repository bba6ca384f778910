"""What every optimiser shares: parameter groups and their state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from minialex.checks import in_words, is_number, require_flag, require_number
from minialex.devices import copy_to_device, is_array, is_on_gpu, is_read_only
from minialex.errors import CheckpointError, MiniAlexError
from minialex.operations.gradients import forget_gradients
from minialex.tensor import Tensor


class Optimizer:
    """Base of the optimisers, under the names of ``torch.optim.Optimizer``.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        The parameters, or groups of them: dictionaries with ``"params"`` and the options in which
        the group differs, such as ``"lr"`` and ``"weight_decay"``.
    defaults : dict
        Options for groups that do not set them. All optimisers have ``maximize``, False unless it is given:
        whether to climb, by the update with the negative of the gradient.

    Attributes
    ----------
    param_groups : list of dict
        The groups with all of their options, which schedules change.
    state : dict
        For each parameter, by its position in the groups, a dictionary of arrays and numbers.
    kept : tuple of str, or None
        The names in such a dictionary once it is filled; None, for a user's class, leaves them unchecked.

    Raises
    ------
    MiniAlexError
        If there is no parameter, one is given twice, or a group has an unknown or invalid option.
    """

    kept: tuple[str, ...] | None = None

    def __init__(self, params: Iterable, defaults: dict):
        if isinstance(params, Tensor):
            raise MiniAlexError("params is one tensor; put it into a list: [tensor]")
        entries = list(params) if isinstance(params, Iterable) else [params]
        if hasattr(params, "parameters") and not all(isinstance(entry, Tensor) for entry in entries):
            raise MiniAlexError(f"params must be tensors, not {in_words(params)}; pass network.parameters()")
        if not isinstance(params, Iterable):
            raise MiniAlexError(f"params must be a list of tensors or of groups, not {in_words(params)}")
        if not entries:
            raise MiniAlexError("params is empty: there is nothing to optimise")
        grouped = [isinstance(entry, dict) for entry in entries]
        if any(grouped) and not all(grouped):
            raise MiniAlexError("params mixes parameters and groups; put each parameter into a group")
        groups = entries if all(grouped) else [{"params": entries}]
        self.defaults = {**defaults, "maximize": defaults.get("maximize", False)}
        self.param_groups: list[dict] = []
        self.state: dict[int, dict] = {}
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group: dict) -> None:
        """Add a group of parameters with options of its own."""
        unknown = set(group) - {"params", *self.defaults}
        if unknown:
            raise MiniAlexError(
                f"a parameter group has the unknown option(s) {', '.join(sorted(unknown))}; "
                f"there are: {', '.join(self.defaults)}"
            )
        if "params" not in group:
            raise MiniAlexError('a parameter group lacks its "params"')
        given = group["params"]
        if not isinstance(given, Iterable):
            raise MiniAlexError(f'the "params" of a group must be tensors, not {in_words(given)}')
        params = [given] if isinstance(given, Tensor) else list(given)
        known = {id(p) for p in self.parameters()}
        for p in params:
            if not isinstance(p, Tensor) or not p.is_leaf:
                raise MiniAlexError(f"a parameter must be a leaf tensor, not {in_words(p)}")
            if id(p) in known:
                raise MiniAlexError(f"a parameter of shape {p.shape} is given twice")
            known.add(id(p))
        complete = {**self.defaults, **group, "params": params}
        self.check(complete)
        complete["initial_lr"] = complete["lr"]
        self.param_groups.append(complete)

    def check(self, options: dict) -> None:
        """Raise `MiniAlexError` if an option of a group is out of range."""
        for name in ("lr", "weight_decay"):
            require_number(name, options[name], 0, bounds="[)")
        require_flag("maximize", options["maximize"])

    def keeps(self, options: dict) -> tuple[str, ...] | None:
        """The names in the state of a parameter with these options: `kept`, if they do not matter."""
        return self.kept

    def parameters(self) -> list[Tensor]:
        """All parameters, in the order of the groups."""
        return [p for group in self.param_groups for p in group["params"]]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or, with False, set them to zero."""
        forget_gradients(self.parameters(), set_to_none)

    def step(self) -> None:
        """Update, in place, every parameter that has a gradient.

        Raises
        ------
        MiniAlexError
            If one of them is read-only, or its gradient or state does not fit; then no parameter is changed.
        """
        for i, p in enumerate(self.parameters()):
            if p.grad is not None:
                self._require_fit(i, p)
        index = 0
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    with _contiguous(p), _contiguous(p.grad), _ascending(p, group["maximize"]):
                        self.update(p, self.state.setdefault(index, {}), group)
                    p.version += 1
                index += 1

    def _require_fit(self, i: int, p: Tensor) -> None:
        if is_read_only(p.data):
            raise MiniAlexError(f"parameter {i} is frozen: call unfreeze() on the network to train it")
        if not isinstance(p.grad, Tensor):
            raise MiniAlexError(
                f"the gradient of parameter {i} is of type {type(p.grad).__name__}; assign a Tensor"
            )
        if (p.grad.shape, p.grad.dtype, p.grad.device) != (p.shape, p.dtype, p.device):
            raise MiniAlexError(
                f"the gradient of parameter {i} is {p.grad.dtype} {p.grad.shape} on {p.grad.device!r}, "
                f"the parameter {p.dtype} {p.shape} on {p.device!r}"
            )
        for name, value in self.state.get(i, {}).items():
            if is_array(value) and (value.dtype != p.dtype or is_on_gpu(value) != is_on_gpu(p.data)):
                raise MiniAlexError(
                    f"{name} of parameter {i} is {value.dtype}, as the parameter was at first; that is "
                    f"{p.dtype} on {p.device!r} now: convert or move a network before its optimiser's first "
                    "step, or call load_state_dict(state_dict()) on the optimiser"
                )

    def update(self, p: Tensor, state: dict, options: dict) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define update")

    def state_dict(self) -> dict:
        """The state and the options, as ``torch.optim`` lays them out; arrays are not copied."""
        groups, start = [], 0
        for group in self.param_groups:
            numbers = list(range(start, start + len(group["params"])))
            groups.append({**group, "params": numbers})
            start += len(numbers)
        return {"state": {i: dict(state) for i, state in self.state.items()}, "param_groups": groups}

    def check_state_dict(self, saved: Mapping) -> None:
        """Check whether `load_state_dict` could take over a state.

        Raises
        ------
        CheckpointError
            If the groups, or the names, shapes or kinds of the state, do not fit.
        """
        if not _is_state(saved):
            raise CheckpointError(
                'the saved state must be what state_dict gives, a mapping with "state" and "param_groups", '
                f"not {in_words(saved)}"
            )
        groups, state = _complete(saved["param_groups"]), saved["state"]
        own = [len(group["params"]) for group in self.param_groups]
        if [len(group["params"]) for group in groups] != own:
            raise CheckpointError(
                f"the optimiser has groups of {own} parameters, the saved state of "
                f"{[len(group['params']) for group in groups]}"
            )
        for group, loaded in zip(self.param_groups, groups, strict=True):
            if set(loaded) != set(group):
                raise CheckpointError(
                    f"the optimiser has the options {', '.join(sorted(group))}, the saved state "
                    f"{', '.join(sorted(loaded))}"
                )
            for name in group.keys() - {"params"}:
                if not _is_like(loaded[name], group[name]):
                    raise CheckpointError(
                        f"the saved optimiser has {name}={loaded[name]!r}; such an option is {group[name]!r} "
                        "here"
                    )
            try:
                self.check(loaded)
            except MiniAlexError as error:
                raise CheckpointError(f"the saved optimiser is impossible: {error}") from None
        params = self.parameters()
        options = [group for group in groups for _ in group["params"]]
        for i, entry in state.items():
            if i not in range(len(params)):
                raise CheckpointError(
                    f"the saved state has parameter {i}, the optimiser {len(params)} parameters from 0"
                )
            kept = self.keeps(options[i])
            if kept is not None and entry and set(entry) != set(kept):
                raise CheckpointError(
                    f"the saved state keeps {', '.join(sorted(entry))} of parameter {i}, "
                    f"{type(self).__name__} keeps {', '.join(kept)}"
                )
            for name, value in entry.items():
                if is_array(value) and value.shape != params[i].shape:
                    raise CheckpointError(
                        f"the saved {name} of parameter {i} has shape {value.shape}, "
                        f"the parameter {params[i].shape}"
                    )

    def load_state_dict(self, saved: Mapping) -> None:
        """Take over a state from `state_dict`; the groups must hold the same numbers of parameters.

        Raises
        ------
        CheckpointError
            If it does not fit (`check_state_dict`); nothing is changed then.
        """
        self.check_state_dict(saved)
        params = self.parameters()
        self.state = {
            i: {
                name: copy_to_device(value, params[i].device).astype(params[i].dtype, copy=False)
                if is_array(value)
                else value
                for name, value in entry.items()
            }
            for i, entry in saved["state"].items()
        }
        for group, loaded in zip(self.param_groups, _complete(saved["param_groups"]), strict=True):
            for name, value in loaded.items():
                if name != "params":
                    # JSON has only lists.
                    group[name] = tuple(value) if isinstance(group[name], tuple) else value


@contextmanager
def _ascending(p: Tensor, maximize: bool) -> Iterator[None]:
    """Let an update see the gradient of what is minimised: of the objective, or of its negative."""
    gradient = p.grad
    if not maximize or gradient is None:
        yield
        return
    p.grad = Tensor(-gradient.data, device=p.device)
    try:
        yield
    finally:
        p.grad = gradient


@contextmanager
def _contiguous(tensor: Tensor) -> Iterator[None]:
    """Let kernels see a tensor's values in C order, which they require of what they change in place."""
    array = tensor.data
    if array.flags.c_contiguous:
        yield
        return
    tensor.data = array.copy(order="C")
    try:
        yield
        if not is_read_only(array):
            array[...] = tensor.data
    finally:
        tensor.data = array


def _complete(groups) -> list[dict]:
    """Saved groups with the option that files of before do not have."""
    return [{"maximize": False, **group} for group in groups]


def _is_state(saved) -> bool:
    """Whether this is laid out as `Optimizer.state_dict` does it."""
    if not isinstance(saved, Mapping) or not {"state", "param_groups"} <= saved.keys():
        return False
    groups, state = saved["param_groups"], saved["state"]
    return (
        isinstance(groups, list | tuple)
        and all(
            isinstance(group, Mapping) and isinstance(group.get("params"), list | tuple) for group in groups
        )
        and isinstance(state, Mapping)
        and all(isinstance(entry, Mapping) for entry in state.values())
    )


def _is_like(value, own) -> bool:
    """Whether an option from a file is of the same kind as this optimiser's: a number, or as many of them."""
    if isinstance(own, tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(own)
            and all(_is_like(each, one) for each, one in zip(value, own, strict=True))
        )
    if is_number(own):
        return is_number(value)
    return isinstance(value, type(own))
