"""On a GPU: that the glue to CuPy works. `pytest -m gpu` also runs every kernel against its reference."""

import numpy as np
import pytest

import minialex as ma
from minialex import functional as F
from minialex.checking.testing.compare import assert_close, rounding
from minialex.checking.testing.devices import with_layout
from minialex.errors import KernelError
from minialex.kernels import find_kernel, list_kernels
from minialex.kernels.cuda import Source
from minialex.kernels.cuda.registration import cuda_device
from minialex.kernels.cuda.source import project_sources

pytestmark = pytest.mark.gpu


@pytest.fixture
def cupy():
    return pytest.importorskip("cupy")


def test_an_array_is_computed_where_it_is(cupy):
    x = np.random.default_rng(0).standard_normal((1000, 77)).astype(np.float32)
    y = ma.kernels.run("relu.forward", "cuda", cupy.asarray(x))
    assert isinstance(y, cupy.ndarray)
    np.testing.assert_array_equal(y.get(), np.maximum(x, 0))


@pytest.mark.parametrize("source", project_sources(), ids=lambda source: source.path.name)
def test_every_source_is_compiled_and_loaded(cupy, source):
    from minialex.kernels.cuda.gpu import compiled

    for real in (np.float32, np.float64):
        for name in source.signatures:
            attributes = compiled(source, np.dtype(real), name).attributes
            assert attributes["local_size_bytes"] == 0 or real == np.float64, f"{name} spills"


def test_a_source_that_does_not_compile_is_an_error_with_its_line(tmp_path):
    (tmp_path / "wrong.cu").write_text('extern "C" __global__ void wrong(int* x) {\n    x[0] = missing;\n}\n')
    device = cuda_device("cuda")
    with pytest.raises(KernelError, match=r"wrong\.cu\(2\).*missing"):
        device.launch(Source(tmp_path / "x.py", "wrong.cu")["wrong"], 1, 1, device.zeros(1, np.int32))


def test_the_current_stream_is_used(cupy):
    stream = cupy.cuda.Stream(non_blocking=True)
    x = cupy.asarray(np.linspace(-1, 1, 2**20))
    cupy.cuda.Device().synchronize()
    with stream:
        y = ma.kernels.run("relu.forward", "cuda", x)
        result = y.get(stream=stream)
    stream.synchronize()
    np.testing.assert_array_equal(result, np.maximum(np.linspace(-1, 1, 2**20), 0))


def test_memory_comes_from_cupys_pool(cupy):
    pool = cupy.get_default_memory_pool()
    before = pool.used_bytes()
    y = ma.kernels.run("relu.forward", "cuda", cupy.zeros(2**20, np.float32))
    assert pool.used_bytes() - before >= y.nbytes


@pytest.mark.parametrize("view", [lambda a: a.T, lambda a: a[::-1, ::-2], lambda a: a[1:, 1]])
def test_a_layout_is_kept_on_the_way_to_the_gpu(cupy, view):
    array = view(np.arange(60.0).reshape(5, 12))
    there = with_layout(array, cupy)
    assert there.strides == array.strides
    np.testing.assert_array_equal(there.get(), array)


def test_alexnet_agrees_with_the_cpu():
    x = np.random.default_rng(0).standard_normal((2, 3, 227, 227)).astype(np.float32)

    def run(device):
        ma.manual_seed(0)
        network = ma.models.create_model("alexnet").to(device)
        ma.manual_seed(1)
        loss = F.cross_entropy(network(ma.Tensor(x, device=device)), np.array([3, 5]))
        loss.backward()
        return [loss.numpy(), *(p.grad.numpy() for p in network.parameters())]

    for here, there in zip(run("cpu"), run("cuda"), strict=True):
        assert np.linalg.norm(there - here) <= 1e-4 * np.linalg.norm(here)


def test_convolutions_agree_at_the_sizes_of_alexnet(cupy):
    generator = np.random.default_rng(0)
    x, weight = generator.standard_normal((4, 96, 27, 27)), generator.standard_normal((256, 48, 5, 5))
    window = {"stride": (1, 1), "padding": ((2, 2), (2, 2)), "dilation": (1, 1), "groups": 2}
    right = find_kernel("conv2d.forward", algo="im2col")(x, weight, None, **window)
    for entry in list_kernels("conv2d.forward", "cuda"):
        if entry.dtypes is None or "float64" in entry.dtypes:
            y = entry(cupy.asarray(x), cupy.asarray(weight), None, **window)
            assert_close(y.get(), right, rounding(np.float64) * 20, name=entry.name)
