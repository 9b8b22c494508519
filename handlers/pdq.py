"""PDQ, the perceptual hash published by Facebook (ThreatExchange, hashing/hashing.pdf, 2019): 256 bits a picture.

Written here because the library (pdqhash) has no Linux wheel and would ask every new machine for a C++ compiler; the
bits are the same as the library's, see tests/test_pdq.py and docs/decisions/0001-dependencies.md.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE, _WAVES = 64, 16
# The first 16 cosines without the constant one, over 64 samples: a part of the type-II DCT matrix.
_COSINES = np.sqrt(2 / _SIDE) * np.cos(np.pi / 2 / _SIDE * np.outer(np.arange(1, _WAVES + 1), 2 * np.arange(_SIDE) + 1))


def pdq(luma: Image.Image) -> tuple[str, int]:
    """PDQ's 256 bits as hexadecimal digits, and its quality, 0 to 100 (ThreatExchange, hashing/hashing.pdf, 2019)."""
    small = np.asarray(luma, np.float64)
    for _ in range(2):
        small = _blurred(_blurred(small).T).T
    rows, columns = (((np.arange(_SIDE) + 0.5) * size / _SIDE).astype(int) for size in small.shape)
    small = small[np.ix_(rows, columns)]
    steps = sum(int(np.abs(np.diff(small, axis=axis) * 100 / 255).astype(int).sum()) for axis in (0, 1))
    waves = _COSINES @ small @ _COSINES.T
    bits = waves > np.partition(waves.ravel(), waves.size // 2 - 1)[waves.size // 2 - 1]
    return np.packbits(bits.ravel()[::-1]).tobytes().hex(), min(100, steps // 90)


def _blurred(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each pixel the mean of its row's neighbours, as many as two samples of 64 a side are apart; cut at the edges."""
    size = grey.shape[1]
    window = -(-size // (2 * _SIDE))
    after = (window + 2) // 2
    first = np.maximum(np.arange(size) - (window - after), 0)
    last = np.minimum(np.arange(size) + after, size)
    sums = np.pad(np.cumsum(grey, axis=1), ((0, 0), (1, 0)))
    means: NDArray[np.float64] = (sums[:, last] - sums[:, first]) / (last - first)
    return means
