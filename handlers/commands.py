"""What a person may type or tap at any time: 开始, 结束拜访, 撤销, 帮助, 我的拜访, 我的待办 and their short aliases."""

from collections.abc import Callable

from handlers import alerts, appeals, reminders, trail
from handlers.messages import Choice, Reply, Say
from handlers.turn import Turn
from handlers.undoing import undo
from handlers.visit_talk import around_step, changed, current_visit, go_on, grade_say, missing_fields, outlet_title
from rules import visit as rules_visit
from rules.audit import Action
from rules.evidence import Level
from rules.visit import State
from storage import evidence, people, visits
from texts import LANGUAGES, load, plain

Command = Callable[[Turn], None]


def read_command(typed: str) -> str | None:
    """The command a text means, in any language, with or without a slash; None when it is no command."""
    word = plain(typed).removeprefix("/") or typed.strip().replace("？", "?")
    if not word or len(word) > 20:
        return None
    for language in LANGUAGES:
        texts = load(language)
        for name in COMMANDS:
            variants = texts.variants(f"command.{name}")
            if word in variants or word in {plain(variant).removeprefix("/") for variant in variants}:
                return name
    return None


def run(turn: Turn, name: str) -> None:
    COMMANDS[name](turn)


def start(turn: Turn) -> None:
    visit = current_visit(turn)
    turn.say("hello.manager" if turn.employee.manages else "hello.rep", name=turn.employee.name)
    if visit is not None:
        go_on(turn, visit)
    elif not turn.employee.manages:
        turn.ask(Reply(Say("hello.first_step"), wants_place=True))


def help_text(turn: Turn) -> None:
    turn.say("help.manager" if turn.employee.manages else "help.rep")


def end_visit(turn: Turn) -> None:
    """结束拜访: the visit ends now, even if a question is still open; that one is asked."""
    visit = current_visit(turn)
    if visit is None:
        turn.say("visit.none_open")
        return
    ended = rules_visit.leave(visit, turn.at, turn.tools.limits)
    go_on(turn, changed(turn, visit, ended))


def void_visit(turn: Turn) -> None:
    visit = current_visit(turn)
    if visit is None:
        turn.say("visit.none_open")
        return
    changed(turn, visit, rules_visit.void(visit, turn.now))
    trail.note(turn, Action.VOID, whose=[visit.rep], rows={"visit": (visit.id,)})
    turn.set_account(current_visit=None)
    turn.say("visit.voided", outlet=outlet_title(turn, visit))


def back(turn: Turn) -> None:
    visit = current_visit(turn)
    if visit is None:
        turn.say("visit.none_open")
        return
    after, name = turn.tools.flow.without_last(visit)
    if name is None:
        turn.say("back.nothing")
        go_on(turn, visit)
        return
    turn.say("back.done", name=Say(f"field.{name}"))
    changed(turn, visit, after)
    turn.ask(_question(turn, after.id))


def _question(turn: Turn, visit_id: int) -> Reply:
    visit = visits.load(turn.work, visit_id)
    step = turn.tools.flow.open_step(visit) if visit is not None else None
    if visit is None or step is None:
        return Reply(Say("nothing"))
    return turn.tools.flow.ask(step, visit, around_step(turn, visit, step))


def news(turn: Turn) -> None:
    """查看: for who writes by a channel that cannot push. What had waited comes with this very answer."""
    if turn.released:
        return
    visit = current_visit(turn)
    notes = evidence.notes(turn.work, visit.ids("report")) if visit is not None else {}
    if any(note.state == "waiting" for note in notes.values()):
        turn.later = True
        turn.say("visit.voice.still")
    elif visit is not None:
        go_on(turn, visit, show_card=True)
    else:
        turn.say("news.none")


def show_card(turn: Turn) -> None:
    visit = current_visit(turn)
    if visit is None:
        turn.say("visit.none_open")
        return
    go_on(turn, visit, show_card=True)


def my_visits(turn: Turn) -> None:
    today = turn.now.astimezone(turn.tools.zone).date()
    own = visits.of_rep_on(turn.work, turn.employee.code, today)
    if not own:
        turn.say("mine.none")
        return
    turn.say("mine.head", count=len(own))
    for visit in own:
        local = visit.opened_at.astimezone(turn.tools.zone)
        if visit.state is State.CLOSED:
            turn.say(
                "mine.closed",
                at=f"{local:%H:%M}",
                outlet=outlet_title(turn, visit),
                outcome=Say(f"outcome.{visit.outcome.value}") if visit.outcome else "",
                level=Say(f"level.{visit.grade.level.value}") if visit.grade else "",
            )
        else:
            turn.say("mine.open", at=f"{local:%H:%M}", outlet=outlet_title(turn, visit), names=missing_fields(visit))


def switch(turn: Turn) -> None:
    """Which of several open visits is meant."""
    still_open = visits.open_visits(turn.work, turn.employee.code)
    if not still_open:
        turn.say("visit.none_open")
        return
    choices = tuple(
        Choice(str(visit.id), Say("switch.one", {"outlet": outlet_title(turn, visit), "names": missing_fields(visit)}))
        for visit in still_open
    )
    turn.ask(Reply(Say("switch.ask"), choices, about="switch", step="switch"))


def switch_to(turn: Turn, visit_id: str) -> None:
    visit = visits.load(turn.work, int(visit_id)) if visit_id.isdigit() else None
    if visit is None or visit.rep != turn.employee.code or visit.state is not State.OPEN:
        turn.say("stale.gone")
        return
    turn.set_account(current_visit=visit.id)
    turn.say("switch.done", outlet=outlet_title(turn, visit))
    go_on(turn, visit)


def appeal(turn: Turn) -> None:
    """申诉 against the last closed visit, with its grade and reasons shown."""
    last = visits.last_closed(turn.work, turn.employee.code, 1)
    if not last or last[0].grade is None or last[0].grade.level is Level.VERIFIED:
        turn.say("appeal.nothing")
        return
    if any(item.state == "open" for item in evidence.appeals_of(turn.work, last[0].id)):
        turn.say("appeal.waiting")
        return
    turn.say("appeal.about", outlet=outlet_title(turn, last[0]))
    turn.lines.append(grade_say(last[0].grade))
    appeals.begin(turn, last[0].id)


def change_language(turn: Turn) -> None:
    language = "en" if turn.account.language == "zh-CN" else "zh-CN"
    turn.set_account(language=language)
    people.save_account(turn.work, turn.account)
    turn.say("hello.language")


def alerts_today(turn: Turn) -> None:
    if not turn.employee.manages:
        turn.say("help.not_yours")
        return
    alerts.today(turn)


COMMANDS: dict[str, Command] = {
    "start": start,
    "help": help_text,
    "end": end_visit,
    "void": void_visit,
    "undo": undo,
    "back": back,
    "card": show_card,
    "news": news,
    "visits": my_visits,
    "todos": reminders.mine,
    "switch": switch,
    "appeal": appeal,
    "alerts": alerts_today,
    "seen": trail.seen_by,
    "language": change_language,
}
