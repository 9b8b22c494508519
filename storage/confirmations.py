"""What became of everything that was proposed, kept with the change that settled it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, insert, select, true

from rules.confirmations import Settled, Tally, Verdict
from storage.database import Work
from storage.tables.columns import plain
from storage.tables.visits import ConfirmationRow, VisitChangeRow

_SETTLED, _CHANGE = plain(ConfirmationRow), plain(VisitChangeRow)
_LATER = _SETTLED.alias("later")
_KEEP = insert(_SETTLED)
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
    newest_first = func.row_number().over(
        partition_by=(_SETTLED.c.visit, _SETTLED.c.field, _SETTLED.c.item), order_by=_SETTLED.c.id.desc()
    )
    latest = (
        select(_SETTLED.c.field, _SETTLED.c.rule, _SETTLED.c.verdict, newest_first.label("nth"))
        .where(_holds(_SETTLED), _within(_SETTLED, since, until))
        .subquery()
    )
    alike = (latest.c.field, latest.c.rule, latest.c.verdict)
    counted: list[Any] = list(work.run(select(*alike, func.count()).where(latest.c.nth == 1).group_by(*alike)))
    found: dict[tuple[str, str], dict[str, int]] = {}
    for field, rule, verdict, count in counted:
        found.setdefault((field, rule), {})[verdict] = count
    return [Tally(field, rule, **counts) for (field, rule), counts in sorted(found.items())]


def mistakes(
    work: Work, field: str, rule: str, since: datetime | None = None, until: datetime | None = None, limit: int = 3
) -> list[Mistake]:
    """The latest wrong proposals of one rule, newest first."""
    found: list[Any] = []
    for verdict in _WRONG:  # each from the end of its part of the index, however many there are
        query = (
            select(_SETTLED)
            .where(_SETTLED.c.field == field, _SETTLED.c.rule == rule, _SETTLED.c.verdict == verdict)
            .where(_holds(_SETTLED), _within(_SETTLED, since, until), ~_settled_again(since, until))
            .order_by(_SETTLED.c.id.desc())
            .limit(limit)
        )
        found += work.run(query)
    newest = sorted(found, key=lambda row: row.id, reverse=True)[:limit]
    return [Mistake(row.visit, row.at, row.field, row.rule, row.quote, row.proposed, row.confirmed) for row in newest]


def _holds(settled: Any) -> ColumnElement[bool]:
    """That the change which settled it was not taken back. Those that were are few, and have an index of their own."""
    return ~exists().where(_CHANGE.c.id == settled.c.change, _CHANGE.c.undone_at.is_not(None))


def _within(settled: Any, since: datetime | None, until: datetime | None) -> ColumnElement[bool]:
    """[since, until), as far as they are given."""
    bounds = [] if since is None else [settled.c.at >= since]
    return and_(true(), *bounds, *([] if until is None else [settled.c.at < until]))


def _settled_again(since: datetime | None, until: datetime | None) -> ColumnElement[bool]:
    """That a later verdict on the same item holds in the same span."""
    return exists().where(
        _LATER.c.visit == _SETTLED.c.visit,
        _LATER.c.field == _SETTLED.c.field,
        _LATER.c.item == _SETTLED.c.item,
        _LATER.c.id > _SETTLED.c.id,
        _holds(_LATER),
        _within(_LATER, since, until),
    )
