"""What became of everything that was proposed, kept with the change that settled it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Subquery, func, insert, select

from rules.confirmations import Settled, Tally, Verdict
from storage.database import Work
from storage.tables.columns import plain
from storage.tables.visits import ConfirmationRow, VisitChangeRow

_KEEP = insert(plain(ConfirmationRow))
_WRONG = (Verdict.CORRECTED.value, Verdict.REMOVED.value)


@dataclass(frozen=True, slots=True)
class Mistake:
    """A proposal that the rep corrected or removed (`confirmed` is None), and the words that had led to it."""

    visit: int
    at: datetime
    field: str
    rule: str
    quote: str
    proposed: Any
    confirmed: Any


def keep(work: Work, change: int, at: datetime, items: Sequence[Settled]) -> None:
    """Remember what one change of a visit settled."""
    work.run_each(
        _KEEP,
        [
            {
                "change": change,
                "visit": item.visit,
                "rep": item.rep,
                "at": at,
                "field": item.field,
                "item": item.item,
                "rule": item.trace.rule,
                "proposed": item.proposed,
                "confirmed": item.confirmed,
                "verdict": item.verdict.value,
                "quote": item.trace.quote,
                "confidence": item.trace.confidence,
            }
            for item in items
        ],
    )


def tallies(work: Work, since: datetime | None = None, until: datetime | None = None) -> list[Tally]:
    """How often each rule was right among the items settled in [since, until), by field and rule."""
    latest = _latest(since, until)
    counted = work.session.execute(
        select(latest.c.field, latest.c.rule, latest.c.verdict, func.count())
        .where(latest.c.nth == 1)
        .group_by(latest.c.field, latest.c.rule, latest.c.verdict)
    )
    found: dict[tuple[str, str], dict[str, int]] = {}
    for field, rule, verdict, count in counted:
        found.setdefault((field, rule), {})[verdict] = count
    return [Tally(field, rule, **counts) for (field, rule), counts in sorted(found.items())]


def mistakes(
    work: Work, field: str, rule: str, since: datetime | None = None, until: datetime | None = None, limit: int = 3
) -> list[Mistake]:
    """The latest wrong proposals of one rule, newest first."""
    latest = _latest(since, until)
    rows = work.session.scalars(
        select(ConfirmationRow)
        .join(latest, latest.c.id == ConfirmationRow.id)
        .where(latest.c.nth == 1, latest.c.verdict.in_(_WRONG), latest.c.field == field, latest.c.rule == rule)
        .order_by(ConfirmationRow.id.desc())
        .limit(limit)
    )
    return [Mistake(row.visit, row.at, row.field, row.rule, row.quote, row.proposed, row.confirmed) for row in rows]


def _latest(since: datetime | None, until: datetime | None) -> Subquery:
    """Everything settled in a span whose change still holds; `nth` 1 is the latest verdict on an item."""
    newest_first = func.row_number().over(
        partition_by=(ConfirmationRow.visit, ConfirmationRow.field, ConfirmationRow.item),
        order_by=ConfirmationRow.id.desc(),
    )
    query: Select[Any] = (
        select(
            ConfirmationRow.id,
            ConfirmationRow.field,
            ConfirmationRow.rule,
            ConfirmationRow.verdict,
            newest_first.label("nth"),
        )
        .join(VisitChangeRow, VisitChangeRow.id == ConfirmationRow.change)
        .where(VisitChangeRow.undone_at.is_(None))
    )
    if since is not None:
        query = query.where(ConfirmationRow.at >= since)
    if until is not None:
        query = query.where(ConfirmationRow.at < until)
    return query.subquery()
