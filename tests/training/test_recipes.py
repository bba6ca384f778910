"""Recipes: that each says what its document says, and that nothing else than a recipe is taken for one."""

import configparser
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minialex as ma
from minialex.errors import MiniAlexError, ModelError, RecipeError
from minialex.models import Network, get_architecture
from minialex.models.architecture import Architecture, conv, dense, flatten, relu
from minialex.models.initialisers import initialise
from minialex.optim import SGD
from minialex.training.assembly import make_network, make_optimizer, make_schedule, optimizer_arrays
from minialex.training.recipes import (
    Recipe,
    list_recipes,
    load_recipe,
    parse_setting,
    recipe_text,
    recipe_values,
    with_setting,
)
from minialex.training.recipes.recipe import Adam, MultiStep, Plateau, Sgd

# Model, optimiser, rate, epochs, images a step: read in the documents, and written here a second time.
DOCUMENTS = {
    "000_mnist227": ("alexnet_gray227", "sgd", 0.01, 3, 128),
    "000_mnist227_sample": ("alexnet_gray227", "sgd", 0.01, 3, 128),
    "001_half_bn": ("alexnet_half_bn", "adam", 0.001, 10, 32),
    "001_no_conv_bias": ("alexnet_no_conv_bias", "adam", 0.0002, 10, 32),
    "002_mnist_bn": ("alexnet_mnist28_bn", "adam", 0.001, 10, 64),
    "002_mnist_bn_cosine": ("alexnet_mnist28_bn", "adam", 0.001, 10, 64),
    "002_mnist_bn_one_hot": ("alexnet_mnist28_bn", "adam", 0.001, 10, 64),
    "002_mnist_no_bn": ("alexnet_mnist28_first_two_bn", "adam", 0.001, 10, 64),
    "003_flowers": ("alexnet_half", "adam", 0.0002, 10, 32),
    "004_alexnet": ("alexnet_cifar", "sgd", 0.01, 300, 64),
    "004_slim": ("alexnet_cifar_slim", "sgd", 0.01, 300, 64),
    "004_slim_regular": ("alexnet_cifar_slim_regular", "sgd", 0.01, 300, 64),
    "004_thinner2": ("alexnet_cifar_thinner2", "sgd", 0.01, 300, 64),
    "004_thinner4": ("alexnet_cifar_thinner4", "sgd", 0.01, 300, 64),
    "digits": ("alexnet_mnist28_bn", "adam", 0.0005, 3, 64),
    "paper": ("alexnet", "sgd", 0.01, 90, 128),
}
CIFAR = ("004_alexnet", "004_slim", "004_slim_regular", "004_thinner2", "004_thinner4")


def of(recipe, key):
    """A value of a recipe by its key path, as it is written out."""
    value = recipe.to_dict()
    for name in key.split("."):
        value = value[name]
    return value


# What the recipes say


