"""`minialex kernels compile`, and what `minialex train` says while it compiles."""

import json
import os
import subprocess

import pytest
from conftest import PROGRAM


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """Run the program with a cache of compiled kernels that starts empty."""
    folder = tmp_path_factory.mktemp("cache")

    def run(*arguments):
        variables = {**os.environ, "MINIALEX_CACHE_DIR": str(folder)}
        done = subprocess.run(
            [PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=600, env=variables
        )
        assert done.returncode == 0, done.stderr
        return done

    return run, folder


@pytest.mark.full
def test_what_was_compiled_ahead_is_not_compiled_in_training(cached, idx_folder, tmp_path):
    run, folder = cached
    first = run("kernels", "compile", "--for", "alexnet_mnist28_bn", "--json")
    figures = json.loads(first.stdout)
    assert figures["functions"] > 10
    assert figures["folder"].startswith(str(folder))
    assert first.stderr == "compiling kernels for this machine; later runs find them compiled\n"

    second = run("kernels", "compile", "--for", "alexnet_mnist28_bn")
    assert second.stdout.startswith("0 functions compiled")
    assert figures["folder"] in second.stdout
    assert second.stderr == ""

    settings = ("--data-dir", idx_folder, "--epochs", 1, "--batch-size", 20, "--out")
    trained = run("train", "--data", "mnist", *settings, tmp_path / "adam")
    assert "compiling" not in trained.stderr

    without_momentum = ("--set", 'optimizer={name="sgd",lr=0.01}', "--set", "data.reserve=0")
    trained = run("train", "--recipe", "002_mnist_bn_one_hot", *without_momentum, *settings, tmp_path / "sgd")
    assert "compiling" not in trained.stderr


def test_an_unknown_model_is_refused(assert_refused):
    assert_refused("kernels", "compile", "--for", "alexnet", "--for", "alexnut", says="alexnut")
    assert_refused("kernels", "compile", "--batch", 0, says="--batch", code=2)
