"""The grades of a day's check-ins as the rules have it now, beside those they got when they were closed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from rules.evidence import Before, Grade, grade
from rules.limits import Limits
from rules.visit import Visit
from storage import check_ins
from storage.database import Work


@dataclass(frozen=True, slots=True)
class Graded:
    """A closed visit, whose own grade is the one it got, and the grade it would get today."""

    visit: Visit
    now: Grade


def grades_of_day(work: Work, day: date, limits: Limits) -> Iterator[Graded]:
    """Every check-in of a local day, from the stored evidence and where the rep was before, as when it was closed."""
    for found in check_ins.closed_on(work, day):
        photos = [photo for photo in found.photos if photo.same_as is None] or list(found.photos)
        earlier = found.before
        before = Before(earlier.point, earlier.at, earlier.accuracy_m or 0.0) if earlier is not None else None
        yield Graded(found.visit, grade(found.place, found.outlet, photos, before, limits))
