"""Notes as labelled JSON, and how well an understanding agrees with its labels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from nlp.understand import Found, Line, Understanding

Labels = Mapping[str, Any]
ONE_VALUE = ("customer", "outcome", "close_factor", "root_cause", "payment", "follow_up")
MANY_VALUES = ("contacts", "objections", "competitors", "orders", "samples")
FIELDS = (*ONE_VALUE, *MANY_VALUES)


def to_json(understanding: Understanding) -> dict[str, Any]:
    """The fields of one note as `zoudian summarize --json` prints them; an outcome the words do not give is "none"."""
    u = understanding
    single: dict[str, Found[Any] | None] = {
        "customer": u.outlet, "problem": u.problem, "outcome": u.outcome, "close_factor": u.close_factor,
        "root_cause": u.root_cause, "payment": u.payment, "follow_up": u.follow_up,
    }  # fmt: skip
    several: dict[str, tuple[Found[Any], ...]] = {
        "contacts": u.contacts, "objections": u.objections, "competitors": u.competitors, "orders": u.orders,
        "samples": u.samples,
    }  # fmt: skip
    found = {
        **{name: [one] for name, one in single.items() if one},
        **{name: list(many) for name, many in several.items() if many},
    }
    window = u.follow_up.value if u.follow_up else None
    return {
        "customer": _value(u.outlet),
        "contacts": [one.value for one in u.contacts],
        "problem": _value(u.problem),
        "outcome": _value(u.outcome) or "none",
        "close_factor": _value(u.close_factor),
        "root_cause": _value(u.root_cause),
        "objections": [one.value for one in u.objections],
        "competitors": [one.value for one in u.competitors],
        "orders": [_line(one.value) for one in u.orders],
        "samples": [_line(one.value) for one in u.samples],
        "payment": [u.payment.value.amount, u.payment.value.term] if u.payment else None,
        "follow_up": {"from": window.first.isoformat(), "to": window.last.isoformat(), "time": window.time}
        if window
        else None,
        "actions": list(u.actions),
        **({"proofs": dict(zip(u.actions, u.proofs, strict=True))} if u.actions else {}),
        "quotes": {name: _quotes(many, name in several) for name, many in found.items()},
        "confidence": {name: min(one.confidence for one in many) for name, many in found.items()},
    }


def _value(found: Found[str] | None) -> str | None:
    return found.value if found else None


def _line(line: Line) -> list[str | float | int]:
    return [line.product, line.quantity, line.unit]


def _quotes(found: list[Found[Any]], several: bool) -> str | list[str]:
    return [one.quote for one in found] if several else found[0].quote


@dataclass(slots=True)
class Score:
    """Counts of values that were right, wrongly given, and missed."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    @property
    def precision(self) -> float:
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0

    @property
    def recall(self) -> float:
        return self.right / (self.right + self.missed) if self.right + self.missed else 1.0

    @property
    def f1(self) -> float:
        return (
            2 * self.right / (2 * self.right + self.wrong + self.missed)
            if self.right + self.wrong + self.missed
            else 1.0
        )

    def add(self, other: "Score") -> None:
        self.right += other.right
        self.wrong += other.wrong
        self.missed += other.missed


def score(expected: Iterable[Labels], got: Iterable[Labels]) -> dict[str, Score]:
    """Scores by field over pairs of labels (a note's `expect`) and `to_json` results; "all" is the micro average.

    A list counts value by value; an empty value that is rightly empty counts nothing, so F1 speaks of what was said.
    A missing label reads as empty.
    """
    scores = {field: Score() for field in FIELDS}
    for labels, found in zip(expected, got, strict=True):
        for field in FIELDS:
            scores[field].add(_compare(field, labels.get(field), found.get(field)))
    total = Score()
    for field in FIELDS:
        total.add(scores[field])
    return {**scores, "all": total}


def disagreements(labels: Labels, found: Labels) -> list[str]:
    """The fields of one note that are not entirely right."""
    compared = {field: _compare(field, labels.get(field), found.get(field)) for field in FIELDS}
    return [field for field, one in compared.items() if one.wrong or one.missed]


def _compare(field: str, label: Any, value: Any) -> Score:
    if field in MANY_VALUES:
        wanted, given = ({_key(one) for one in many or ()} for many in (label, value))
        return Score(len(wanted & given), len(given - wanted), len(wanted - given))
    if label is None or value is None:
        return Score(0, int(value is not None), int(label is not None))
    right = same_window(label, value) if field == "follow_up" else _key(label) == _key(value)
    return Score(1) if right else Score(0, 1, 1)


def _key(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def same_window(label: Any, value: Any) -> bool:
    """A window is right when it lies inside the label or overlaps it by half, with the same time of day.

    Both as [from, to, time] or {"from", "to", "time"}.
    """
    first, last, time = _window(label)
    start, end, said = _window(value)
    common = (min(last, end) - max(first, start)).days + 1
    return time == said and common > 0 and (common == (end - start).days + 1 or 2 * common >= (last - first).days + 1)


def _window(value: Any) -> tuple[date, date, str | None]:
    first, last, time = (value["from"], value["to"], value["time"]) if isinstance(value, Mapping) else value
    return date.fromisoformat(first), date.fromisoformat(last), time
