"""The pytest plugin, in projects of its own: each test writes one and runs pytest on it."""

import os
import subprocess
import sys

import pytest

SETTINGS = """\
[pytest]
addopts = --strict-markers --strict-config -p no:cacheprovider
filterwarnings = error
"""

FUNCTIONS = """\
import numpy as np
import pytest

x = np.array([[0.3, -1.2, 2.0], [0.7, 0.1, -0.4]])


def cube(x):
    return x**3


def cube_vjp(u, x):
    return (3 * u * x**2,)


def wrong_vjp(u, x):
    return (2 * u * x**2,)
"""


class Project:
    """A folder that pytest runs in, where the plugin is found as an installed package announces it."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "pytest.ini").write_text(SETTINGS)
        (folder / "functions.py").write_text(FUNCTIONS)
        package = folder / "installed" / "announced-1.0.dist-info"
        package.mkdir(parents=True)
        (package / "METADATA").write_text("Metadata-Version: 2.1\nName: announced\nVersion: 1.0\n")
        (package / "entry_points.txt").write_text("[pytest11]\nminialex = minialex.testing.pytest_plugin\n")

    def run(self, text: str, *arguments: str) -> subprocess.CompletedProcess:
        """Run pytest on a file of tests that begins by importing all functions."""
        (self.folder / "test_it.py").write_text(f"from functions import *\n\n{text}")
        return self.pytest(*arguments)

    def pytest(self, *arguments: str) -> subprocess.CompletedProcess:
        paths = [str(self.folder), str(self.folder / "installed"), os.environ.get("PYTHONPATH", "")]
        return subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTEST_ADDOPTS": ""},
            capture_output=True,
            text=True,
            timeout=300,
        )


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path)


def summary(done: subprocess.CompletedProcess) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith("gradcheck: ")]


def test_the_fixture_checks_tensors_second_derivatives_and_plain_arrays(project):
    done = project.run(
        """
import minialex as ma

def test_right(gradcheck):
    t = ma.Tensor(x, requires_grad=True)
    first = gradcheck(lambda t: t * t * t, t)
    second = gradcheck.second(lambda t: t * t * t, [t])
    plain = gradcheck.vjp(cube, cube_vjp, [x])
    assert (first.compared, plain.compared, second.compared) == (36, 36, 72)
"""
    )
    assert done.returncode == 0, done.stdout
    assert "warning" not in done.stdout
    (line,) = summary(done)
    assert line.startswith("gradcheck: 3 checks, 144 derivatives compared, 0 skipped at kinks, worst error ")
    assert 0 < float(line.rsplit(" ", 1)[1]) < 1e-9


@pytest.mark.parametrize(
    "call",
    [
        "gradcheck.vjp(cube, wrong_vjp, [x])",
        "gradcheck(lambda t: Cube()(t), ma.Tensor(x, requires_grad=True))",
        "gradcheck.second(lambda t: t * Cube()(t), ma.Tensor(x, requires_grad=True))",
    ],
)
def test_a_failure_shows_the_call_and_the_message_and_nothing_of_the_checker(project, call):
    done = project.run(
        f"""
import minialex as ma

class Cube(ma.Operation):
    saved_inputs = (0,)

    def forward(self, x):
        return x**3

    def backward(self, g):
        (x,) = self.saved
        return (g * x * x,)

def test_wrong(gradcheck):
    {call}
"""
    )
    assert done.returncode == 1, done.stdout
    assert f">       {call}" in done.stdout
    assert "the gradient of input 0 is wrong" in done.stdout
    assert "to reproduce:" in done.stdout
    for internal in ("vjp.py", "tensors.py", "pytest_plugin.py", "_check_jacobian", "__tracebackhide__"):
        assert internal not in done.stdout
    assert summary(done)[0].endswith("1 failed")


def test_full_trace_shows_the_checker(project):
    text = "def test_wrong(gradcheck):\n    gradcheck.vjp(cube, wrong_vjp, [x])\n"
    assert "_check_jacobian" in project.run(text, "--full-trace").stdout


def test_a_test_may_expect_the_error(project):
    done = project.run(
        """
