"""The house rules that no linter knows: few parameters, few exceptions from the formatter, a light import."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("minialex", "kernels", "benchmarks", "examples")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
MOST_PARAMETERS = 6

# Signatures that follow PyTorch, or are documented for users, one keyword a choice.
DOCUMENTED = {
    "check_cuda",
    "check_jvp",
    "check_second_vjp",
    "check_vjp",
    "kernel",
    "conv1d",
    "conv2d",
    "conv2d_relu",
    "conv_transpose2d",
    "batch_norm",
    "embedding",
    "max_pool2d",
    "split_folder",
}
DOCUMENTED_CLASSES = {
    "Adagrad",
    "BatchNorm2d",
    "Conv1d",
    "Conv2d",
    "ConvCall",
    "ConvTranspose2d",
    "DataLoader",
    "Embedding",
    "GroupNorm",
    "InstanceNorm2d",
    "LARS",
    "NAdam",
    "RMSprop",
    "ReduceLROnPlateau",
}


def _name(decorator: ast.expr) -> str:
    return ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)


def _is_exempt(function: ast.FunctionDef, holder: str | None) -> bool:
    decorators = [_name(each) for each in function.decorator_list]
    if any(name.startswith(("compiled", "click.", "command", "intrinsic")) for name in decorators):
        return True  # loops in machine code, options of a command
    if [each.arg for each in function.args.args] == ["choose"]:
        return True  # its keywords are the words of a kernel's domain
    return function.name in DOCUMENTED or holder in DOCUMENTED_CLASSES


def _long_signatures(path: Path):
    # The arrays that kernels take are their operands: batch normalisation has five, and the device before
    # them.
    most = MOST_PARAMETERS + (path.name.startswith("cuda") or path.parent.name == "batch_norm")
    if path.name.startswith("_"):  # emitters of machine code
        return
    tree = ast.parse(path.read_text())
    holders = {
        child: node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for child in node.body
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            count = len(names) - (names[:1] in (["self"], ["cls"]))
            if count > most and not _is_exempt(node, holders.get(node)):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {count} parameters"


def test_functions_have_few_parameters():
    assert [found for path in SOURCES for found in _long_signatures(path)] == []


def test_the_formatter_has_few_exceptions():
    """Tables of layers, laid out as in papers, and hardly anything else."""
    tables = ROOT / "minialex" / "models"
    everywhere = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))]
    mark = "# fmt: " + "skip"
    assert sum(path.read_text().count(mark) for path in everywhere if tables not in path.parents) < 10


def test_no_file_shadows_what_it_imports():
    assert [path for path in SOURCES if path.stem in ("numpy", "numba", "cupy", "torch", "jax")] == []


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """The modules that `import minialex` loads beyond NumPy's."""
    script = (
        "import sys, json, numpy; before = set(sys.modules); import minialex; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_import_loads_no_heavy_room(imported):
    rooms = ("minialex.kernels.cuda", "minialex.kernels.cuda_host", "minialex.checking", "minialex.models")
    heavy = (
        "numba",
        "llvmlite",
        "cupy",
        "matplotlib",
        "rich",
        "click",
        "PIL",
        "pooch",
        "tempfile",
        "numpy.random",
    )
    assert "minialex.kernels.conv2d.direct" in imported
    assert {name for name in imported if name.startswith(rooms)} == set()
    assert {name for name in imported if name.partition(".")[0] in heavy or name in heavy} == set()
