"""The cache of compiled functions: what is loaded, what is compiled again, and whose files are read."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import minialex
from minialex import kernels
from minialex.kernels.runtime import code_cache
from minialex.kernels.runtime.code_cache import Store

NAMES = ("truncated", "flipped", "garbage", "emptied", "folder", "foreign", "intact")

# Each adds another number, so that code loaded under a wrong name shows.
DEMO = """
from minialex.kernels.runtime.compiled import compiled

OFFSET = 0.5

@compiled
def plus_offset(x):
    return x + OFFSET

@compiled.parallel
def rows(row, worker, x, y):
    y[row] = plus_offset(x[row])
""" + "".join(
    f"""
@compiled
def {name}(x):
    return x + {i}
"""
    for i, name in enumerate(NAMES)
)

CALL = """
import json, sys, warnings
import numpy as np
from minialex.kernels import demo
from minialex.kernels.runtime import compiled

caught, names = [], []
warnings.showwarning = lambda message, *_: caught.append(str(message))
with compiled.on_compile(lambda name, seconds: names.append(name) if seconds is not None else None):
    results = [getattr(demo, name)(10.0) for name in sys.argv[1:] if name != "rows"]
    if "rows" in sys.argv:
        x = np.arange(4.0)
        y = np.zeros(4)
        demo.rows.run(4, x, y)
        results += y.tolist()
print(json.dumps({"results": results, "compiled": names, "warnings": caught}))
"""


TILES = """
import numpy as np
from minialex.kernels import find_kernel
from minialex.kernels.gemm.processor import processor

