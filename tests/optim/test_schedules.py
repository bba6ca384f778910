"""Schedules against closed forms: what the rate is after each number of steps."""

import math

import numpy as np
import pytest

import minialex as ma
from minialex import optim
from minialex.errors import CheckpointError, MiniAlexError
from minialex.nn import Parameter
from minialex.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LRScheduler,
    MultiStepLR,
    ReduceLROnPlateau,
    StepLR,
    WarmupLR,
)

RATE = 0.4


def optimizer(*rates):
    groups = [{"params": Parameter(np.zeros(1)), "lr": rate} for rate in rates or (RATE,)]
    return optim.SGD(groups)


def rates_of(schedule, steps):
    """The rate of the first group at the start and after each step."""
    rates = [schedule.optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        schedule.step()
        rates.append(schedule.optimizer.param_groups[0]["lr"])
    return rates


def cosine(initial, least, share):
    return least + (initial - least) * (1 + math.cos(math.pi * share)) / 2


# A schedule, and its rates from the start on, written out.
CASES = {
    "step": (
        lambda o: StepLR(o, step_size=3, gamma=0.5),
        [0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.1, 0.1],
    ),
    "multi-step, in any order": (
        lambda o: MultiStepLR(o, milestones=[5, 2], gamma=0.1),
        [0.4, 0.4, 0.04, 0.04, 0.04, 0.004, 0.004],
    ),
    "multi-step, one milestone twice": (
        lambda o: MultiStepLR(o, milestones=[1, 1], gamma=0.5),
        [0.4, 0.1, 0.1],
    ),
    "exponential": (lambda o: ExponentialLR(o, gamma=0.5), [0.4, 0.2, 0.1, 0.05]),
    "cosine, which stays at its end": (
        lambda o: CosineAnnealingLR(o, T_max=4, eta_min=0.1),
        [cosine(0.4, 0.1, share) for share in (0, 0.25, 0.5, 0.75, 1)] + [0.1, 0.1],
    ),
    "cosine to 0": (lambda o: CosineAnnealingLR(o, T_max=2), [0.4, 0.2, 0.0]),
    "warm-up": (lambda o: WarmupLR(o, warmup_steps=3), [0.1, 0.2, 0.3, 0.4, 0.4]),
    "warm-up, then cosine": (
        lambda o: WarmupLR(o, warmup_steps=1, after=CosineAnnealingLR(o, T_max=4, eta_min=0.2)),
        [0.2] + [cosine(0.4, 0.2, share) for share in (0, 0.25, 0.5, 0.75, 1, 1)],
    ),
    "warm-up, then steps": (
        lambda o: WarmupLR(o, warmup_steps=1, after=StepLR(o, step_size=2)),
        [0.2, 0.4, 0.4, 0.04],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_rates(case):
    make, expected = CASES[case]
    rates = rates_of(make(optimizer()), len(expected) - 1)
    # A handful of operations; a cosine near 0 leaves an absolute error of one unit of rounding.
    np.testing.assert_allclose(rates, expected, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("case", CASES)
def test_seeking_equals_stepping(case):
    make, expected = CASES[case]
    stepped, sought = make(optimizer()), make(optimizer())
    rates = rates_of(stepped, len(expected) - 1)
    for step in reversed(range(len(expected))):
        sought.seek(step)
        assert sought.last_step == step
        assert sought.optimizer.param_groups[0]["lr"] == rates[step]


def test_every_group_follows_from_its_own_rate():
    schedule = StepLR(optimizer(0.4, 0.2), step_size=1, gamma=0.5)
    schedule.step()
    assert [group["lr"] for group in schedule.optimizer.param_groups] == [0.2, 0.1]


def test_the_optimiser_uses_the_scheduled_rate():
    p = Parameter(np.zeros(1))
    sgd = optim.SGD([p], lr=RATE)
    schedule = ExponentialLR(sgd, gamma=0.5)
    for _ in range(3):
        p.grad = Parameter(np.ones(1))
        sgd.step()
        schedule.step()
    np.testing.assert_allclose(p.numpy(), [-(0.4 + 0.2 + 0.1)], rtol=1e-15)


def test_a_schedule_of_one_s_own_defines_the_rate_alone():
    class Linear(LRScheduler):
        def rate(self, initial, step):
            return initial * (1 - step / 10)

    np.testing.assert_allclose(rates_of(Linear(optimizer()), 2), [0.4, 0.36, 0.32])
    with pytest.raises(NotImplementedError, match="LRScheduler must define rate"):
        LRScheduler(optimizer())


@pytest.mark.parametrize("value", [0, -1, 2.5, True])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda o, n: StepLR(o, step_size=n), "step_size"),
        (lambda o, n: CosineAnnealingLR(o, T_max=n), "T_max"),
        (lambda o, n: WarmupLR(o, warmup_steps=n), "warmup_steps"),
    ],
)
def test_an_impossible_length_is_refused_by_name(make, name, value):
    with pytest.raises(MiniAlexError, match=f"{name} must be an integer 1 or more, not {value!r}"):
        make(optimizer(), value)


def test_a_schedule_says_whether_it_counts_steps_or_epochs():
    assert StepLR(optimizer(), 3).per == "step"
    for make in (
        lambda o: StepLR(o, 3, per="epoch"),
        lambda o: MultiStepLR(o, [3], per="epoch"),
        lambda o: ExponentialLR(o, 0.5, per="epoch"),
        lambda o: CosineAnnealingLR(o, 3, per="epoch"),
        lambda o: WarmupLR(o, 3, per="epoch"),
        ReduceLROnPlateau,
    ):
        assert make(optimizer()).per == "epoch"
    with pytest.raises(MiniAlexError, match="per must be 'step' or 'epoch', not 'batch'"):
        StepLR(optimizer(), 3, per="batch")


# State


@pytest.mark.parametrize("case", CASES)
def test_a_loaded_schedule_goes_on(case):
    make, expected = CASES[case]
    schedule = make(optimizer())
    rates_of(schedule, 2)
    optimizer_state, state = schedule.optimizer.state_dict(), schedule.state_dict()
    fresh = make(optimizer())
    fresh.optimizer.load_state_dict(optimizer_state)
    fresh.load_state_dict(state)
    np.testing.assert_allclose(rates_of(fresh, len(expected) - 3), expected[2:], rtol=1e-14, atol=1e-16)


def test_loading_leaves_the_rates_to_the_optimiser():
    """A rate set by hand is part of the optimiser's state, and stays until the next step."""
    schedule = StepLR(optimizer(), 3)
    schedule.optimizer.param_groups[0]["lr"] = 0.123
    schedule.load_state_dict({"last_step": 3})
    assert schedule.optimizer.param_groups[0]["lr"] == 0.123


@pytest.mark.parametrize(
    ("make", "state"),
    [
        (lambda: StepLR(optimizer(), 3), {"last_step": -1}),
        (lambda: StepLR(optimizer(), 3), {"last_step": 1.0}),
        (lambda: StepLR(optimizer(), 3), {"last_step": True}),
        (lambda: StepLR(optimizer(), 3), {}),
        (lambda: StepLR(optimizer(), 3), None),
        (lambda: StepLR(optimizer(), 3), {"best": 1.0, "waited": 1}),
        (lambda: ReduceLROnPlateau(optimizer()), {"last_step": 3}),
        (lambda: ReduceLROnPlateau(optimizer()), {"best": "1", "waited": 1}),
        (lambda: ReduceLROnPlateau(optimizer()), {"best": 1.0, "waited": -1}),
    ],
)
def test_a_wrong_state_is_refused_and_nothing_is_changed(make, state):
    schedule = make()
    before = schedule.state_dict()
    with pytest.raises(CheckpointError, match=r"keeps|(in )?the saved schedule must be"):
        schedule.load_state_dict(state)
    assert schedule.state_dict() == before


# Plateau


def plateau_rates(metrics, rates=(RATE,), **options):
    """The first group's rate after each metric."""
    schedule, seen = ReduceLROnPlateau(optimizer(*rates), **options), []
    for metric in metrics:
        schedule.step(metric)
        seen.append(schedule.optimizer.param_groups[0]["lr"])
    return seen


def test_the_rate_falls_after_more_than_patience_steps_without_improvement():
    rates = plateau_rates([5, 4, 4, 4, 4, 4, 4, 3], factor=0.5, patience=2)
    assert rates == [0.4, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.2]


def test_waiting_starts_anew_after_an_improvement_and_after_a_reduction():
    rates = plateau_rates([5, 6, 4, 6, 6, 6, 6], factor=0.5, patience=1)
    assert rates == [0.4, 0.4, 0.4, 0.4, 0.2, 0.2, 0.1]


def test_a_change_below_the_relative_threshold_is_no_improvement():
    assert plateau_rates([100, 91], factor=0.5, patience=0, threshold=0.1) == [0.4, 0.2]
    assert plateau_rates([100, 89], factor=0.5, patience=0, threshold=0.1) == [0.4, 0.4]


def test_a_negative_metric_improves_away_from_zero():
    assert plateau_rates([-100, -105], factor=0.5, patience=0, threshold=0.1) == [0.4, 0.2]
    assert plateau_rates([-100, -115], factor=0.5, patience=0, threshold=0.1) == [0.4, 0.4]


def test_mode_max_wants_larger_ones():
    assert plateau_rates([1, 2, 2, 1], mode="max", factor=0.5, patience=0) == [0.4, 0.4, 0.2, 0.1]


def test_a_nan_is_no_improvement():
    nan = math.nan
    assert plateau_rates([5, nan, nan, 4], factor=0.5, patience=1) == [0.4, 0.4, 0.2, 0.2]
    assert plateau_rates([nan, nan, 5], factor=0.5, patience=1) == [0.4, 0.2, 0.2]


def test_no_group_falls_below_min_lr():
    schedule = ReduceLROnPlateau(optimizer(0.4, 0.04), factor=0.1, patience=0, min_lr=0.01)
    for _ in range(4):
        schedule.step(1.0)
    assert [group["lr"] for group in schedule.optimizer.param_groups] == [0.01, 0.01]


def test_a_rate_below_min_lr_is_not_raised():
    assert plateau_rates([1, 1, 1], rates=(0.001,), patience=0, min_lr=0.01) == [0.001, 0.001, 0.001]


def test_a_loaded_plateau_goes_on():
    """The third value in a row without an improvement lowers the rate, whoever saw the first two."""
    first = ReduceLROnPlateau(optimizer(), patience=2)
    for metric in (5, 6, 6):
        first.step(metric)
    second = ReduceLROnPlateau(optimizer(), patience=2)
    second.load_state_dict(first.state_dict())
    assert first.state_dict() == {"best": 5, "waited": 2}
    second.step(5.1)
    assert second.optimizer.param_groups[0]["lr"] == pytest.approx(RATE / 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "least"}, "mode must be 'min' or 'max', not 'least'"),
        ({"factor": 1.0}, "factor must be a number between 0 and 1, not 1.0"),
        ({"factor": 0.0}, "factor must be .*, not 0.0"),
        ({"threshold": -1}, "threshold must be a number 0 or more, not -1"),
        ({"threshold": math.nan}, "threshold must be .*, not nan"),
        ({"min_lr": -1}, "min_lr must be a number 0 or more, not -1"),
        ({"min_lr": math.nan}, "min_lr must be .*, not nan"),
    ],
)
def test_an_impossible_plateau_is_refused_by_name(options, message):
    with pytest.raises(MiniAlexError, match=message):
        ReduceLROnPlateau(optimizer(), **options)


