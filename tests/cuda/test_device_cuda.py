"""The device ``cuda`` on a stand-in for CuPy: what the glue hands on, and the engine on arrays that are no
NumPy arrays.

What is not shown here is that CuPy and a GPU do with it what they should: `test_gpu.py`.
"""

import importlib.util

import cupy_stand_in
import numpy as np
import pytest

import minialex as ma
from minialex import functional as F
from minialex import kernels, nn, optim
from minialex.availability import choose_device
from minialex.checking.testing.devices import with_layout
from minialex.devices import to_numpy
from minialex.errors import DeviceError, KernelError, MiniAlexError
from minialex.kernels.cuda import Source
from minialex.kernels.cuda.registration import cuda_device
from minialex.training.checkpoint import load_checkpoint, save_checkpoint
from minialex.training.evaluation import evaluate
from minialex.training.memory_budget import available_on, require_memory

pytestmark = pytest.mark.needs_gxx

SCALE = """#include "real.cuh"

extern "C" __global__ void __launch_bounds__(64) scale(const real* __restrict__ x, real* y, real a, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) y[i] = a * x[i];
}
extern "C" __global__ void other(int* x) { x[0] = 1; }
"""


@pytest.fixture
def cupy(monkeypatch):
    yield cupy_stand_in.install(monkeypatch)
    cupy_stand_in.uninstall()


@pytest.fixture
def device(cupy):
    return cuda_device("cuda")


@pytest.fixture
def source(tmp_path):
    (tmp_path / "scale.cu").write_text(SCALE)
    return Source(tmp_path / "x.py", "scale.cu")


# The glue


@pytest.mark.parametrize(("dtype", "real"), [(np.float32, "float"), (np.float64, "double")])
def test_a_launch_is_handed_to_cupy(device, source, cupy, dtype, real):
    x = cupy.asarray(np.arange(5, dtype=dtype))
    y = device.empty((5,), dtype)
    device.launch(source["scale"], 2, 3, x, y, 0.5, 5)

    np.testing.assert_array_equal(y.get(), 0.5 * np.arange(5))
    (module,) = cupy.RawModule.made
    assert module.code == source.text
    assert module.options == (f"-DREAL={real}", "-std=c++17")
    assert cupy_stand_in.RawKernel.launches == [("scale", (2, 1, 1), (3, 1, 1))]


def test_a_source_is_a_module_and_a_kernel_a_function_once_for_each_type(device, source, cupy):
    for dtype in (np.float32, np.float64, np.float32):
        x, y = device.zeros(4, dtype), device.zeros(4, dtype)
        for _ in range(2):
            device.launch(source["scale"], 1, 4, x, y, 2.0, 4)
    device.launch(source["other"], 1, 1, device.zeros(1, np.int32))
    assert [module.options[0] for module in cupy.RawModule.made] == ["-DREAL=float", "-DREAL=double"]
    assert [module.functions for module in cupy.RawModule.made] == [["scale", "other"], ["scale"]]


def test_a_source_that_does_not_compile_is_an_error_with_its_line(device, cupy, tmp_path):
    (tmp_path / "wrong.cu").write_text('extern "C" __global__ void wrong(int* x) {\n    x[0] = missing;\n}\n')
    kernel = Source(tmp_path / "x.py", "wrong.cu")["wrong"]
    with pytest.raises(KernelError, match=r"(?s)wrong\.cu does not compile.*wrong\.cu:2.*missing"):
        device.launch(kernel, 1, 1, device.zeros(1, np.int32))


def test_arrays_of_another_device_are_refused(device, source, cupy):
    x, y = device.zeros(3, np.float32), device.zeros(3, np.float32)
    with pytest.raises(DeviceError, match="scale: x must be an array of device 'cuda', not a numpy ndarray"):
        device.launch(source["scale"], 1, 3, x.get(), y, 2.0, 3)
    y.device.id = 1
    with pytest.raises(
        DeviceError, match=r"y must be .* not an array on GPU 1, and the current one is GPU 0"
    ):
        device.launch(source["scale"], 1, 3, x, y, 2.0, 3)
    with pytest.raises(
        DeviceError, match=r"a kernel of device 'cuda-host' was given a cupy.* ndarray; move it there"
    ):
        kernels.run("relu.forward", "cuda-host", x)


def test_views_are_refused_and_copied(device, source, cupy):
    x, y = device.zeros((3, 4), np.float32), device.zeros((3, 4), np.float32)
    for view in (x.T, x[:, ::2]):
        with pytest.raises(KernelError, match="x is a view"):
            device.launch(source["scale"], 1, 3, view, y, 2.0, view.size)
        copy = device.contiguous(view)
        assert copy.flags.c_contiguous
        assert copy.base is None
    with pytest.raises(KernelError, match="16 bytes"):
        device.launch(source["scale"], 1, 3, x.ravel()[1:], y, 2.0, 3)


