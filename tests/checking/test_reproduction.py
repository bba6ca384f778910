"""The lines that a failure prints repeat it: the same check, the same element, the same numbers."""

import numpy as np
import pytest

import minialex as ma
from minialex.checking import constraints
from minialex.checking.reproduction import Reproduction, array_lines, unpacked
from minialex.errors import MiniAlexError

COMPARED = (
    "check",
    "summary",
    "input",
    "index",
    "output_index",
    "analytic",
    "numeric",
    "absolute_error",
    "tolerance",
    "step",
    "seed",
    "wrong",
    "compared",
    "pattern",
    "reproduce",
)


def failure(check, *arguments, **options) -> ma.GradcheckError:
    with pytest.raises(ma.GradcheckError) as raised:
        check(*arguments, **options)
    return raised.value


def pasted(error, **names) -> ma.GradcheckError:
    """What the printed lines fail with; only the functions under check are there to be used."""
    with pytest.raises(ma.GradcheckError) as raised:
        exec(error.reproduce, names)
    return raised.value


def facts(error) -> dict:
    return {name: getattr(error, name) for name in COMPARED}


# Wrong gradients of a floating-point array x, a second one y, integers n and booleans b.


def _cube(x, y, n, b):
    return x**3 + 0 * y.sum()


def _product(x, y, n, b):
    return x * n.sum() + y.sum()


def _chosen(x, y, n, b):
    return np.where(b.any(), 2.0, -1.0).astype(x.dtype) * np.sin(x) + y.sum() ** 2


def _two(x, y, n, b):
    return x**2, y**2 + 0 * n.sum()


