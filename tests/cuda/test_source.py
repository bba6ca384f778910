"""CUDA sources: their headers in place, the lines that compilers name, and the declarations in them."""

import re

import numpy as np
import pytest

from minialex.errors import KernelError
from minialex.kernels.cuda import Source
from minialex.kernels.cuda.signature import Parameter, signatures
from minialex.kernels.cuda.source import HEADERS, project_sources

SOURCES = project_sources()
every_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path.name)


@pytest.fixture
def write(tmp_path):
    """Write files; give the source of the first."""

    def write(**files):
        for name, text in files.items():
            (tmp_path / name.replace("_", ".")).write_text(text)
        return Source(tmp_path / "x.py", next(iter(files)).replace("_", "."))

    return write


def lines_of(text):
    """(file, line) -> what stands there, by the #line directives."""
    found, file, number = {}, None, 0
    for line in text.splitlines():
        directive = re.fullmatch(r'#line (\d+) "(.*)"', line)
        if directive:
            file, number = directive[2], int(directive[1])
        else:
            found[file.rpartition("/")[2], number] = line
            number += 1
    return found


# Headers


def test_headers_stand_where_they_are_included_and_lines_keep_their_numbers(write):
    source = write(
        a_cu='int a1;\n#include "b.cuh"\nint a3;\n  #  include   "c.cuh" // why\nint a5;\n',
        b_cuh='#include "c.cuh"\nint b2;\n',
        c_cuh="int c1;\nint c2;\n",
    )
    found = {place: line for place, line in lines_of(source.text).items() if line}
    assert found == {
        ("a.cu", 1): "int a1;",
        ("c.cuh", 1): "int c1;",
        ("c.cuh", 2): "int c2;",
        ("b.cuh", 2): "int b2;",
        ("a.cu", 3): "int a3;",
        ("a.cu", 5): "int a5;",
    }
    order = [line for line in source.text.splitlines() if line.startswith("int")]
    assert order == ["int a1;", "int c1;", "int c2;", "int b2;", "int a3;", "int a5;"]


def test_a_header_is_put_in_place_once_and_may_include_itself(write):
    source = write(a_cu='#include "b.cuh"\n#include "b.cuh"\n', b_cuh='#include "b.cuh"\nint b;\n')
    assert source.text.count("int b;") == 1


def test_the_shared_headers_are_found_from_any_folder(write):
    source = write(a_cu='#include "real.cuh"\nreal x;\n')
    assert (HEADERS / "real.cuh").read_text().strip() in source.text


def test_a_header_beside_the_file_comes_first(write):
    source = write(a_cu='#include "real.cuh"\n', real_cuh="int mine;\n")
    assert "int mine;" in source.text
    assert "typedef" not in source.text


def test_headers_of_the_system_are_left_alone(write):
    assert "#include <cstdio>" in write(a_cu="#include <cstdio>\n").text


def test_a_missing_header_is_named_with_its_line(write):
    source = write(a_cu='int a;\n#include "b.cuh"\n', b_cuh='\n\n#include "absent.cuh"\n')
    with pytest.raises(KernelError, match=r'b\.cuh:3: #include "absent\.cuh": there is no such file'):
        _ = source.text


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(KernelError, match=r"absent\.cu is not a file"):
        _ = Source(tmp_path / "x.py", "absent.cu").text


def test_the_file_is_read_when_it_is_needed(tmp_path):
    source = Source(tmp_path / "x.py", "later.cu")
    (tmp_path / "later.cu").write_text('extern "C" __global__ void f() {}\n')
    assert source["f"].name == "f"


def test_a_kernel_that_is_not_there_is_named_with_those_that_are(write):
    source = write(a_cu='extern "C" __global__ void f() {}\nextern "C" __global__ void g() {}\n')
    with pytest.raises(KernelError, match=r"a\.cu has no kernel 'h'; there are: f, g"):
        source["h"]


def test_two_sources_of_one_file_are_equal(tmp_path):
    first, second, other = (Source(tmp_path / "x.py", name) for name in ("a.cu", "a.cu", "b.cu"))
    assert first == second
    assert hash(first) == hash(second)
    assert first != other


# Declarations


def test_every_form_of_a_parameter_is_read():
    (found,) = signatures(
        """
        extern "C" __global__ void __launch_bounds__(128, 4)
        f(const real* __restrict__ a, real *b, const unsigned char * c, unsigned long long* d,
          const int n, unsigned int u, real r, float f, double g, long long l) {
        """
    ).values()
    assert (found.name, found.max_threads, found.line) == ("f", 128, 2)
    assert found.parameters == (
        Parameter("a", "real", pointer=True, const=True, restrict=True),
        Parameter("b", "real", pointer=True),
        Parameter("c", "unsigned char", pointer=True, const=True),
        Parameter("d", "unsigned long long", pointer=True),
        Parameter("n", "int"),
        Parameter("u", "unsigned int"),
        Parameter("r", "real"),
        Parameter("f", "float"),
        Parameter("g", "double"),
        Parameter("l", "long long"),
    )
    assert str(found).startswith(
        "f(const real* a, real* b, const unsigned char* c, unsigned long long* d, int n"
    )


