"""When the demonstration's tour takes place: lately enough to be on the manager's page, and over by now."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

LASTS = timedelta(days=1, hours=2)


def tour_start(now: datetime, zone: ZoneInfo) -> datetime:
    """The last Monday, 8:50 in the morning, from which the whole tour has passed."""
    local = now.astimezone(zone)
    monday = datetime.combine(local.date() - timedelta(days=local.weekday()), time(8, 50), zone)
    return monday if monday + LASTS <= local else monday - timedelta(days=7)
