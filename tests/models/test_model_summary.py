"""`summarise`: its structure, and how it depends on the batch and on frozen parameters."""

import json

import pytest

from minialex.errors import ModelError
from minialex.models import get_architecture, summarise


def half_bn(**options):
    return summarise(get_architecture("alexnet_half_bn").build(), **options)


def test_the_structure_that_programs_read():
    summary = half_bn().to_dict()
    assert set(summary) >= {"model", "input_shape", "parameters", "trainable_parameters", "macs", "layers"}
    assert (summary["model"], summary["input_shape"]) == ("alexnet_half_bn", [1, 3, 224, 224])
    assert len(summary["layers"]) == len(get_architecture("alexnet_half_bn").layers)
    for layer in summary["layers"]:
        keys = {"name", "kind", "output_shape", "parameters", "macs", "activation_bytes"}
        assert set(layer) >= keys
    assert json.loads(json.dumps(summary)) == summary


def test_a_layer_s_numbers_by_hand():
    layers = {layer["name"]: layer for layer in half_bn().to_dict()["layers"]}
    window = 3 * 11 * 11
    expected = {
        "name": "conv1",
        "kind": "Conv2d",
        "output_shape": [1, 48, 54, 54],
        "parameters": 48 * (window + 1),
        "macs": 48 * 54 * 54 * window,
        "activation_bytes": 4 * 48 * 54 * 54,
    }
    assert {key: layers["conv1"][key] for key in expected} == expected
    assert (layers["bn1"]["kind"], layers["bn1"]["parameters"], layers["bn1"]["macs"]) == (
        "BatchNorm2d",
        4 * 48,  # weight, bias, running mean and variance
        0,
    )


def test_totals_are_the_sums_of_the_layers():
    summary = half_bn().to_dict()
    for total in ("parameters", "trainable_parameters", "macs", "activation_bytes"):
        assert summary[total] == sum(layer[total] for layer in summary["layers"]), total


def test_work_and_memory_grow_with_the_batch_and_parameters_do_not():
    one, five = half_bn(), half_bn(batch=5)
    assert five.input_shape == (5, 3, 224, 224)
    assert (five.macs, five.activation_bytes) == (5 * one.macs, 5 * one.activation_bytes)
    assert five.parameters == one.parameters
    assert all(layer.output_shape[0] == 5 for layer in five.layers)


def test_work_grows_with_the_image_size():
    """From 224 to 226, conv1 has the same 54 positions; with 56 positions the head would not fit."""
    assert half_bn(input_size=(226, 226)).macs == half_bn().macs
    assert half_bn(input_size=(195, 195)).macs < half_bn().macs


def test_frozen_parameters_are_not_trainable():
    network = get_architecture("alexnet_half_bn").build()
    before = summarise(network)
    dict(network.named_children())["conv1"].requires_grad_(False)
    after = summarise(network)
    assert before.trainable_parameters - after.trainable_parameters == 48 * (3 * 11 * 11 + 1)
    assert after.parameters == before.parameters


@pytest.mark.parametrize("batch", [0, -1, 2.0, True])
def test_an_impossible_batch_is_refused(batch):
    with pytest.raises(ModelError, match="batch must be an integer 1 or more"):
        half_bn(batch=batch)


def test_a_name_is_no_network():
    with pytest.raises(ModelError, match="network must be a Module, not 'alexnet'"):
        summarise("alexnet")
