"""In which order a gradient is checked.

Right values do not make a right gradient. A check goes through, in this order,

1. forward: an array of the dtype asked for, finite, the same twice, inputs untouched;
2. the gradients: one an input, of its shape and dtype, finite; inputs and upstream untouched; no memory
   shared with the inputs, each other or the next call's;
3. the same bits when it is run again, after freed memory was filled with other garbage;
4. zero for a zero upstream gradient, and linear in the upstream gradient;
5. the same for inputs and upstream gradients that are strided, transposed, broadcast or read-only;
6. the values: against numerical derivatives, one by one (`differences`), and for random upstream gradients;
7. the same along random directions with a much smaller step, and beside the inputs.

The first five are in `behaviour`, the sixth in `values` or `random_directions`, the last in `elsewhere`.
"""

from __future__ import annotations

from minialex.checking.gradients import behaviour, elsewhere, random_directions, values
from minialex.checking.gradients.check import Check


def run_checks(check: Check) -> None:
    """Go through all checks; the report of the check is complete then.

    Raises
    ------
    GradcheckError
        At the first that fails.
    """
    check.y = behaviour.check_forward(check)
    if check.branches is not None:
        check.branch = check.branches_at(check.inputs)
    check.measure_noise()
    behaviour.check_gradients(check)
    behaviour.check_repeatable(check)
    behaviour.check_linear(check)
    behaviour.check_sizes(check)
    behaviour.check_layouts(check)
    if check.report.mode == "jacobian":
        values.check_jacobian(check)
    else:
        random_directions.check_directions(check)
    _require_compared(check)
    elsewhere.check_analytic(check)
    elsewhere.check_small_steps(check)
    elsewhere.check_other_inputs(check)


def _require_compared(check: Check) -> None:
    """Refuse a check that has compared nothing: it would pass whatever the gradient is."""
    report = check.report
    if report.compared >= check.min_compared:
        return
    found = f"{report.compared:,}" if report.compared else "no"
    why = [f"{report.zeros:,} are 0 on both sides"] if report.zeros else []
    why += [f"{report.skipped:,} lie at kinks"] if report.skipped else []
    why += [f"{report.uncertain:,} are too uncertain"] if report.uncertain else []
    check.fail(
        "nothing compared",
        f"{found} derivatives that are not 0 could be compared, of {check.min_compared:,} asked for"
        f"{': ' if why else ''}{', '.join(why)}. Take inputs on which the result depends; or "
        "min_compared=0, if nothing need be compared",
    )
