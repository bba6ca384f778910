"""Training a network with auxiliary heads: what is minimised, counted and evaluated."""

import math

import numpy as np
import pytest

import minialex as ma
from minialex.checking.kernels.thin_models import thin_network
from minialex.models import get_architecture
from minialex.training import Options, Trainer


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


@pytest.mark.full
def test_the_trainer_adds_the_losses_of_the_heads():
    """The loss is the logits' and 0.3 of each head's; predictions and validation are the logits'."""
    ma.manual_seed(1)
    network = thin_network(get_architecture("googlenet")).float()
    for module in network.modules():
        if isinstance(module, ma.nn.Dropout):
            module.p = 0.0
    generator = np.random.default_rng(0)
    x = generator.standard_normal((6, *network.input_shape), np.float32)
    y = np.array([0, 1, 2, 0, 1, 2])
    with ma.no_grad():
        outputs = [each.numpy().astype(np.float64) for each in network.train()(ma.Tensor(x))]
    losses = [-log_softmax(each)[np.arange(6), y].mean() for each in outputs]
    rate = 0.05
    optimizer = ma.optim.SGD(network.parameters(), lr=rate)
    before = [p.numpy().copy() for p in network.parameters()]
    trainer = Trainer(network, optimizer, [(x, y)], [(x, y)], Options())
    last = trainer.fit(1)
    assert last.train_loss == pytest.approx(losses[0] + 0.3 * (losses[1] + losses[2]), rel=1e-4)
    assert last.train_accuracy == pytest.approx((outputs[0].argmax(axis=1) == y).mean())
    moved = [not np.array_equal(a, p.numpy()) for a, p in zip(before, network.parameters(), strict=True)]
    names = [name for name, _ in network.named_parameters()]
    assert all(was for name, was in zip(names, moved, strict=True) if name.startswith("aux"))
    with ma.no_grad():
        logits = network.eval()(ma.Tensor(x)).numpy().astype(np.float64)
    expected = -log_softmax(logits)[np.arange(6), y].mean()
    assert math.isclose(last.validation_loss, expected, rel_tol=1e-4)
