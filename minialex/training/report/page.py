"""Pages of HTML that need nothing but themselves: no network, no script, no other file.

Names of classes, files and runs come from users and from files, and are escaped by the template
engine wherever they stand. A content security policy in the page forbids what is not in it: should
anything pass the escaping, a browser neither runs nor fetches it.
"""

from __future__ import annotations

import re

from minialex.errors import RunError
from minialex.text import escaped

# Above this a browser takes long to open a page, and people cannot mail it.
_MAX_BYTES = 50 * 2**20
_NO_TEXT = re.compile("[\\0-\\x08\\x0b-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")


def render(template: str, **values) -> str:
    """Fill one of the package's templates.

    Raises
    ------
    RunError
        If the page becomes larger than 50 MiB.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("minialex.training.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_showable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent, decimal=decimal, milliseconds=milliseconds, duration=duration, shape=shape
    )
    page = environment.get_template(template).render(**values)
    size = len(page.encode())
    if size > _MAX_BYTES:
        raise RunError(f"the page would have {size / 2**20:.0f} MiB; name fewer images with --image")
    return page


def _showable(value):
    """What HTML cannot hold, control characters and halves of surrogate pairs, escaped as in Python."""
    return _NO_TEXT.sub(lambda found: escaped(found[0]), value) if type(value) is str else value


def percent(share: float | None, digits: int = 2) -> str:
    """A share from 0 to 1 as a percentage; its sign stays on the same line."""
    return "–" if share is None else f"{share * 100:.{digits}f}\N{NO-BREAK SPACE}%"


def decimal(value: float | None) -> str:
    """A loss."""
    return "–" if value is None else f"{value:.4f}"


def milliseconds(seconds: float) -> str:
    """A time of a layer: three digits."""
    value = seconds * 1e3
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def duration(seconds: float | None) -> str:
    """A time of a run."""
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def shape(lengths) -> str:
    """The shape of an array without its batch: (C, H, W) or (F,)."""
    inner = ", ".join(f"{length}" for length in lengths)
    return f"({inner},)" if len(lengths) == 1 else f"({inner})"
