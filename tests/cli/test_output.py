"""What is printed of names that a terminal cannot show, or should not obey."""

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PROGRAM
from PIL import Image

import minialex
from minialex import cli
from minialex.cli import output

NAMES = {
    "Chinese": "\u6570\u5b57",
    "emoji": "cat \N{CAT FACE}",
    "not decodable": "r\udcffn",
    "line end": "first\nsecond",
    "carriage return": "right\rwrong",
    "escape sequence": "\x1b[31mred\x1b]0;title\x07",
    "8-bit escape sequence": "\x9b2J",
    "right to left": "exe.\N{RIGHT-TO-LEFT OVERRIDE}gpj",
    "markup": "[bold]not bold[red]",
    "mathematics": "$x^2$ \\frac",
    "accent": "\u00e9t\u00e9",
}
ENCODINGS = ("ascii", "cp1252", "latin-1", "utf-8", "cp932")


def stream(encoding):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")


def written(to):
    to.flush()
    return to.buffer.getvalue()


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("a b", "ascii", b"a b\n"),
        ("\u00e9", "ascii", b"\\xe9\n"),
        ("\u00e9", "latin-1", b"\xe9\n"),
        ("\u00e9", "utf-8", b"\xc3\xa9\n"),
        ("\u6570", "cp1252", b"\\u6570\n"),
        ("\u6570", "cp932", b"\x90\x94\n"),
        ("\N{CAT FACE}", "cp1252", b"\\U0001f431\n"),
        ("\udcff", "utf-8", b"\\udcff\n"),
        ("a\nb\r\tc", "utf-8", b"a\\nb\\r\\tc\n"),
        ("\x1b[31m", "utf-8", b"\\x1b[31m\n"),
        ("\x9b2J", "latin-1", b"\\x9b2J\n"),
        ("\u2028\u202e", "utf-8", b"\\u2028\\u202e\n"),
    ],
)
def test_a_line_is_escaped_as_python_writes_strings(monkeypatch, text, encoding, expected):
    for err, name in ((False, "stdout"), (True, "stderr")):
        to = stream(encoding)
        monkeypatch.setattr(sys, name, to)
        output.print_line(text, err=err)
        assert written(to) == expected


def test_a_text_keeps_its_line_ends_and_tabs(monkeypatch):
    to = stream("ascii")
    monkeypatch.setattr(sys, "stdout", to)
    output.print_text("a\n\tb\x1b\n")
    assert written(to) == b"a\n\tb\\x1b\n\n"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", NAMES.values(), ids=list(NAMES))
def test_a_cell_of_a_table_is_escaped_and_stays_in_its_column(monkeypatch, encoding, name):
    to = stream(encoding)
    to.reconfigure(errors="strict")
    monkeypatch.setattr(sys, "stdout", to)
    output.print_table(("name",), ("number",), [(name, "1"), ("x", "22")], ("total", "23"), line=False)
    lines = written(to).decode(encoding).rstrip("\n").split("\n")
    assert [line.split()[-1] for line in lines] == ["number", "1", "22", "23"]
    shown = lines[1].rstrip().removesuffix("1").rstrip()
    assert ast.literal_eval(f"'{shown}'") if "\\" in shown and "frac" not in shown else shown == name
    assert all(each.isprintable() for line in lines for each in line)


def test_json_is_ascii(monkeypatch):
    to = stream("ascii")
    monkeypatch.setattr(sys, "stdout", to)
    output.print_json(NAMES)
    assert written(to).count(b"\n") == 1
    assert json.loads(written(to)) == NAMES


def test_a_program_without_a_console_prints_nothing(monkeypatch, capfd):
    monkeypatch.setattr(sys, "stdout", None)
    output.print_line("x")
    output.make_streams_safe()
    assert sys.stdout is None
    assert capfd.readouterr() == ("", "")


def test_whatever_writes_to_a_stream_does_not_fail(monkeypatch):
    to = stream("ascii")
    monkeypatch.setattr(sys, "stdout", to)
    output.make_streams_safe()
    print("\N{CAT FACE}\udcff")
    assert written(to) == b"\\U0001f431\\udcff\n"


def test_no_command_prints_by_other_means():
    """Names are escaped in one place: what passes it by would be a hole."""
    folder = Path(minialex.__file__).parent / "cli"
    files = [path for path in folder.glob("*.py") if path.name != "output.py"]
    assert len(files) > 15
    for path in files:
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            said = ast.unparse(call.func)
            assert said not in ("click.echo", "click.secho", "print", "sys.stdout.write"), path.name
            assert not said.endswith("console.print"), path.name


def test_help_is_ascii_in_every_command():
    def texts(command, context):
        yield command.get_help(context)
        for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
            below = command.get_command(context, name)
            yield from texts(below, type(context)(below, info_name=name, parent=context))

    found = list(texts(cli.cli, __import__("click").Context(cli.cli, info_name="minialex")))
    assert len(found) > 15
    for text in found:
        # click writes it itself, and in UTF-8 where the terminal knows ASCII alone.
        assert text.isascii(), [line for line in text.splitlines() if not line.isascii()]


