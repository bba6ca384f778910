"""`check_torch` in float64 and float32: what is converted, and what should not have been."""

import numpy as np
import pytest
from torch_samples import Power, constant, derivatives, failure, normal, torch

import minialex as ma

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("one_torch_thread")]


def test_float32_is_converted():
    # [8649, 44662] "fails" in float32: the inputs are too coarse for the differences.
    seen = set()

    def pooled(x):
        seen.add(x.dtype)
        return torch.nn.functional.adaptive_avg_pool2d(x, (1, 2))

    x = normal(1, 2, 3, 4, dtype=torch.float32)
    report = ma.check_torch(pooled, x)
    assert (report.dtype, seen) == ("float64", {torch.float64})
    assert report.worst_error < 1e-9
    assert x.dtype == torch.float32
    seen.clear()
    for dtype in (np.float32, "float32", torch.float32):
        report = ma.check_torch(pooled, x, dtype=dtype)
        assert (report.dtype, report.weak, seen) == ("float32", True, {torch.float32})


def test_half_precision_inputs_and_constants_are_converted():
    x, w = normal(3, dtype=torch.bfloat16), constant(3).half()
    assert derivatives(ma.check_torch(torch.mul, [x, w])) == 9


def test_what_a_converted_function_creates_is_converted():
    def with_state(x):
        return torch.zeros(2, 3) @ x + torch.ones(2, 3) @ x

    assert ma.check_torch(with_state, normal(3, 2, dtype=torch.float32)).compared > 0
    # It was asked for in float64, in which it cannot be called: it is not repaired.
    error = failure(with_state, normal(3, 2))
    assert error.check == "raises"
    assert "raises RuntimeError" in str(error)


def test_a_function_of_float32_alone():
    def single(x):
        if x.dtype != torch.float32:
            raise RuntimeError("expected scalar type Float but found Double")
        return x**2

    error = failure(single, normal(3, dtype=torch.float32))
    assert "tensors were converted to float64: dtype='float32' checks it in the other" in str(error)
    assert ma.check_torch(single, normal(3, dtype=torch.float32), dtype="float32").weak


def test_a_result_in_another_dtype():
    error = failure(lambda x: (x.sin(), x.float()), normal(3))
    assert error.check == "dtype"
    assert "result[1] is float32 for inputs of float64" in str(error)
    assert failure(lambda x: x.bfloat16(), normal(3)).check == "dtype"


def test_float32_inside_is_found():
    class Single(Power):
        @staticmethod
        def backward(ctx, u):
            x = ctx.saved_tensors[0].float()
            return u * ctx.n * x ** (ctx.n - 1), None, None

    assert failure(Single, [normal(5), 3]).check == "values"
