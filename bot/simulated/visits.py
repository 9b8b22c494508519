"""What every rep does on every day, and the rows that this leaves: visits, evidence, history, 待办.

A kind of visit is drawn first, and everything else follows from it: which grade its check-in must get, and which
finding of the daily alert it must lead to.
"""

import math
from bisect import bisect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import accumulate
from random import Random
from typing import Any, Final, NamedTuple

from bot.simulated import names
from bot.simulated.firm import LIMITS, Rep, SimulatedFirm
from storage.photo_pieces import pieces_of

FIRST_VISIT, LAST_VISIT = 8 * 3600 + 40 * 60, 17 * 3600 + 30 * 60  # local seconds between which visits begin
IDLE_DAYS, FOLLOW_UPS = 0.03, 0.1
METRES_A_DEGREE: Final = 111_195.0


@dataclass(frozen=True, slots=True)
class Kind:
    """How often a visit is like this, its grade (None where it is not closed) and the reason the rules must give."""

    share: float
    level: str | None
    reason: str
    place: str = "live"


KINDS: Final = {
    "live": Kind(0.655, "verified", "device_fix"),
    "photo_agrees": Kind(0.14, "verified", "photo_agrees", "pin"),
    "hand_dropped": Kind(0.10, "unverifiable", "hand_dropped", "pin"),
    "venue": Kind(0.03, "unverifiable", "venue", "venue"),
    "vague": Kind(0.02, "unverifiable", "vague_fix"),
    "far": Kind(0.006, "doubtful", "too_far"),
    "forwarded": Kind(0.003, "doubtful", "forwarded", "forwarded"),
    "stale": Kind(0.003, "doubtful", "stale_fix"),
    "photo_old": Kind(0.004, "doubtful", "photo_old"),
    "photo_elsewhere": Kind(0.002, "doubtful", "photo_elsewhere"),
    "same_photo": Kind(0.003, "doubtful", "photo_used_before"),
    "near_photo": Kind(0.002, "doubtful", "photo_used_before"),
    "short": Kind(0.012, "verified", "device_fix"),
    "open": Kind(0.012, None, ""),
    "void": Kind(0.008, None, ""),
}
_NAMES: Final = tuple(KINDS)
_UP_TO: Final = list(accumulate(kind.share for kind in KINDS.values()))

OUTCOMES: Final = ("won", "won", "won", "pending", "pending", "pending", "none", "lost")
# Rules of understanding that are right too rarely, and those that are not: what the report on rules must tell apart.
GOOD_RULES: Final = ("outcome.ordered", "outcome.next_time", "problem.solved", "problem.showed")
WEAK_RULES: Final = ("outcome.maybe", "problem.mentioned")


class Planned(NamedTuple):
    """One visit as it was drawn: seconds of the local day, the outlet's number, and the day a 待办 is for."""

    slot: int
    kind: str
    began: int
    lasted: int
    outlet: int
    outcome: str
    due: int | None


class Rows(NamedTuple):
    """What one rep's day leaves in each table, in the order of storage.simulated.COLUMNS."""

    visits: list[tuple[Any, ...]]
    places: list[tuple[Any, ...]]
    photos: list[tuple[Any, ...]]
    pieces: list[tuple[Any, ...]]
    notes: list[tuple[Any, ...]]
    changes: list[tuple[Any, ...]]
    confirmations: list[tuple[Any, ...]]
    follow_ups: list[tuple[Any, ...]]


