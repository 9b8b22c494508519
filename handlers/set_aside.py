"""Trying again what was given up, on the word of whoever runs the bot."""

from datetime import datetime

from storage import evidence, set_aside
from storage.database import Work
from storage.set_aside import Kind


def again(work: Work, kind: Kind, row_id: int, now: datetime) -> bool:
    """Give a row back to be tried from the beginning; False where it is not among what was given up.

    A message comes after what its sender wrote meanwhile. A voice note whose job failed was told to the rep as broken
    and taken out of the visit: it counts as not heard again, so that hearing it puts it back.
    """
    note = set_aside.job_args(work, row_id).get("note") if kind == "job" else None
    if not set_aside.again(work, kind, row_id, now):
        return False
    if note is not None:
        evidence.not_heard_yet(work, note)
    return True
