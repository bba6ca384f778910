"""The cache of compiled modules: what is built again, and what is not."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from minialex.errors import KernelError
from minialex.kernels import cuda_host
from minialex.kernels.cuda_host import compiler

pytestmark = pytest.mark.needs_gxx

SOURCE = '#include "number.cuh"\n__global__ void fill(int* y) { y[threadIdx.x] = NUMBER; }\n'


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    """A cache with the executor alone, which takes the longest to compile."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIALEX_CACHE_DIR", str(cache))
        compiler.runtime_library()
    return cache


@pytest.fixture
def folder(tmp_path, monkeypatch, executor):
    """A folder with a source, and a cache of its own."""
    monkeypatch.setenv("MINIALEX_CACHE_DIR", str(tmp_path / "cache"))
    shutil.copytree(executor, tmp_path / "cache")
    (tmp_path / "number.cuh").write_text("#define NUMBER 1\n")
    (tmp_path / "fill.cu").write_text(SOURCE)
    return tmp_path


def _filled(folder, **arguments) -> int:
    y = np.zeros(8, np.int32)
    cuda_host.load(folder / "fill.cu", **arguments)["fill"](1, 8, (y,))
    assert (y == y[0]).all()
    return int(y[0])


def _kept(folder) -> dict[str, int]:
    """When each library of the source was written."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "cache" / "cuda-host").glob("fill-*.so")}


def test_a_source_is_compiled_once(folder):
    assert _filled(folder) == 1
    kept = _kept(folder)
    assert len(kept) == 1

    assert _filled(folder) == 1
    assert _kept(folder) == kept


def test_what_a_module_depends_on_is_compiled_again(folder):
    assert _filled(folder) == 1
    (folder / "number.cuh").write_text("#define NUMBER 2\n")
    assert _filled(folder) == 2

    (folder / "fill.cu").write_text(SOURCE.replace("NUMBER;", "NUMBER + 10;"))
    assert _filled(folder) == 12

    (folder / "number.cuh").write_text("#ifndef NUMBER\n#define NUMBER 2\n#endif\n")
    assert _filled(folder, options=("-DNUMBER=5",)) == 15
    assert _filled(folder) == 12
    assert len(_kept(folder)) == 5


def test_a_header_is_looked_for_beside_the_file_that_includes_it(folder):
    (folder / "below").mkdir()
    (folder / "below" / "outer.cuh").write_text('#include "number.cuh"\n')
    (folder / "below" / "number.cuh").write_text("#define NUMBER 3\n")
    (folder / "fill.cu").write_text(SOURCE.replace("number.cuh", "below/outer.cuh"))
    assert _filled(folder) == 3

    (folder / "below" / "number.cuh").write_text("#define NUMBER 4\n")
    assert _filled(folder) == 4


def test_a_folder_of_headers_is_an_option(folder):
    (folder / "number.cuh").unlink()
    (folder / "headers").mkdir()
    (folder / "headers" / "number.cuh").write_text("#define NUMBER 6\n")

    assert _filled(folder, options=(f"-I{folder / 'headers'}",)) == 6
    with pytest.raises(KernelError, match=r"number\.cuh: No such file"):
        cuda_host.load(folder / "fill.cu")


def _truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _empty(content: bytes) -> bytes:
    return b""


# In a process of its own: this one has the libraries loaded, and would not read them again.
_FILL = """
import sys
import numpy as np
from minialex.kernels import cuda_host
from minialex.kernels.cuda_host import compiler
y = np.zeros(8, np.int32)
cuda_host.load(sys.argv[1])["fill"](1, 8, (y,))
sys.exit(not (y == 1).all())
"""


@pytest.mark.parametrize(
    ("library", "damage"),
    [
        pytest.param("fill", _truncate, marks=pytest.mark.full),
        ("fill", _flip),
        pytest.param("fill", _empty, marks=pytest.mark.full),
        pytest.param("executor", _flip, marks=pytest.mark.full),
    ],
)
def test_a_damaged_library_is_built_again(folder, library, damage):
    assert _filled(folder) == 1
    (path,) = (folder / "cache" / "cuda-host").glob(f"{library}-*.so")
    damaged = damage(path.read_bytes())
    path.unlink()  # what is loaded stays as it is
    path.write_bytes(damaged)
    path.chmod(0o600)

    subprocess.run([sys.executable, "-c", _FILL, str(folder / "fill.cu")], check=True, timeout=120)

    assert path.read_bytes() != damaged


def test_a_library_that_others_can_write_is_not_loaded(folder):
    assert _filled(folder) == 1
    (path,) = (folder / "cache" / "cuda-host").glob("fill-*.so")
    path.chmod(0o777)
    before = path.stat().st_ino

    assert _filled(folder) == 1

    assert path.stat().st_ino != before
    assert path.stat().st_mode & 0o077 == 0


def test_nothing_is_left_of_a_source_that_does_not_compile(folder):
    (folder / "fill.cu").write_text("__global__ void fill(int* y) { wrong }")
    with pytest.raises(KernelError, match="does not compile"):
        cuda_host.load(folder / "fill.cu")

    left = [path.name for path in (folder / "cache" / "cuda-host").iterdir()]
    assert [name.partition("-")[0] for name in left] == ["executor"]


def test_libraries_are_removed_when_they_have_not_been_used_for_a_month(folder):
    assert _filled(folder) == 1
    (old,) = (folder / "cache" / "cuda-host").glob("fill-*.so")
    month_ago = old.stat().st_mtime - 31 * 24 * 3600
    os.utime(old, (month_ago, month_ago))

    (folder / "number.cuh").write_text("#define NUMBER 2\n")
    assert _filled(folder) == 2

    assert not old.exists()


def test_a_cache_that_cannot_be_written(folder, monkeypatch):
    (folder / "file").write_text("")
    monkeypatch.setenv("MINIALEX_CACHE_DIR", str(folder / "file"))

    with pytest.raises(
        KernelError, match=r"the folder for compiled kernels cannot be used.*MINIALEX_CACHE_DIR"
    ):
        cuda_host.load(folder / "fill.cu")
