"""撤销: taking back what the last message changed, step by step."""

from dataclasses import replace
from datetime import timedelta

from handlers import trail
from handlers.messages import Say
from handlers.turn import Turn
from handlers.visit_talk import USABLE, go_on, keep_follow_up, understand
from rules import visit as rules_visit
from rules.audit import Action
from rules.visit import Plain, State, Visit
from storage import evidence, firm, visits


def undo(turn: Turn) -> None:
    """撤销: the visit goes back to what it was before the last message that changed one."""
    last = _last_change(turn)
    if last is None:
        turn.say("undo.nothing")
        return
    change, visit_id, before = last
    now_visit = visits.load(turn.work, visit_id)
    visits.mark_undone(turn.work, change, turn.now)
    rows: dict[str, tuple[int | str, ...]] = {"visit": (visit_id,), "visit_change": (change,)}
    trail.note(turn, Action.UNDO, whose=[turn.employee.code], rows=rows)
    if before is None or now_visit is None:
        if now_visit is not None:
            gone = rules_visit.void(now_visit, turn.now)
            visits.save(turn.work, gone)
            keep_follow_up(turn, now_visit, gone)
        turn.set_account(current_visit=None, expects=None)
        turn.say("undo.visit")
        return
    if before.state is State.OPEN:
        before = _heard_since(turn, before)
    names = [Say(f"field.{name}") for name in difference(before, now_visit)]
    whole = Say("undo.voiding" if now_visit.state is State.VOID else "undo.closing")
    turn.say("undo.done", names=names or [whole])
    keep_follow_up(turn, now_visit, before)
    _take_back_new_outlet(turn, now_visit, before)
    visits.save(turn.work, before)
    turn.set_account(current_visit=before.id if before.state is State.OPEN else None, expects=None)
    if before.state is State.OPEN:
        go_on(turn, before)


def last_changed(turn: Turn) -> int | None:
    """The visit that 撤销 would change."""
    last = _last_change(turn)
    return None if last is None else last[1]


def _last_change(turn: Turn) -> tuple[int, int, Visit | None] | None:
    """(change, visit, the visit as it was before): the latest of this account that may still be undone."""
    since = turn.now - timedelta(hours=turn.tools.limits.undo_hours)
    return visits.last_change(turn.work, turn.account.id, since)


def _heard_since(turn: Turn, before: Visit) -> Visit:
    """An earlier state of a visit with what the recogniser has made of its notes meanwhile."""
    notes = evidence.notes(turn.work, before.ids("report"))
    kept: list[Plain] = [note_id for note_id in before.ids("report") if notes[note_id].state in (*USABLE, "waiting")]
    if not kept:
        return before.drop("report", *before.proposals)
    if kept != before.value("report"):
        before = before.put("report", replace(before.answers["report"], value=kept))
    return understand(turn, before)


def difference(a: Visit, b: Visit) -> list[str]:
    """The answers in which two states of a visit differ."""
    return [name for name in dict.fromkeys((*a.answers, *b.answers)) if a.answers.get(name) != b.answers.get(name)]


def _take_back_new_outlet(turn: Turn, now_visit: Visit, before: Visit) -> None:
    code = now_visit.outlet
    if code is not None and code.startswith("N") and before.outlet is None:
        visits.save(turn.work, before)
        if not visits.uses_outlet(turn.work, code):
            firm.drop_outlet(turn.work, code)
