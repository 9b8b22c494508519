"""Pins and device fixes that the same person sent at about the same time, for telling the datum of a channel's pins."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from rules.evidence import DEVICE_FIXES, PlaceKind
from rules.places import Point
from storage.database import Work
from storage.tables.firm import EmployeeRow
from storage.tables.post import InboxRow
from storage.tables.visits import PlaceRow


@dataclass(frozen=True, slots=True)
class Pair:
    """A pin as the platform gave it (`pin`, read as `datum`) and the nearest fix in time, in WGS-84.

    `channel` is the pin's; the fix may come from another one, `fix_channel`.
    """

    channel: str
    who: str
    pin: Point
    datum: str
    pin_at: datetime
    fix: Point
    fix_kind: PlaceKind
    fix_channel: str
    fix_at: datetime
    accuracy_m: float | None
    rep: str = ""


def pairs(work: Work, since: datetime, within: timedelta) -> list[Pair]:
    """Every pin since then that has a device fix of the same person at most `within` away, newest first."""
    query = (
        select(PlaceRow, InboxRow.channel, EmployeeRow.name)
        .join(InboxRow, InboxRow.id == PlaceRow.inbox)
        .join(EmployeeRow, EmployeeRow.code == PlaceRow.rep)
        .where(PlaceRow.at >= since - within)
        .order_by(PlaceRow.at.desc(), PlaceRow.id.desc())
    )
    rows = [(row, channel, name) for row, channel, name in work.session.execute(query)]
    fixes = [(row, channel) for row, channel, _ in rows if PlaceKind(row.kind) in DEVICE_FIXES]
    found = []
    for pin, channel, name in rows:
        if pin.kind != PlaceKind.PIN.value or pin.at < since:
            continue
        near = [one for one in fixes if one[0].rep == pin.rep and abs(one[0].at - pin.at) <= within]
        if not near:
            continue
        # A fix in a datum that is a guess itself (the app's own report) proves less than one known to be WGS-84.
        fix, fix_channel = min(near, key=lambda one: (one[0].kind == PlaceKind.REPORT.value, abs(one[0].at - pin.at)))
        found.append(
            Pair(
                channel,
                name,
                Point(pin.raw_lat, pin.raw_lon),
                pin.datum,
                pin.at,
                Point(fix.lat, fix.lon),
                PlaceKind(fix.kind),
                fix_channel,
                fix.at,
                fix.accuracy_m,
                pin.rep,
            )
        )
    return found
