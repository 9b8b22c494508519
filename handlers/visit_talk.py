"""How a visit goes on after something changed in it: keep the change, then show the card, ask, listen, or close."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from handlers import card
from handlers.brief import brief
from handlers.messages import Choice, NotUnderstood, Reply, Say
from handlers.proposals import proposed, window_from_plain
from handlers.steps import Around, Said, Step, confirmed, corrected
from handlers.turn import Turn
from handlers.visit_flow import NEW_OUTLET
from rules import evidence as grades
from rules import follow_up
from rules import visit as rules_visit
from rules.audit import Action, Entry
from rules.confirmations import settled
from rules.evidence import Before, Grade, Place, PlaceKind
from rules.follow_up import FollowUp, TodoState
from rules.outlets import Near, nearby
from rules.visit import State, Visit
from storage import audit, confirmations, evidence, firm, follow_ups, visits
from storage.evidence import Note

READABLE = ("heard", "typed")
USABLE = (*READABLE, "unsure")  # notes that count as a report
ENDED = (TodoState.DONE, TodoState.LOST)
RECENT = 20  # visits among which the one before is looked for


def current_visit(turn: Turn) -> Visit | None:
    """The open visit being talked about: the one last touched, else the only one."""
    if turn.account.current_visit is not None:
        visit = visits.load(turn.work, turn.account.current_visit)
        if visit is not None and visit.state is State.OPEN and visit.rep == turn.employee.code:
            return visit
    still_open = visits.open_visits(turn.work, turn.employee.code)
    return still_open[-1] if len(still_open) == 1 else None


def open_visit(turn: Turn) -> Visit:
    """Begin a visit now. It has no history yet; `changed` keeps its first change."""
    visit = Visit(rep=turn.employee.code, opened_at=turn.at, touched_at=turn.at)
    return replace(visit, id=visits.add(turn.work, visit, turn.tools.limits.time_zone))


def changed(turn: Turn, before: Visit | None, after: Visit) -> Visit:
    """Keep a visit and what this turn changed in it, and make it the current one."""
    visits.save(turn.work, after)
    change = visits.keep_change(turn.work, before, after, turn.now, turn.account.id, turn.inbox_id)
    if before is not None:
        confirmations.keep(turn.work, change, turn.now, settled(before, after))
    turn.set_account(current_visit=after.id, expects=None)
    return after


def touched(turn: Turn, visit: Visit) -> Visit:
    """Evidence came: the visit reaches at least until then, and began no later (messages may arrive swapped)."""
    return replace(visit, touched_at=max(visit.touched_at or turn.at, turn.at), opened_at=min(visit.opened_at, turn.at))


def go_on(turn: Turn, visit: Visit, *, show_card: bool = False) -> None:
    """Say what comes next. `visit` is saved already."""
    notes = list(evidence.notes(turn.work, visit.ids("report")).values())
    listening = any(note.state == "waiting" for note in notes)
    step = turn.tools.flow.open_step(visit)
    if listening and (step is None or not step.evidence):
        if not turn.lines:
            turn.say("visit.listening")
        return
    if show_card and not visit.proposals:
        turn.lines.append(_card(turn, visit, notes).say)
    if visit.proposals and not listening and (show_card or step is None or not _lacks_evidence(visit, step)):
        turn.ask(_card(turn, visit, notes) if show_card else card.confirm_question(visit, Say("card.again")))
        return
    if step is None:
        close(turn, visit)
        return
    ask_step(turn, visit, step)


def ask_step(turn: Turn, visit: Visit, step: Step) -> None:
    """Put the question of a step."""
    turn.ask(turn.tools.flow.ask(step, visit, around_step(turn, visit, step)))


def around_step(turn: Turn, visit: Visit, step: Step) -> Around:
    """As `around`, looked up only where outlets are to choose from."""
    return around(turn, visit) if step.name == "outlet" else Around()


def _lacks_evidence(visit: Visit, step: Step) -> bool:
    """Whether the open step wants evidence of which nothing is there, not even a proposal."""
    return step.evidence and step.name not in visit.answers


def _card(turn: Turn, visit: Visit, notes: list[Note]) -> Reply:
    products = {item.code: item for item in firm.products(turn.work)}
    heard = [(note.text, note.words_from) for note in notes if note.state == "heard"]
    return card.card(visit, _names(turn, visit), products, heard)


def _names(turn: Turn, visit: Visit) -> dict[str, str]:
    value = visit.value("outlet")
    outlet = firm.sign(turn.work, str(value)) if value is not None else None
    return {outlet.code: outlet.name} if outlet is not None else {}


def around(turn: Turn, visit: Visit) -> Around:
    """The outlets that may be meant: near the pin first, then what the note named."""
    near = near_place(turn, visit)
    named = [(item.outlet.code, item.outlet.name) for item in near]
    text = note_text(turn, visit)
    if text:
        heard = turn.ear.understand(text, turn.at, [code for code, _ in named])
        codes = [item.value for item in (*((heard.outlet,) if heard.outlet else ()), *heard.outlet_candidates)]
        known = firm.signs(turn.work, codes)
        named += [(code, known[code].name) for code in codes if code in known]
    return Around(tuple(near), tuple(dict(named).items())[:6])


def near_place(turn: Turn, visit: Visit) -> list[Near]:
    """The outlets within the fence of the visit's pin: the rep's own, else anybody's."""
    found = evidence.places(turn.work, _place_ids(visit))
    if not found:
        return []
    place = next(iter(found.values()))
    limits = turn.tools.limits
    close_by = firm.outlets_around(turn.work, place.point, 2 * limits.fence_m)
    near = nearby(place.point, close_by, limits.fence_m, place.accuracy_m or 0.0)
    own = [item for item in near if item.outlet.rep == turn.employee.code]
    return own or near


