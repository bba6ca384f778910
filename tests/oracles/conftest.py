"""What the tests of peers share: torchvision beside the CPU build of torch."""

import re
import sys

import pytest


@pytest.fixture(scope="session")
def torchvision():
    """Torchvision, of which only the models are used, which are plain PyTorch.

    Its wheel from PyPI is built against the CUDA build of torch. Beside the CPU build its compiled operators
    do not load, and its import fails where it describes them to torch's tracing: "operator torchvision::nms
    does not exist". Each is declared here, without a body, until the import gets through.
    """
    reason = "the peer that is compared with; install {} as the Makefile does"
    torch = pytest.importorskip("torch", reason=reason.format("the CPU build of torch"))
    library = None
    while True:
        try:
            return pytest.importorskip("torchvision", reason=reason.format("torchvision"))
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None:
                raise
            library = library or torch.library.Library("torchvision", "DEF")
            library.define(f"{missing[1]}(Tensor x) -> Tensor")
            _LIBRARIES.append(library)
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]


# They declare their operators for as long as they live.
_LIBRARIES: list = []
