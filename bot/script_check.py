"""How a replayed transcript differs from what it states, and the whole replay as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from bot.replay import Replay, Said, TurnLog
from bot.saved_lines import ALERT, saved_lines
from bot.script import Line, Script
from rules.follow_up import FollowUp
from rules.people import Part, system
from storage import evidence, firm, firm_tables, follow_ups, people
from storage.database import Work
from storage.visits import to_plain

__all__ = ["Mismatch", "actions_of", "as_json", "check", "saved_lines", "saved_of"]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A line that was stated (`wanted`), what came out instead (`got`), or one of them where the other is missing."""

    where: str
    line: int
    wanted: str
    got: str

    def __str__(self) -> str:
        parts = [f"- {self.wanted}" if self.wanted else "", f"+ {self.got}" if self.got else ""]
        return f"{self.where}:{self.line}: " + "  ".join(part for part in parts if part)


def check(replay: Replay, script: Script) -> list[Mismatch]:
    """Every difference between a replayed script and what it states.

    A script with any `bot:` line states everything said to whoever speaks; one with `manager:` or `to NAME:` lines
    states everything else that is pushed to that person; one with `saved:` lines states everything that is kept,
    alerts only where it states one.
    """
    where = script.path.name if script.path else "-"
    told = any(line.word == "bot" for line in script.lines)
    watched = {_addressee(line, replay) for line in script.lines if line.word in ("manager", "to")}
    found: list[Mismatch] = []
    for turn, stated in _by_turn(replay, script):
        for name in dict.fromkeys((turn.who, *sorted(watched))):
            if name == turn.who and not told and name not in watched:
                continue
            wanted = [line for line in stated if _addressee(line, replay, turn.who) == name]
            said = [_Message(turn.line.number, f"{name}: {one.plain}") for one in turn.said if one.to == name]
            found += _differences(where, [_Message(one.number, f"{name}: {one.text}") for one in wanted], said)
    kept = [_Message(line.number, line.text) for line in script.lines if line.word == "saved"]
    if kept:
        last = script.lines[-1].number
        alerts_too = any(line.text.startswith(ALERT) for line in kept)
        saved = [line for line in saved_of(replay) if alerts_too or not line.startswith(ALERT)]
        found += _differences(where, kept, [_Message(last, line) for line in saved])
    return found


def saved_of(replay: Replay) -> list[str]:
    """The `saved:` lines of a whole replay, the rep's actions counted."""
    with replay.database.read(system(Part.CONSOLE)) as work:
        return saved_lines(work, replay.zone, actions_of(work, replay))


def actions_of(work: Work, replay: Replay) -> dict[int, int]:
    """By visit: the rep's messages and taps from the first that touched it up to the one that closed it.

    What changed no visit counts for the one being talked about, so that misunderstandings cost too. A live location
    moving on is nobody's action.
    """
    touched = {row["inbox"]: row["visit"] for row in firm_tables.rows(work, "visit_change") if row["inbox"]}
    over: set[int] = set()
    current: dict[str, int] = {}
    counts: dict[int, int] = {}
    for turn in replay.turns:
        if turn.inbox is None or turn.came_in is None or _is_track(turn.came_in):
            continue
        visit = touched.get(turn.inbox, current.get(turn.who))
        if visit is None or visit in over:
            continue
        current[turn.who] = visit
        counts[visit] = counts.get(visit, 0) + 1
        if any(said.to == turn.who and "visit.closed" in said.keys for said in turn.said):
            over.add(visit)
            del current[turn.who]
    return counts


def as_json(replay: Replay) -> dict[str, Any]:
    """Every turn, everything that was kept, and every push."""
    with replay.database.read(system(Part.CONSOLE)) as work:
        return {
            "turns": [_turn(number, turn) for number, turn in enumerate(replay.turns, 1)],
            "saved": _kept(work),
            "reminders": _pushed(replay, "reminder"),
            "alerts": _pushed(replay, "alert"),
            "actions": actions_of(work, replay),
        }


@dataclass(frozen=True, slots=True)
class _Message:
    line: int
    text: str


def _by_turn(replay: Replay, script: Script) -> Iterator[tuple[TurnLog, list[Line]]]:
    """Every turn with the lines that state what comes of it."""
    stated: dict[int, list[Line]] = {}
    number = 0
    for line in script.lines:
        if line.acts:
            number = line.number
        elif line.word != "saved":
            stated.setdefault(number, []).append(line)
    for turn in replay.turns:
        yield turn, stated.get(turn.line.number, [])