def note_text(turn: Turn, visit: Visit) -> str:
    """All readable clips and typed notes of a visit, joined in order."""
    notes = evidence.notes(turn.work, visit.ids("report"))
    ordered = [notes[note_id] for note_id in visit.ids("report") if note_id in notes]
    return "。".join(note.text.rstrip("。") for note in ordered if note.state in READABLE and note.text)


def understand(turn: Turn, visit: Visit) -> Visit:
    """The visit with what its notes say, all clips together, put as proposals."""
    notes = evidence.notes(turn.work, visit.ids("report")).values()
    text = note_text(turn, visit)
    if not text or any(note.state == "waiting" for note in notes):
        return visit
    own = firm.codes_of(turn.work, turn.employee.code)
    near = [visit.outlet] if visit.outlet else [*(item.outlet.code for item in near_place(turn, visit)), *own]
    spoken_at = max((note.at for note in notes), default=turn.at)
    heard = turn.ear.understand(text, spoken_at.astimezone(turn.tools.zone), [code for code in near if code])
    visit = proposed(visit, heard)
    if visit.outlet is not None and heard.outlet is not None and heard.outlet.value != visit.outlet:
        other = firm.sign(turn.work, heard.outlet.value)
        if other is not None and heard.outlet.confidence >= 0.8:
            turn.say("visit.other_outlet_named", name=other.name)
    return visit


def confirm(turn: Turn, visit: Visit) -> None:
    """The one tap: everything proposed is now the rep's own answer."""
    go_on(turn, changed(turn, visit, confirmed(visit, visit.proposals)))


def answer(turn: Turn, visit: Visit, step: Step, said: Said) -> None:
    """An answer to one step; what cannot be read is explained, and asked again."""
    if step.name == "outlet":
        answer_outlet(turn, visit, said)
        return
    try:
        after = turn.tools.flow.take_for(visit, step, said)
    except NotUnderstood as problem:
        turn.lines.append(problem.say)
        ask_step(turn, visit, step)
        return
    settle(turn, visit, after)


def settle(turn: Turn, before: Visit, after: Visit) -> None:
    """Keep an answer. A closed visit that now lacks something mandatory is open again."""
    if before.state is State.CLOSED:
        corrected_after_closing(turn, before)
    if after.state is State.CLOSED and not rules_visit.missing(after):
        if after.outlet != before.outlet:
            after = replace(after, grade=grade(turn, after))
            turn.lines.append(grade_say(after.grade))
        elif not turn.lines:
            turn.say("visit.corrected")
        changed(turn, before, after)
        keep_follow_up(turn, before, after)
        return
    if after.state is State.CLOSED:
        after = rules_visit.reopen(after)
        keep_follow_up(turn, before, after)
    go_on(turn, changed(turn, before, after))


