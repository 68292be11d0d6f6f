"""The noise schedule of the residual diffusion chain (numpy only, float64)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import MethodError


@dataclass(frozen=True, eq=False)
class Schedule:
    """How far each step has moved from the image (eta = 0) to its anchor (eta = 1).

    Steps are counted t = 0 .. T-1; the chain starts at t = T-1 and ends with the step t = 0,
    before which eta is 0 by definition.

    Parameters
    ----------
    eta : ndarray, shape (T,), float64
        Share of the residual reached at each step, rising, within (0, 1].
    kappa : float
        Strength of the noise: its standard deviation at step t is ``kappa * sqrt(eta[t])``.

    Raises
    ------
    MethodError
        When `eta` is not one rising sequence within (0, 1], or `kappa` is negative.
    """

    eta: np.ndarray
    kappa: float = 2.0

    def __post_init__(self) -> None:
        eta = np.array(self.eta, dtype=np.float64)
        rising = eta.ndim == 1 and eta.size > 0 and bool(np.all(np.diff(eta) > 0))
        if not rising or eta[0] <= 0 or eta[-1] > 1:
            raise MethodError("A schedule's eta must be one rising sequence within (0, 1].")
        if not self.kappa >= 0:
            raise MethodError(f"kappa is {self.kappa}; give a number that is 0 or more.")
        eta.setflags(write=False)
        object.__setattr__(self, "eta", eta)

    @classmethod
    def exponential(
        cls,
        steps: int = 5,
        kappa: float = 2.0,
        m: float = 0.001,
        power: float = 0.3,
        eta_end_sqrt: float = 0.999,
    ) -> Schedule:
        """Build the schedule of EMR-Diff: sqrt(eta) grows exponentially in a power of time.

        sqrt(eta_i) = sqrt(eta_1) * b^(u_i), b = (sqrt(eta_T) / sqrt(eta_1))^(1 / (T-1)),
        u_i = (T-1) * (i / (T-1))^power, i = 0 .. T-1, sqrt(eta_1) = min(m / kappa, m).

        Parameters
        ----------
        steps : int
            T, at least 2.
        kappa, m, power : float
            Noise strength, size of the first step, and exponent of time.
        eta_end_sqrt : float
            sqrt(eta) of the last step.

        Raises
        ------
        MethodError
            When `steps` is below 2 or the other values give no rising sequence.
        """
        if steps < 2:
            raise MethodError(f"The exponential schedule needs at least 2 steps, not {steps}.")
        if not (kappa > 0 and m > 0 and power > 0):
            raise MethodError("The schedule's kappa, m and power must all be above 0.")
        first, span = min(m / kappa, m), steps - 1
        base = np.exp(np.log(eta_end_sqrt / first) / span)
        exponent = span * (np.arange(steps) / span) ** power
        return cls(eta=(first * base**exponent) ** 2, kappa=kappa)

    @property
    def steps(self) -> int:
        """The number of steps T."""
        return int(self.eta.size)

    @cached_property
    def eta_prev(self) -> np.ndarray:
        """eta_{t-1}, with 0 before the first step; shape (T,)."""
        return np.concatenate([[0.0], self.eta[:-1]])

    @cached_property
    def alpha(self) -> np.ndarray:
        """eta_t - eta_{t-1}, shape (T,)."""
        return self.eta - self.eta_prev

    @cached_property
    def noise(self) -> np.ndarray:
        """Standard deviation of the noise in the state at each step, shape (T,)."""
        return self.kappa * np.sqrt(self.eta)

    @cached_property
    def posterior_state(self) -> np.ndarray:
        """Weight of x_t in the mean of x_{t-1}: eta_{t-1} / eta_t, shape (T,)."""
        return self.eta_prev / self.eta

    @cached_property
    def posterior_image(self) -> np.ndarray:
        """Weight of the predicted x_0 in the mean of x_{t-1}: alpha_t / eta_t, shape (T,)."""
        return self.alpha / self.eta

    @cached_property
    def posterior_variance(self) -> np.ndarray:
        """Variance of x_{t-1} given x_t and x_0: kappa^2 eta_{t-1} alpha_t / eta_t; 0 at t = 0."""
        return self.kappa**2 * self.eta_prev / self.eta * self.alpha
