"""Every model runs on real arrays, and trains."""

import numpy as np
import pytest

import minialex as ma
from minialex import functional as F
from minialex import nn
from minialex.errors import ModelError
from minialex.models import Architecture, create_model, get_architecture, list_models, summarise
from minialex.models.architecture import CLASSES, conv, dense, flatten, relu
from minialex.models.initialisers import initialise
from minialex.nn.parts import named_layers, outputs_seen

# alexnet_cifar_slim_regular differs from alexnet_cifar_slim (87 million weights) in its initialiser alone.
RUN = [name for name in list_models() if name != "alexnet_cifar_slim_regular"]
SMALL = [
    "alexnet_cifar",
    "alexnet_cifar_thinner2",
    "alexnet_cifar_thinner4",
    "alexnet_half",
    "alexnet_half_bn",
    "alexnet_mnist28_bn",
    "alexnet_mnist28_bn_rows",
    "alexnet_mnist28_first_two_bn",
]


def images_for(network, batch, seed=0):
    generator = np.random.default_rng(seed)
    return ma.Tensor(generator.standard_normal((batch, *network.input_shape), np.float32))


# The weights of these take seconds to draw.
_LARGE = 30_000_000


def _marked(name: str):
    large = get_architecture(name).trainable_parameters > _LARGE and not name.startswith("alexnet")
    return pytest.param(name, marks=pytest.mark.full if large else ())


@pytest.mark.parametrize("name", [_marked(name) for name in RUN])
def test_activations_have_the_shapes_of_the_summary(name):
    network = create_model(name).eval()
    real = []

    def see(layer_name, _, y):
        real.append((layer_name, y.shape, y.data.nbytes))

    with ma.no_grad(), outputs_seen(named_layers(network), see):
        x = network(images_for(network, 1))
    summary = [
        (layer.name, layer.output_shape, layer.activation_bytes)
        for layer in summarise(network).layers
        if layer.output_shape  # auxiliary heads have none
    ]
    assert sorted(real) == sorted(summary)
    assert x.shape == (1, get_architecture(name).num_classes)
    assert np.isfinite(x.numpy()).all()
    assert np.ptp(x.numpy()) > 0, "all logits are the same"


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_receives_a_gradient(name):
    network = create_model(name, num_classes=3)
    logits = network(images_for(network, 2))
    F.cross_entropy(logits, np.array([0, 2])).backward()
    for parameter_name, parameter in network.named_parameters():
        gradient = parameter.grad.numpy()
        assert gradient.shape == parameter.shape, parameter_name
        assert np.isfinite(gradient).all(), parameter_name
        assert gradient.any(), f"the gradient of {parameter_name} is 0 everywhere"


def test_a_seed_repeats_the_weights_and_another_changes_them():
    states = []
    for seed in (7, 7, 8):
        ma.manual_seed(seed)
        states.append(create_model("alexnet_cifar_thinner4").state_dict())
    first, again, other = states
    for name, array in first.items():
        np.testing.assert_array_equal(again[name], array)
        if name.endswith("weight"):
            assert not np.array_equal(other[name], array), name


def test_a_new_model_is_in_training_mode_and_trains_all_parameters():
    network = create_model("alexnet_half_bn")
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.dtype == np.float32 for parameter in network.parameters())


@pytest.mark.parametrize("name", list_models())
def test_a_model_says_what_it_is(name):
    architecture = get_architecture(name)
    assert architecture.name == name
    assert len(architecture.differs) > 20
    assert architecture.differs.endswith(".")
    assert architecture.source


def test_a_checkpoint_of_another_model_is_refused_by_its_name_and_classes():
    state = get_architecture("alexnet_cifar_thinner4").build(7).state_dict()
    with pytest.raises(ma.MiniAlexError, match="alexnet_cifar_thinner4 with 10 classes") as error:
        create_model("alexnet_cifar_thinner4").load_state_dict(state)
    assert "fc8.weight (7, 1024) instead of (10, 1024)" in str(error.value)


def test_the_number_of_classes_changes_the_last_layer_alone():
    layers = dict(get_architecture("alexnet_cifar_thinner4").build(7).named_children())
    assert (layers["fc8"].in_features, layers["fc8"].out_features) == (1024, 7)
    assert layers["fc7"].out_features == 1024


@pytest.mark.parametrize("num_classes", [0, -3, 2.0, True, "10"])
def test_an_impossible_number_of_classes_is_refused(num_classes):
    with pytest.raises(ModelError, match="num_classes must be an integer 1 or more"):
        create_model("alexnet_cifar_thinner4", num_classes=num_classes)


@pytest.mark.parametrize(
    ("asked", "near"),
    [("alexnt", "alexnet"), ("cafenet", "caffenet"), ("alexnet_mnist", "alexnet_mnist28_bn")],
)
def test_an_unknown_model_gets_the_nearest_name(asked, near):
    with pytest.raises(ModelError, match=rf"model '{asked}' is unknown; did you mean {near}\? There are: "):
        create_model(asked)


def test_what_is_no_name_is_refused():
    with pytest.raises(ModelError, match=r"model \[\] is unknown"):
        create_model([])


def test_a_name_like_no_other_gets_the_list_alone():
    with pytest.raises(
        ModelError, match="model 'zzz' is unknown; There are: alexnet, alexnet_caffe, "
    ) as error:
        create_model("zzz")
    assert all(name in str(error.value) for name in list_models())


def described(*layers):
    return Architecture(
        name="own",
        source="this test",
        input_shape=(1, 6, 6),
        num_classes=2,
        layers=layers,
        initialiser="he",
        trainable_parameters=0,
        differs="Everything.",
    )


def test_an_own_architecture_builds():
    network = described(conv(3, 3), relu(), flatten(), dense(CLASSES)).build()
    assert [type(layer) for layer in network] == [nn.Conv2d, nn.ReLU, nn.Flatten, nn.Linear]
    assert network[3].in_features == 3 * 4 * 4


def test_a_network_learns_a_batch_by_heart():
    """Loss, gradients and updates have to agree in sign for that; chance is log(2) = 0.69."""
    network = described(conv(4, 3), relu(), flatten(), dense(8), relu(), dense(CLASSES)).build()
    initialise(network, "he")
    images, labels = images_for(network, 6), np.array([0, 1, 1, 0, 1, 0])
    optimizer = ma.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
    with ma.no_grad():
        assert F.cross_entropy(network(images), labels).item() < 0.05


def test_two_layers_of_one_name_are_refused():
    with pytest.raises(ModelError, match="own: two layers have the same name in conv1, relu1, relu1"):
        described(conv(3, 3), relu(), relu()).build()


def test_a_dense_layer_without_flatten_is_refused():
    with pytest.raises(ModelError, match=r"put flatten\(\) before it"):
        described(conv(3, 3), dense(CLASSES)).build()
