"""Ctrl-C and SIGTERM: one line, the exit code of the signal, and a training that can go on."""

import json
import re
import shlex
import signal
import subprocess
import sys
import threading

import pytest
from conftest import PROGRAM, three_batches
from safetensors.numpy import load_file

from minialex import cli
from minialex.training.state import load_state

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}


def heed_signals():
    """Shells let programs in the background ignore SIGINT, these tests, too, and so what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def train(idx_folder, out, *options, epochs=2):
    """Start a training; give the process once it has said that its first epoch is over."""
    process = subprocess.Popen(
        [PROGRAM, *map(str, three_batches(idx_folder, out, *options, epochs=epochs))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_signals,
    )
    said = []
    stream = process.stderr if "--json" in options else process.stdout
    while not said or not re.match(r"epoch +1/", said[-1]):
        said.append(stream.readline())
        assert said[-1], process.communicate()
    return process


def end(process, code, out):
    """Wait for the end of an interrupted training; give the command that it says goes on with it."""
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == code, stderr
    lines = [line for line in stderr.splitlines() if not line.startswith("compiling kernels")]
    go_on = f"minialex train --resume {shlex.quote(str(out))}"
    assert lines == [f"minialex: interrupted; the state is saved, go on with: {go_on}"]
    assert "Traceback" not in stdout
    assert (out / "state.safetensors").is_file()
    assert not (out / "result.json").exists()
    return shlex.split(go_on)[1:]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.full)]
)
def test_an_interrupted_training_says_how_it_goes_on(idx_folder, tmp_path, number, code):
    out = tmp_path / "a run"
    # So many epochs that it does not end by itself meanwhile.
    process = train(idx_folder, out, epochs=1000)
    process.send_signal(number)
    end(process, code, out)
    assert load_state(out / "state.safetensors").epoch >= 1


@pytest.mark.full
def test_interrupted_again_and_again_it_ends_with_the_same_bits(idx_folder, minialex, tmp_path):
    epochs, out = 8, tmp_path / "run"
    process, steps = train(idx_folder, out, "--json", epochs=epochs), []
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        command = end(process, 130, out)
        steps.append(load_state(out / "state.safetensors").steps)
        process = subprocess.Popen(
            [PROGRAM, *command, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_signals,
        )
        while not process.stderr.readline().startswith("epoch "):
            assert process.poll() is None
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["epochs"] == epochs
    assert 3 <= steps[0] < steps[1] < 3 * epochs
    whole = train(idx_folder, tmp_path / "whole", epochs=epochs)
    whole.communicate(timeout=300)
    assert whole.returncode == 0
    first, second = (load_file(run / "last.safetensors") for run in (tmp_path / "whole", out))
    assert first.keys() == second.keys()
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


# The others, in this process


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line with some arguments; give its exit code, what it printed, and what it said."""

    def run(*arguments):
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        signal.signal(signal.SIGINT, signal.default_int_handler)
        monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
        monkeypatch.setattr(sys, "argv", ["minialex", *map(str, arguments)])
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return ended.value.code, *capsys.readouterr()

    return run


def interrupt(*_, **__):
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("arguments", "function"),
    [
        (("gradcheck", "--op", "relu"), "minialex.checking.kernels.suite.run_all"),
        (("report", "run"), "minialex.training.report.recorded_run.RecordedRun.open"),
        (("evaluate", "run"), "minialex.training.run_folder.RunFolder.open"),
        (("predict", "run", "digit.png"), "minialex.training.run_folder.RunFolder.open"),
        (("compare", "run", "--json"), "minialex.training.report.recorded_run.RecordedRun.open"),
        (("data", "download", "mnist", "--to", "x"), "minialex.data.download.download"),
        (("data", "split", "a", "b"), "minialex.data.split_folder"),
        (("kernels", "check", "relu"), "minialex.checking.kernels.races.kernels_to_check"),
        (("summary", "alexnet"), "minialex.models.summarise"),
        # Behind it the program may start again in another environment: here, in place of the tests.
        (("bench", "kernels"), "minialex.cli.bench._use_threads"),
        (("train", "--out", "x"), "minialex.training.run.prepare"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_ctrl_c_in_any_command_is_one_line(run, monkeypatch, tmp_path, arguments, function):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(function, interrupt)
    code, stdout, stderr = run(*arguments)
    assert code == 130
    assert stdout == "" or arguments[0] == "gradcheck"  # which prints its rows one by one
    assert stderr.startswith("minialex: interrupted")
    assert stderr.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_an_interrupted_start_in_the_folder_of_another_run_does_not_offer_to_go_on_with_that(
    run, monkeypatch, tmp_path
):
    (tmp_path / "state.safetensors").write_bytes(b"another's")
    monkeypatch.setattr("minialex.training.run.prepare", interrupt)
    code, _, stderr = run("train", "--out", tmp_path)
    assert code == 130
    assert "nothing is left of it" in stderr
    assert (tmp_path / "state.safetensors").read_bytes() == b"another's"


def test_sigterm_is_taken_only_while_a_command_trains(run, monkeypatch, tmp_path):
    def terminate(*_):
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("minialex.training.run.prepare", terminate)
    assert run("train", "--out", tmp_path / "run")[0] == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_that_a_library_swallows_comes_again(run, monkeypatch, tmp_path):
    """Python prints and forgets what is raised in a function that C calls, such as LLVM's callbacks."""

    class Swallows:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)
            for _ in range(10):
                pass

    def prepare(*_):
        thing = Swallows()
        del thing
        threading.Event().wait(20)

    monkeypatch.setattr("minialex.training.run.prepare", prepare)
    code, _, stderr = run("train", "--out", tmp_path / "run")
    assert code == 130
    assert stderr == "minialex: interrupted before the training began; nothing is left of it\n"
