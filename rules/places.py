"""Points on the earth, the distance between them, and the two datums phones speak in China.

Inside the product every point is WGS-84. A channel states its datum and converts once, at the edge.
"""

import math
from dataclasses import dataclass
from typing import Literal

Datum = Literal["wgs84", "gcj02"]

EARTH_RADIUS_M = 6_371_008.8  # mean radius, IUGG
# The ellipsoid of the GCJ-02 offset is Krasovsky 1940, as in every published description of it.
_KRASOVSKY_A = 6_378_245.0
_KRASOVSKY_EE = 0.006693421622965943


@dataclass(frozen=True, slots=True)
class Point:
    """Latitude and longitude in degrees, WGS-84 unless a name says otherwise."""

    lat: float
    lon: float


def is_plausible(point: Point) -> bool:
    """Whether a phone can have meant this: finite, on the globe, and not the 0,0 of a phone without a fix."""
    if not (math.isfinite(point.lat) and math.isfinite(point.lon)):
        return False
    if abs(point.lat) > 90 or abs(point.lon) > 180:
        return False
    return abs(point.lat) > 0.01 or abs(point.lon) > 0.01


def metres_between(a: Point, b: Point) -> float:
    """Great-circle distance in metres (haversine; error against the ellipsoid under 0.6 %)."""
    lat_a, lat_b = math.radians(a.lat), math.radians(b.lat)
    half_lat = (lat_b - lat_a) / 2
    half_lon = math.radians(b.lon - a.lon) / 2
    h = math.sin(half_lat) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin(half_lon) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(h)))


def to_wgs84(point: Point, datum: Datum) -> Point:
    """The WGS-84 point for one given in `datum`."""
    return point if datum == "wgs84" else wgs84_from_gcj02(point)


def gcj02_from_wgs84(point: Point) -> Point:
    """The shifted point that Chinese maps show; outside mainland China the two are the same."""
    if not _in_mainland_box(point):
        return point
    x, y = point.lon - 105.0, point.lat - 35.0
    rad_lat = math.radians(point.lat)
    magic = 1 - _KRASOVSKY_EE * math.sin(rad_lat) ** 2
    north = _shift_north(x, y) * 180 / ((_KRASOVSKY_A * (1 - _KRASOVSKY_EE)) / (magic * math.sqrt(magic)) * math.pi)
    east = _shift_east(x, y) * 180 / (_KRASOVSKY_A / math.sqrt(magic) * math.cos(rad_lat) * math.pi)
    return Point(point.lat + north, point.lon + east)


def wgs84_from_gcj02(point: Point) -> Point:
    """The inverse by fixed-point iteration; three rounds leave less than a millimetre."""
    guess = point
    for _ in range(5):
        shown = gcj02_from_wgs84(guess)
        guess = Point(guess.lat + point.lat - shown.lat, guess.lon + point.lon - shown.lon)
    return guess


def _in_mainland_box(point: Point) -> bool:
    return 0.8293 <= point.lat <= 55.8271 and 72.004 <= point.lon <= 137.8347


def _waves(v: float) -> float:
    return 20 * math.sin(6 * v * math.pi) + 20 * math.sin(2 * v * math.pi)


def _shift_north(x: float, y: float) -> float:
    metres = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * math.sqrt(abs(x))
    metres += _waves(x) * 2 / 3
    metres += (20 * math.sin(y * math.pi) + 40 * math.sin(y / 3 * math.pi)) * 2 / 3
    metres += (160 * math.sin(y / 12 * math.pi) + 320 * math.sin(y * math.pi / 30)) * 2 / 3
    return metres


def _shift_east(x: float, y: float) -> float:
    metres = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * math.sqrt(abs(x))
    metres += _waves(x) * 2 / 3
    metres += (20 * math.sin(x * math.pi) + 40 * math.sin(x / 3 * math.pi)) * 2 / 3
    metres += (150 * math.sin(x / 12 * math.pi) + 300 * math.sin(x / 30 * math.pi)) * 2 / 3
    return metres
