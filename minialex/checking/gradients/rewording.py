"""Saying an engine's finding in the words of what was asked for.

One engine compares all derivatives. It speaks of forward, vjp and gradients, which to the caller of
`check_jvp` or `check_second_vjp` are other things.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from minialex.checking.report import GradcheckError


@contextmanager
def reworded(
    words: Mapping[str, str | Callable], checks: Mapping[str, str] | None = None, **changed
) -> Iterator[None]:
    """Raise the `GradcheckError` of the block with another summary.

    Parameters
    ----------
    words : mapping of str
        Regular expressions, and what to put in the place of what they match, as of `re.sub`. Each part of the
        summary is replaced once, by the first that matches there.
    checks : mapping of str, optional
        Other names for the checks that failed.
    **changed
        Other values for attributes of the error.
    """
    try:
        yield
    except GradcheckError as error:
        details = dict(vars(error))
        check, summary = details.pop("check"), details.pop("summary")

        def replaced(match: re.Match) -> str:
            for pattern, text in words.items():
                if found := re.fullmatch(pattern, match[0]):
                    return text(found) if callable(text) else found.expand(text)
            return match[0]

        if words:
            # Groups count within each expression alone.
            either = "|".join(re.sub(r"\((?!\?)", "(?:", each) for each in words)
            summary = re.sub(either, replaced, summary)
        raise GradcheckError(
            (checks or {}).get(check, check), summary, **details | changed
        ) from error.__cause__
