"""What a check-in is worth: 已核实 verified, 存疑 doubtful, 无法核实 unverifiable, each with reasons a rep can read.

A pin is not proof. A false accusation is a worse fault than a missed cheat, so every doubt gives the rep the
benefit of the measuring error, and what chat cannot see lowers a check-in to unverifiable, never to doubtful.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from rules.limits import Limits
from rules.places import Datum, Point, metres_between, wgs84_from_gcj02


class PlaceKind(StrEnum):
    """How a position came about; a channel states it, policy decides what it is worth."""

    LIVE = "live"  # shared live from the device
    REPORT = "report"  # the app reported it by itself, with precision
    BROWSER = "browser"  # navigator.geolocation of a page
    H5 = "h5_gps"  # measured by the phone for the page in the menu of 企业微信 or 公众号, with accuracy
    PIN = "pin"  # a static pin: may be dropped by hand anywhere
    VENUE = "venue"  # a named place picked from a list
    FORWARDED = "forwarded"  # somebody's earlier pin passed on


DEVICE_FIXES = frozenset({PlaceKind.LIVE, PlaceKind.REPORT, PlaceKind.BROWSER, PlaceKind.H5})


@dataclass(frozen=True, slots=True)
class Place:
    """One position sent by a rep: WGS-84 for reckoning, the raw pair and datum kept beside it."""

    point: Point
    kind: PlaceKind
    at: datetime
    raw: Point
    datum: Datum
    accuracy_m: float | None = None
    fixed_at: datetime | None = None  # when the device measured it, where the channel tells
    id: int = 0


@dataclass(frozen=True, slots=True)
class Photo:
    """A stored photo and what its bytes say. `same_as` names the visit that used the same or a near-same picture."""

    file: str
    at: datetime
    taken_at: datetime | None = None
    taken_where: Point | None = None
    phash: str = ""
    same_as: int | None = None
    id: int = 0


class Level(StrEnum):
    VERIFIED = "verified"
    DOUBTFUL = "doubtful"
    UNVERIFIABLE = "unverifiable"


Value = str | int | float


@dataclass(frozen=True, slots=True)
class Reason:
    """A text key under `reason.` and what to fill in."""

    code: str
    values: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grade:
    level: Level
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Before:
    """Where and when the same rep's visit before this one was."""

    point: Point
    at: datetime
    accuracy_m: float = 0.0


def grade(place: Place, outlet: Point | None, photos: Sequence[Photo], before: Before | None, limits: Limits) -> Grade:
    """The grade of one check-in with every reason that applies, doubts first."""
    doubts = [
        reason
        for reason in (
            _forwarded(place),
            _too_far(place, outlet, limits),
            _stale_fix(place, limits),
            _too_fast(place, before, limits),
            *(reason for photo in photos for reason in _photo_doubts(photo, place, limits)),
        )
        if reason is not None
    ]
    if doubts:
        return Grade(Level.DOUBTFUL, tuple(doubts))
    if outlet is None:
        return Grade(Level.UNVERIFIABLE, (Reason("outlet_has_no_point"),))
    metres, accuracy = metres_between(place.point, outlet), place.accuracy_m or 0.0
    if max(metres, accuracy) > limits.fence_m:  # perhaps at the outlet, perhaps not: too vague to tell
        return Grade(Level.UNVERIFIABLE, (Reason("vague_fix", {"metres": round(metres), "accuracy": round(accuracy)}),))
    if place.kind in DEVICE_FIXES:
        return Grade(Level.VERIFIED, (Reason("device_fix", {"metres": round(metres)}),))
    if any(_photo_agrees(photo, place, limits) for photo in photos):
        return Grade(Level.VERIFIED, (Reason("photo_agrees"),))
    return Grade(Level.UNVERIFIABLE, (Reason("hand_dropped" if place.kind is PlaceKind.PIN else "venue"),))


def better(new: Place, old: Place) -> bool:
    """Whether a later position is stronger evidence of the same check-in: a device's own fix, or a sharper one."""
    if (new.kind in DEVICE_FIXES) != (old.kind in DEVICE_FIXES):
        return new.kind in DEVICE_FIXES
    if new.kind in DEVICE_FIXES:
        return (new.accuracy_m or 1e9) < (old.accuracy_m or 1e9)
    return new.kind is PlaceKind.PIN and old.kind is not PlaceKind.PIN


def _forwarded(place: Place) -> Reason | None:
    return Reason("forwarded") if place.kind is PlaceKind.FORWARDED else None


def _too_far(place: Place, outlet: Point | None, limits: Limits) -> Reason | None:
    if outlet is None:
        return None
    metres = metres_between(place.point, outlet)
    surely = metres - (place.accuracy_m or 0.0)
    if surely <= limits.fence_m:
        return None
    return Reason("too_far", {"metres": round(metres), "fence": round(limits.fence_m)})


def _stale_fix(place: Place, limits: Limits) -> Reason | None:
    if place.fixed_at is None:
        return None
    age = place.at - place.fixed_at
    if age <= timedelta(minutes=limits.pin_fresh_minutes):
        return None
    return Reason("stale_fix", {"minutes": round(age.total_seconds() / 60)})


def _too_fast(place: Place, before: Before | None, limits: Limits) -> Reason | None:
    """Impossible travel. Within a kilometre nothing is concluded, nor within a minute: pins that a phone without
    signal kept back arrive one upon the other.
    """
    if before is None or place.at - before.at <= timedelta(minutes=1):
        return None
    metres = metres_between(before.point, place.point) - before.accuracy_m - (place.accuracy_m or 0.0)
    hours = (place.at - before.at).total_seconds() / 3600
    if metres < 1000 or metres / 1000 <= limits.top_speed_kmh * hours:
        return None
    return Reason("too_fast", {"km": round(metres / 1000, 1), "minutes": max(1, round(hours * 60))})


def _photo_doubts(photo: Photo, place: Place, limits: Limits) -> Iterator[Reason]:
    """A photo may come from somewhere else or from earlier. One from the future only has a wrong clock."""
    if photo.same_as is not None:
        yield Reason("photo_used_before", {"visit": photo.same_as})
    if photo.taken_where is not None:
        metres = _surely_apart(photo.taken_where, place)
        if metres > 2 * limits.fence_m:
            yield Reason("photo_elsewhere", {"metres": round(metres)})
    if photo.taken_at is not None:
        hours = (photo.at - photo.taken_at).total_seconds() / 3600
        if hours > limits.photo_fresh_hours:
            yield Reason("photo_old", {"hours": round(hours)})


def _surely_apart(taken_where: Point, place: Place) -> float:
    """Metres between photo and pin, in favour of the rep: some cameras sold in China write GCJ-02 into the file."""
    metres = min(metres_between(point, place.point) for point in (taken_where, wgs84_from_gcj02(taken_where)))
    return metres - (place.accuracy_m or 0.0)


def _photo_agrees(photo: Photo, place: Place, limits: Limits) -> bool:
    """The file itself says the same place and time: two independent pieces of evidence that agree."""
    return (
        photo.taken_where is not None
        and photo.taken_at is not None
        and abs(photo.at - photo.taken_at) <= timedelta(hours=limits.photo_fresh_hours)
        and metres_between(photo.taken_where, place.point) <= limits.fence_m
    )
