"""What a check found: reports of what passed, and the error that explains what did not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from minialex.errors import MiniAlexError


def worst_of(pairs: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Of several errors with their tolerances, the pair whose error takes the largest share of its tolerance.

    Each derivative has a tolerance of its own: the largest error of all need not be the one to worry about.
    """

    def share(pair):
        error, tolerance = pair
        # Where the tolerance is 0, only an error of 0 has passed. Without any error the widest is shown.
        return error / tolerance if tolerance else 0.0, tolerance

    return max(pairs, key=share, default=(0.0, 0.0))


@dataclass
class InputReport:
    """What was compared for one input.

    Attributes
    ----------
    input : int
        Its position.
    compared : int
        Derivatives that are not 0 and were compared.
    zeros : int
        Those that are 0 on both sides.
    small : int
        Those that are so small beside others, of their output or by their element, that rounding hides them:
        they agree as far as they can be known.
    skipped, uncertain : int
        Those that were left out at kinks, and that are not known well enough to compare with.
    worst_error : float
        The error that takes the largest share of its tolerance, relative to the derivative (along random
        directions, to the norm of the terms of the slope).
    tolerance : float
        What that very error was allowed to be, relative to the same.
    power : float
        Along random directions, the relative error of a single derivative that would have been found, for
        nine of ten elements. Of the others the derivatives are too small beside the rest.
    """

    input: int
    compared: int = 0
    zeros: int = 0
    small: int = 0
    skipped: int = 0
    uncertain: int = 0
    worst_error: float = 0.0
    tolerance: float = 0.0
    power: float = 0.0

    def count(self, figure: str, number: int) -> None:
        """Note more derivatives that are ``"compared"``, ``"zeros"``, ``"small"``, and so on."""
        setattr(self, figure, getattr(self, figure) + number)

    def add(self, error: float, tolerance: float) -> None:
        """Note an error that is within its tolerance."""
        pairs = [(self.worst_error, self.tolerance), (error, tolerance)]
        self.worst_error, self.tolerance = worst_of(pairs)


def _total(figure: str) -> property:
    """What all parts of a report count together."""
    return property(lambda report: sum(getattr(each, figure) for each in report.parts))


class Totals:
    """A report's figures, which are those of its parts added up, and the worst of their errors."""

    parts: Sequence[InputReport | Report]

    compared = _total("compared")
    zeros = _total("zeros")
    small = _total("small")
    skipped = _total("skipped")
    uncertain = _total("uncertain")

    @property
    def worst_error(self) -> float:
        return self._worst[0]

    @property
    def tolerance(self) -> float:
        return self._worst[1]

    @property
    def _worst(self) -> tuple[float, float]:
        return worst_of((each.worst_error, each.tolerance) for each in self.parts)


@dataclass
class Report(Totals):
    """What was checked.

    Attributes
    ----------
    name, kernel : str
        The operation, and the kernel if one is known.
    mode : str
        ``"jacobian"``: every derivative; ``"directions"``: a number of random directions, a weaker check.
    directions : int
        How many, in the second mode.
    weak : bool
        Whether it was done in float32.
    dtype, step, seed
        As they were used.
    inputs : list of InputReport
    redrawn : int
        How often the inputs were drawn again to avoid kinks.
    nondeterminism : float
        By how much results differed when they were computed again, where that was allowed.
    elements : int
        In the second mode, how many elements all inputs have that are differentiated.
    moves : int or None
        Along how many directions inputs can move that their constraints keep from moving in every direction;
        None if there are no such inputs.
    """

    name: str
    kernel: str
    mode: str
    dtype: str
    step: float
    seed: int
    directions: int = 0
    redrawn: int = 0
    inputs: list[InputReport] = field(default_factory=list)
    nondeterminism: float = 0.0
    elements: int = 0
    moves: int | None = None

    @property
    def weak(self) -> bool:
        return self.dtype != "float64"

    @property
    def parts(self) -> list[InputReport]:
        return self.inputs

    @property
    def power(self) -> float:
        """The relative error in one of all elements that would have been found in nine cases of ten.

        In the other cases the derivative is too small beside the rest. 0 if every derivative was compared.
        """
        return max((each.power for each in self.inputs), default=0.0)

    def __str__(self) -> str:
        how = f"{self.directions} random directions (a quick check)"
        if self.mode == "jacobian":
            how = "every derivative"
        if self.mode == "jacobian" and self.moves is not None:
            how += f", along {self.moves:,} move{'s' * (self.moves != 1)} that the constraints allow"
        weak = ", float32 (a weak check)" if self.weak else ""
        kernel = f" [{self.kernel}]" if self.kernel else ""
        what = "nonzero derivatives" if self.mode == "jacobian" else "slopes"
        others = [
            f"{count:,} {text}"
            for count, text in (
                (self.zeros, "zero on both sides"),
                (self.small, "too small beside others to be known"),
                (self.skipped, "at kinks skipped"),
                (self.uncertain, "too uncertain"),
            )
            if count
        ]
        if self.mode != "jacobian" and self.compared:
            one = f"in one of {self.elements:,} elements"
            others.append(
                f"an error of {self.power:.2g} {one} would be found in nine cases of ten"
                if self.power < 1
                else f"an error {one} would often not be found, for their derivatives differ too much in size"
            )
        if self.redrawn:
            others.append(f"of inputs that were drawn again {self.redrawn} time{'s' * (self.redrawn > 1)}")
        if self.nondeterminism:
            others.append(f"computed again they differ by up to {self.nondeterminism:.1e}")
        return (
            f"{self.name}{kernel}: {self.compared:,} {what} agree to a relative error of "
            f"{self.worst_error:.1e} (tolerance {self.tolerance:.1e}){', '.join(['', *others])}; {how}{weak}"
        )