def test_there_is_a_recipe_for_everything_in_the_documents():
    assert list_recipes() == sorted(DOCUMENTS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_recipe_has_the_figures_of_its_document(name):
    recipe = load_recipe(name)
    found = (
        recipe.model.name,
        of(recipe, "optimizer.name"),
        recipe.optimizer.lr,
        recipe.training.epochs,
        recipe.training.batch_size,
    )
    assert found == DOCUMENTS[name]
    assert recipe.name == name
    assert recipe.report.document


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_recipe_survives_json(name):
    recipe = load_recipe(name)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_the_recipes_are_part_of_the_package():
    settings = configparser.ConfigParser()
    settings.read(Path(__file__).parents[2] / "setup.cfg")
    assert "*.toml" in settings["options.package_data"]["minialex.training.recipes"].split()


@pytest.mark.parametrize("name", ["000_mnist227", "000_mnist227_sample"])
def test_document_000(name):
    recipe = load_recipe(name)
    assert recipe.optimizer == Sgd(lr=0.01, momentum=0.0, nesterov=False)
    assert recipe.data.validation == 0.1
    assert recipe.model.initialiser == "keras"
    assert [each["name"] for each in recipe.transforms.train] == ["resize_with_pad", "scale"]
    assert recipe.transforms.train == recipe.transforms.test
    drawn = (recipe.data.train_samples, recipe.data.test_samples, recipe.data.replacement)
    assert drawn == ((256, 128, True) if name.endswith("sample") else (None, None, False))


def test_document_002_in_both_forms():
    bytes_form, unit_form = load_recipe("002_mnist_bn"), load_recipe("002_mnist_bn_one_hot")
    assert (bytes_form.data.values, bytes_form.data.labels) == ("bytes", "integer")
    assert (unit_form.data.values, unit_form.data.labels) == ("unit", "one_hot")
    assert unit_form.data.reserve == 5000
    assert bytes_form.optimizer == unit_form.optimizer == Adam(lr=0.001, eps=1e-8)
    assert bytes_form.data.validation == "test"


def test_document_003():
    recipe = load_recipe("003_flowers")
    train = [each["name"] for each in recipe.transforms.train]
    assert train == ["random_resized_crop", "horizontal_flip", "scale", "normalize"]
    assert [each["name"] for each in recipe.transforms.test] == ["resize", "scale", "normalize"]
    assert recipe.transforms.test[0]["size"] == [224, 224]
    assert (recipe.transforms.test[2]["mean"], recipe.transforms.test[2]["std"]) == (0.5, 0.5)
    assert (recipe.checkpoint.monitor, recipe.checkpoint.mode) == ("validation_accuracy", "max")
    assert recipe.model.initialiser == "he_fan_out"


def documents_scheduler(epoch):
    """As document 004 prints it."""
    if epoch < 100:
        return 0.01
    if epoch < 200:
        return 0.001
    return 0.0001


@pytest.mark.parametrize("name", CIFAR)
def test_document_004(name):
    recipe = load_recipe(name)
    assert recipe.optimizer.momentum == 0.9
    assert recipe.optimizer.nesterov
    assert recipe.optimizer.weight_decay == 0
    assert recipe.optimizer.l2_convolutions == (0 if name in ("004_alexnet", "004_slim") else 1e-4)
    assert recipe.training.tensorboard
    for entries in (recipe.transforms.train, recipe.transforms.test):
        assert entries[0]["name"] == "normalize"
        assert entries[0]["mean"] == [125.307, 122.95, 113.865]
        assert entries[0]["std"] == [62.9932, 62.0887, 66.7048]
    assert recipe.transforms.train[1] == {"name": "shift", "height": 0.125, "width": 0.125, "cval": 0.0}
    assert recipe.transforms.train[2]["name"] == "horizontal_flip"
    assert -(-50_000 // recipe.training.batch_size) == 782  # the document's `iterations`
    uniform = name in ("004_alexnet", "004_slim")
    assert recipe.model.initialiser == (
        "keras_uniform_convolutions" if uniform else "keras_he_normal_convolutions"
    )


def test_the_rates_of_document_004_epoch_by_epoch():
    recipe = load_recipe("004_alexnet")
    optimizer = make_optimizer(small_network(), recipe.optimizer)
    schedule = make_schedule(optimizer, recipe.schedule, [None] * 782, replace(recipe.training, epochs=300))
    assert schedule.per == "epoch"
    for epoch in range(300):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(documents_scheduler(epoch), rel=1e-12), epoch
        schedule.step()


def test_the_paper():
    recipe = load_recipe("paper")
    assert recipe.optimizer == Sgd(lr=0.01, momentum=0.9, weight_decay=0.0005)
    assert recipe.schedule == Plateau("validation_accuracy", "max", 0.1, 5, 1e-5)
    assert recipe.model.initialiser == "paper"
    train = [each["name"] for each in recipe.transforms.train]
    assert train == [
        "resize",
        "center_crop",
        "random_crop",
        "horizontal_flip",
        "scale",
        "pca_noise",
        "subtract_mean",
        "scale",
    ]
    assert [each["name"] for each in recipe.transforms.test][-1] == "ten_crop"
    assert recipe.transforms.need_statistics
    # Back to the raw values: dividing by 255, and then by what stands there, is dividing by 1.
    assert 255 * recipe.transforms.train[-1]["divisor"] == pytest.approx(1, rel=1e-14)


def test_the_default_warms_up_and_falls_along_a_cosine():
    recipe = load_recipe("digits")
    assert recipe.data.source == "digits"
    assert of(recipe, "schedule") == {"name": "warmup_cosine", "warmup": 0.1}
    optimizer = make_optimizer(small_network(), recipe.optimizer)
    schedule = make_schedule(optimizer, recipe.schedule, [None] * 20, replace(recipe.training, epochs=5))
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    assert rates[:10] == pytest.approx([5e-4 * (i + 1) / 11 for i in range(10)])
    falling = [5e-4 * (1 + math.cos(math.pi * i / 90)) / 2 for i in range(90)]
    assert rates[10:] == pytest.approx(falling)


# What the tables become


TINY = Architecture(
    "tiny", "a test", (1, 6, 6), 3, (conv(4, 3), relu(), flatten(), dense("classes")), "he", 0, "Everything."
)


def small_network() -> Network:
    network = TINY.build()
    initialise(network, "he")
    return network


def one_step(table):
    """The parameters of a small network before and after a step with all gradients 0.5."""
    network = small_network()
    before = {name: p.numpy().copy() for name, p in network.named_parameters()}
    for p in network.parameters():
        p.grad = ma.Tensor(np.full(p.shape, 0.5, np.float32))
    make_optimizer(network, table).step()
    return before, {name: p.numpy() for name, p in network.named_parameters()}


def test_l2_of_keras_adds_twice_its_factor_to_the_gradients_of_convolutions_alone():
    """The penalty is l sum(w^2): its gradient is 2 l w, where weight decay d adds d w."""
    before, after = one_step(Sgd(lr=0.1, l2_convolutions=0.25))
    for name, w in before.items():
        penalty = 2 * 0.25 * w if name == "conv1.weight" else 0
        np.testing.assert_allclose(after[name], w - 0.1 * (0.5 + penalty), rtol=1e-5, atol=1e-7, err_msg=name)
    # The same from the definition: the gradient of the loss with the penalty, by differences.
    w = before["conv1.weight"].astype(np.float64)
    changed = w.copy()
    changed[0, 0, 1, 2] += 1e-6
    slope = 0.25 * ((changed**2).sum() - (w**2).sum()) / 1e-6
    moved = before["conv1.weight"][0, 0, 1, 2] - after["conv1.weight"][0, 0, 1, 2]
    assert moved == pytest.approx(0.1 * (0.5 + slope), rel=1e-4)


def test_weight_decay_and_l2_add_up():
    before, after = one_step(Sgd(lr=0.1, weight_decay=0.3, l2_convolutions=0.25))
    for name, w in before.items():
        decay = 0.3 + (0.5 if name == "conv1.weight" else 0)
        np.testing.assert_allclose(
            after[name], w - 0.1 * (0.5 + decay * w), rtol=1e-5, atol=1e-7, err_msg=name
        )


def test_every_parameter_is_in_one_group():
    network = small_network()
    optimizer = make_optimizer(network, Adam(lr=0.1, l2_convolutions=1.0))
    assert sorted(map(id, optimizer.parameters())) == sorted(map(id, network.parameters()))


@pytest.mark.parametrize(("table", "arrays"), [(Sgd(lr=1), 0), (Sgd(lr=1, momentum=0.9), 1), (Adam(lr=1), 2)])
def test_the_optimisers_arrays_are_counted_for_the_memory_check(table, arrays):
    network = small_network()
    assert optimizer_arrays(table) == arrays
    for p in network.parameters():
        p.grad = ma.Tensor(np.ones(p.shape, np.float32))
    optimizer = make_optimizer(network, table)
    optimizer.step()
    for state in optimizer.state.values():
        assert sum(isinstance(value, np.ndarray) for value in state.values()) == arrays


def test_options_reach_the_optimiser():
    optimizer = make_optimizer(small_network(), Sgd(lr=0.3, momentum=0.8, nesterov=True, weight_decay=0.2))
    assert isinstance(optimizer, SGD)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.3, 0.8, True, 0.2)
    group = make_optimizer(small_network(), Adam(0.3, (0.5, 0.6), 1e-3, 0.2)).param_groups[0]
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.5, 0.6), 1e-3, 0.2)