def planned(firm: SimulatedFirm, rep: Rep, day: int) -> tuple[list[Planned], Random]:
    """The visits of one rep on one day, in the order they begin, and the drawing as it stands after them.

    The first is always a plain one at a fixed outlet where the day registers a new outlet or leaves a neglected 待办.
    """
    draw = firm.drawing(rep.number, day)
    if not firm.worked[day] or day < rep.joined or (rep.left is not None and day >= rep.left):
        return [], draw
    idle = draw.random() < IDLE_DAYS
    if idle and day not in rep.found and rep.neglects != day:
        return [], draw
    count = min(firm.plan.visits + draw.randrange(-2, 3), firm.slots)
    step = (LAST_VISIT - FIRST_VISIT) / max(count, 1)
    old = rep.last_outlet - rep.first_outlet - len(rep.found)
    visits, chance = [], draw.random
    for slot in range(max(count, 1)):
        kind = "live" if slot == 0 else _NAMES[min(bisect(_UP_TO, chance()), len(_NAMES) - 1)]
        began = int(FIRST_VISIT + slot * step + chance() * 0.2 * step)
        lasted = int(40 + chance() * 130 if kind == "short" else 300 + chance() * (0.6 * step - 300))
        outlet = rep.first_outlet + int(chance() * old)
        outcome, due = OUTCOMES[int(chance() * 8)], None
        if chance() < FOLLOW_UPS and kind not in ("open", "void"):
            due = day + 2 + int(chance() * 8)
        if slot == 0:
            outlet = rep.found.get(day, outlet)
            due = day + 3 if rep.neglects == day else None
        visits.append(Planned(slot, kind, began, lasted, outlet, outcome, due))
    return visits, draw


