"""Keep of a result.json what a page may cite: figures to four digits, without the raw samples.

python benchmarks/keep_result.py bench-results/RUN/result.json benchmarks/results/NAME.json
"""

from __future__ import annotations

import json
from pathlib import Path

import click

# Single measurements, and what follows from the command.
_LEFT_OUT = {"samples", "probes", "calls", "shapes", "parameters", "judge", "kernels"}


@click.command(help=__doc__)
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.argument("target", type=click.Path(path_type=Path))
def main(source: Path, target: Path) -> None:
    target.write_text(written(json.loads(source.read_text())))


def written(result: dict) -> str:
    """A result as JSON with a line for each entry, and for each row of a list of rows."""
    return "{\n" + ",\n".join(f'"{key}": {_entry(kept(value))}' for key, value in result.items()) + "\n}\n"


def kept(value):
    """A value of a result without what is left out."""
    match value:
        case dict():
            return {key: kept(each) for key, each in value.items() if key not in _LEFT_OUT}
        case list():
            return [kept(each) for each in value]
        case float():
            return float(f"{value:.4g}")
    return value


def _entry(value) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(map(json.dumps, value)) + "\n]"
    return json.dumps(value)


if __name__ == "__main__":
    main()