def test_a_plateau_divides_by_ten_three_times_in_all():
    optimizer = make_optimizer(small_network(), Sgd(lr=0.01))
    recipe = load_recipe("paper")
    schedule = make_schedule(optimizer, recipe.schedule, [], recipe.training)
    rates = set()
    for _ in range(60):
        schedule.step(0.5)
        rates.add(round(optimizer.param_groups[0]["lr"], 9))
    assert sorted(rates) == [1e-5, 1e-4, 1e-3, 1e-2]


def test_a_recipes_initialiser_stands_in_for_the_models_own():
    ma.manual_seed(0)
    network = make_network(load_recipe("003_flowers").model, 5)
    layers = dict(network.named_children())
    # kaiming_normal_, fan_out: variance 2 / (outputs x window); 768 weights a deviation of 2.5 %.
    assert layers["conv3"].weight.numpy().std() == pytest.approx(math.sqrt(2 / (192 * 9)), rel=0.02)
    assert layers["fc7"].weight.numpy().std() == pytest.approx(0.01, rel=0.01)
    model = load_recipe("004_thinner4").model
    changed = type(model)(model.name, "keras_uniform_convolutions")
    weight = dict(make_network(changed, 10).named_children())["conv2"].weight.numpy()
    assert 0.0499 < abs(weight).max() <= 0.05
    assert weight.std() == pytest.approx(0.1 / math.sqrt(12), rel=0.01)


