"""Lists and dictionaries of modules, and what a row of layers can do beside running."""

from collections import OrderedDict

import numpy as np
import pytest

import minialex as ma
from minialex import nn


def names(module):
    return [name for name, _ in module.named_children()]


def layers(count):
    return [nn.Linear(i + 1, i + 2) for i in range(count)]


@pytest.mark.parametrize("kind", [lambda given: nn.Sequential(*given), nn.ModuleList])
def test_a_row_is_changed_as_a_list_is_and_its_numbers_stay_in_order(kind):
    a, b, c, d, e = layers(5)
    row, expected = kind([a, b]), [a, b]

    def check():
        assert list(row) == expected
        assert names(row) == [str(i) for i in range(len(expected))]

    assert row.append(c) is row
    expected.append(c)
    check()
    assert row.insert(1, d) is row
    expected.insert(1, d)
    check()
    row.insert(-1, e)
    expected.insert(-1, e)
    check()
    row[-1] = nn.ReLU()
    expected[-1] = row[-1]
    check()
    del row[0]
    del expected[0]
    check()
    assert row.pop(1) is expected.pop(1)
    check()
    row.extend([a, c])
    expected += [a, c]
    check()
    del row[1:3]
    del expected[1:3]
    check()
    assert len(row) == len(expected)
    assert row[-1] in row
    assert list(row[::-1]) == expected[::-1]


def test_a_named_row_keeps_its_names():
    row = nn.Sequential(OrderedDict(first=nn.ReLU(), last=nn.Tanh()))
    row.append(nn.Sigmoid())
    row.insert(1, nn.SiLU())
    assert names(row) == ["first", "3", "last", "2"]
    del row[0]
    assert names(row) == ["3", "last", "2"]
    assert [type(each).__name__ for each in row] == ["SiLU", "Tanh", "Sigmoid"]


def test_a_name_that_is_taken_is_not_given_again():
    row = nn.Sequential(*layers(3))[1:]
    kept = list(row)
    added = nn.ReLU()
    row.append(added)
    assert list(row) == [*kept, added]


class Named(nn.Sequential):
    pass


class Made(nn.Sequential):
    def __init__(self, depth):
        super().__init__(*layers(depth))


def test_a_slice_has_the_class_of_the_network_where_that_can_be_made():
    assert type(Named(*layers(3))[:2]) is Named
    part = Made(3)[1:]
    assert type(part) is nn.Sequential
    assert names(part) == ["1", "2"]


@pytest.mark.parametrize("index", [3, -4])
def test_a_number_that_is_not_there_is_an_index_error(index):
    for row in (nn.Sequential(*layers(3)), nn.ModuleList(layers(3))):
        with pytest.raises(IndexError, match=f"index must be from -3 to 2, not {index}"):
            row[index]


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row.append(None),
        lambda row: row.insert(0, "relu"),
        lambda row: row.extend([nn.ReLU(), np.tanh]),
        lambda row: row.__setitem__(0, 3),
    ],
)
@pytest.mark.parametrize("kind", [nn.Sequential, nn.ModuleList])
def test_what_is_no_module_is_refused_and_nothing_changes(kind, change):
    row = kind()
    row.append(nn.ReLU())
    before = list(row)
    with pytest.raises(TypeError, match=rf"{kind.__name__} takes modules; \w+ is of type"):
        change(row)
    assert list(row) == before


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
        self.heads = nn.ModuleDict({"a": nn.Linear(2, 1), "b": nn.Linear(2, 3)})

    def forward(self, x, head):
        for step in self.steps:
            x = step(x)
        return self.heads[head](x)


def test_lists_and_dictionaries_are_trained_and_saved_under_pytorchs_names():
    network = Branches()
    assert list(network.state_dict()) == [
        f"{at}.{name}" for at in ("steps.0", "steps.1", "heads.a", "heads.b") for name in ("weight", "bias")
    ]
    assert network(ma.ones(4, 2), head="b").shape == (4, 3)
    with pytest.raises(NotImplementedError, match="ModuleList must define forward"):
        network.steps(ma.ones(1, 2))


def test_lists_are_added():
    a, b, c = layers(3)
    row = nn.ModuleList([a])
    row += [b]
    assert isinstance(row, nn.ModuleList)
    assert list(row + [c]) == [a, b, c]
    assert list(row) == [a, b]


def test_a_dictionary_is_one():
    heads = nn.ModuleDict([("a", nn.ReLU())])
    heads["b"] = nn.Tanh()
    heads.update({"a": nn.Sigmoid(), "c": nn.SiLU()})
    assert list(heads) == list(heads.keys()) == ["a", "b", "c"]
    assert [type(module) for module in heads.values()] == [nn.Sigmoid, nn.Tanh, nn.SiLU]
    assert dict(heads.items())["b"] is heads["b"]
    assert "c" in heads
    assert "d" not in heads
    assert isinstance(heads.pop("b"), nn.Tanh)
    del heads["a"]
    assert len(heads) == 1
    heads.clear()
    assert len(heads) == 0
    with pytest.raises(KeyError):
        heads["a"]


@pytest.mark.parametrize("key", ["", "a.b", "forward", 3])
def test_an_impossible_name_is_refused(key):
    with pytest.raises(KeyError, match="name must be"):
        nn.ModuleDict()[key] = nn.ReLU()


def test_a_dictionary_takes_modules_only():
    with pytest.raises(TypeError, match="ModuleDict takes modules; a is of type function"):
        nn.ModuleDict({"a": lambda x: x})
