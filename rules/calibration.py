"""Which datum a channel's pins are in, told by a pin and a device fix of the same person at the same spot.

No vendor states it for WeChat's pins. The two datums lie 100 to 700 m apart in mainland China and nowhere else, so one
careful pair is enough there and no number of pairs elsewhere.
"""

from dataclasses import dataclass
from typing import Final

from rules.places import Datum, Point, metres_between, to_wgs84

NEAR_M: Final = 60.0  # a pin dropped by a careful hand, and a fix of 30 m, may lie so far apart
CLEAR_RATIO: Final = 2.0  # the other datum must lie at least so many times farther away


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far the pin lies from the fix, in metres, when it is read as either datum."""

    as_gcj02_m: float
    as_wgs84_m: float

    @property
    def fits(self) -> Datum | None:
        """The datum that explains the pin; None where neither does, or both do (outside mainland China)."""
        near, far = sorted((self.as_gcj02_m, self.as_wgs84_m))
        if near > NEAR_M or far < near * CLEAR_RATIO or far - near < NEAR_M:
            return None
        return "gcj02" if self.as_gcj02_m < self.as_wgs84_m else "wgs84"


def calibrate(pin: Point, fix: Point) -> Calibration:
    """`pin` as the platform gave it, in whatever datum; `fix` in WGS-84."""
    return Calibration(
        metres_between(to_wgs84(pin, "gcj02"), fix),
        metres_between(to_wgs84(pin, "wgs84"), fix),
    )
