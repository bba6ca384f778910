"""Networks of one's own, by FILE.py:NAME."""

import numpy as np
import pytest

import minialex as ma
from minialex import models
from minialex.errors import ModelError, RunError, UnloadedModelError
from minialex.models import create_model, get_architecture, load_model, summarise
from minialex.training import RunFolder
from minialex.training.recipes import Recipe, recipe_values, with_setting
from minialex.training.run_folder import RunSettings

SOURCE = """
from pathlib import Path

import minialex as ma
from minialex import nn
from minialex.models.architecture import CLASSES, conv, dense, flatten, relu
from beside import CHANNELS

Path("ran").touch()
input_shape = (1, 9, 9)


class Net(nn.Module):
    input_shape = (3, 8, 8)

    def __init__(self, num_classes=7):
        super().__init__()
        self.conv = nn.Conv2d(3, CHANNELS, 3)
        self.fc = nn.Linear(CHANNELS, num_classes)

    def forward(self, x):
        return self.fc(self.conv(x).mean(dim=(2, 3)))


class Fixed(Net):
    def __init__(self):
        super().__init__(5)


def made(num_classes=4):
    return nn.Sequential(nn.Flatten(), nn.Linear(81, num_classes))


one = nn.Sequential(nn.Flatten(), nn.Linear(81, 6))
table = (conv(4, 3), relu(), flatten(), dense(CLASSES))


class NoLogits(nn.Module):
    def forward(self, x):
        return x


class TooLarge(Net):
    input_shape = (3, 2, 2)


class WrongShape(Net):
    input_shape = (3, 8)


class Fails(nn.Module):
    def __init__(self):
        raise RuntimeError("no luck")


class Double(Net):
    def __init__(self):
        super().__init__()
        self.double()


class FailsInTraining(Net):
    def forward(self, x):
        if self.training:
            raise RuntimeError("only then")
        return super().forward(x)


class Chooses(nn.Module):
    input_shape = (3, 8, 8)

    def forward(self, x):
        return x[:, :, 0, 0] if x.sum().item() > 0 else x[:, :, 1, 1]


class MakesOnCpu(nn.Module):
    input_shape = (3, 8, 8)

    def forward(self, x):
        return x[:, :, 0, 0] + ma.zeros(x.shape[0], 3)


number = 3


class Dropped(nn.Module):
    input_shape = None
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to be in with nets/my_net.py, and nothing loaded before."""
    monkeypatch.setattr(models, "_LOADED", {})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "my_net.py").write_text(SOURCE)
    (tmp_path / "nets" / "beside.py").write_text("CHANNELS = 4")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "shape", "classes", "parameters"),
    [
        ("Net", (3, 8, 8), 7, 3 * 9 * 4 + 4 + 4 * 7 + 7),
        ("Fixed", (3, 8, 8), 5, 3 * 9 * 4 + 4 + 4 * 5 + 5),
        ("made", (1, 9, 9), 4, 81 * 4 + 4),
        ("one", (1, 9, 9), 6, 81 * 6 + 6),
        ("table", (1, 9, 9), 10, 9 * 4 + 4 + 4 * 49 * 10 + 10),
    ],
)
def test_what_a_name_may_stand_for(folder, name, shape, classes, parameters):
    model = load_model(f"nets/my_net.py:{name}")
    assert (model.name, model.input_shape, model.num_classes) == (f"my_net.py:{name}", shape, classes)
    assert model.trainable_parameters == parameters
    network = create_model(f"my_net.py:{name}")
    assert summarise(network).parameters == parameters
    assert network(ma.randn(2, *shape)).shape == (2, classes)


def test_the_number_of_classes_is_passed_on(folder):
    model = load_model("nets/my_net.py:Net")
    assert model.build(3)(ma.randn(2, 3, 8, 8)).shape == (2, 3)
    with pytest.raises(ModelError, match="num_classes must be an integer 1 or more"):
        model.build(0)


def test_a_network_of_a_fixed_size_is_refused_for_other_classes(folder):
    model = load_model("nets/my_net.py:Fixed")
    assert model.build(5)(ma.randn(2, 3, 8, 8)).shape == (2, 5)
    with pytest.raises(ModelError, match=r"Fixed gives 5 outputs, and 3 classes are wanted; .*num_classes=5"):
        model.build(3)


def test_a_module_is_copied(folder):
    model = load_model("nets/my_net.py:one")
    first, second = model.build(), model.build()
    first[1].weight.data[:] = 0
    assert np.abs(second[1].weight.data).min() > 0


