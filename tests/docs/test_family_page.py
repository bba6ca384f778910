"""The page on the family: its figures are those of the code."""

import json
import re
from pathlib import Path

import pytest

from minialex.models import get_architecture, list_models
from minialex.models.memory import predict_step_memory

PAGE = (Path(__file__).parents[2] / "docs" / "family.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| (\d{4}) \| `(\w+)` \| .*? \| ([\d,]+) \| ([\d,.]+) \| ([\d,]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE
)
STEPS = Path(__file__).parents[2] / "benchmarks" / "results" / "avx512" / "family-8.json"


def number(text: str) -> float:
    return float(text.replace(",", ""))


@pytest.mark.parametrize(("year", "name", "parameters", "products", "memory", "step"), ROWS)
def test_each_row_is_right(year, name, parameters, products, memory, step):
    model = get_architecture(name)
    assert (int(year), number(parameters)) == (model.year, model.trainable_parameters)
    assert number(products) == pytest.approx(model.macs / 1e6, abs=0.051)
    measured = json.loads(STEPS.read_text(encoding="utf-8"))["step_ms"]
    assert number(step) == pytest.approx(measured[name], abs=0.51 if measured[name] >= 100 else 0.051)
    assert number(memory) == pytest.approx(predict_step_memory(model.build(), 32) / 2**20, rel=0.05)


def test_every_model_but_alexnets_variants_is_named():
    variants = {name for name in list_models() if name.startswith(("alexnet_", "caffenet"))}
    assert {name for _, name, *_ in ROWS} | {"vgg11_bn", "vgg19_bn"} == {*list_models()} - variants
    assert [year for year, *_ in ROWS] == sorted(year for year, *_ in ROWS)