def corrected_after_closing(turn: Turn, visit: Visit) -> None:
    """What it was and became is kept with the visit; that it was touched once more is told in the audit trail."""
    person, rows = turn.employee, {"visit": (visit.id,)}
    entry = Entry(turn.now, person.code, person.role.value, turn.account.channel, Action.CORRECT, (visit.rep,), rows)
    audit.add(turn.work, entry)


def answer_outlet(turn: Turn, visit: Visit, said: Said) -> None:
    """An outlet was tapped, typed by name, or is new."""
    if said.choice == NEW_OUTLET:
        turn.set_account(expects={"new_outlet": visit.id})
        turn.ask(Reply(Say("visit.outlet.new_name")))
        return
    code = said.choice
    if not code and said.text:
        heard = turn.ear.understand(said.text, turn.at, [])
        candidates = [heard.outlet] if heard.outlet else list(heard.outlet_candidates)
        if len(candidates) == 1 and heard.outlet is not None:
            code = candidates[0].value
        elif candidates:
            known = firm.signs(turn.work, [item.value for item in candidates])
            named = Around(
                (), tuple((item.value, known[item.value].name) for item in candidates if item.value in known)
            )
            turn.ask(turn.tools.flow.ask(turn.tools.flow.step("outlet"), visit, named))
            return
    outlet = firm.sign(turn.work, code) if code else None
    if outlet is None:
        turn.say("visit.outlet.not_found", name=said.text[:40])
        ask_step(turn, visit, turn.tools.flow.step("outlet"))
        return
    after = turn.tools.flow.answer(visit, "outlet", outlet.code)
    turn.say("visit.at_outlet", outlet=outlet.name)
    turn.lines += brief(turn.work, outlet, turn.now, turn.tools.limits.time_zone)
    settle(turn, visit, understand(turn, after) if after.proposals else after)


