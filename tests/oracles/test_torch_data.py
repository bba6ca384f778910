"""Resizing, batches and the sizes of parts are those of PyTorch."""

import numpy as np
import pytest

import minialex as ma
from minialex.data import default_collate, random_split
from minialex.data.transforms import Resize

torch = pytest.importorskip("torch", reason="the oracle is not installed")
torch_data = pytest.importorskip("torch.utils.data", reason="the oracle is not installed")


@pytest.mark.parametrize("size", [(5, 7), (40, 31), (12, 3), (1, 1)])
def test_resizing_floats_is_antialiased_as_in_pytorch(size):
    values = np.random.default_rng(0).random((2, 3, 12, 17), dtype=np.float32)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(values), size, mode="bilinear", antialias=True, align_corners=False
    )
    np.testing.assert_allclose(Resize(size)(ma.Tensor(values)).numpy(), wanted.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "batch",
    [
        [1, 2],
        [1.5, 2.0],
        [True, False],
        [np.float32(1), np.float32(2)],
        [np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)],
        [(1, 2.0), (3, 4.0)],
        [[1, [2]], [3, [4]]],
        [{"a": 1, "b": (2, 3)}, {"a": 4, "b": (5, 6)}],
        ["a", "b"],
    ],
    ids=str,
)
def test_batches_are_pytorchs(batch):
    def plain(value):
        if isinstance(value, ma.Tensor | torch.Tensor):
            array = value.numpy()
            return array.dtype, array.tolist()
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        return value if isinstance(value, str) else [plain(each) for each in value]

    assert plain(default_collate(batch)) == plain(torch_data.default_collate(batch))


@pytest.mark.filterwarnings("ignore:Length of split")
@pytest.mark.parametrize("count", [1, 7, 10, 101])
@pytest.mark.parametrize("lengths", [(0.5, 0.5), (0.7, 0.2, 0.1), (0.34, 0.33, 0.33)])
def test_parts_have_pytorchs_sizes(count, lengths):
    wanted = [len(each) for each in torch_data.random_split(range(count), lengths)]
    assert [len(each) for each in random_split(range(count), lengths)] == wanted
