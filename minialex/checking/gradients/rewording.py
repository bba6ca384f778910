"""Saying what the engine found in the words of what was asked for.

One engine compares all derivatives. It speaks of forward, vjp and gradients, which are other things to the
caller of `check_jvp` or `check_second_vjp`.
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
    """Raise the block's `GradcheckError` with another summary.

    Parameters
    ----------
    words : mapping of str
        Regular expressions, and what replaces what they match, as in `re.sub`. Each part of the summary is
        replaced once, by the first that matches there.
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
            # Groups are numbered within each expression.
            either = "|".join(re.sub(r"\((?!\?)", "(?:", each) for each in words)
            summary = re.sub(either, replaced, summary)
        raise GradcheckError(
            (checks or {}).get(check, check), summary, **details | changed
        ) from error.__cause__