def test_weights_are_drawn_by_the_seed(folder):
    load_model("nets/my_net.py:Net")
    weights = []
    for seed in (1, 1, 2):
        ma.manual_seed(seed)
        weights.append(create_model("my_net.py:Net").conv.weight.numpy())
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).all()


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nets/my_net.py:Nothing", "the file has no Nothing; it has Net, Fixed, one, NoLogits"),
        ("nets/other.py:Net", "there is no file 'nets/other.py'"),
        ("nets/my_net.py:number", "must be a Module, its class, .*, not 3"),
        ("nets/my_net.py:NoLogits", r"must give logits .* for \(2, 1, 9, 9\) it gives \(2, 1, 9, 9\)"),
        ("nets/my_net.py:TooLarge", r"does not run on images \(3, 2, 2\): ShapeError: conv2d"),
        ("nets/my_net.py:WrongShape", r"input_shape must be \(channels, height, width\), not \(3, 8\)"),
        ("nets/my_net.py:Fails", r"cannot be made: RuntimeError: no luck \(my_net\.py, line \d+\)$"),
        ("nets/my_net.py:Double", r"must have parameters of float32, .* leave out \.double\(\)"),
        ("nets/my_net.py:FailsInTraining", r"does not run on images .* only then \(my_net\.py, line \d+\)"),
        ("nets/my_net.py:nn", "must be a Module, its class, .*, not <module 'minialex.nn'"),
        ("nets/my_net.py:", r"must name a network of the file, such as nets/my_net\.py:NAME; it has Net"),
        ("nets/my_net.py", r"must name a network of the file, such as nets/my_net\.py:NAME; it has Net"),
        ("nets/my_nets.py", r"there is no file 'nets/my_nets\.py'"),
        ("nets/my_net.py:Chooses", r"values \(my_net\.py, line \d+\)\. Shapes are found by a run on"),
        ("nets/my_net.py:MakesOnCpu", r"line \d+\)\. Shapes are .* ma\.zeros\(\.\.\., device=x\.device\)"),
    ],
)
def test_what_is_no_network_is_told(folder, target, says):
    with pytest.raises(ModelError, match=says):
        load_model(target)


def test_a_network_that_says_nothing_of_its_images_is_told_what_to_write(folder):
    path = folder / "bare.py"
    path.write_text("from minialex import nn\nnet = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))")
    with pytest.raises(ModelError, match=r"give it an attribute input_shape = \(channels, height, width\)"):
        load_model("bare.py:net")
    path.write_text(path.read_text() + "\ninput_shape = (1, 2, 2)")
    assert load_model("bare.py:net").num_classes == 2


def test_a_file_that_fails_is_told(folder):
    (folder / "broken.py").write_text("import nothing_of_this_name")
    with pytest.raises(ModelError, match=r"'broken\.py' failed: ModuleNotFoundError: No module named"):
        load_model("broken.py:Net")


def test_the_line_of_a_mistake_is_the_user_s(folder):
    (folder / "helper.py").write_text("def half(x):\n    return x.no_such_name")
    (folder / "mine.py").write_text(
        "from minialex import nn\nfrom helper import half\n\n"
        "class Net(nn.Module):\n    input_shape = (1, 4, 4)\n\n"
        "    def forward(self, x):\n        return half(x)"
    )
    with pytest.raises(ModelError, match=r"AttributeError: .*no_such_name.* \(helper\.py, line 2\)$"):
        load_model("mine.py:Net")
    (folder / "typo.py").write_text("from minialex import nn\n\nclass Net(nn.Module:\n    pass")
    with pytest.raises(ModelError, match=r"SyntaxError: [^(]*\(typo\.py, line 3\)$"):
        load_model("typo.py:Net")


def test_a_network_of_pytorch_is_told_apart(folder):
    """By the name of the module where its class is defined: PyTorch may be missing here, and there."""
    (folder / "mine.py").write_text(
        "class Module: ...\nModule.__module__ = 'torch.nn.modules.module'\n"
        "class Net(Module):\n    input_shape = (1, 4, 4)\n"
        "def made():\n    return Net()\nnet = Net()"
    )
    for name in ("Net", "made", "net"):
        with pytest.raises(ModelError, match=r"write it with minialex\.nn in place of torch\.nn"):
            load_model(f"mine.py:{name}")


def test_a_name_alone_runs_nothing(folder):
    """Only what a caller names is run: the name may come from a file that somebody else has written."""
    with pytest.raises(UnloadedModelError, match=r"is in a file that is run when it is loaded; .*--model"):
        get_architecture("nets/my_net.py:Net")
    values = with_setting(recipe_values("digits"), "model.name", "nets/my_net.py:Net")
    with pytest.raises(ModelError, match="is in a file"):
        Recipe.from_dict(values)
    assert not (folder / "ran").exists()


def test_a_run_remembers_the_name_and_runs_nothing(folder, monkeypatch):
    load_model("nets/my_net.py:made")
    (folder / "ran").unlink()
    values = with_setting(recipe_values("digits"), "model.name", "my_net.py:made")
    values = with_setting(values, "transforms", {"train": [{"name": "scale"}], "test": [{"name": "scale"}]})
    RunFolder.create(folder / "run", RunSettings(Recipe.from_dict(values)), ["a", "b"])
    assert RunFolder.open("run").recipe.model.name == "my_net.py:made"
    monkeypatch.setattr(models, "_LOADED", {})
    with pytest.raises(RunError, match=r"the run .* needs its network: model 'my_net.py:made' is in a file"):
        RunFolder.open("run")
    assert not (folder / "ran").exists()