a, b = np.random.default_rng(0).standard_normal((2, 40, 40), np.float32)
print(processor().name)
print(abs(find_kernel("matmul.forward", algo="blocked")(a, b) - a.astype(float) @ b).max())
"""


class Program:
    """A copy of the package with a module of demonstration kernels, run in a process of its own."""

    def __init__(self, folder: Path):
        self.site, self.cache = folder / "site", folder / "cache"
        ignore = shutil.ignore_patterns("__pycache__", "kernels")
        shutil.copytree(Path(minialex.__file__).parent, self.site / "minialex", ignore=ignore)
        source = Path(kernels.__file__).parent
        shutil.copytree(
            source, self.site / "minialex" / "kernels", ignore=shutil.ignore_patterns("__pycache__")
        )
        self.kernels = self.site / "minialex" / "kernels"
        self.demo = self.kernels / "demo" / "__init__.py"
        self.demo.parent.mkdir()
        self.demo.write_text(DEMO)
        self.variables = {"PYTHONPATH": str(self.site), "MINIALEX_CACHE_DIR": str(self.cache)}

    def start(self, *functions, **environment):
        variables = os.environ | self.variables | environment
        return subprocess.Popen(
            [sys.executable, "-c", CALL, *functions],
            env=variables,
            cwd=self.site,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, *functions, **environment):
        process = self.start(*functions, **environment)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        return json.loads(output)

    def folders(self):
        return sorted(self.cache.iterdir(), key=lambda path: path.stat().st_mtime)

    def file(self, name):
        (found,) = self.folders()[-1].glob(f"demo.{name}-*")
        return found


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    made = Program(tmp_path_factory.mktemp("package"))
    first = made.call(*NAMES, "rows")
    # Beside the module's own, what launching a loop takes is compiled with its first one.
    assert sorted(name for name in first["compiled"] if name.startswith("demo.")) == sorted(
        [f"demo.{name}" for name in NAMES] + ["demo.plus_offset", "demo.rows", "demo.rows_launch"]
    )
    assert first["results"] == [*range(10, 17), 0.5, 1.5, 2.5, 3.5]
    assert first["warnings"] == []
    return made


def test_a_second_process_compiles_nothing(program):
    second = program.call(*NAMES, "rows")
    assert second == {"results": [*range(10, 17), 0.5, 1.5, 2.5, 3.5], "compiled": [], "warnings": []}


def test_files_are_the_users_alone(program):
    folder = program.folders()[-1]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def flip_a_bit(path):
    """Change a byte of the machine code: the text section of the object file inside."""
    content = bytearray(path.read_bytes())
    content[content.index(b"\x7fELF") + 64] ^= 1
    path.write_bytes(content)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the header of an ELF object")
def test_damaged_files_are_compiled_again_and_replaced(program):
    def file(name):
        return program.file(name)

    file("truncated").write_bytes(file("truncated").read_bytes()[:-1])
    flip_a_bit(file("flipped"))
    file("garbage").write_bytes(os.urandom(5000))
    file("emptied").write_bytes(b"")
    place = file("folder")
    place.unlink()
    place.mkdir()
    (place / "something").write_bytes(b"x")
    shutil.copyfile(file("intact"), file("foreign"))

    damaged = program.call(*NAMES)
    assert damaged["compiled"] == [f"demo.{name}" for name in NAMES if name != "intact"]
    assert damaged["results"] == [*range(10, 17)]
    assert damaged["warnings"] == []
    assert program.call(*NAMES) == {"results": [*range(10, 17)], "compiled": [], "warnings": []}


@pytest.mark.parametrize("lost", ["rows", "rows_launch"])
def test_the_body_of_a_loop_and_its_launch_are_kept_apart(program, lost):
    # A launch refers to its body by a symbol, whichever process translated the two.
    program.file(lost).unlink()
    again = program.call("rows")
    assert again == {"results": [0.5, 1.5, 2.5, 3.5], "compiled": [f"demo.{lost}"], "warnings": []}
    assert program.call("rows")["compiled"] == []


@pytest.mark.parametrize("where", ["demo/__init__.py", "relu/plain.py"])
def test_any_changed_source_leads_to_other_code(program, where):
    path = program.kernels / where
    before = path.read_text()
    try:
        path.write_text(before.replace("OFFSET = 0.5", "OFFSET = 0.75") + "\n# changed\n")
        changed = program.call("rows")
        assert "demo.rows_launch" in changed["compiled"]
        offset = 0.75 if where.startswith("demo") else 0.5
        assert changed["results"] == [offset, 1 + offset, 2 + offset, 3 + offset]
    finally:
        path.write_text(before)
    # Back at the old sources, their folder is still there.
    assert program.call("rows")["compiled"] == []


def test_sources_that_change_under_a_process_are_not_taken_for_what_it_runs(program):
    editing = (
        "import pathlib, minialex.kernels.demo as demo\n"
        "path = pathlib.Path(demo.__file__)\n"
        "path.write_text(path.read_text().replace('x + 6', 'x + 66'))\n"
        "from minialex.kernels.runtime import code_cache\n"
        "print(demo.intact(10.0), code_cache.store())\n"
    )
    before = program.demo.read_text()
    try:
        done = subprocess.run(
            [sys.executable, "-c", editing],
            env=os.environ | program.variables,
            cwd=program.site,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == ["16.0", "None"]
        assert program.call("intact")["results"] == [76.0]
    finally:
        program.demo.write_text(before)


def test_another_processor_has_a_folder_of_its_own(program):
    generic = program.call("intact", NUMBA_CPU_NAME="generic")
    assert generic["compiled"] == ["demo.intact"]
    assert program.call("intact", NUMBA_CPU_NAME="generic")["compiled"] == []
    assert program.call("intact")["compiled"] == []


def test_two_processes_may_compile_at_once(program, tmp_path):
    both = [program.start("rows", MINIALEX_CACHE_DIR=str(tmp_path)) for _ in range(2)]
    outputs = [json.loads(process.communicate(timeout=300)[0]) for process in both]
    for output in outputs:
        assert output["results"] == [0.5, 1.5, 2.5, 3.5]
        assert output["warnings"] == []
    assert program.call("rows", MINIALEX_CACHE_DIR=str(tmp_path))["compiled"] == []
    (folder,) = tmp_path.iterdir()
    assert not list(folder.glob(".*"))  # nothing half written is left


def test_a_cache_that_cannot_be_written_costs_one_warning(program, tmp_path):
    file = tmp_path / "a file"
    file.write_bytes(b"")
    result = program.call("intact", "flipped", MINIALEX_CACHE_DIR=str(file / "cache"))
    assert result["results"] == [16.0, 11.0]
    assert result["compiled"] == ["demo.intact", "demo.flipped"]
    (warning,) = result["warnings"]
    assert str(file) in warning
    assert "MINIALEX_CACHE_DIR" in warning


# What a version of Numba may lack that is younger than those that were tried.
GONE = """
def _codegen():
    raise AttributeError("gone")