from minialex import GradcheckError

def test_wrong(gradcheck):
    with pytest.raises(GradcheckError) as caught:
        gradcheck.vjp(cube, wrong_vjp, [x])
    assert caught.value.check == "values"
"""
    )
    assert done.returncode == 0, done.stdout
    assert summary(done)[0].startswith("gradcheck: 1 check, 0 derivatives compared")


def test_an_error_of_the_function_keeps_its_traceback(project):
    done = project.run(
        """
def broken(x):
    raise KeyError("my own mistake")

def test_broken(gradcheck):
    gradcheck.vjp(broken, cube_vjp, [x])
"""
    )
    assert done.returncode == 1
    assert "def broken(x):" in done.stdout
    assert "my own mistake" in done.stdout


MARKED = """
pytestmark = pytest.mark.gradcheck(seed=1, mode="directions", directions=3)

def options(report):
    return report.seed, report.mode, report.directions, report.dtype

def test_module(gradcheck):
    assert options(gradcheck.vjp(cube, cube_vjp, [x])) == ({module}, "directions", 3, "float64")

@pytest.mark.gradcheck(seed=2, dtype="float32")
class TestClass:
    def test_class(self, gradcheck):
        assert options(gradcheck.vjp(cube, cube_vjp, [x])) == ({klass}, "directions", 3, "float32")

    @pytest.mark.gradcheck(seed=3, mode="jacobian")
    def test_nearest(self, gradcheck):
        assert options(gradcheck.vjp(cube, cube_vjp, [x])) == ({nearest}, "jacobian", 0, "float32")

    @pytest.mark.gradcheck(seed=3)
    def test_call(self, gradcheck):
        report = gradcheck.vjp(cube, cube_vjp, [x], seed=4, dtype="float64", directions=5)
        assert options(report) == (4, "directions", 5, "float64")
"""


def test_markers_give_options_the_nearest_first_and_the_call_before_them(project):
    done = project.run(MARKED.format(module=1, klass=2, nearest=3))
    assert done.returncode == 0, done.stdout
    assert summary(done)[0].endswith(", 3 along random directions only, 2 in float32 (weak)")


def test_the_seed_of_the_command_line_goes_before_the_markers(project):
    done = project.run(MARKED.format(module=9, klass=9, nearest=9), "--gradcheck-seed", "9")
    assert done.returncode == 0, done.stdout


def test_max_skipped_of_a_marker_counts(project):
    kinks = """
{marker}
def test_kink(gradcheck):
    report = gradcheck.vjp(np.abs, lambda u, x: (u * np.sign(x),), [np.array([0.0, 1.0])])
    assert report.skipped == 1
"""
    assert project.run(kinks.format(marker="")).returncode == 1
    done = project.run(kinks.format(marker="@pytest.mark.gradcheck(max_skipped=0.5)"))
    assert done.returncode == 0, done.stdout
    assert ", 1 skipped at kinks," in summary(done)[0]


@pytest.mark.parametrize(
    ("marker", "named"), [("sed=3", "no option sed"), ("3, tolerance=1", "no option 3, tolerance")]
)
def test_an_unknown_option_is_a_usage_error_before_anything_runs(project, marker, named):
    done = project.run(
        f"""
def test_first():
    open("ran", "w").close()

@pytest.mark.gradcheck({marker})
def test_it(gradcheck):
    gradcheck.vjp(cube, cube_vjp, [x])