def test_types_are_written_as_in_the_language():
    pointer = Parameter("x", "real", pointer=True, const=True)
    assert [pointer.declared(), pointer.declared(np.dtype("f4")), pointer.declared(np.dtype("f8"))] == [
        "const real*",
        "const float*",
        "const double*",
    ]
    assert Parameter("n", "unsigned long long").declared(np.dtype("f4")) == "unsigned long long"


@pytest.mark.parametrize(
    ("bounds", "threads"),
    [
        ("", None),
        ("__launch_bounds__(64)", 64),
        ("__launch_bounds__(THREADS)", None),
        ("__launch_bounds__((32 * 2), 1)", None),
    ],
)
def test_launch_bounds_are_read_where_they_are_a_number(bounds, threads):
    for text in (f"__global__ void {bounds} f(int n) {{", f"__global__ {bounds} void f(int n) {{"):
        assert signatures(f'extern "C" {text}')["f"].max_threads == threads


def test_comments_are_no_declarations():
    found = signatures(
        """
        // extern "C" __global__ void no(int n) {
        /* extern "C" __global__ void never(int n) {
        */
        extern "C" __global__ void yes(int n, /* rows */ int m) {  // and more
        """
    )
    assert list(found) == ["yes"]
    assert [parameter.name for parameter in found["yes"].parameters] == ["n", "m"]
    assert found["yes"].line == 5


@pytest.mark.parametrize(
    ("declaration", "says"),
    [
        ("__global__ void f(int n) {", 'extern "C" __global__ void'),
        ('extern "C" __global__ void f(int n);', "defined at once"),
        ('extern "C" __global__ int f(int n) {', 'extern "C" __global__ void'),
        ("template <int N> __global__ void f(int n) {", 'extern "C"'),
        ('extern "C" __global__ void f(short n) {', r"f: the parameter 'short n' is not"),
        ('extern "C" __global__ void f(float4* x) {', r"the parameter 'float4\* x' is not"),
        ('extern "C" __global__ void f(float3 v) {', "the parameter 'float3 v' is not"),
        ('extern "C" __global__ void f(int n, dim3 size) {', "the parameter 'dim3 size' is not"),
        ('extern "C" __global__ void f(const Sizes sizes) {', "the parameter 'const Sizes sizes' is not"),
        ('extern "C" __global__ void f(real** x) {', r"the parameter 'real\*\* x' is not"),
        ('extern "C" __global__ void f(real x[]) {', r"the parameter 'real x\[\]' is not"),
        ('extern "C" __global__ void f(int) {', "the parameter 'int' is not"),
        ('extern "C" __global__ void f(int __restrict__ n) {', "is not"),
        ('extern "C" __global__ void f(int n, ) {', "the parameter '' is not"),
        (
            'extern "C" __global__ void f() {}\nextern "C" __global__ void f() {',
            "two kernels with the name 'f'",
        ),
    ],
)
def test_a_declaration_that_cannot_be_read_is_refused_with_its_line(declaration, says):
    with pytest.raises(KernelError, match=says) as raised:
        signatures(f'#line 41 "folder/f.cu"\n\n{declaration}\n')
    assert re.match(r"folder/f\.cu:4[23]: ", str(raised.value))


# The project's own


def test_there_are_sources():
    assert len(SOURCES) > 10


@every_source
def test_every_kernel_of_the_project_can_be_read(source):
    assert source.signatures
    for name, signature in source.signatures.items():
        line = (
            source.path.read_text().splitlines()[signature.line - 1]
            if signature.file == str(source.path)
            else ""
        )
        assert "__global__" in line, name


def test_kernels_have_names_of_their_own_across_the_project():
    names = [name for source in SOURCES for name in source.signatures]
    assert len(names) == len(set(names))


@pytest.mark.needs_gxx
@pytest.mark.parametrize("real", [np.float32, np.float64], ids=["float32", "float64"])
@every_source
def test_the_compiler_deduces_the_same_parameters(source, real):
    from minialex.kernels.cuda.host import compiled

    module = compiled(source, np.dtype(real))
    for name, signature in source.signatures.items():
        deduced = [declared for _, declared in module[name].parameters]
        assert deduced == [parameter.declared(np.dtype(real)) for parameter in signature.parameters], name
