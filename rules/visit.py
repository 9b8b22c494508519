"""The life of a visit: open, closed, reopened, void. It refuses to close without what is mandatory.

The conversation asks; this module refuses, even where a flow forgot to ask.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from rules.evidence import Grade
from rules.limits import Limits

# What an answer may hold: plain data that survives JSON unchanged.
Plain = str | int | float | bool | None | list["Plain"] | dict[str, "Plain"]


class State(StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    VOID = "void"


class Outcome(StrEnum):
    WON = "won"  # an order was placed in this visit
    PENDING = "pending"  # still open
    LOST = "lost"  # the customer said no for good
    NONE = "none"  # nothing was being sold: routine, payment only, closed shop


WITHOUT_A_DEAL = frozenset({Outcome.PENDING, Outcome.LOST})


class Source(StrEnum):
    PIN = "pin"
    NOTE = "note"
    REP = "rep"


@dataclass(frozen=True, slots=True)
class Trace:
    """What proposed one value: the rule, the words it read, its confidence from 0 to 1."""

    rule: str
    quote: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Answer:
    """One thing known about a visit. A proposal (`sure` is false) fills nothing mandatory until the rep confirms it.

    `original` keeps what stood here before the rep corrected it. `traces` tell what proposed it: one for each item of
    a list, one for anything else; they belong to the original.
    """

    value: Plain
    source: Source
    sure: bool = True
    quote: str = ""
    confidence: float = 1.0
    original: Plain = None
    traces: tuple[Trace, ...] = ()


@dataclass(frozen=True, slots=True)
class Visit:
    """One call of a rep at an outlet. Photos, notes and the place are ids of stored evidence inside `answers`."""

    rep: str
    opened_at: datetime
    state: State = State.OPEN
    answers: Mapping[str, Answer] = field(default_factory=dict)
    touched_at: datetime | None = None  # the last evidence
    left_at: datetime | None = None  # the rep said 结束拜访
    closed_at: datetime | None = None
    grade: Grade | None = None
    late_entry: bool = False
    id: int = 0

    def value(self, name: str) -> Plain:
        answer = self.answers.get(name)
        return None if answer is None else answer.value

    def sure(self, name: str) -> bool:
        answer = self.answers.get(name)
        return answer is not None and answer.sure

    def ids(self, name: str) -> list[int]:
        value = self.value(name)
        return [int(item) for item in value if isinstance(item, int)] if isinstance(value, list) else []

    @property
    def outlet(self) -> str | None:
        """The outlet's code once it is certain."""
        value = self.value("outlet")
        return str(value) if value is not None and self.sure("outlet") else None

    @property
    def outcome(self) -> Outcome | None:
        value = self.value("outcome")
        return Outcome(str(value)) if value is not None else None

    @property
    def proposals(self) -> tuple[str, ...]:
        return tuple(name for name, answer in self.answers.items() if not answer.sure)

    def put(self, name: str, answer: Answer) -> "Visit":
        return replace(self, answers={**self.answers, name: answer})

    def drop(self, *names: str) -> "Visit":
        return replace(self, answers={key: kept for key, kept in self.answers.items() if key not in names})


class MayNotClose(Exception):
    """The visit lacks what is mandatory; `missing` names the steps in order."""

    def __init__(self, missing: tuple[str, ...]) -> None:
        super().__init__(", ".join(missing))
        self.missing = missing


def needs_close_factor(outcome: Outcome | None) -> bool:
    return outcome is Outcome.WON


def needs_root_cause(outcome: Outcome | None) -> bool:
    return outcome in WITHOUT_A_DEAL


def missing(visit: Visit) -> tuple[str, ...]:
    """The mandatory answers that are absent or only guessed, in the order they are asked."""
    always = ("place", "outlet", "photo", "report", "problem", "outcome")
    wanted = list(always)
    if needs_close_factor(visit.outcome):
        wanted.append("close_factor")
    if needs_root_cause(visit.outcome):
        wanted.append("root_cause")
    return tuple(name for name in wanted if not visit.sure(name) or visit.value(name) in (None, "", []))


def close(visit: Visit, now: datetime, limits: Limits) -> Visit:
    """The closed visit, or MayNotClose."""
    lacking = missing(visit)
    if lacking:
        raise MayNotClose(lacking)
    return replace(leave(visit, now, limits), state=State.CLOSED, closed_at=now)


def leave(visit: Visit, now: datetime, limits: Limits) -> Visit:
    """The rep says goodbye. When that was is known once, unless it was told long after the last evidence."""
    return replace(visit, left_at=visit.left_at or _left_at(visit, now, limits))


def reopen(visit: Visit) -> Visit:
    """Open again to put an answer right. When the rep left stays known: a correction makes no visit longer."""
    return replace(visit, state=State.OPEN, closed_at=None)


def void(visit: Visit, now: datetime) -> Visit:
    return replace(visit, state=State.VOID, closed_at=now)


def duration(visit: Visit) -> timedelta:
    """From the first evidence to the end of the visit; zero while that is not known."""
    if visit.left_at is None:
        return timedelta(0)
    return max(timedelta(0), visit.left_at - visit.opened_at)


def _left_at(visit: Visit, now: datetime, limits: Limits) -> datetime:
    """The closing tap ends a visit, unless it was forgotten and made up long after the last evidence."""
    last = visit.touched_at or visit.opened_at
    return last if now - last > timedelta(minutes=limits.forgotten_after_minutes) else max(now, last)
