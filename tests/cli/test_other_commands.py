"""`minialex summary`, `models`, `kernels` and the program itself."""

import json
import subprocess
import sys

import minialex as ma


def test_summary_json(minialex):
    done = minialex("summary", "alexnet", "--batch", 2, "--json")
    answer = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert answer["model"] == "alexnet"
    assert answer["input_shape"] == [2, 3, 227, 227]
    assert answer["parameters"] == answer["trainable_parameters"] == 60_965_224
    assert answer["macs"] == 2 * 724_406_816
    first = answer["layers"][0]
    assert first["name"] == "conv1"
    assert first["kind"] == "Conv2d"
    assert first["output_shape"] == [2, 96, 55, 55]
    assert first["parameters"] == 34_944
    assert first["macs"] == 2 * 105_415_200
    assert first["activation_bytes"] == 2 * 96 * 55 * 55 * 4


def test_summary_text(minialex):
    text = minialex("summary", "alexnet_mnist28_bn").stdout
    assert "29,457,738 trainable parameters" in text
    assert "running statistics" in text
    assert "1 x 384 x 7 x 7" in text


def test_summary_of_another_size_and_other_classes(minialex, assert_refused):
    answer = json.loads(minialex("summary", "alexnet_half", "--num-classes", 5, "--json").stdout)
    assert answer["parameters"] == 14_591_685
    answer = json.loads(minialex("summary", "alexnet", "--size", 230, "--json").stdout)
    assert answer["input_shape"] == [1, 3, 230, 230]
    assert_refused("summary", "alexnet", "--size", 224, says=("227 to 258", "50,844,008", "54"))


def test_summary_refuses_what_is_not_there(assert_refused):
    assert_refused("summary", "vgg", says="vgg")
    assert_refused("summary", "alexnet", "--batch", 0, says="batch must be an integer 1 or more, not 0")
    assert_refused(
        "summary", "alexnet", "--num-classes", 0, says="num_classes must be an integer 1 or more, not 0"
    )


def test_models_lists_all(minialex):
    answer = json.loads(minialex("models", "--json").stdout)
    assert [entry["model"] for entry in answer] == ma.models.list_models()
    (resnet,) = (entry for entry in answer if entry["model"] == "resnet50")
    assert (resnet["year"], resnet["macs"]) == (2015, 4_089_184_256)
    assert resnet["paper"].startswith("He, Zhang, Ren and Sun")
    assert "60,965,224" in minialex("models").stdout


def test_kernels_marks_the_default(minialex, assert_refused):
    lines = minialex("kernels", "--op", "conv2d", "--device", "cpu").stdout.splitlines()
    marked = [line.split() for line in lines if line.startswith("*")]
    assert ["*", "conv2d.forward", "cpu", "direct"] in marked
    assert ["*", "conv2d.forward", "cpu", "winograd"] in marked
    assert all(line[3] not in ("reference", "loops", "im2col") for line in marked)
    assert_refused(
        "kernels", "--op", "conv3d", says=("of operation 'conv3d'; operations: ", "conv2d"), code=2
    )
    assert_refused("kernels", "--device", "tpu", says="no kernel on device 'tpu'", code=2)


def test_kernels_for_a_model(minialex, assert_refused, monkeypatch):
    # The prediction is for a number of threads.
    monkeypatch.setenv("MINIALEX_NUM_THREADS", "2")
    text = minialex("kernels", "--for", "alexnet", "--batch", "128").stdout
    rows = [line.split()[:3] for line in text.splitlines()]
    assert ["conv1", "conv2d.forward", "direct"] in rows
    assert ["conv3", "conv2d.weight_grad", "winograd"] in rows
    assert ["fc8", "linear.forward", "blocked"] in rows
    assert text.index("\nconv1") < text.index("\npool1") < text.index("\nconv2") < text.index("\nfc6")
    single = json.loads(
        minialex("kernels", "--for", "alexnet", "--batch", "1", "--op", "conv2d", "--json").stdout
    )
    assert {each["operation"].split(".")[0] for each in single} == {"conv2d"}
    # For one image, transforming the weights would cost more than it saves.
    (conv3,) = (e for e in single if (e["layer"], e["operation"]) == ("conv3", "conv2d.forward"))
    assert conv3["algorithm"] == "direct"
    assert conv3["predicted_ms"] > 0
    assert conv3["workspace"] > 0
    assert_refused(
        "kernels", "--for", "alexnet", "--batch", "0", says="batch must be an integer 1 or more, not 0"
    )
    assert_refused("kernels", "--for", "alexnot", says=("alexnot", "alexnet"))
    assert_refused("kernels", "--for", "alexnet", "--device", "cuda", says="not on cuda; for a GPU", code=2)


