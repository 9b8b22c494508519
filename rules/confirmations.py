"""What the rep's answers say about our own rules: each proposed item was right, wrong, or never judged.

A field's precision is confirmed / (confirmed + corrected + removed), on the firm's own visits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from rules.visit import Answer, Plain, State, Trace, Visit, missing

ENOUGH = 5  # judged items below which a precision says nothing
GOOD = 0.8


class Verdict(StrEnum):
    CONFIRMED = "confirmed"
    CORRECTED = "corrected"  # the rep put another value in its place
    REMOVED = "removed"  # the rep wants nothing in its place
    UNJUDGED = "unjudged"  # the visit ended, or the question was put again, before the rep had judged it


@dataclass(frozen=True, slots=True)
class Settled:
    """One proposed item and what the rep made of it. `item` counts within its field from 0."""

    visit: int
    rep: str
    field: str
    item: int
    trace: Trace
    proposed: Plain
    confirmed: Plain
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a rule (or with `rule` empty: a whole field) was right."""

    field: str
    rule: str
    confirmed: int = 0
    corrected: int = 0
    removed: int = 0
    unjudged: int = 0

    @property
    def judged(self) -> int:
        return self.confirmed + self.corrected + self.removed

    @property
    def precision(self) -> float | None:
        """0 to 1; None while nothing was judged."""
        return self.confirmed / self.judged if self.judged else None

    @property
    def weak(self) -> bool:
        """Wrong too often to be left as it is, on enough judged items to say so."""
        return self.judged >= ENOUGH and self.confirmed < GOOD * self.judged


def settled(before: Visit, after: Visit) -> list[Settled]:
    """What one message of the rep settled of the items that a note had proposed.

    A later message may settle the same item again (a confirmed quantity is corrected): the latest one counts.
    """
    # With another note or outlet the notes were understood anew; what vanished then was not the rep's doing.
    anew = any(before.value(name) != after.value(name) for name in ("report", "outlet"))
    found: list[Settled] = []
    for name, answer in before.answers.items():
        if not answer.traces:
            continue
        now = after.answers.get(name)
        if now is None:
            if answer.sure or not anew:
                verdict = Verdict.UNJUDGED if name in missing(after) else Verdict.REMOVED
                found += [_settled(before, name, *item, None, verdict) for item in _items(answer)]
        elif now.sure and (not answer.sure or now.value != answer.value):
            found += _judged(before, name, answer, now.value)
        elif not now.sure and before.state is State.OPEN and after.state is not State.OPEN:
            found += [_settled(before, name, *item, None, Verdict.UNJUDGED) for item in _items(answer)]
    return found


def _items(answer: Answer) -> Iterator[tuple[int, Trace, Plain]]:
    """(number, trace, proposed value) of everything the answer proposed at first."""
    first = answer.value if answer.original is None else answer.original
    values = first if isinstance(first, list) else [first]
    yield from (
        (number, trace, value) for number, (trace, value) in enumerate(zip(answer.traces, values, strict=False))
    )


def _judged(visit: Visit, name: str, answer: Answer, now: Plain) -> list[Settled]:
    """Each proposed item against what stands there now: the same, another in its place, or nothing."""
    rest: list[Plain] = list(now) if isinstance(now, list) else [now]
    found: list[Settled] = []
    wrong: list[tuple[int, Trace, Plain]] = []
    for item in _items(answer):
        same = next((value for value in rest if _bare(value) == _bare(item[2])), None)
        if same is None:
            wrong.append(item)
        else:
            rest.remove(same)
            found.append(_settled(visit, name, *item, same, Verdict.CONFIRMED))
    for item in wrong:
        instead = _instead(item[2], rest, alone=len(wrong) == 1)
        if instead is not None:
            rest.remove(instead)
        verdict = Verdict.REMOVED if instead is None else Verdict.CORRECTED
        found.append(_settled(visit, name, *item, instead, verdict))
    return found


def _instead(proposed: Plain, rest: list[Plain], *, alone: bool) -> Plain:
    """What took the place of a wrong item: a line of the same product, else the only thing it can be."""
    if isinstance(proposed, list):
        for value in rest:
            if isinstance(value, list) and value[:1] == proposed[:1]:
                return value
    return rest[0] if alone and len(rest) == 1 else None


def _bare(value: Plain) -> Plain:
    """The value without the words it was said in, which are others when it is typed again."""
    if isinstance(value, dict):
        return {key: part for key, part in value.items() if key not in ("quote", "again_next_week")}
    return value


def _settled(
    visit: Visit, field: str, item: int, trace: Trace, proposed: Plain, confirmed: Plain, verdict: Verdict
) -> Settled:
    return Settled(visit.id, visit.rep, field, item, trace, proposed, confirmed, verdict)
