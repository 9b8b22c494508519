"""What is kept in the end, as the `saved:` lines of a transcript: one fact a line, readable to a sales manager."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from handlers.proposals import EXTRAS
from rules.visit import State, Visit, duration
from storage import evidence, firm, firm_tables, follow_ups, people
from storage.database import Work

ALERT = "alert ="  # how the line of an alert begins
_ANSWERS = ("problem", "outcome", "close_factor", "root_cause", *EXTRAS)


def saved_lines(work: Work, zone: ZoneInfo, actions: Mapping[int, int] | None = None) -> list[str]:
    """Everything kept. `actions`: the rep's messages and taps by visit, where they are known.

    Lines of the second visit begin with `#2`, of the third with `#3`. A guess nobody confirmed bears a `?`; what an
    answer was before it was corrected stands below it. Days and times are those of `zone`.
    """
    names = {person.code: person.name for person in people.staff(work)}
    lines: list[str] = []
    for number, (_, visit) in enumerate(firm_tables.visits(work), 1):
        begin = "" if number == 1 else f"#{number} "
        lines += [begin + line for line in _visit(work, visit, zone, names)]
        if actions is not None and visit.id in actions:
            lines.append(f"{begin}actions = {actions[visit.id]}")
    lines += [
        f"new_outlet = {outlet.code} {outlet.name} {outlet.district}"
        for outlet in firm.outlets(work)
        if outlet.code.startswith("N")
    ]
    for alert in firm_tables.rows(work, "alert"):
        for rule, district, reps, days, _ in alert["findings"]:
            who = "、".join(names[rep] for rep in reps)
            run = f" {days}天" if days > 1 else ""
            lines.append(f"{ALERT} {names[alert['manager']]} {alert['local_day']} {district} {rule}{run} {who}")
    return lines


def _visit(work: Work, visit: Visit, zone: ZoneInfo, names: Mapping[str, str]) -> Iterator[str]:
    yield f"state = {visit.state.value}"
    if visit.state is State.VOID:
        return
    yield f"rep = {names[visit.rep]}"
    yield from _evidence(work, visit)
    for name in _ANSWERS:
        answer = visit.answers.get(name)
        if answer is None:
            continue
        shown = "to_check" if name == "actions" else name
        yield f"{shown}{'' if answer.sure else '?'} = {_shown(name, answer.value)}"
        if answer.original is not None:
            yield f"{shown} was {_shown(name, answer.original)}"
    if visit.grade is not None:
        reasons = ", ".join(reason.code for reason in visit.grade.reasons)
        yield f"grade = {visit.grade.level.value} ({reasons})"
    if visit.left_at is not None:
        yield f"minutes = {int(duration(visit).total_seconds() // 60)}"
    for todo in follow_ups.of_visit(work, visit.id):
        yield f"todo = {_window(todo.window)} remind {_moment(todo.remind_at, zone)} {todo.state.value}"
    for appeal in evidence.appeals_of(work, visit.id):
        yield f"appeal = {appeal.state} {names.get(appeal.decided_by or '', '')} {appeal.words}".replace("  ", " ")


def _evidence(work: Work, visit: Visit) -> Iterator[str]:
    outlet = visit.answers.get("outlet")
    if outlet is not None:
        known = firm.outlet(work, str(outlet.value))
        yield f"outlet{'' if outlet.sure else '?'} = {outlet.value} {known.name if known else ''}".rstrip()
        if outlet.original is not None:
            yield f"outlet was {outlet.original}"
    place = visit.value("place")
    for found in evidence.places(work, [place] if isinstance(place, int) else []).values():
        vague = "" if found.accuracy_m is None else f" ±{found.accuracy_m:g}"
        yield f"place = {found.kind.value} {found.point.lat:.5f} {found.point.lon:.5f}{vague}"
    photos = evidence.photos(work, visit.ids("photo"))
    if photos:
        same = sorted({photo.same_as for photo in photos.values() if photo.same_as is not None})
        used = f" (same as {'、'.join(f'#{one}' for one in same)})" if same else ""
        yield f"photos = {len(photos)}{used}"
    notes = evidence.notes(work, visit.ids("report"))
    for note_id in visit.ids("report"):
        note = notes[note_id]
        whose = f"by {note.words_from} " if note.words_from else ""
        yield f"note = {note.state} {whose}{' '.join(note.text.split())}".rstrip()


def _shown(name: str, value: Any) -> str:
    if name in ("orders", "samples"):
        return ", ".join(f"{product} {quantity:g}{unit}" for product, quantity, unit in value)
    if name == "follow_up":
        return _span(value["first"], value["last"], value["time"])
    if name == "payment":
        return " ".join(f"{part:g}" if isinstance(part, int | float) else part for part in value.values() if part)
    return "、".join(str(item) for item in value) if isinstance(value, list) else str(value)


def _window(window: Any) -> str:
    return _span(window.first.isoformat(), window.last.isoformat(), window.time)


def _span(first: str, last: str, time: str | None) -> str:
    days = first if first == last else f"{first}..{last}"
    return f"{days} {time}" if time else days


def _moment(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"
