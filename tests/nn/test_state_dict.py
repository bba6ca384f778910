"""`state_dict` and `load_state_dict`: everything or nothing, with all problems in one message."""

import numpy as np
import pytest

import minialex as ma
from minialex import nn
from minialex.errors import CheckpointError


def network():
    return nn.Sequential({"conv1": nn.Conv2d(2, 3, 3), "bn1": nn.BatchNorm2d(3), "fc": nn.Linear(3, 2)})


def copied(module):
    return {name: array.copy() for name, array in module.state_dict().items()}


def test_names_shapes_and_kinds():
    shapes = {name: array.shape for name, array in network().state_dict().items()}
    assert shapes == {
        "conv1.weight": (3, 2, 3, 3),
        "conv1.bias": (3,),
        "bn1.weight": (3,),
        "bn1.bias": (3,),
        "fc.weight": (2, 3),
        "fc.bias": (2,),
        "bn1.running_mean": (3,),
        "bn1.running_var": (3,),
    }


def test_a_round_trip_restores_every_value():
    source, target = network(), network()
    source[1](ma.Tensor(np.random.default_rng(0).standard_normal((4, 3, 2, 2), np.float32)))
    state = copied(source)
    assert any(not np.array_equal(copied(target)[name], array) for name, array in state.items())
    target.load_state_dict(state)
    for name, array in copied(target).items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)


def test_loading_keeps_the_parameters_and_copies_the_values():
    target, state = network(), copied(network())
    parameters = list(target.parameters())
    target.load_state_dict(state)
    state["fc.weight"][...] = 99
    assert [id(p) for p in target.parameters()] == [id(p) for p in parameters]
    assert not (target[2].weight.numpy() == 99).any()


def test_values_are_converted_to_the_parameter_s_dtype():
    target, state = network(), copied(network())
    target.load_state_dict({name: array.astype(np.float64) for name, array in state.items()})
    assert {array.dtype for array in target.state_dict().values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(target.state_dict()["fc.weight"], state["fc.weight"])


def test_tensors_are_values_too():
    target, state = network(), copied(network())
    target.load_state_dict({name: ma.Tensor(array) for name, array in state.items()})
    np.testing.assert_array_equal(target.state_dict()["conv1.weight"], state["conv1.weight"])


def test_all_problems_come_in_one_error_and_nothing_is_changed():
    target = network()
    before = copied(target)
    state = {name: array + 1 for name, array in before.items()}
    del state["conv1.bias"], state["bn1.running_var"]
    state["fc9.weight"] = np.zeros(1, np.float32)
    state["conv1.weight"] = np.zeros((3, 2, 5, 5), np.float32)
    state["fc.bias"] = np.zeros(2, np.int64)
    with pytest.raises(CheckpointError) as error:
        target.load_state_dict(state)
    message = str(error.value)
    assert "the state does not fit Sequential" in message
    assert "missing: conv1.bias, bn1.running_var" in message
    assert "unexpected: fc9.weight" in message
    assert "wrong shape: conv1.weight (3, 2, 5, 5) instead of (3, 2, 3, 3)" in message
    assert "not floating-point: fc.bias" in message
    for name, array in target.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_without_strict_the_names_both_know_are_loaded():
    target = network()
    before = copied(target)
    state = {"fc.bias": np.full(2, 7.0, np.float32), "other": np.zeros(3)}
    missing, unexpected = target.load_state_dict(state, strict=False)
    assert missing == [name for name in before if name != "fc.bias"]
    assert unexpected == ["other"]
    after = copied(target)
    np.testing.assert_array_equal(after.pop("fc.bias"), [7, 7])
    for name, array in after.items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_without_strict_a_wrong_shape_is_an_error_still():
    with pytest.raises(CheckpointError, match=r"wrong shape: fc\.bias \(3,\) instead of \(2,\)"):
        network().load_state_dict({"fc.bias": np.zeros(3, np.float32)}, strict=False)


def test_the_arrays_share_the_module_s_memory():
    module = network()
    module.state_dict()["fc.bias"][...] = 3
    np.testing.assert_array_equal(module[2].bias.numpy(), [3, 3])


def test_a_frozen_network_is_not_loaded_in_part():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm2d(2))
    before = {name: array.copy() for name, array in network.state_dict().items()}
    network.freeze()
    with pytest.raises(
        CheckpointError, match=r"frozen, so call unfreeze\(\) first: 0.weight, 0.bias, 1.weight"
    ):
        network.load_state_dict({name: array + 1 for name, array in before.items()})
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    network.unfreeze().load_state_dict({name: array + 1 for name, array in before.items()})
    np.testing.assert_array_equal(network[1].running_var, before["1.running_var"] + 1)


@pytest.mark.parametrize("state", [None, [], "weights.pt"])
def test_what_is_no_mapping_is_refused(state):
    with pytest.raises(CheckpointError, match="state must be a mapping from names to arrays, not"):
        network().load_state_dict(state)


def test_pytorchs_counts_of_batches_are_ignored():
    source, target = network(), network()
    state = {**copied(source), "bn1.num_batches_tracked": np.array(7)}
    target.load_state_dict(state)
    np.testing.assert_array_equal(target.state_dict()["bn1.weight"], state["bn1.weight"])
    with pytest.raises(CheckpointError, match=r"unexpected: bn1\.num_batches$"):
        target.load_state_dict({**copied(source), "bn1.num_batches": np.array(7)})


def test_a_count_of_batches_of_ones_own_is_loaded():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("num_batches_tracked", np.zeros((), np.int64))

    module = Counting()
    module.load_state_dict({"num_batches_tracked": np.array(7)})
    assert module.num_batches_tracked == 7
