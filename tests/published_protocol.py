"""The two steps of the published protocol that `Degradation(ratio, "paper")` takes in one."""

import numpy as np

from emrdiff_geo.degradation import degrade


def blur(image):
    """The paper's 3 x 3 Gaussian of two fine pixels, borders mirrored (c b | a b c)."""
    return along_both_axes(image, lambda n: degrade._blur_taps(n, degrade._gaussian_3(), "mirror"))


def bicubic_down(image, ratio):
    """Antialiased bicubic reduction, a = -0.5, as MATLAB's ``imresize``."""
    return along_both_axes(image, lambda n: degrade._resize_taps(n // ratio, n, -0.5, "symmetric"))


def along_both_axes(image, taps):
    image = np.asarray(image)
    for axis in (-2, -1):
        image = taps(image.shape[axis]).apply(image, axis)
    return image