def _one_of_many(u, gradient):
    wrong = gradient.copy()
    wrong.flat[wrong.size // 2] *= 1.5
    return wrong


WRONG = {
    "a factor": (_cube, lambda u, x, y, n, b: (3.5 * u * x**2, 0 * y, None, None)),
    "an element": (
        _cube,
        lambda u, x, y, n, b: (_one_of_many(u, 3 * u * (x**2 + 1) - 3 * u), 0 * y, None, None),
    ),
    "a sign": (
        _product,
        lambda u, x, y, n, b: (u * n.sum(), np.full_like(y, -u.sum()), None, None),
    ),
    "cosine": (
        _chosen,
        lambda u, x, y, n, b: (u * np.sin(x), 2 * u.sum() * y.sum() * np.ones_like(y), None, None),
    ),
    "several results": (
        _two,
        lambda u, x, y, n, b: (2.2 * u[0] * x, 2 * u[1] * y, None, None),
    ),
    "not linear": (_cube, lambda u, x, y, n, b: (u * abs(u) * x, 0 * y, None, None)),
    "another shape": (_cube, lambda u, x, y, n, b: ((3 * u * x**2)[None], 0 * y, None, None)),
    "another dtype": (_cube, lambda u, x, y, n, b: ((3 * u * x**2).astype("i8"), 0 * y, None, None)),
    "not finite": (_cube, lambda u, x, y, n, b: (u * np.float64(np.nan) * x, 0 * y, None, None)),
}
SHAPES = ((3,), (2, 3), (), (1, 2, 2), (3, 67), (4,))
OPTIONS = (
    {},
    {"mode": "directions", "directions": 3},
    {"dtype": "float32"},
    {"step": 3e-5},
    {"wrt": [1, 0]},
    {"max_skipped": 0.9, "mode": "jacobian"},
)


def drawn(number: int):
    """Inputs with the numbers that are printed wrongly most easily."""
    generator = np.random.default_rng(number)
    shape = SHAPES[number % len(SHAPES)]
    x = generator.standard_normal(shape) * 10.0 ** generator.integers(-2, 3)
    x = np.asarray(x)
    if x.size > 1:
        x.flat[0] = generator.choice([-0.0, 5e-324, -1e-310, 1 / 3])
    y = np.asarray(generator.standard_normal(shape), generator.choice(["float32", "float64"]))
    n = generator.integers(-(2**62), 2**62, (3,)) // 2**60
    return [x, y, n.astype(generator.choice(["int8", "int64", ">i4"])), generator.integers(0, 2, 2) > 0]


@pytest.mark.parametrize("number", range(100))
def test_pasted_lines_fail_in_the_same_way(number):
    forward, vjp = list(WRONG.values())[number % len(WRONG)]
    options = OPTIONS[number // 3 % len(OPTIONS)] | {"seed": number}
    first = failure(ma.check_vjp, forward, vjp, drawn(number), **options)

    again = pasted(first, forward=forward, vjp=vjp)

    assert facts(again) == facts(first)


class _Cube(ma.Operation):
    """Its gradient is right; as the gradient takes x for a constant, that of the gradient is not."""

    saved_inputs = (0,)

    def forward(self, x):
        return x**3

    def backward(self, g):
        return (3 * g * self.saved[0].detach() ** 2,)


def _scaled_by_constant(x, settings, y):
    return (x * y.detach()) ** settings["power"]


def _cubed(x, settings, y):
    return _Cube()(x) * y * settings["power"]


@pytest.mark.parametrize(
    ("check", "fn"),
    [(ma.gradcheck, _scaled_by_constant), (ma.gradgradcheck, _cubed)],
    ids=["first", "second"],
)
@pytest.mark.parametrize("number", range(12))
def test_functions_of_tensors(number, check, fn):
    generator = np.random.default_rng(number)
    inputs = [
        ma.Tensor(generator.standard_normal([(2,), (2, 2), (120, 2)][number % 3]), requires_grad=True),
        {"power": (1, 2)[number % 2], "others": [None, 1.5, "text"]},
        ma.Tensor(np.float64(generator.uniform(1, 2)), requires_grad=True),
    ]
    options = [{}, {"mode": "directions", "directions": 2}][number // 6] | {"seed": 5 + number}
    first = failure(check, fn, inputs, **options)

    again = pasted(first, fn=fn)

    assert facts(again) == facts(first)


def arrays_of_all_kinds() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(8)
    return {
        "random": generator.standard_normal((40, 100)),
        "float32": generator.standard_normal((300, 3)).astype("float32"),
        "constant": np.full((700, 700), -0.0),
        "integers": generator.integers(0, 2**64, 500, dtype=np.uint64),
        "booleans": generator.integers(0, 2, (20, 20)) > 0,
        "not finite": np.array([np.nan, -np.inf, np.inf, -0.0]),
        "words": np.array([["a\n", "'"], ["\\", "é"]]),
        "dates": np.array(["2020-01-01", "NaT"], "datetime64[ns]"),
        "big-endian": np.arange(3, dtype=">f8"),
        "none": np.zeros((0, 3), "float32"),
    }


@pytest.mark.parametrize("kind", list(arrays_of_all_kinds()))
def test_arrays_come_back_bit_for_bit(kind):
    array = arrays_of_all_kinds()[kind]
    names = {"np": np}
    exec("\n".join(array_lines([array])), names)
    assert names["x0"].dtype == array.dtype
    assert names["x0"].shape == array.shape
    assert names["x0"].tobytes() == array.tobytes()
    assert names["x0"].flags.writeable


def test_no_line_is_wide():
    lines = array_lines([arrays_of_all_kinds()["random"], np.linspace(-1, 1, 150)])
    assert max(map(len, lines)) <= 110


def half(x):
    return x / 2


def wrong_half(u, x):
    return (u / 3,)


def test_what_is_too_large_to_print_is_saved_on_demand(tmp_path, monkeypatch):
    x = np.random.default_rng(0).standard_normal((300, 300))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINIALEX_GRADCHECK_DIR", raising=False)
    error = failure(ma.check_vjp, half, wrong_half, [x])
    assert "MINIALEX_GRADCHECK_DIR=." in error.reproduce
    assert len(error.reproduce) < 1000
    assert list(tmp_path.iterdir()) == []

    monkeypatch.setenv("MINIALEX_GRADCHECK_DIR", ".")
    ma.check_vjp(half, lambda u, x: (u / 2,), [x])
    assert list(tmp_path.iterdir()) == []  # nothing has failed
    saved = failure(ma.check_vjp, half, wrong_half, [x])
    assert facts(pasted(saved, forward=half, vjp=wrong_half)) == facts(saved)
    (file,) = tmp_path.iterdir()
    assert np.load(file).tobytes() == x.tobytes()
    # Where the first lines look for it.
    monkeypatch.delenv("MINIALEX_GRADCHECK_DIR")
    assert pasted(error, forward=half, vjp=wrong_half).analytic == error.analytic


def test_a_folder_that_cannot_be_written_does_not_hide_the_failure(tmp_path, monkeypatch):
    occupied = tmp_path / "file"
    occupied.touch()
    monkeypatch.setenv("MINIALEX_GRADCHECK_DIR", str(occupied))
    x = np.random.default_rng(0).standard_normal((300, 300))
    error = failure(ma.check_vjp, half, wrong_half, [x])
    assert error.check == "values"
    assert "could not be saved" in error.reproduce


def test_inputs_are_written_as_they_were_before_the_function_changed_them():
    def forward(x):
        x *= 2
        return x.copy()

    x = np.array([0.25, -3.0])
    error = failure(ma.check_vjp, forward, wrong_half, [x])
    assert error.check == "changed input"
    assert "np.array([0.25, -3.0], 'float64')" in error.reproduce


def test_options_that_are_functions_or_constraints():
    names = {}
    along = constraints.along([np.array([1.0, -2.0])])
    text = str(
        Reproduction(
            ma.check_vjp,
            ("forward", "vjp"),
            [np.array([0.5, 1.0])],
            {
                "branches": half,
                "seed": 3,
                "step": None,
                "constraints": [along, constraints.bounded(0, 1), None],
            },
            "forward: half",
        )
    )
    assert "step" not in text  # its default
    call = text.splitlines()[-1]
    assert call.startswith("ma.check_vjp(forward, vjp, [x0], branches=branches, seed=3, constraints=[")
    assert call.endswith("# forward: half, branches: half")
    exec(text.rsplit("\n", 1)[0], names)
    exec(f"made = {call[call.index('constraints=') + 12 : call.rindex(')')]}", names)
    made = names["made"]
    assert np.array_equal(made[0].directions[0], [1.0, -2.0])
    assert made[1] == constraints.bounded(0, 1)
    assert made[2] is None


def test_damaged_text_is_refused():
    (_, first, *rest, last) = array_lines([arrays_of_all_kinds()["float32"]])
    whole = "\n".join([first, *rest, last])
    for damaged, says in (
        ("\n".join([first, *rest[:-1], last]), "paste all of its lines"),
        (whole.replace("(300, 3)", "(300, 2)"), "paste all of its lines"),
        (whole.replace(rest[0][5:20], "?" * 15), "not a packed array"),
    ):
        with pytest.raises(MiniAlexError, match=says):
            exec(damaged, {"unpacked": unpacked})