# As a user sees it


@pytest.fixture(scope="module")
def odd_run(tmp_path_factory):
    """A run, its weights drawn and not trained, whose classes, pictures and folder have every odd name."""
    import minialex as ma
    from minialex.training.checkpoint import save_checkpoint
    from minialex.training.recipes import Recipe, recipe_values
    from minialex.training.run_folder import RunFolder, RunSettings

    # A folder of a class must have a name in UTF-8.
    classes = tuple(sorted(name for name in NAMES.values() if name != NAMES["not decodable"]))
    folder = tmp_path_factory.mktemp("odd") / "data \u6570\n"
    for part in ("train", "val"):
        for name in classes:
            (folder / part / name).mkdir(parents=True)
            Image.new("RGB", (32, 32), (9, 200, 30)).save(folder / part / name / "0.png")
    values = recipe_values("003_flowers")
    values["model"] = {"name": "alexnet_cifar_thinner4"}
    values["transforms"]["train"][0]["size"] = [32, 32]
    _, *others = values["transforms"]["test"]
    values["transforms"]["test"] = [
        {"name": "resize", "shorter_side": 32},
        {"name": "center_crop", "size": [32, 32]},
        *(each for each in others if each["name"] not in ("resize", "center_crop")),
    ]
    ma.manual_seed(3)
    run = RunFolder.create(
        folder.parent / "run \N{CAT FACE}\x1b[2J", RunSettings(Recipe.from_dict(values), str(folder)), classes
    )
    save_checkpoint(run.checkpoint("last"), ma.models.create_model("alexnet_cifar_thinner4", len(classes)))
    return run


ENVIRONMENTS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "C locale": {"LC_ALL": "C"},
    # Names of files in no other characters than ASCII's are bytes here.
    "ASCII files": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


def finished(environment, *arguments):
    """Run the program in an environment; check that it succeeds, and that a terminal would obey nothing."""
    done = subprocess.run(
        [PROGRAM, *map(os.fsencode, arguments)],
        capture_output=True,
        timeout=300,
        env=os.environ | ENVIRONMENTS[environment],
    )
    assert done.returncode == 0, done.stderr
    assert not any(byte in done.stdout + done.stderr for byte in b"\x1b\x07\r\x9b")
    assert b"Traceback" not in done.stderr
    assert b"Warning" not in done.stderr, done.stderr
    return done.stdout.decode("utf-8" if environment == "C locale" else "cp1252")


@pytest.mark.skipif(sys.platform != "linux", reason="files elsewhere cannot have such names")
@pytest.mark.parametrize(
    "environment",
    [
        "ascii",
        pytest.param("cp1252", marks=pytest.mark.full),
        pytest.param("C locale", marks=pytest.mark.full),
    ],
)
def test_evaluate_and_predict_with_any_names(odd_run, environment, tmp_path):
    if environment != "ASCII files":
        printed = finished(environment, "evaluate", odd_run.path)
        lines = [line for line in printed.splitlines() if line.startswith("class ")]
        assert len(lines) == len(NAMES) - 1
        assert any(line.split("  ")[0].endswith("first\\nsecond") for line in lines)
    finished(environment, "compare", odd_run.path)

    pictures = [tmp_path / f"{name}.png" for name in NAMES.values() if "/" not in name]
    for path in pictures:
        Image.new("RGB", (40, 32), (9, 200, 30)).save(path, "PNG")
    printed = finished(environment, "predict", odd_run.path, *pictures)
    assert len(printed.splitlines()) == len(pictures)
    answers = json.loads(finished(environment, "predict", odd_run.path, *pictures, "--json"))
    if environment != "ASCII files":
        assert [each["image"] for each in answers["images"]] == [str(path) for path in pictures]
    assert {each["class"] for each in answers["images"][0]["predictions"]} <= set(NAMES.values())


@pytest.mark.skipif(sys.platform != "linux", reason="files elsewhere cannot have such names")
@pytest.mark.full
@pytest.mark.parametrize("environment", ["ascii", "cp1252", "C locale"])
def test_pictures_reports_and_checks_with_any_names(odd_run, environment, tmp_path):
    picture = odd_run.path.parent / "data \u6570\n" / "val" / NAMES["Chinese"] / "0.png"
    drawn = tmp_path / "drawn.png"
    finished(environment, "predict", odd_run.path, picture, "--picture", drawn)
    assert np.asarray(Image.open(drawn)).std() > 5
    finished(environment, "report", odd_run.path, "--out", tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 10_000
    printed = finished(environment, "data", "check", odd_run.data_dir)
    assert printed.count("\n  class ") == 2 * (len(NAMES) - 1)
