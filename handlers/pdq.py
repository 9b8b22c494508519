"""PDQ, the perceptual hash published by Facebook (ThreatExchange, hashing/hashing.pdf, 2019): 256 bits a picture.

Written here because the library (pdqhash) has no Linux wheel and would ask every new machine for a C++ compiler; the
bits are the same as the library's, see tests/test_pdq.py and docs/decisions/0001-dependencies.md.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE, _WAVES = 64, 16
# The first 16 cosines without the constant one, over 64 samples: a part of the type-II DCT matrix.
_COSINES = np.sqrt(2 / _SIDE) * np.cos(np.pi / 2 / _SIDE * np.outer(np.arange(1, _WAVES + 1), 2 * np.arange(_SIDE) + 1))


def pdq(luma: Image.Image) -> tuple[str, int]:
    """PDQ's 256 bits as hexadecimal digits, and its quality, 0 to 100 (ThreatExchange, hashing/hashing.pdf, 2019)."""
    small = _sampled(_sampled(np.asarray(luma)).T).T
    steps = sum(int(np.abs(np.diff(small, axis=axis) * 100 / 255).astype(int).sum()) for axis in (0, 1))
    waves = _COSINES @ small @ _COSINES.T
    bits = waves > np.partition(waves.ravel(), waves.size // 2 - 1)[waves.size // 2 - 1]
    return np.packbits(bits.ravel()[::-1]).tobytes().hex(), min(100, steps // 90)


def _sampled(grey: NDArray[Any]) -> NDArray[np.float64]:
    """64 rows of the picture as they would be after blurring it twice up and down; only these are worked out."""
    rows, weights = _taps(grey.shape[0])
    found = np.zeros((_SIDE, grey.shape[1]))
    for row, weight in zip(rows, weights, strict=True):
        found += grey[row] * weight[:, None]
    return found


@lru_cache(1024)
def _taps(size: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """(tap, sample): which of `size` rows make each of 64 samples, and with what weight.

    Blurring makes of each row the mean of its neighbours, as many as two samples of 64 a side are apart; cut at the
    edges. Twice over, a sample is a mean of means.
    """
    window = -(-size // (2 * _SIDE))
    after = (window + 2) // 2
    first = np.maximum(np.arange(size) - (window - after), 0)
    last = np.minimum(np.arange(size) + after, size)
    shares = np.zeros((_SIDE, size))
    for share, middle in zip(shares, ((np.arange(_SIDE) + 0.5) * size / _SIDE).astype(int), strict=True):
        for row in range(first[middle], last[middle]):
            share[first[row] : last[row]] += 1 / (last[row] - first[row]) / (last[middle] - first[middle])
    taps = int((shares > 0).sum(axis=1).max())
    start = np.minimum((shares > 0).argmax(axis=1), size - taps)
    rows = start[:, None] + np.arange(taps)
    return rows.T, np.take_along_axis(shares, rows, axis=1).T