_NUMBERS = (
    *("input", "index", "output_index", "analytic", "numeric", "absolute_error", "relative_error"),
    *("norm_error", "tolerance", "step", "seed", "wrong", "compared"),
)


class GradcheckError(MiniAlexError, AssertionError):
    """A gradient is wrong, or something about how it is computed.

    Attributes
    ----------
    check : str
        Which check failed: ``"values"``, ``"shape"``, ``"dtype"``, ``"finite"``, ``"changed input"``,
        ``"aliasing"``, ``"not deterministic"``, ``"zero upstream"``, ``"not linear"``, ``"layout"``,
        ``"kinks"``, ``"uncertain"``, ``"nothing compared"``, where there is too little to compare with;
        ``"raises"``, where a function raises; ``"result"``, where what it returns cannot be checked at all;
        or ``"reference"``, where a kernel gives something else than its operation's definition.
    operation, kernel : str
        What was checked.
    input : int or None
        The position of the input whose gradient is wrong.
    index : tuple of int or None
        The worst element of that input.
    output_index : tuple of int or None
        The output whose derivative it is, if a Jacobian was compared.
    analytic, numeric : float or None
        The two values there.
    absolute_error, relative_error : float or None
        Of that element; the relative one to the larger of the two values.
    norm_error : float or None
        Of the whole: the norm of the difference over that of the numeric one.
    tolerance : float or None
        Of the absolute error.
    step, seed : float, int
    wrong, compared : int or None
        How many derivatives are beyond their tolerance, and how many were compared.
    pattern : str
        What the wrong gradient looks like, if it was recognised.
    reproduce : str
        Lines of Python that repeat the check.
    """

    def __init__(self, check: str, summary: str, **details):
        self.check = check
        self.summary = summary
        for name in _NUMBERS:
            setattr(self, name, details.pop(name, None))
        for name in ("operation", "kernel", "pattern", "reproduce"):
            # The lines to reproduce a check are written here, where it has failed.
            setattr(self, name, str(details.pop(name, "")))
        if details:
            raise TypeError(f"GradcheckError has no {', '.join(details)}")
        super().__init__(self._text())

    def __reduce__(self):
        # As exceptions are pickled by default, by their message, it could not be made again.
        return _made_again, (type(self), dict(vars(self)))

    def _text(self) -> str:
        kernel = f" [{self.kernel}]" if self.kernel else ""
        lines = [f"{self.operation}{kernel}: {self.summary}"]
        if self.analytic is not None:
            output = "" if self.output_index is None else f", output {self.output_index}"
            lines += [
                f"  worst      input {self.input} at {self.index}{output}",
                f"  analytic   {self.analytic!r}",
                f"  numeric    {self.numeric!r}",
                f"  error      {self.absolute_error:.3g} absolute (tolerance {self.tolerance:.3g}), "
                f"{self.relative_error:.3g} relative, {self.norm_error:.3g} by norm",
                f"  wrong      {self.wrong:,} of {self.compared:,}",
                f"  pattern    {self.pattern or 'none that is known'}",
            ]
        if self.step is not None:
            lines.append(f"  step {self.step:g}, seed {self.seed}")
        if self.reproduce:
            lines.append("  to reproduce:")
            lines += [f"    {line}" for line in self.reproduce.splitlines()]
        return "\n".join(lines)


def _made_again(kind: type[GradcheckError], attributes: dict) -> GradcheckError:
    return kind(attributes.pop("check"), attributes.pop("summary"), **attributes)