def test_tables_are_brought_to_the_device(device, cupy):
    table = device.array([[1, 2], [3, 4]], np.int32)
    assert isinstance(table, cupy.ndarray)
    assert (table.dtype, table.get().tolist()) == (np.int32, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a,
        lambda a: a.T,
        lambda a: a[::-1, ::-2],
        lambda a: a[1:, 1],
        lambda a: a[:0],
        lambda a: np.broadcast_to(a[1], (3, *a[1].shape)),
        lambda a: a[1, 2, 3],
    ],
    ids=["whole", "transposed", "reversed", "cut", "empty", "broadcast", "scalar"],
)
def test_a_layout_is_kept_on_the_way_to_the_device(cupy, view):
    array = np.asarray(view(np.arange(60.0).reshape(3, 4, 5)))
    there = with_layout(array, cupy)
    np.testing.assert_array_equal(there.get(), array)
    assert there.strides == array.strides or array.size == 0


# The engine


def test_tensors_move_to_the_device_and_back(cupy):
    t = ma.tensor([[1.0, 2.0]], requires_grad=True)
    there = t.to("cuda")
    assert (there.device, there.requires_grad, there.is_leaf) == ("cuda", True, True)
    assert isinstance(there.data, cupy.ndarray)
    assert there.to("cuda") is there
    np.testing.assert_array_equal(there.numpy(), t.data)
    back = there.to("cpu")
    assert isinstance(back.data, np.ndarray)
    assert back.device == "cpu"
    assert repr(there) == "Tensor([[1., 2.]], shape=(1, 2), dtype=float32, device='cuda', requires_grad=True)"
    assert ma.tensor(2.5, device="cuda").item() == 2.5
    assert float(ma.tensor([3.0], device="cuda")) == 3.0
    assert isinstance(ma.Tensor(there.data, device="cuda-host").data, np.ndarray)
    assert ma.Tensor(there.data, device="cuda").data is there.data
    assert ma.tensor(there.data, device="cuda").data is not there.data


def test_tensors_of_two_devices_do_not_mix(cupy):
    t = ma.tensor([1.0])
    for other in ("cuda", "cuda-host"):
        with pytest.raises(DeviceError, match=rf"tensors on '{other}' and 'cpu' meet"):
            t + t.to(other)


def test_arithmetic_indexing_and_their_gradients(cupy):
    generator = np.random.default_rng(0)
    arrays = generator.standard_normal((3, 4)), generator.standard_normal((3, 1))
    upstream = generator.standard_normal((2, 4))

    def run(device):
        x, y = (ma.Tensor(a, True, device) for a in arrays)
        z = (x * y - 2.0).abs() / (1.5 + x.tanh() ** 2) + ma.operations.maximum(x, y)
        z = z.amax(0, keepdims=True) + z[np.array([0, 2])] * y.expand(3, 4)[1:].sum(axis=1, keepdims=True)
        z.backward(upstream)
        return z, x.grad, y.grad

    here, there = run("cpu"), run("cuda")
    for a, b in zip(here, there, strict=True):
        assert isinstance(b.data, cupy.ndarray)
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-12, atol=1e-13)


def test_gradients_have_memory_of_their_own(cupy):
    x = ma.tensor([1.0, 2.0], device="cuda", requires_grad=True)
    y = x.reshape(2, 1)
    y.backward(ma.tensor([[3.0], [4.0]], device="cuda"))
    assert x.grad.data.base is None
    assert x.grad.numpy().tolist() == [3.0, 4.0]


def test_an_index_out_of_bounds_is_an_error(cupy):
    x = ma.tensor([1.0, 2.0], device="cuda")
    for index in (2, -3, np.array([0, 2]), (np.array([-3]),)):
        with pytest.raises(IndexError):
            x[index]


def small_network():
    ma.manual_seed(3)
    return nn.Sequential(
        # No bias before batch normalisation: its gradient is rounding alone, which Adam would enlarge.
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.LocalResponseNorm(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(4, 3),
    )


def train(device, optimizer_class, steps=3):
    """Some steps of training; everything that comes of it, as NumPy arrays."""
    network = small_network()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            parameter.data[...] = 0.3 * np.random.default_rng(parameter.size).standard_normal(parameter.shape)
        elif parameter.data[0] != 1:
            parameter.data[...] = 0
    network.to(device)
    parameters = list(network.parameters())
    options = {"momentum": 0.9, "nesterov": True} if optimizer_class is optim.SGD else {}
    optimizer = optimizer_class(parameters, lr=0.01, weight_decay=1e-3, **options)
    x = np.random.default_rng(1).standard_normal((6, 2, 4, 4)).astype(np.float32)
    results = []
    with kernels.use(linear=None):
        for _ in range(steps):
            optimizer.zero_grad()
            loss = F.cross_entropy(
                network(ma.Tensor(x, device=device)), np.arange(6) % 3, label_smoothing=0.1
            )
            loss.backward()
            results.append(np.asarray(optim.clip_grad_norm_(parameters, 0.5)))
            optim.clip_grad_value_(parameters, 0.2)
            optimizer.step()
            results.append(to_numpy(loss.data))
    network.eval()
    results.append(network(ma.Tensor(x, device=device)).numpy())
    return [*results, *network.state_dict().values()]


@pytest.mark.parametrize("optimizer", [optim.SGD, optim.Adam, optim.AdamW])
def test_training_is_that_of_the_cpu(cupy, optimizer):
    for here, there in zip(train("cpu", optimizer), train("cuda", optimizer), strict=True):
        assert isinstance(there, np.ndarray)
        np.testing.assert_allclose(there, here, rtol=2e-4, atol=2e-6)


def test_a_network_moves_with_its_statistics_and_its_state(cupy):
    network = small_network()
    before = {name: array.copy() for name, array in network.state_dict().items()}
    assert network.to("cuda") is network
    assert {p.device for p in network.parameters()} == {"cuda"}
    assert all(isinstance(b, cupy.ndarray) for b in network.buffers())
    after = network.state_dict()
    assert list(after) == list(before)
    for name, array in after.items():
        np.testing.assert_array_equal(array, before[name])
        array[...] = 7  # a copy
    network.load_state_dict({name: array + 1 for name, array in before.items()})
    network.astype(np.float64).to("cuda-host")
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[name] + np.float32(1))
    assert all(isinstance(b, np.ndarray) for b in network.buffers())