def rows_of(firm: SimulatedFirm, rep: Rep, day: int, account: int) -> Rows:
    """Every row that one rep's day leaves."""
    rows = Rows([], [], [], [], [], [], [], [])
    visits, draw = planned(firm, rep, day)
    if not visits:
        return rows
    at, first_photo = _clock(firm.moment(day, 0)), ("", 0)
    for visit in visits:
        number = firm.visit_id(day, rep.number, visit.slot)
        code = firm.outlet_code(visit.outlet, rep)
        outlet = (firm.points[2 * visit.outlet], firm.points[2 * visit.outlet + 1])
        kind, closed = KINDS[visit.kind], visit.kind not in ("open", "void")
        began, ended = at(visit.began), at(visit.began + visit.lasted)
        shot, spoke = visit.began + min(60, visit.lasted // 4), visit.began + min(120, visit.lasted // 2)
        place, metres, taken = _evidence(visit, outlet, draw)
        file, fingerprint = f"{draw.getrandbits(256):064x}", draw.getrandbits(256)
        same = None
        if visit.slot == 0:
            first_photo = (file, fingerprint)
        elif visit.kind in ("same_photo", "near_photo"):
            same = firm.visit_id(day, rep.number, 0)
            flipped = 0 if visit.kind == "same_photo" else sum(1 << bit for bit in draw.sample(range(256), 12))
            file = first_photo[0] if not flipped else file
            fingerprint = first_photo[1] ^ flipped
        lat, lon, accuracy, fixed = place
        rows.places.append(
            (
                *(number, rep.code, began, lat, lon, lat, lon, "wgs84", kind.place, accuracy),
                *(None if fixed is None else at(visit.began - fixed), None),
            )
        )
        rows.photos.append(
            (
                *(number, rep.code, number, at(shot), file, "image/jpeg", 1280, 960),
                *(None if taken is None else at(shot - taken[0]), taken and taken[1], taken and taken[2]),
                *(f"{fingerprint:064x}", 80, same, None),
            )
        )
        rows.pieces.append((number, at(shot), *pieces_of(fingerprint)))
        text, answers, settled = _talk(firm, visit, number, code, draw)
        rows.notes.append(
            (
                *(number, rep.code, number, at(spoke), f"{draw.getrandbits(256):064x}", "audio/ogg", 6.0 + visit.slot),
                *("heard", text, 0.93, "faster-whisper small", "", "", at(spoke + 9), None),
            )
        )
        grade = f'[["{kind.reason}",{{{_values(kind.reason, metres, same)}}}]]' if kind.level and closed else "[]"
        state = "closed" if closed else visit.kind
        rows.visits.append(
            (
                *(number, rep.code, code, state, visit.outcome, began, at(spoke)),
                *(ended if closed else None, ended if visit.kind != "open" else None),
                *(firm.days[day].isoformat(), kind.level if closed else None, grade, answers, False),
            )
        )
        rows.changes.append((number, number, account, None, ended, None, _document(rows.visits[-1], answers), None))
        for nth, (field, rule, value, kept, verdict) in enumerate(settled):
            rows.confirmations.append(
                (
                    *(2 * number + nth, number, number, rep.code, ended, field, 0, rule, f'"{value}"'),
                    *(None if kept is None else f'"{kept}"', verdict, text, 0.8),
                )
            )
        if visit.due is not None:
            rows.follow_ups.append(_follow_up(firm, rep, visit, number, code, day))
    return rows


def _evidence(
    visit: Planned, outlet: tuple[float, float], draw: Random
) -> tuple[tuple[float, float, float | None, int | None], int, tuple[int, float, float] | None]:
    """(latitude, longitude, accuracy, seconds since it was measured), metres off, and what the photo says of itself."""
    kind = visit.kind
    north, east = (draw.random() - 0.5) * 8e-4, (draw.random() - 0.5) * 8e-4
    if kind == "far":
        north += 0.01 + 0.015 * draw.random()
    lat, lon = round(outlet[0] + north, 6), round(outlet[1] + east, 6)
    metres = round(math.hypot(north, east * math.cos(math.radians(lat))) * METRES_A_DEGREE)
    device = KINDS[kind].place == "live"
    accuracy = 350.0 if kind == "vague" else (float(int(8 + draw.random() * 17)) if device else None)
    fixed = (draw.randrange(25, 60) * 60 if kind == "stale" else 5) if device else None
    taken = None
    if kind == "photo_agrees":
        taken = (30, lat, lon)
    elif kind == "photo_elsewhere":
        taken = (30, lat + 0.05, lon)
    elif kind == "photo_old":
        taken = (draw.randrange(20, 60) * 3600, lat, lon)
    return (lat, lon, accuracy, fixed), metres, taken


def _values(reason: str, metres: int, same: int | None) -> str:
    """What is filled into a reason's sentence, as JSON without the braces."""
    if reason == "photo_used_before":
        return f'"visit":{same}'
    measured = {
        "device_fix": "",
        "vague_fix": ',"accuracy":350',
        "too_far": f',"fence":{LIMITS.fence_m:.0f}',
        "photo_elsewhere": "",
    }.get(reason)
    if measured is not None:
        return f'"metres":{5000 if reason == "photo_elsewhere" else metres}{measured}'
    return {"stale_fix": '"minutes":30', "photo_old": '"hours":30'}.get(reason, "")


def _talk(
    firm: SimulatedFirm, visit: Planned, number: int, outlet: str, draw: Random
) -> tuple[str, str, list[tuple[str, str, str, str | None, str]]]:
    """The note, the answers as JSON, and what became of what was proposed: (field, rule, proposed, kept, verdict)."""
    chance = draw.random
    problem = names.PROBLEMS[int(chance() * len(names.PROBLEMS))]
    answers = (
        f'{{"place":{{"value":{number}{_BY_PIN},"outlet":{{"value":"{outlet}"{_BY_PIN},'
        f'"photo":{{"value":[{number}]{_BY_REP},"report":{{"value":[{number}]{_BY_REP},'
        f'"problem":{_PROBLEM[problem]},"outcome":{_OUTCOME[visit.outcome]}'
    )
    product, name, fen = names.PRODUCTS[int(chance() * len(names.PRODUCTS))]
    if visit.outcome == "won":
        boxes = int(1 + chance() * 29)
        factor = LIMITS.close_factors[int(chance() * len(LIMITS.close_factors))]
        text = f"{problem}，老板娘订了{boxes}箱{name}，{factor}"
        answers += (
            f',"close_factor":{_FACTOR[factor]},"orders":{{"value":[["{product}",{boxes},"箱"]]{_BY_NOTE},'
            f'"payment":{{"value":{{"amount":{boxes * fen // 100},"term":"月结"}}{_BY_NOTE}'
        )
    elif visit.outcome in ("pending", "lost"):
        cause = LIMITS.root_causes[int(chance() * len(LIMITS.root_causes))]
        rival = names.COMPETITORS[int(chance() * len(names.COMPETITORS))]
        text = f"{problem}，{name}{rival}更便宜，老板说再考虑考虑"
        answers += f',"root_cause":{_CAUSE[cause]},"competitors":{_RIVAL[rival]}'
    else:
        text = f"{problem}，今天没谈生意"
    if visit.due is not None:
        day = firm.days[0] + timedelta(days=visit.due)
        window = f'{{"first":"{day}","last":"{day}","time":null,"quote":"过几天再来","again_next_week":false}}'
        answers += f',"follow_up":{{"value":{window}{_BY_NOTE}'
    return text, answers + "}", [_outcome_heard(visit.outcome, draw), _problem_heard(problem, draw)]


def _outcome_heard(outcome: str, draw: Random) -> tuple[str, str, str, str | None, str]:
    weak = draw.random() < 0.1
    rule = WEAK_RULES[0] if weak else GOOD_RULES[draw.random() < 0.5]
    if draw.random() < (0.6 if weak else 0.97):
        return "outcome", rule, outcome, outcome, "confirmed"
    return "outcome", rule, "lost" if outcome == "pending" else "pending", outcome, "corrected"


def _problem_heard(problem: str, draw: Random) -> tuple[str, str, str, str | None, str]:
    weak = draw.random() < 0.1
    rule = WEAK_RULES[1] if weak else GOOD_RULES[2 + (draw.random() < 0.5)]
    if draw.random() < (0.6 if weak else 0.97):
        return "problem", rule, problem, problem, "confirmed"
    return "problem", rule, problem, None, "removed"


def _by(source: str) -> str:
    """The rest of an answer behind its value, as storage.visits keeps it."""
    return f',"source":"{source}","sure":true,"quote":"","confidence":1.0,"original":null,"traces":[]}}'


def _answers(values: Iterable[str], rest: str, shape: str = '"{}"') -> dict[str, str]:
    return {value: f'{{"value":{shape.format(value)}{rest}' for value in values}


_BY_PIN, _BY_NOTE, _BY_REP = _by("pin"), _by("note"), _by("rep")
_PROBLEM, _OUTCOME = _answers(names.PROBLEMS, _BY_NOTE), _answers(OUTCOMES, _BY_NOTE)
_FACTOR, _CAUSE = _answers(LIMITS.close_factors, _BY_REP), _answers(LIMITS.root_causes, _BY_REP)
_RIVAL = _answers(names.COMPETITORS, _BY_NOTE, '["{}"]')


def _document(row: tuple[Any, ...], answers: str) -> str:
    """The visit as its history keeps it."""
    _, rep, _, state, _, opened, touched, left, closed, _, level, reasons = row[:12]
    left_at, closed_at = (f'"{at}+00:00"' if at else "null" for at in (left, closed))
    grade = f'"{level}"' if level else "null"
    return (
        f'{{"id":{row[0]},"rep":"{rep}","state":"{state}","opened_at":"{opened}+00:00","touched_at":"{touched}+00:00",'
        f'"left_at":{left_at},"closed_at":{closed_at},"grade":{grade},'
        f'"reasons":{reasons},"answers":{answers},"late_entry":false}}'
    )


def _follow_up(firm: SimulatedFirm, rep: Rep, visit: Planned, number: int, outlet: str, day: int) -> tuple[Any, ...]:
    """One that was due before the firm's last day is done, but for the one that a neglectful rep leaves open."""
    due = visit.due or 0
    last = firm.days[0] + timedelta(days=due)
    nine: datetime = firm.moment(0, 9 * 3600) + timedelta(days=due)
    over = due < firm.plan.days - 1
    neglected = rep.neglects == day and visit.slot == 0
    done = over and not neglected
    return (
        *(number, rep.code, outlet, number, last.isoformat(), last.isoformat(), None, "过几天再来", "再谈一次价格"),
        *("done" if done else "open", _stamp(nine), _stamp(nine) if over else None, False),
        *(_stamp(nine + timedelta(hours=1)) if done else None, 0),
    )


def _clock(midnight: datetime) -> Callable[[int], str]:
    """What writes a second of the local day as a moment of UTC. Most lie in one day of UTC, which is written once."""
    morning = datetime.combine(midnight.date() + timedelta(days=1), time(0), UTC)
    ahead, today = int((morning - midnight).total_seconds()), f"{morning:%Y-%m-%d} "

    def at(second: int) -> str:
        rest = second - ahead
        if 0 <= rest < 86_400:
            return f"{today}{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}.000000"
        return _stamp(midnight + timedelta(seconds=second))

    return at


def _stamp(at: datetime) -> str:
    """A moment of UTC as both databases read it."""
    return at.strftime("%Y-%m-%d %H:%M:%S.000000")
