"""The predicted memory of a training step against what a step takes."""

import tracemalloc

import numpy as np
import pytest

import minialex as ma
import minialex.functional as F
from minialex.errors import ModelError
from minialex.models.memory import largest_batch, predict_step_memory


def measured_peak(name, batch, optimizer_class, **options):
    """The bytes of a step: what is there before it, counted, and tracemalloc's peak of the rest."""
    network = ma.models.create_model(name)
    optimizer = optimizer_class(network.parameters(), lr=1e-3, **options)
    x = ma.Tensor(np.random.default_rng(0).standard_normal((batch, *network.input_shape), np.float32))
    labels = np.arange(batch) % network.num_classes

    def step():
        optimizer.zero_grad()
        F.cross_entropy(network(x), labels).backward()
        optimizer.step()

    step()
    for parameter in network.parameters():
        parameter.grad = None
    tracemalloc.start()
    try:
        step()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    stored = [*network.parameters(), *network.buffers()]
    arrays = [a for state in optimizer.state.values() for a in state.values() if isinstance(a, np.ndarray)]
    there = sum(a.nbytes for a in arrays) + sum(getattr(t, "data", t).nbytes for t in stored)
    return network, peak + there + x.data.nbytes


@pytest.mark.parametrize("batch", [32, 128])
def test_a_small_network(batch):
    network, peak = measured_peak("alexnet_mnist28_bn", batch, ma.optim.Adam)
    assert predict_step_memory(network, batch, optimizer_arrays=2) == pytest.approx(peak, rel=0.1)


@pytest.mark.full
@pytest.mark.parametrize("batch", [4, 24])
def test_alexnet(batch):
    network, peak = measured_peak("alexnet", batch, ma.optim.SGD, momentum=0.9)
    assert predict_step_memory(network, batch) == pytest.approx(peak, rel=0.1)


def test_every_model_has_a_prediction_that_grows_with_the_batch():
    for name in ma.models.list_models():
        network = ma.models.get_architecture(name).build()
        predictions = [predict_step_memory(network, batch) for batch in (1, 8, 64, 512)]
        assert predictions == sorted(set(predictions))
        parameters = 4 * sum(p.size for p in network.parameters())
        assert predictions[0] > 3 * parameters


def test_the_largest_batch_is_the_last_that_fits():
    network = ma.models.get_architecture("alexnet_mnist28_bn").build()
    needed = predict_step_memory(network, 100)
    assert largest_batch(network, needed, 1000) == 100
    assert largest_batch(network, needed - 1, 1000) == 99
    assert largest_batch(network, needed, 50) == 49
    assert largest_batch(network, 1000, 64) == 0


@pytest.mark.parametrize("batch", [0, -1, 1.5, True])
def test_a_batch_is_a_positive_int(batch):
    network = ma.models.get_architecture("alexnet_mnist28_bn").build()
    with pytest.raises(ModelError, match="batch must be an integer 1 or more"):
        predict_step_memory(network, batch)