def test_moving_a_network_forgets_its_gradients(cupy):
    network = nn.Linear(2, 1)
    network.weight.data[...] = 0
    network.weight.grad = ma.tensor([[1.0, 2.0]])
    network.to("cpu")
    assert network.weight.grad is not None
    network.to("cuda")
    assert network.weight.grad is None


def test_a_network_on_the_device_cannot_be_frozen(cupy):
    network = nn.Linear(2, 1).to("cuda")
    with pytest.raises(DeviceError, match="CuPy has no read-only arrays"):
        network.freeze()
    frozen = nn.Linear(2, 1).freeze().to("cuda")
    frozen.weight.grad = ma.tensor([[1.0, 2.0]], device="cuda")
    optim.SGD([frozen.weight], lr=0.1).step()  # its arrays are those of the device


def test_optimizer_state_is_loaded_to_the_device(cupy):
    def optimizer(device):
        parameter = nn.Parameter(np.ones(3, np.float32), device=device)
        parameter.grad = ma.tensor([1.0, 2.0, 3.0], device=device)
        made = optim.Adam([parameter], lr=0.1)
        made.step()
        return parameter, made

    (here, saved), (there, loaded) = optimizer("cpu"), optimizer("cuda")
    loaded.load_state_dict(saved.state_dict())
    assert isinstance(loaded.state[0]["m"], cupy.ndarray)
    for parameter, each in ((here, saved), (there, loaded)):
        parameter.grad = ma.tensor([1.0, 0.0, -3.0], device=parameter.device)
        each.step()
    np.testing.assert_allclose(there.numpy(), here.numpy(), rtol=1e-6)
    saved.load_state_dict(loaded.state_dict())
    assert isinstance(saved.state[0]["m"], np.ndarray)


def test_checkpoints_and_evaluation(cupy, tmp_path):
    ma.manual_seed(0)
    network = ma.models.create_model("alexnet_mnist28_bn", 10).to("cuda").eval()
    save_checkpoint(tmp_path / "x.safetensors", network, epoch=1)
    other = ma.models.get_architecture("alexnet_mnist28_bn").build(10)
    load_checkpoint(tmp_path / "x.safetensors", other)
    batches = [
        (np.random.default_rng(0).standard_normal((2, 1, 28, 28)).astype(np.float32), np.array([1, 3]))
    ]
    here, there = evaluate(other, batches), evaluate(network, batches, "cuda")
    np.testing.assert_allclose(there.probabilities, here.probabilities, rtol=1e-4)
    assert there.loss == pytest.approx(here.loss, rel=1e-5)


def test_memory_is_that_of_the_gpu(cupy):
    assert available_on("cuda") == 8 * 2**30
    network = ma.models.create_model("alexnet_mnist28_bn", 10)
    assert 0 < require_memory(network, 4, "cuda") < 2**30
    cupy.cuda.runtime.memGetInfo = lambda: (2**20, 2**24)
    with pytest.raises(MiniAlexError, match="and 1 MB are available"):
        require_memory(network, 4, "cuda")


def test_gradcheck_runs_on_the_device(cupy):
    x = ma.tensor([[0.3, -1.2], [2.0, 0.7]], device="cuda", requires_grad=True)
    ma.gradcheck(lambda x: x.tanh() @ F.relu(x), x)
    ma.gradgradcheck(lambda x: x.tanh() @ x, x)


def test_auto_chooses_the_device(cupy):
    assert choose_device("auto") == ("cuda", "device cuda (auto: a GPU can be used)")


def test_cupy_is_not_imported_before_it_is_needed():
    import subprocess
    import sys

    if importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy is not installed: nothing could import it")
    code = (
        "import sys, minialex as ma; ma.tensor([1.0]).to('cuda-host'); "
        "ma.kernels.list_kernels(device='cuda'); assert 'cupy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