def _addressee(line: Line, replay: Replay, speaker: str = "") -> str:
    """Whom a `bot:`, `manager:` or `to NAME:` line is said to."""
    if line.word == "manager":
        return replay.area_manager()
    return line.who if line.word == "to" else speaker


def _differences(where: str, wanted: Sequence[_Message], got: Sequence[_Message]) -> Iterator[Mismatch]:
    """Compared line by line, so that one word changed in a card shows as that one line."""
    left = [_Message(one.line, text) for one in wanted for text in _lines(one.text)]
    right = [text for one in got for text in _lines(one.text)]
    at = wanted[0].line if wanted else got[0].line if got else 0
    steps = SequenceMatcher(None, [one.text for one in left], right, autojunk=False).get_opcodes()
    for what, first, last, from_, to in steps:
        if what == "equal":
            continue
        line = left[first].line if first < len(left) else left[-1].line if left else at
        for index in range(max(last - first, to - from_)):
            stated = left[first + index].text if first + index < last else ""
            came = right[from_ + index] if from_ + index < to else ""
            yield Mismatch(where, left[first + index].line if stated else line, stated, came)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _is_track(came_in: dict[str, Any]) -> bool:
    return came_in["kind"] == "edit" and came_in.get("place") is not None


def _turn(number: int, turn: TurnLog) -> dict[str, Any]:
    return {
        "n": number,
        "at": turn.at.isoformat(),
        "from": turn.who,
        "line": f"{turn.line.word}: {turn.line.text}",
        "in": turn.came_in,
        "replies": [_reply(said) for said in turn.said],
    }


def _reply(said: Said) -> dict[str, Any]:
    return {
        "to": said.to,
        "intent": said.intent,
        "text": said.text,
        "keys": list(said.keys),
        "choices": [{"value": value, "label": label} for value, label in said.choices],
    }


def _pushed(replay: Replay, intent: str) -> list[dict[str, Any]]:
    return [
        {"at": turn.at.isoformat(), **_reply(said)}
        for turn in replay.turns
        for said in turn.said
        if said.intent == intent
    ]


def _kept(work: Work) -> dict[str, Any]:
    """Every record: visits with each answer's quote, confidence, source and original, and what hangs on them."""
    staff = {person.code: person.name for person in people.staff(work)}
    found = [visit for _, visit in firm_tables.visits(work)]
    outlets = firm.outlets(work)
    names = {outlet.code: outlet.name for outlet in outlets}
    appeals = [appeal for visit in found for appeal in evidence.appeals_of(work, visit.id)]
    return {
        "visits": [
            {
                **to_plain(visit),
                "rep_name": staff.get(visit.rep, ""),
                "outlet": visit.outlet,
                "outlet_name": names.get(visit.outlet or "", ""),
                "minutes": None if visit.left_at is None else (visit.left_at - visit.opened_at).total_seconds() / 60,
            }
            for visit in found
        ],
        "follow_ups": [_todo(todo) for visit in found for todo in follow_ups.of_visit(work, visit.id)],
        "alerts": [_plain(row) for row in firm_tables.rows(work, "alert")],
        "appeals": [
            {"visit": one.visit, "rep": one.rep, "words": one.words, "state": one.state, "decided_by": one.decided_by}
            for one in appeals
        ],
        "places": [_plain(row) for row in firm_tables.rows(work, "place")],
        "photos": [_plain(row) for row in firm_tables.rows(work, "photo")],
        "notes": [_plain(row) for row in firm_tables.rows(work, "note")],
        "new_outlets": [
            {"code": one.code, "name": one.name, "district": one.district, "rep": one.rep}
            for one in outlets
            if one.code.startswith("N")
        ],
    }


def _todo(todo: FollowUp) -> dict[str, Any]:
    window = todo.window
    return {
        "visit": todo.visit,
        "rep": todo.rep,
        "outlet": todo.outlet,
        "first": window.first.isoformat(),
        "last": window.last.isoformat(),
        "time": window.time,
        "quote": window.quote,
        "what": todo.what,
        "remind_at": todo.remind_at.isoformat(),
        "state": todo.state.value,
        "made_by_itself": todo.made_by_itself,
        "postponed": todo.postponed,
    }


def _plain(row: Any) -> dict[str, Any]:
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}
