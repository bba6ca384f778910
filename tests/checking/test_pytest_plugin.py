"""The pytest plugin, in projects of its own: each test writes one and runs pytest on it."""

import os
import re
import subprocess
import sys
from xml.etree import ElementTree

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
        (package / "entry_points.txt").write_text("[pytest11]\nminialex = minialex.checking.pytest_plugin\n")

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
    assert (first.compared, plain.compared, second.compared) == (6, 6, 12)
"""
    )
    assert done.returncode == 0, done.stdout
    assert "warning" not in done.stdout
    (line,) = summary(done)
    assert line.startswith(
        "gradcheck: 3 checks, 24 derivatives compared, 0 skipped at kinks, worst relative "
    )
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
    for internal in (
        "vjp.py",
        "values.py",
        "tensors.py",
        "pytest_plugin.py",
        "check_jacobian",
        "__tracebackhide__",
    ):
        assert internal not in done.stdout
    assert summary(done)[0].endswith("1 failed")


def test_full_trace_shows_the_checker(project):
    text = "def test_wrong(gradcheck):\n    gradcheck.vjp(cube, wrong_vjp, [x])\n"
    assert "check_jacobian" in project.run(text, "--full-trace").stdout


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
    assert summary(done)[0].endswith(", 1 failed as the tests expect")


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
    assert ">       gradcheck.vjp(broken, cube_vjp, [x])" in done.stdout
    assert "minialex/checking" not in done.stdout
    assert summary(done)[0].endswith(", 1 failed")


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


def test_options_of_a_marker_say_what_is_enough(project):
    done = project.run(
        """
def nothing(x):
    return 0 * x

@pytest.mark.gradcheck(min_compared=0)
def test_constant(gradcheck):
    assert gradcheck.vjp(nothing, lambda u, x: (0 * u,), [x]).compared == 0

@pytest.mark.gradcheck(min_compared=7)
def test_too_few(gradcheck):
    gradcheck.vjp(cube, cube_vjp, [x])

@pytest.mark.gradcheck(max_tolerance=1e-15)
def test_uncertain(gradcheck):
    gradcheck.vjp(cube, cube_vjp, [x])

calls = []

def noisy_vjp(u, x):
    calls.append(u)
    return (3 * u * x**2 * (1 + 1e-15 * (len(calls) % 3)),)

@pytest.mark.gradcheck(nondeterminism=1e-12)
def test_noise(gradcheck):
    gradcheck.vjp(cube, noisy_vjp, [x])

def test_noise_by_default(gradcheck):
    gradcheck.vjp(cube, noisy_vjp, [x])
"""
    )
    failed = set(re.findall(r"^FAILED test_it.py::(\w+)", done.stdout, re.MULTILINE))
    assert failed == {"test_too_few", "test_uncertain", "test_noise_by_default"}, done.stdout
    assert summary(done)[0].startswith("gradcheck: 5 checks, 6 derivatives compared, ")


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
    assert f"--gradcheck-seed: it must be an integer 0 or more, not {seed!r}" in done.stderr


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
    assert summary(done)[0].startswith("gradcheck: 2 checks, 18 derivatives compared, 0 skipped")


def test_it_goes_with_hypothesis(project):
    done = project.run(
        """
from hypothesis import HealthCheck, given, settings
from minialex.checking.testing.strategies import normal_arrays, shapes

slow_machine = [HealthCheck.too_slow]

@settings(max_examples=20, deadline=None, database=None, derandomize=True, suppress_health_check=slow_machine)
@given(normal_arrays(shapes(min_dims=1, min_side=1)))
def test_drawn(gradcheck, x):
    gradcheck.vjp(cube, cube_vjp, [x])
"""
    )
    assert done.returncode == 0, done.stdout
    assert summary(done)[0].startswith("gradcheck: 20 checks, ")


DRAWN = """
from hypothesis import HealthCheck, Phase, given, settings
from minialex.checking.testing.strategies import normal_arrays, shapes