def close(turn: Turn, visit: Visit) -> None:
    """Close a visit that has everything: grade it, make the 待办, tell the rep, and offer 撤销 and 申诉."""
    limits = turn.tools.limits
    closed = rules_visit.close(visit, max(turn.at, visit.touched_at or turn.at), limits)
    closed = replace(closed, grade=grade(turn, closed))
    # The change that led here is the last one kept: closing belongs to it, so one 撤销 takes back both.
    visits.save(turn.work, closed)
    turn.set_account(current_visit=None)
    outlet = firm.sign(turn.work, closed.outlet or "")
    minutes = int(rules_visit.duration(closed).total_seconds() // 60)
    turn.say(
        "visit.closed",
        outlet=outlet.name if outlet else "",
        minutes=minutes,
        outcome=Say(f"outcome.{closed.outcome.value}") if closed.outcome else "",
    )
    turn.lines.append(grade_say(closed.grade))
    choices: list[Choice] = []
    todo = make_follow_up(turn, closed)
    if todo is not None:
        turn.say("todo.made", window=card.window_say(todo.window), remind=_local(turn, todo.remind_at))
    elif closed.value("follow_up") is not None:
        turn.say("todo.not_made", minutes=limits.todo_over_minutes)
        choices.append(Choice("todo", Say("todo.make")))
    others = [item for item in visits.open_visits(turn.work, turn.employee.code) if item.id != closed.id]
    for other in others:
        turn.say("visit.still_open", outlet=outlet_title(turn, other), names=missing_fields(other))
    if closed.grade is not None and closed.grade.level is not grades.Level.VERIFIED:
        choices.append(Choice("appeal", Say("appeal.tap")))
    choices.append(Choice("undo", Say("undo.tap")))
    turn.ask(Reply(Say("visit.after"), tuple(choices), about="closed", subject=closed.id, step="closed", again=True))


def make_follow_up(turn: Turn, visit: Visit, *, asked: bool = False) -> FollowUp | None:
    """The 待办 of a visit: any date said, and 下周再约 where the visit was long enough or the rep asks for it."""
    value: Any = visit.value("follow_up")
    if value is None or visit.outlet is None:
        return None
    limits = turn.tools.limits
    by_itself = value.get("again_next_week", False)
    if by_itself and not asked and not follow_up.made_without_asking(rules_visit.duration(visit), True, limits):
        return None
    window = window_from_plain(value)
    todo = FollowUp(
        rep=visit.rep,
        outlet=visit.outlet,
        visit=visit.id,
        window=window,
        remind_at=follow_up.remind_at(window, turn.now, limits),
        what=card.what_to_do(visit, limits),
        made_by_itself=by_itself and not asked,
    )
    return replace(todo, id=follow_ups.add(turn.work, todo))


def keep_follow_up(turn: Turn, before: Visit, after: Visit) -> None:
    """Let the 待办 of a visit follow what was corrected or undone in it. One that was 完成 or 丢单 stays so."""
    was = follow_ups.of_visit(turn.work, after.id)
    if after.state is not State.CLOSED:
        follow_ups.void_of_visit(turn.work, after.id, turn.now)
        return
    same = all(before.value(name) == after.value(name) for name in ("follow_up", "outlet"))
    if same and (before.state is State.CLOSED or any(todo.state in ENDED for todo in was)):
        return
    follow_ups.void_of_visit(turn.work, after.id, turn.now)
    todo = make_follow_up(turn, after, asked=bool(was))
    if todo is not None:
        turn.say("todo.made", window=card.window_say(todo.window), remind=_local(turn, todo.remind_at))


def has_follow_up(turn: Turn, visit: Visit) -> bool:
    return any(todo.state is not TodoState.VOID for todo in follow_ups.of_visit(turn.work, visit.id))


def grade(turn: Turn, visit: Visit) -> Grade | None:
    """The check-in's grade as the evidence now stands, or None while there is no pin."""
    found = evidence.places(turn.work, _place_ids(visit))
    if not found:
        return None
    place = next(iter(found.values()))
    outlet = firm.sign(turn.work, visit.outlet) if visit.outlet else None
    earlier = _place_before(turn, visit)
    before = Before(earlier.point, earlier.at, earlier.accuracy_m or 0.0) if earlier is not None else None
    photos = list(evidence.photos(turn.work, visit.ids("photo")).values())
    # One photo of this visit is enough: a used one sent by mistake does no harm beside it.
    photos = [photo for photo in photos if photo.same_as is None] or photos
    return grades.grade(place, outlet.point if outlet else None, photos, before, turn.tools.limits)


def _place_before(turn: Turn, visit: Visit) -> Place | None:
    """Where the rep's visit before this one was. What was taken back, forwarded or picked from a list tells nothing."""
    recent = visits.latest(turn.work, visit.rep, RECENT)
    earlier = [other for other in recent if other.id != visit.id and other.opened_at < visit.opened_at]
    for other in earlier:
        for place in evidence.places(turn.work, _place_ids(other)).values():
            if place.kind not in (PlaceKind.FORWARDED, PlaceKind.VENUE):
                return place
    return None


def grade_say(grade: Grade | None) -> Say:
    if grade is None:
        return Say("grade.none")
    reasons = [Say(f"reason.{reason.code}", dict(reason.values)) for reason in grade.reasons]
    return Say("grade.line", {"level": Say(f"level.{grade.level.value}"), "reasons": reasons})


def missing_fields(visit: Visit) -> list[Say]:
    return [Say(f"field.{name}") for name in rules_visit.missing(visit)] or [Say("field.card")]


def outlet_title(turn: Turn, visit: Visit) -> Any:
    names = _names(turn, visit)
    return next(iter(names.values()), None) or Say("card.no_outlet")


def correct_answer(visit: Visit, name: str, value: Any) -> Visit:
    """A rep's correction of an item that is not a step (orders, follow_up, contacts): the original stays beside it."""
    return visit.put(name, corrected(visit.answers.get(name), value))


def _place_ids(visit: Visit) -> list[int]:
    value = visit.value("place")
    return [value] if isinstance(value, int) else []


def _local(turn: Turn, at: datetime) -> str:
    local = at.astimezone(turn.tools.zone)
    return f"{local.month}月{local.day}日 {local:%H:%M}"