# Reading what may be wrong


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("optimizer.lr", 0, "optimizer.lr must be a number above 0, not 0"),
        ("optimizer.lr", math.nan, "optimizer.lr must be a number above 0, not nan"),
        ("optimizer.lr", math.inf, "optimizer.lr must be a number above 0, not inf"),
        ("optimizer.lr", True, "optimizer.lr must be a number above 0, not True"),
        ("optimizer.lr", "0.1", "optimizer.lr must be a number above 0, not '0.1'"),
        ("optimizer.momentum", 1.0, "optimizer.momentum must be a number 0 or more and below 1, not 1.0"),
        ("optimizer.weight_decay", -1, "optimizer.weight_decay must be a number 0 or more, not -1"),
        ("optimizer.l2_convolutions", -1, "optimizer.l2_convolutions must be a number 0 or more, not -1"),
        ("optimizer.name", "sdg", "optimizer.name must be one of sgd, adam, not 'sdg'"),
        ("optimizer.name", 3, "optimizer.name must be one of"),
        ("optimizer.nesterov", 1, "optimizer.nesterov must be true or false, not 1"),
        ("optimizer.betas", [0.9, 0.99], "optimizer.betas is unknown for sgd"),
        ("optimizer.mometum", 0.9, "did you mean optimizer.momentum?"),
        ("optimizer", 3, "optimizer must be a table, not 3"),
        ("schedule.milestones", [200, 100], "schedule.milestones must be in ascending order, not [200, 100]"),
        ("schedule.milestones", [0.5], "schedule.milestones[0] must be an integer"),
        ("schedule.milestones", [], "schedule.milestones must be "),
        ("schedule.gamma", 0, "schedule.gamma must be a number above 0 and at most 1, not 0"),
        ("schedule.name", "linear", "schedule.name must be one of constant"),
        ("training.epochs", 0, "training.epochs must be an integer from 1 to 1,000,000, not 0"),
        ("training.epochs", 2.0, "training.epochs must be an integer from 1 to 1,000,000, not 2.0"),
        ("training.batch_size", True, "training.batch_size must be an integer"),
        ("training.clip_norm", 0, "training.clip_norm must be a number above 0, not 0"),
        ("training.accumulate", 0, "training.accumulate must be an integer from 1 to 1,000,000, not 0"),
        ("training.early_stop", 0, "training.early_stop must be an integer from 1 to 1,000,000, not 0"),
        ("training.tensorboard", "yes", "training.tensorboard must be true or false, not 'yes'"),
        ("checkpoint.monitor", "accuracy", "checkpoint.monitor must be one of"),
        ("checkpoint.mode", "most", "checkpoint.mode must be one of min, max, not 'most'"),
        (
            "checkpoint.every_seconds",
            math.nan,
            "checkpoint.every_seconds must be a number 0 or more, not nan",
        ),
        ("data.source", "cifar", "data.source must be one of digits, mnist, cifar10"),
        ("data.validation", 1.0, 'data.validation must be "test", or a number between 0 and 1, not 1.0'),
        ("data.validation", "train", "data.validation must be "),
        ("data.train_samples", 0, "data.train_samples must be an integer from 1 to 1,000,000,000, not 0"),
        ("data.labels", "soft", "data.labels must be one of integer, one_hot, not 'soft'"),
        ("data.values", "float", "data.values must be one of bytes, unit, not 'float'"),
        ("data.damaged", "ignore", "data.damaged must be one of stop, skip, not 'ignore'"),
        ("model.initialiser", "xavier", "model.initialiser must be one of paper"),
        ("transforms.train", [], "transforms.train must be a list of one or more"),
        ("transforms.train", [3], "transforms.train[0] must be a table"),
        ("transforms.train", [{"name": "rotate"}], "transforms.train: "),
        ("transforms.test", [{"name": "center_crop", "size": [0, 1]}], "transforms.test: "),
        ("transforms.test", [{"name": "fit_model", "mean": 0.5}], "fit_model must have mean and std"),
        ("transforms.train", [{"name": "fit_model", "mean": 0.5, "std": 0.0}], "transforms.train: "),
        ("report.measured", 98, "report.measured must be text, not 98"),
        ("title", "", "title must be text that is not empty, not ''"),
        ("name", "../x", "name must be letters"),
        ("name", "a\n", "name must be letters"),
        ("dta.source", "mnist", "dta is unknown; did you mean data?"),
    ],
)
def test_a_wrong_value_is_refused_by_its_key(key, value, says):
    with pytest.raises(RecipeError) as error:
        Recipe.from_dict(with_setting(recipe_values("004_alexnet"), key, value))
    assert says in str(error.value)