def test_kernels_of_a_network_of_one_s_own_are_those_that_a_step_runs(minialex, tmp_path):
    (tmp_path / "net.py").write_text(
        "from minialex import nn\n"
        "import minialex.functional as F\n"
        "class Block(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)\n"
        "    def forward(self, x):\n"
        "        return F.relu(self.conv(x)) + x\n"
        "class Net(nn.Module):\n"
        "    input_shape = (3, 8, 8)\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.first, self.block, self.fc = nn.Conv2d(3, 4, 3), Block(), nn.Linear(36, 5)\n"
        "    def forward(self, x):\n"
        "        return self.fc(F.max_pool2d(self.block(self.first(x)), 2).flatten(1))\n"
    )
    done = minialex("kernels", "--for", f"{tmp_path}/net.py:Net", "--batch", "2", "--json")
    found: dict[str, list[str]] = {}
    for each in json.loads(done.stdout):
        found.setdefault(each["layer"], []).append(each["operation"])
    # Function calls are in the module whose forward they stand in. The images need no gradient.
    assert found.pop("") == ["max_pool2d.forward", "max_pool2d.scatter"]
    assert found.pop("first") == ["conv2d.forward", "conv2d.weight_grad", "sum.forward", "sgd.update"]
    block = found.pop("block")
    assert sorted(block) == ["add.forward", "relu.backward", "relu.forward", "relu.mask"]
    assert found.pop("block.conv") == [
        *("conv2d.forward", "conv2d.input_grad", "conv2d.weight_grad", "sgd.update")
    ]
    fc = found.pop("fc")
    assert [name for name in fc if name != "sum.forward"] == [
        *("linear.forward", "linear.input_grad", "linear.weight_grad", "sgd.update")
    ]
    assert found == {}


def test_kernels_of_a_step_are_those_of_what_is_trained(minialex, assert_refused, tmp_path):
    (tmp_path / "net.py").write_text(
        "from minialex import nn\n"
        "class Fails(nn.Module):\n"
        "    def forward(self, x):\n"
        "        raise ArithmeticError\n"
        "class Net(nn.Module):\n"
        "    input_shape = (3, 6, 6)\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.frozen = nn.Conv2d(3, 4, 3).requires_grad_(False)\n"
        "        self.first, self.second = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)\n"
        "        self.second.weight = self.first.weight\n"
        "        self.fails, self.unused, self.fc = Fails(), nn.Linear(3, 3), nn.Linear(4, 2)\n"
        "    def forward(self, x):\n"
        "        x = self.second(self.first(self.frozen(x)))\n"
        "        try:\n"
        "            return self.fails(x)\n"
        "        except ArithmeticError:\n"
        "            return self.fc(x.mean(dim=(2, 3)))\n"
        "class Pair(Net):\n"
        "    def forward(self, x):\n"
        "        y = super().forward(x)\n"
        "        return (y, y) if self.training else y\n"
    )
    found = json.loads(minialex("kernels", "--for", f"{tmp_path}/net.py:Net", "--json").stdout)
    updates = [each["layer"] for each in found if each["operation"] == "sgd.update"]
    assert updates == ["first", "fc"]
    assert {each["layer"] for each in found} == {"", "frozen", "first", "second", "fc"}
    assert not any(each["operation"].startswith("cross_entropy") for each in found)
    assert_refused(
        *("kernels", "--for", f"{tmp_path}/net.py:Pair"),
        says="in training the network must give logits (N, classes), not ",
    )


def test_kernels_with_a_plugin(minialex, assert_refused, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from minialex.kernels import kernel\n"
        "@kernel('relu.forward', algo='mine', rank=99)\n"
        "def relu(x):\n"
        "    return x.clip(0)\n"
    )
    entries = json.loads(minialex("kernels", "--plugin", plugin, "--op", "relu", "--json").stdout)
    mine = [e for e in entries if e["algorithm"] == "mine"]
    assert mine == [
        {"operation": "relu.forward", "device": "cpu", "algorithm": "mine", "rank": 99, "default": True}
    ]
    plugin.write_text("1 / 0")
    assert_refused("kernels", "--plugin", plugin, says=("mine.py", "ZeroDivisionError"))


def test_version_and_unknown_command(minialex, assert_refused):
    assert minialex("--version").stdout.strip() == f"minialex {ma.__version__}"
    assert_refused("trian", says="trian", code=2)


def test_import_loads_numpy_alone():
    """What the command line and the run folders need is loaded when they need it."""
    heavy = "numba click rich matplotlib PIL safetensors scipy pandas mlxtend hypothesis torch"
    code = f"import sys, minialex; print([name for name in {heavy.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
