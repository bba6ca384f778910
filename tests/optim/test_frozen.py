"""An optimiser and a frozen network."""

import numpy as np
import pytest

import minialex as ma
from minialex.errors import MiniAlexError


@pytest.mark.parametrize("make", [ma.optim.SGD, ma.optim.Adam])
def test_a_frozen_parameter_is_refused_and_nothing_changes(make):
    layers = ma.nn.Sequential(ma.nn.Linear(3, 4), ma.nn.Linear(4, 2))
    optimiser = make(layers.parameters(), lr=0.1)
    x = ma.tensor(np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32))
    (layers(x) * x[:, :2]).mean().backward()
    list(layers.children())[1].freeze()
    before = [p.data.copy() for p in layers.parameters()]
    with pytest.raises(MiniAlexError, match=r"parameter 2 is frozen.*unfreeze"):
        optimiser.step()
    for p, copy in zip(layers.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.data, copy)
    layers.unfreeze()
    optimiser.step()
    assert all((p.data != copy).any() for p, copy in zip(layers.parameters(), before, strict=True))