def test_a_first_epoch_that_overflowed_does_not_stop_the_search_for_a_plateau():
    """The difference inf - inf is no number, with which nothing compares as an improvement."""
    assert plateau_rates([math.inf, 5, 4, 3, 3, 3], factor=0.5, patience=1) == [0.4, 0.4, 0.4, 0.4, 0.4, 0.2]
    assert plateau_rates([-math.inf, 0.5, 0.6], mode="max", factor=0.5, patience=0) == [0.4, 0.4, 0.4]


def test_a_metric_may_be_a_tensor_and_the_state_stays_a_number():
    schedule = ReduceLROnPlateau(optimizer(RATE), factor=0.5, patience=0)
    for metric in (ma.tensor(3.0), np.float32(2.0), ma.tensor(2.5)):
        schedule.step(metric)
    assert schedule.optimizer.param_groups[0]["lr"] == 0.2
    assert schedule.state_dict() == {"best": 2.0, "waited": 0}
    assert type(schedule.best) is float


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: StepLR(o, 2, gamma=-0.1), "gamma must be a number 0 or more, not -0.1"),
        (lambda o: ExponentialLR(o, math.nan), "gamma must be .*, not nan"),
        (lambda o: ExponentialLR(o, "0.5"), "gamma must be .*, not '0.5'"),
        (lambda o: MultiStepLR(o, 5), "milestones must be a list of integers 0 or more, not 5"),
        (lambda o: MultiStepLR(o, [1, "2"]), "milestones must be"),
        (lambda o: MultiStepLR(o, [-1]), r"milestones must be .*, not \[-1\]"),
        (lambda o: MultiStepLR(o, [1.0]), r"milestones must be .*, not \[1\.0\]"),
        (lambda o: StepLR(None, 1), "optimizer must be an Optimizer, not None"),
        (lambda o: ReduceLROnPlateau(None), "optimizer must be an Optimizer, not None"),
        (lambda o: CosineAnnealingLR(o, 5).seek(math.nan), "step must be an integer 0 or more, not nan"),
        (lambda o: StepLR(o, 5).seek(-3), "step must be .*, not -3"),
        (lambda o: StepLR(o, 5).seek("a"), "step must be .*, not 'a'"),
        (lambda o: ReduceLROnPlateau(o).step(True), "metric must be a number, not True"),
        (lambda o: ReduceLROnPlateau(o).step("1"), "metric must be a number, not '1'"),
        (lambda o: CosineAnnealingLR(o, 5, eta_min=-1), "eta_min must be .*, not -1"),
        (
            lambda o: WarmupLR(o, 2, ReduceLROnPlateau(o)),
            "after must be None, or .*, not a ReduceLROnPlateau",
        ),
        (lambda o: ReduceLROnPlateau(o, patience=-1), "patience must be an integer 0 or more, not -1"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(make, message):
    with pytest.raises(MiniAlexError, match=message):
        make(optimizer(RATE))
