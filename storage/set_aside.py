"""What was given up: messages that could not be applied, jobs that failed five times, messages that could not be sent.

Nothing of what people wrote leaves here, only which row it is, since when and why.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import select, update

from storage import jobs
from storage.database import Work
from storage.tables.post import InboxRow, OutboxRow

Kind = Literal["in", "job", "out"]
KINDS: Final[tuple[Kind, ...]] = ("in", "job", "out")


@dataclass(frozen=True, slots=True)
class Item:
    """One row. `what`: its channel, the task, or channel and intent. `whose`: person, lock or chat.

    `readable` is False for a message whose payload nobody could read: trying it again would change nothing.
    """

    kind: Kind
    id: int
    what: str
    whose: str
    at: datetime
    tries: int
    error: str
    readable: bool = True

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.id}"


def listed(work: Work) -> list[Item]:
    """Everything that was given up and not dealt with since, oldest first within its kind."""
    found = [
        Item("in", row.id, row.channel, row.person, row.received_at, row.tries, row.error, row.message is not None)
        for row in work.session.scalars(select(InboxRow).where(InboxRow.state == "dead").order_by(InboxRow.id))
    ]
    found += [Item("job", job.id, job.task, job.lock or "", job.at, job.tries, job.error) for job in jobs.dead(work)]
    found += [
        Item("out", row.id, f"{row.channel} {row.intent}", row.chat_ref, row.made_at, row.tries, row.error)
        for row in work.session.scalars(select(OutboxRow).where(OutboxRow.state == "failed").order_by(OutboxRow.id))
    ]
    return found


def job_args(work: Work, job_id: int) -> dict[str, int]:
    """What a job that was given up was asked to work on; empty for one that is not there."""
    return next((job.args for job in jobs.dead(work) if job.id == job_id), {})


def again(work: Work, kind: Kind, row_id: int, now: datetime) -> bool:
    """As if it had never been tried; False where there is no such row among what was given up."""
    if kind == "in":
        # `message` is not compared with NULL: a payload that could not be read is JSON's null in some rows.
        row = work.session.get(InboxRow, row_id)
        if row is None or row.state != "dead" or row.message is None:
            return False
        row.state, row.tries, row.not_before, row.done_at = "new", 0, None, None
        return True
    if kind == "job":
        return jobs.again(work, row_id, now)
    due = update(OutboxRow).where(OutboxRow.id == row_id, OutboxRow.state == "failed")
    changed = due.values(state="due", tries=0, due_at=now).returning(OutboxRow.id)
    return work.session.scalar(changed) is not None


def drop(work: Work, kind: Kind, row_id: int, reason: str) -> bool:
    """Nothing more is to come of it. The row stays, with the reason before what had gone wrong."""
    if kind == "job":
        return jobs.drop(work, row_id, reason)
    row: InboxRow | OutboxRow | None
    row = work.session.get(InboxRow, row_id) if kind == "in" else work.session.get(OutboxRow, row_id)
    if row is None or row.state != ("failed" if kind == "out" else "dead"):
        return False
    row.state, row.error = "dropped", f"{reason} | {row.error}"[:2000]
    return True
