"""PDQ, the perceptual hash published by Facebook (ThreatExchange, hashing/hashing.pdf, 2019): 256 bits a picture.

Written here because the library (pdqhash) has no Linux wheel and would ask every new machine for a C++ compiler; the
bits are the same as the library's, see tests/test_pdq.py and docs/decisions/0001-dependencies.md.

A row of the picture is one long integer, a pixel every few bits of it, so that one multiplication weighs them all. That
takes 2 ms and does without numpy, which is 15 MB in memory and otherwise needed only by the recogniser's process.
"""

from array import array
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise, repeat
from math import cos, lcm, pi
from operator import add, floordiv, mul, sub
from typing import TypeAlias

from PIL import Image

_SIDE, _WAVES = 64, 16
_EXACT = 1 << 24
_HALF = _SIDE // 2
# The first 16 cosines without the constant one, over 64 samples: of the type-II DCT matrix, but for a factor. Half
# of each: the other is its mirror, upside down for the waves with an odd number.
_COSINES = [[cos(pi / 2 / _SIDE * wave * (2 * place + 1)) for place in range(_HALF)] for wave in range(1, _WAVES + 1)]
_WHOLE_COSINES = [[round(_EXACT * one) for one in wave] for wave in _COSINES]
_BIAS = 1 << 62  # added to every lane while they are taken apart, for some are negative
_BIASES = sum(_BIAS << 64 * place for place in range(_SIDE))

Taps: TypeAlias = tuple[tuple[tuple[int, int], ...], ...]


def pdq(luma: Image.Image) -> tuple[str, int]:
    """PDQ's 256 bits as hexadecimal digits, and its quality, 0 to 100 (ThreatExchange, hashing/hashing.pdf, 2019).

    `luma` has at most 512 pixels a side.
    """
    width, height = luma.size
    down, rows_scale = _taps(height)
    across, columns_scale = _taps(width)
    rows = _lines(luma.convert("I;16"), 2)
    blurred = b"".join([_weighed(rows, taps).to_bytes(2 * width, "little") for taps in down])
    turned = Image.frombytes("I;16", (width, _SIDE), blurred).transpose(Image.Transpose.TRANSPOSE)
    columns = _lines(turned.convert("I"), 4)
    small = [_lanes(20 * _weighed(columns, taps), "I") for taps in across]  # 64 columns of 64 samples
    quality = _steps(small, 51 * rows_scale * columns_scale) // 90  # 20 / 51 is 100 / 255
    wide = [int.from_bytes(array("Q", column).tobytes(), "little") for column in small]
    waves = []
    for wave, folded in zip(_WHOLE_COSINES, _folded(wide), strict=True):
        column = [value - _BIAS for value in _lanes(sum(map(mul, wave, folded)) + _BIASES, "Q")]
        waves.append([sum(map(mul, other, half)) for other, half in zip(_COSINES, _folded(column), strict=True)])
    flat = [across_them[wave] for wave in range(_WAVES) for across_them in waves]
    middle = sorted(flat)[len(flat) // 2 - 1]
    bits = sum(1 << place for place, value in enumerate(flat) if value > middle)
    return f"{bits:064x}", min(100, quality)


def _lines(image: Image.Image, lane: int) -> list[int]:
    """The rows of a picture of whole numbers, each as one long integer, `lane` bytes a pixel."""
    size = lane * image.width
    data = image.tobytes()
    return [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]


def _weighed(lines: list[int], taps: tuple[tuple[int, int], ...]) -> int:
    return sum([lines[place] * weight for place, weight in taps])


def _lanes(line: int, kind: str) -> "array[int]":
    """The 64 numbers of a long integer: of 32 bits ("I") or 64 ("Q")."""
    values = array(kind)
    values.frombytes(line.to_bytes(_SIDE * values.itemsize, "little"))
    return values


def _folded(line: list[int]) -> list[list[int]]:
    """What each wave in turn is to be multiplied with: the differences or sums of what lies at its mirrored places."""
    back = line[: _HALF - 1 : -1]
    return [list(map(sub, line, back)), list(map(add, line, back))] * (_WAVES // 2)


def _steps(columns: list["array[int]"], hundredth: int) -> int:
    """How much neighbouring samples differ, in whole hundredths of white."""
    rows = zip(*columns, strict=True)
    return sum(_apart(one, other, hundredth) for lines in (columns, rows) for one, other in pairwise(lines))


def _apart(one: Iterable[int], other: Iterable[int], unit: int) -> int:
    return sum(map(floordiv, map(abs, map(sub, one, other)), repeat(unit)))


@lru_cache(1024)
def _taps(size: int) -> tuple[Taps, int]:
    """For each of 64 samples the (row, weight) of those of `size` rows that make it, and what the weights add up to.

    Blurring makes of each row the mean of its neighbours, as many as two samples of 64 a side are apart; cut at the
    edges. Twice over, a sample is a mean of means.
    """
    window = -(-size // (2 * _SIDE))
    after = (window + 2) // 2
    whole = lcm(*range(1, window + 1)) ** 2
    found = []
    for sample in range(_SIDE):
        middle = (2 * sample + 1) * size // (2 * _SIDE)
        weights: dict[int, int] = {}
        means = _window(middle, size, window, after)
        for row in means:
            ones = _window(row, size, window, after)
            for one in ones:
                weights[one] = weights.get(one, 0) + whole // (len(means) * len(ones))
        found.append(tuple(weights.items()))
    return tuple(found), whole


def _window(row: int, size: int, window: int, after: int) -> range:
    return range(max(row - (window - after), 0), min(row + after, size))
