"""PyTorch and MiniAlex share memory by DLPack, both ways, on every dtype of a tensor."""

import numpy as np
import pytest

import minialex as ma

torch = pytest.importorskip("torch", reason="the oracle is not installed")


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8", "bool"])
def test_a_write_on_one_side_is_seen_on_the_other(dtype):
    ours = ma.zeros(2, 3, dtype=dtype)
    theirs = torch.from_dlpack(ours)
    assert theirs.dtype == getattr(torch, dtype)
    assert theirs.shape == (2, 3)
    theirs[0, 1] = 1
    assert ours.numpy()[0, 1] == 1
    ours.data[1, 2] = 1
    assert theirs[1, 2] == 1
    back = ma.from_dlpack(theirs.T)
    assert (back.dtype, back.shape) == (np.dtype(dtype), (3, 2))
    back.data[0, 0] = 1
    assert theirs[0, 0] == 1
    theirs[1, 1] = 1
    assert back.numpy()[1, 1] == 1


def test_gradients_are_asked_to_be_left_behind():
    with pytest.raises(BufferError, match=r"share its detach\(\)"):
        torch.from_dlpack(ma.ones(2, requires_grad=True))
    with pytest.raises(ma.MiniAlexError, match="detach"):
        ma.from_dlpack(torch.ones(2, requires_grad=True))


def test_other_dtypes_are_refused():
    for dtype in (torch.bfloat16, torch.float16):
        with pytest.raises(TypeError, match="a tensor holds float32, float64, integers or bools"):
            ma.from_dlpack(torch.ones(2, dtype=dtype))


def test_a_file_of_torch_save_is_refused(tmp_path):
    for name, options in (("new", {}), ("old", {"_use_new_zipfile_serialization": False})):
        torch.save({"w": torch.ones(2)}, tmp_path / name, **options)
        with pytest.raises(ma.MiniAlexError, match=r"is a file of torch\.save; for its weights"):
            ma.load(tmp_path / name)


def test_pytorch_reads_the_arrays_of_a_saved_file(tmp_path):
    load_file = pytest.importorskip("safetensors.torch", reason="the oracle is not installed").load_file
    ma.save({"w": ma.arange(3.0), "epoch": 2}, tmp_path / "AlexNet.pth")
    assert load_file(tmp_path / "AlexNet.pth")["w"].tolist() == [0, 1, 2]