def test_an_unknown_model_is_refused_with_the_nearest():
    with pytest.raises(ModelError, match="did you mean alexnet_cifar"):
        Recipe.from_dict(with_setting(recipe_values("004_alexnet"), "model.name", "alexnet_cifra"))


@pytest.mark.parametrize(
    "key", ["model", "model.name", "data", "data.source", "optimizer.lr", "training.epochs"]
)
def test_what_must_be_there_is_missed(key):
    values = recipe_values("002_mnist_bn")
    *tables, last = key.split(".")
    table = values
    for name in tables:
        table = table[name]
    del table[last]
    with pytest.raises(RecipeError, match=rf"^{key} is missing"):
        Recipe.from_dict(values)


def test_nesterov_needs_momentum():
    values = with_setting(recipe_values("004_alexnet"), "optimizer.momentum", 0.0)
    with pytest.raises(
        RecipeError, match=r"optimizer\.nesterov must be false where optimizer\.momentum is 0, not True"
    ):
        Recipe.from_dict(values)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def paths(value, before=()):
    """Every place in nested dictionaries and lists."""
    yield before
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*before, key))


@given(st.sampled_from(["paper", "004_slim_regular", "digits"]), st.data(), json_values)
def test_nothing_but_a_recipe_is_read(name, data, replacement):
    """Whatever stands in a recipe: it is one, which survives being written, or there is an error of ours."""
    values = json.loads(json.dumps(load_recipe(name).to_dict()))
    path = data.draw(st.sampled_from(list(paths(values))))
    if path:
        *way, last = path
        table = values
        for key in way:
            table = table[key]
        table[last] = replacement
    else:
        values = replacement
    try:
        recipe = Recipe.from_dict(values)
    except MiniAlexError:
        return
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


