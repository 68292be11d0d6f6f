"""The noise schedule: the published values and what any schedule keeps."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emrdiff_geo.errors import MethodError
from emrdiff_geo.model.schedule import Schedule

GOLDEN = np.load(Path(__file__).parent / "data" / "emrdiff_golden.npz")


@pytest.mark.parametrize("steps", [3, 4, 5, 10])
def test_published_values(steps):
    schedule = Schedule.exponential(steps)
    # The published code repeats the second variance in place of the first, for its logarithm.
    clipped = schedule.posterior_variance[[1, *range(1, steps)]]
    for name, ours in {
        "eta": schedule.eta,
        "alpha": schedule.alpha,
        "posterior_variance_clipped": clipped,
    }.items():
        published = GOLDEN[f"schedule/T{steps}/{name}"]
        np.testing.assert_allclose(ours, published, rtol=1e-12, atol=1e-15)


@given(steps=st.integers(2, 40), kappa=st.floats(0.1, 10), power=st.floats(0.1, 2))
def test_posterior_mean_is_an_average_and_the_last_step_is_exact(steps, kappa, power):
    schedule = Schedule.exponential(steps, kappa=kappa, power=power)
    weights = schedule.posterior_state + schedule.posterior_image
    np.testing.assert_allclose(weights, 1, rtol=1e-12)
    assert schedule.posterior_state[0] == 0
    assert schedule.posterior_image[0] == 1
    assert schedule.posterior_variance[0] == 0
    np.testing.assert_allclose(schedule.alpha.sum(), schedule.eta[-1])


def test_values_cannot_change_and_any_rising_eta_serves():
    schedule = Schedule(eta=np.array([0.1, 1.0]), kappa=0.0)
    assert schedule.steps == 2
    with pytest.raises(ValueError, match="read-only"):
        schedule.eta[0] = 0.5
    assert Schedule(eta=json.loads("[0.2, 0.6]")).eta.dtype == np.float64


@pytest.mark.parametrize(
    "make",
    [
        lambda: Schedule.exponential(1),
        lambda: Schedule.exponential(5, kappa=0),
        lambda: Schedule.exponential(5, eta_end_sqrt=1e-5),
        lambda: Schedule(eta=np.array([0.5, 0.2])),
        lambda: Schedule(eta=np.array([0.0, 0.2])),
        lambda: Schedule(eta=np.array([0.1, 1.2])),
        lambda: Schedule(eta=np.array([])),
        lambda: Schedule(eta=np.array([0.1, 0.2]), kappa=-1.0),
    ],
)
def test_impossible_schedules_are_refused(make):
    with pytest.raises(MethodError):
        make()
