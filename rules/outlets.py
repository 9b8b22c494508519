"""Outlets and which of them a pin means."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from rules.places import Point, metres_between


@dataclass(frozen=True, slots=True)
class Outlet:
    """A shop the firm sells to. `point` is WGS-84, or None where nobody has stood there yet."""

    code: str
    name: str
    kind: str
    district: str
    address: str
    point: Point | None
    rep: str | None
    first_contact_on: date | None
    delivery: str = ""
    aliases: tuple[str, ...] = ()
    """What the reps call it for short."""


@dataclass(frozen=True, slots=True)
class Near:
    """An outlet and how many metres it is from the pin."""

    outlet: Outlet
    metres: float


def nearby(pin: Point, outlets: Iterable[Outlet], within_m: float, accuracy_m: float = 0.0) -> list[Near]:
    """Outlets within the fence, nearest first. A vague fix widens it by its own accuracy, at most to the double."""
    reach = within_m + min(accuracy_m, within_m)
    found = [Near(outlet, metres_between(pin, outlet.point)) for outlet in outlets if outlet.point is not None]
    return sorted((near for near in found if near.metres <= reach), key=lambda near: (near.metres, near.outlet.code))


def clear_match(found: list[Near], ratio: float, accuracy_m: float = 0.0) -> Outlet | None:
    """The nearest outlet when no other is nearly as near; otherwise nobody guesses and the rep is asked.

    Alone in the fence is clear. With several, the second must be `ratio` times as far, and 30 m farther:
    two stalls of one market hall are always asked. A fix that may be off by `accuracy_m` moves both distances by as
    much, so the second must be twice that farther.
    """
    if not found:
        return None
    if len(found) == 1:
        return found[0].outlet
    first, second = found[0].metres, found[1].metres
    clear = second >= first * ratio and second - first >= max(30.0, 2 * accuracy_m)
    return found[0].outlet if clear else None