drawn = settings(
    max_examples=20, deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
arrays = normal_arrays(shapes(min_dims=1, min_side=1))

def tripled_vjp(u, x):
    if x.size > 2:
        u = 3 * u
    return cube_vjp(u, x)
"""


def test_a_failing_example_counts_once(project):
    """However often Hypothesis tries it, to shrink it and to explain it."""
    done = project.run(
        f"""{DRAWN}
calls = []

@drawn
@given(arrays)
def test_wrong(gradcheck, x):
    calls.append(x.size)
    gradcheck.vjp(cube, tripled_vjp, [x])

def test_right(gradcheck):
    gradcheck.vjp(cube, cube_vjp, [x])
    assert sum(size > 2 for size in calls) > 5
"""
    )
    assert done.returncode == 1, done.stdout
    assert "1 failed, 1 passed" in done.stdout
    (line,) = summary(done)
    assert line.startswith("gradcheck: 2 checks, 6 derivatives compared, 0 skipped at kinks, worst relative ")
    assert line.endswith(", 1 failed")


@pytest.mark.full
def test_checks_of_every_kind_of_test_are_counted(project):
    """Parametrised tests, classes and fixtures; drawn examples that pass, of which each is a check."""
    done = project.run(
        f"""{DRAWN}
@pytest.mark.parametrize("vjp", [cube_vjp, wrong_vjp, wrong_vjp], ids="abc")
def test_parametrised(gradcheck, vjp):
    gradcheck.vjp(cube, cube_vjp, [x])
    gradcheck.vjp(cube, vjp, [x])

class TestClass:
    @drawn
    @given(normal_arrays((2,)))
    def test_drawn(self, gradcheck, x):
        gradcheck.vjp(cube, cube_vjp, [x])

    @pytest.mark.parametrize("power", [1, 2])
    @drawn
    @given(arrays)
    def test_drawn_and_parametrised(self, gradcheck, power, x):
        gradcheck.vjp(cube, cube_vjp, [x])
        gradcheck.vjp(cube, tripled_vjp if power == 2 else cube_vjp, [x])

@pytest.fixture
def checked(gradcheck):
    gradcheck.vjp(cube, wrong_vjp, [x])

def test_its_fixture_is_wrong(checked):
    pass

@drawn
@given(arrays)
def test_wrong_in_another_way(gradcheck, x):
    gradcheck.vjp(cube, cube_vjp, [x])
    assert x.size < 3
""",
        "-q",
    )
    assert "4 failed, 3 passed, 1 error" in done.stdout
    # 6 of the parametrised test; 20, 40 and 1 of the class; 1 of the fixture; none of the last,
    # which proves nothing.
    (line,) = summary(done)
    assert line.startswith("gradcheck: 68 checks, ")
    assert line.endswith(", 4 failed")


def test_failures_that_a_test_expects_are_told_from_those_that_fail_it(project):
    done = project.run(
        f"""{DRAWN}
from minialex import GradcheckError

def test_caught(gradcheck):
    with pytest.raises(GradcheckError):
        gradcheck.vjp(cube, wrong_vjp, [x])

@drawn
@given(normal_arrays((2,)))
def test_caught_when_drawn(gradcheck, x):
    with pytest.raises(GradcheckError):
        gradcheck.vjp(cube, wrong_vjp, [x])

@pytest.mark.xfail(strict=True)
def test_expected(gradcheck):
    gradcheck.vjp(cube, wrong_vjp, [x])

def test_another_error_from_it(gradcheck):
    with pytest.raises(GradcheckError):
        gradcheck.vjp(cube, wrong_vjp, [x])
    try:
        gradcheck.vjp(cube, wrong_vjp, [x])
    except GradcheckError as error:
        raise RuntimeError("an error of their own") from error

def test_two_at_once(gradcheck):
    errors = []
    for _ in range(2):
        try:
            gradcheck.vjp(cube, wrong_vjp, [x])
        except GradcheckError as error:
            errors.append(error)
    raise ExceptionGroup("both", errors)
"""
    )
    assert "2 failed, 2 passed, 1 xfailed" in done.stdout
    (line,) = summary(done)
    assert line.startswith("gradcheck: 26 checks, 0 derivatives compared, ")
    assert line.endswith(", 3 failed, 23 failed as the tests expect")


@pytest.mark.full
def test_of_a_test_that_is_run_again_the_last_run_counts(project):
    # As pytest-rerunfailures does it.
    (project.folder / "conftest.py").write_text(
        """
import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for last in (False, False, True):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        for report in reports:
            if report.failed and not last:
                report.outcome = "rerun"
                item.ihook.pytest_runtest_logreport(report=report)
                break
            item.ihook.pytest_runtest_logreport(report=report)
        else:
            break
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True

def pytest_report_teststatus(report):
    if report.outcome == "rerun":
        return "rerun", "R", "RERUN"
"""
    )
    done = project.run(
        """
runs = []

@pytest.fixture
def checked(gradcheck):
    gradcheck.vjp(cube, cube_vjp, [x])

def test_flaky(gradcheck, checked):
    runs.append(1)
    gradcheck.vjp(cube, cube_vjp, [x])
    gradcheck.vjp(cube, wrong_vjp if len(runs) == 1 else cube_vjp, [x])

def test_wrong(gradcheck):
    gradcheck.vjp(cube, wrong_vjp, [x])
""",
        "--junitxml=report.xml",
    )
    assert "1 failed, 1 passed, 3 rerun" in done.stdout
    (line,) = summary(done)
    assert line.startswith("gradcheck: 4 checks, 18 derivatives compared, ")
    assert line.endswith(", 1 failed")
    properties = junit_properties(project)
    assert properties["test_flaky"]["gradcheck_compared"] == "18"
    assert properties["test_wrong"]["gradcheck_checks"] == "1"


def junit_properties(project) -> dict[str, dict[str, str]]:
    """What the file of --junitxml says of each test."""
    cases = ElementTree.parse(project.folder / "report.xml").iter("testcase")
    return {
        case.get("name"): {each.get("name"): each.get("value") for each in case.iter("property")}
        for case in cases
    }


def test_the_junit_file_has_what_each_test_compared(project):
    done = project.run(
        f"""{DRAWN}
@pytest.fixture
def checked(gradcheck):
    yield
    gradcheck.vjp(cube, cube_vjp, [x])

def test_right(gradcheck, checked, record_property):
    record_property("gradient", "of a cube")
    gradcheck.vjp(cube, cube_vjp, [x])

@pytest.mark.gradcheck(max_skipped=0.5)
def test_kink(gradcheck):
    gradcheck.vjp(np.abs, lambda u, x: (u * np.sign(x),), [np.array([0.0, 1.0])])

@drawn
@given(arrays)
def test_wrong(gradcheck, x):
    gradcheck.vjp(cube, tripled_vjp, [x])

def test_other():
    pass
""",
        "--junitxml=report.xml",
        "-o",
        "junit_family=xunit1",
    )
    assert "1 failed, 3 passed" in done.stdout
    found = junit_properties(project)
    assert found["test_other"] == {}
    worst = float(found["test_right"].pop("gradcheck_worst_relative_error"))
    assert 0 < worst < 1e-9
    assert found["test_right"] == {
        "gradient": "of a cube",
        "gradcheck_checks": "2",
        "gradcheck_compared": "12",
        "gradcheck_skipped": "0",
        "gradcheck_uncertain": "0",
        "gradcheck_failed": "0",
    }
    assert found["test_kink"]["gradcheck_skipped"] == "1"
    assert found["test_wrong"]["gradcheck_checks"] == found["test_wrong"]["gradcheck_failed"] == "1"
    assert found["test_wrong"]["gradcheck_compared"] == "0"


@pytest.mark.full
def test_it_counts_and_writes_the_same_in_several_processes(project):
    done = project.run(
        f"""{DRAWN}
@pytest.mark.parametrize("n", range(4))
def test_right(gradcheck, n):
    gradcheck.vjp(cube, cube_vjp, [x])

@drawn
@given(arrays)
def test_wrong(gradcheck, x):
    gradcheck.vjp(cube, tripled_vjp, [x])
""",
        "-n2",
        "--junitxml=report.xml",
    )
    (line,) = summary(done)
    assert line.startswith(
        "gradcheck: 5 checks, 24 derivatives compared, 0 skipped at kinks, worst relative "
    )
    assert line.endswith(", 1 failed")
    assert junit_properties(project)["test_right[3]"]["gradcheck_compared"] == "6"


def test_hypothesis_explains_the_functions_and_not_the_checker(project):
    """Its lines that only failing examples ran are those of the user, wherever the checker calls him."""
    text = f"""{DRAWN}
def signed_square(x):
    if x[0] > 0:
        return x**2  # a positive one
    return -(x**2)

class Twice:
    def __call__(self, u, x):
        return (2 * u * x,)

@drawn
@given(normal_arrays((3,)))
def test_forward(gradcheck, x):
    gradcheck.vjp(signed_square, lambda u, x: (-2 * u * x,), [x])

@drawn
@given(arrays)
def test_vjp(gradcheck, x):
    gradcheck.vjp(cube, tripled_vjp, [x])

@drawn
@given(normal_arrays((2,)))
def test_object(gradcheck, x):
    doubled = x[0] > 0
    if doubled:
        pass  # where the derivative is doubled
    gradcheck.vjp(lambda x: x**2, Twice() if not doubled else lambda u, x: Twice()(2 * u, x), [x])
"""
    done = project.run(text)
    assert "3 failed" in done.stdout
    lines = (project.folder / "test_it.py").read_text().splitlines()
    explained = [
        lines[int(number) - 1].strip()
        for number in re.findall(r"^E +\S*test_it\.py:(\d+)$", done.stdout, re.MULTILINE)
    ]
    assert "return x**2  # a positive one" in explained
    assert "u = 3 * u" in explained
    assert "pass  # where the derivative is doubled" in explained
    # pytest's summary repeats the whole messages where it believes to run unattended (the variable CI).
    failures = done.stdout.split("short test summary info")[0]
    assert failures.count("Explanation:") == 3
    assert failures.count("gradcheck=gradcheck,") == 3
    assert "x=normal_values(default_rng((0, 0, 1)), (3,))" in done.stdout
    for internal in (
        "minialex/checking",
        "minialex/checking/testing",
        "/numpy/",
        "check_jacobian",
        " object at 0x",
    ):
        assert internal not in done.stdout, internal


def test_other_tracers_are_left_alone(project):
    """A debugger's, or that of coverage."""
    done = project.run(
        """
import sys
from minialex.checking.testing.tracing import Pause

def test_it(gradcheck):
    seen = set()

    def trace(frame, event, argument):
        seen.add(frame.f_code.co_name)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        gradcheck.vjp(cube, cube_vjp, [x])
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
    assert {"cube", "cube_vjp", "check_vjp"} <= seen
    with Pause() as pause:
        assert pause.lifted(cube) is cube
"""
    )
    assert done.returncode == 0, done.stdout


def test_who_does_not_use_it_does_not_notice_it(project):
    done = project.run(
        """
import sys

def test_other():
    loaded = {name for name in sys.modules if name.startswith(("minialex.checking", "minialex.models"))}
    assert loaded == {"minialex.checking", "minialex.checking.pytest_plugin"}

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
    done = project.run(text, "-p", "no:minialex", "-p", "minialex.checking.pytest_plugin")
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
    assert summary(done)[0].startswith("gradcheck: 1 check, 6 derivatives compared")