publish = emit_call = keep = _codegen
"""


def without_tried_versions(folder, lost=""):
    """The program, with a Numba that was not tried, and lacks something."""
    untried = Program(folder)
    path = untried.kernels / "runtime" / "_numba_internals.py"
    lines = path.read_text().splitlines()
    lines = ["TRIED = ((0, 1), (0, 2))" if line.startswith("TRIED =") else line for line in lines]
    path.write_text("\n".join(lines) + "\n" + lost)
    return untried


@pytest.mark.full
def test_a_version_of_numba_that_was_not_tried_compiles_anew_and_says_so(tmp_path):
    untried = without_tried_versions(tmp_path)
    for _ in range(2):
        called = untried.call("intact", "rows")
        assert called["results"] == [16.0, 0.5, 1.5, 2.5, 3.5]
        assert {"demo.intact", "demo.rows", "demo.rows_launch"} <= set(called["compiled"])
        (warning,) = called["warnings"]
        assert f"not kept on disk with Numba {importlib.metadata.version('numba')}" in warning
        assert "from 0.1 to 0.2" in warning
    assert not untried.cache.exists()


@pytest.mark.full
def test_a_version_of_numba_without_its_private_parts_gives_the_same_results(tmp_path):
    untried = without_tried_versions(tmp_path, GONE)
    called = untried.call("intact", "rows")
    assert called["results"] == [16.0, 0.5, 1.5, 2.5, 3.5]
    assert len(called["warnings"]) == 1
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TILES],
        env=os.environ | untried.variables,
        cwd=untried.site,
        capture_output=True,
        text=True,
        check=True,
    )
    name, difference = done.stdout.splitlines()
    assert name == "plain"
    assert float(difference) < 1e-5


def test_the_folder_of_another_user_is_not_read(program, tmp_path):
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can give a folder to another user")
    cache = tmp_path / "cache"
    shutil.copytree(program.cache, cache)
    for folder in cache.iterdir():
        os.chown(folder, 12345, 12345)
    result = program.call("intact", MINIALEX_CACHE_DIR=str(cache))
    assert result["compiled"] == ["demo.intact"]
    (warning,) = result["warnings"]
    assert "another user" in warning


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of POSIX")
def test_what_others_could_have_written_is_not_read(tmp_path):
    store = Store(tmp_path / "private")
    store.write("a", "identity", b"code")
    assert store.read("a", "identity") == b"code"
    (store.folder / "a").chmod(0o620)
    assert store.read("a", "identity") is None

    # A folder that others can write to is made anew, at the next write and at the start.
    store.write("a", "identity", b"code")
    store.folder.chmod(0o770)
    store.write("b", "identity", b"code")
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert store.read("a", "identity") is None
    assert store.read("b", "identity") == b"code"


def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path):
    store = Store(tmp_path / "private")
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "elsewhere" / "keep").write_bytes(b"")
    store.folder.symlink_to(tmp_path / "elsewhere")
    store.write("a", "identity", b"code")
    assert not store.folder.is_symlink()
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["keep"]


def test_a_file_is_read_for_what_it_was_written_for(tmp_path):
    store = Store(tmp_path / "a")
    store.write("name", "f of float32", b"code")
    assert store.read("name", "f of float64") is None
    assert store.read("other", "f of float32") is None
    moved = Store(tmp_path / "b")
    shutil.copytree(store.folder, moved.folder)
    assert moved.read("name", "f of float32") is None  # that folder is for other sources


@pytest.mark.parametrize("size", [0, 1, 100])
def test_no_single_changed_byte_passes(tmp_path, size):
    store = Store(tmp_path / "a")
    store.write("name", "identity", bytes(range(size)))
    whole = (store.folder / "name").read_bytes()
    for i in range(len(whole)):
        (store.folder / "name").write_bytes(whole[:i] + bytes([whole[i] ^ 64]) + whole[i + 1 :])
        assert store.read("name", "identity") is None
    for changed in (whole + b"\0", *(whole[:i] for i in range(len(whole)))):
        (store.folder / "name").write_bytes(changed)
        assert store.read("name", "identity") is None


def test_old_folders_are_removed(tmp_path):
    day = 24 * 3600

    def folder(environment, sources, days):
        path = tmp_path / f"{environment * 16}-{sources * 16}"
        path.mkdir()
        (path / "code").write_bytes(b"x")
        used = time.time() - days * day
        os.utime(path, (used, used))
        return path

    keep = [folder("a", "0", 0), folder("a", "1", 1), folder("a", "2", 29), folder("b", "0", 29)]
    old = [folder("a", "3", 29.5), folder("b", "1", 31), folder("c", "0", 31)]
    others = [tmp_path / "photographs", tmp_path / f"{'a' * 16}-{'9' * 16}"]
    others[0].mkdir()
    others[1].write_bytes(b"a file")
    os.utime(others[1], (0, 0))
    code_cache._remove_old(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(keep + others)
    assert not any(path.exists() for path in old)


def test_the_folder_is_below_the_given_or_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIALEX_CACHE_DIR", str(tmp_path))
    assert code_cache.root() == tmp_path
    monkeypatch.delenv("MINIALEX_CACHE_DIR")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
        assert code_cache.root() == tmp_path / "home" / "minialex" / "compiled"