# Names, files and single settings


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 003_flowers"):
        load_recipe("003_flower")


def test_a_file_of_ones_own(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(recipe_text("004_alexnet").replace("epochs = 300", "epochs = 7"), encoding="utf-8")
    recipe = load_recipe(str(file))
    assert (recipe.name, recipe.training.epochs) == ("mine", 7)


def test_a_file_from_an_editor_of_windows_is_read(tmp_path):
    """A byte order mark, and line ends of two characters."""
    file = tmp_path / "mine.toml"
    text = recipe_text("004_alexnet")
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert load_recipe(str(file)).to_dict() | {"name": 0} == load_recipe("004_alexnet").to_dict() | {
        "name": 0
    }


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"title = ", "not valid TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"#" * 2**20 + b"#", "too large"),
        (b"", "missing"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, content, says):
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    with pytest.raises(RecipeError, match=says) as error:
        load_recipe(str(file))
    assert "mine.toml" in str(error.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="there is no recipe file"):
        load_recipe(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("optimizer.lr=0.1", "optimizer.lr", 0.1),
        ("training.epochs = 3", "training.epochs", 3),
        ("model.name='alexnet'", "model.name", "alexnet"),
        ('data.labels="a=b"', "data.labels", "a=b"),
        ("training.tensorboard=true", "training.tensorboard", True),
        ('transforms.train=[{name="scale"}]', "transforms.train", [{"name": "scale"}]),
    ],
)
def test_a_setting_is_read_as_toml(text, key, value):
    assert parse_setting(text) == (key, value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("optimizer.lr", "must be KEY=VALUE"),
        ("=1", "must be KEY=VALUE"),
        ("optimizer..lr=1", "must be KEY=VALUE"),
        ("model.name=alexnet", "is not a TOML value"),
        ("training.epochs=1\nother=2", "is not a TOML value"),
        ("training.epochs=", "is not a TOML value"),
    ],
)
def test_a_setting_that_is_none_is_refused(text, says):
    with pytest.raises(RecipeError, match=says):
        parse_setting(text)


def test_a_setting_changes_a_copy_and_one_key():
    values = recipe_values("002_mnist_bn")
    changed = with_setting(values, "optimizer.lr", 0.5)
    assert changed["optimizer"] == values["optimizer"] | {"lr": 0.5}
    assert values == recipe_values("002_mnist_bn")
    assert with_setting(values, "schedule.name", "constant")["schedule"] == {"name": "constant"}
    with pytest.raises(RecipeError, match=r"title is not a table"):
        with_setting(values, "title.x", 1)


def test_fit_model_follows_the_model():
    values = with_setting(recipe_values("digits"), "model.name", "alexnet_cifar_thinner4")
    transforms = Recipe.from_dict(values).transforms.resolved((3, 32, 32), None)
    names = [each["name"] for each in transforms.train]
    assert names == ["resize", "to_rgb", "scale", "normalize"]
    assert transforms.train[0]["size"] == [32, 32]
    assert get_architecture("alexnet_cifar_thinner4").input_shape == (3, 32, 32)


def test_milestones_are_kept_as_they_are_written():
    assert MultiStep([1, 5]).milestones == (1, 5)
