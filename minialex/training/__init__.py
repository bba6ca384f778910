"""A run, from data to a folder.

A *recipe* (`recipes`) is a TOML file that decides everything about a run except its seed, its device and
where its data is. A *run* (`run`) makes the objects that a recipe names (`sources`, `assembly`), trains them,
and leaves a *run folder* (`run_folder`) with settings, metrics, weights and pictures. In between, a *trainer*
(`trainer`) takes the steps and tells its *callbacks*, which write files or end it; its *state* (`state`) is
what an interrupted run goes on from, bit for bit. `report` and `learning_curves` show what runs came to.

The names below are public (docs/your_run.md), and imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minialex.training.callbacks import Callback
    from minialex.training.evaluation import Evaluation, evaluate
    from minialex.training.report.feature_maps import layer_maps
    from minialex.training.run_folder import RunFolder
    from minialex.training.trainer import Options, Trainer

__all__ = ["Callback", "Evaluation", "Options", "RunFolder", "Trainer", "evaluate", "layer_maps"]

_MODULES = {
    "Callback": "callbacks",
    "Evaluation": "evaluation",
    "evaluate": "evaluation",
    "layer_maps": "report.feature_maps",
    "RunFolder": "run_folder",
    "Options": "trainer",
    "Trainer": "trainer",
}


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