"""
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    text = done.stdout + done.stderr
    assert f"test_it.py::test_it: the marker gradcheck has {named}; it takes, by name: seed, dtype" in text
    assert "Traceback" not in text
    assert not (project.folder / "ran").exists()


@pytest.mark.parametrize("seed", ["-1", "x"])
def test_a_wrong_seed_is_a_usage_error(project, seed):
    done = project.run("def test_it(): pass", f"--gradcheck-seed={seed}")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"--gradcheck-seed: {seed!r} should be an int, 0 or more" in done.stderr


def test_functions_that_differentiate_are_checked_as_others_are(project):
    done = project.run(
        """
import minialex as ma

def penalty(x):
    (g,) = ma.grad((x.exp() * x).sum(), x, create_graph=True)
    return (g * g).sum()

def test_it(gradcheck):
    gradcheck(penalty, [ma.Tensor(x, requires_grad=True)])
    gradcheck.second(penalty, [ma.Tensor(x, requires_grad=True)])
"""
    )
    assert done.returncode == 0, done.stdout
    assert summary(done)[0].startswith("gradcheck: 2 checks, 48 derivatives compared, 0 skipped")


def test_it_goes_with_hypothesis(project):
    done = project.run(
        """
from hypothesis import HealthCheck, given, settings
from minialex.testing.strategies import normal_arrays, shapes

slow_machine = [HealthCheck.too_slow]

@settings(max_examples=20, deadline=None, database=None, derandomize=True, suppress_health_check=slow_machine)
@given(normal_arrays(shapes(min_dims=1, min_side=1)))
def test_drawn(gradcheck, x):
    gradcheck.vjp(cube, cube_vjp, [x])
"""
    )
    assert done.returncode == 0, done.stdout
    assert summary(done)[0].startswith("gradcheck: 20 checks, ")


def test_who_does_not_use_it_does_not_notice_it(project):
    done = project.run(
        """
import sys

def test_other():
    loaded = [name for name in sys.modules if name.startswith(("minialex.checking", "minialex.models"))]
    assert not loaded

@pytest.fixture
def gradcheck():
    return "of their own"

@pytest.mark.parametrize("n", [1, 2])
def test_own_fixture(gradcheck, n):
    assert gradcheck == "of their own"
"""
    )
    assert done.returncode == 0, done.stdout
    assert "gradcheck" not in done.stdout
    assert "3 passed" in done.stdout


def test_another_projects_marker_of_the_same_name_is_left_alone(project):
    done = project.run("@pytest.mark.gradcheck(eps=1e-3)\ndef test_other(): pass")
    assert done.returncode == 0, done.stdout


def test_the_marker_and_the_fixture_are_listed(project):
    assert "@pytest.mark.gradcheck(seed=..., dtype=..., mode=..." in project.pytest("--markers").stdout
    assert "gradcheck [session scope]" in project.run("", "--fixtures").stdout


def test_it_can_be_turned_off(project):
    text = "def test_it(gradcheck):\n    gradcheck.vjp(cube, cube_vjp, [x])\n"
    off = project.run(text, "-p", "no:minialex")
    assert off.returncode == 1
    assert "fixture 'gradcheck' not found" in off.stdout
    assert project.run(text).returncode == 0


def test_it_can_be_named_on_the_command_line(project):
    text = "def test_it(gradcheck):\n    gradcheck.vjp(cube, cube_vjp, [x])\n"
    done = project.run(text, "-p", "no:minialex", "-p", "minialex.testing.pytest_plugin")
    assert done.returncode == 0, done.stdout


def test_counts_survive_the_way_between_processes(project):
    # As pytest-xdist sends them: each report goes through JSON.
    (project.folder / "conftest.py").write_text(
        """
import json
import pytest

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    hook = item.config.hook
    data = json.loads(json.dumps(hook.pytest_report_to_serializable(config=item.config, report=report)))
    return hook.pytest_report_from_serializable(config=item.config, data=data)
"""
    )
    done = project.run("def test_it(gradcheck):\n    gradcheck.vjp(cube, cube_vjp, [x])\n")
    assert done.returncode == 0, done.stdout
    assert summary(done)[0].startswith("gradcheck: 1 check, 36 derivatives compared")
