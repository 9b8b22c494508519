"""The one door. Whatever a person did on whatever channel goes through `receive`, in one transaction."""

import logging
import re
import unicodedata
from dataclasses import replace
from datetime import datetime

from handlers import alerts, appeals, card, commands, corrections, evidence_in, joining, reminders
from handlers.evidence_in import Prepared
from handlers.messages import Incoming, Kind, NotUnderstood, Reply, Say
from handlers.sentences import chosen
from handlers.steps import Said
from handlers.tools import Tools
from handlers.turn import Turn
from handlers.undoing import last_changed, undo
from handlers.visit_talk import (
    answer,
    around,
    confirm,
    current_visit,
    go_on,
    has_follow_up,
    make_follow_up,
)
from handlers.wire import incoming_from_plain, read_taps
from nlp.dates import read_window
from nlp.understand import Understander
from rules.people import Employee, Part, scope_of, system
from rules.visit import State, Visit
from storage import inbox, outbox, people, visits
from storage.database import Database, Work
from storage.inbox import Delivery
from storage.people import Account, Question
from texts import LANGUAGES, load

log = logging.getLogger(__name__)

LONGEST_TEXT = 4096
_NAMED = re.compile(r"(\d{1,18})[-－–—](\d{1,2})")
SHORTEST_NOTE = 8  # characters of a free text that is taken for a typed summary rather than for small talk


def receive(database: Database, tools: Tools, delivery_id: int, now: datetime) -> None:
    """As `apply`, of a delivery that is known by its number alone."""
    with database.read() as work:
        delivery = inbox.load(work, delivery_id)
    if delivery is not None:
        apply(database, tools, delivery, now)


def apply(database: Database, tools: Tools, delivery: Delivery, now: datetime) -> None:
    """Apply one delivery, as it is stored: what it changes, what is said back, and that it is done, all in one commit.

    Applying it again does nothing. Raises whatever went wrong in us; then nothing of it was kept.
    """
    if delivery.message is None:
        return
    message = incoming_from_plain(delivery.message, delivery.id)
    prepared = evidence_in.prepare(tools, message)
    if len(message.text) >= SHORTEST_NOTE and _is_known(database, delivery):
        tools.ear.think_ahead(database, message.text, min(message.at, now))
    with database.work(system(Part.INTAKE), shares=True) as work:
        ear = tools.ear.as_of(database, work)
        if ear is not None:
            _take(work, tools, ear, delivery, message, prepared, now)
            return
    ear = tools.ear.of(database)  # takes about a second, so it is built outside
    with database.work(system(Part.INTAKE), shares=True) as work:
        _take(work, tools, ear, delivery, message, prepared, now)


def _take(
    work: Work,
    tools: Tools,
    ear: Understander,
    delivery: Delivery,
    message: Incoming,
    prepared: Prepared,
    now: datetime,
) -> None:
    if inbox.take(work, delivery.id, now) and not _apply(work, tools, ear, delivery, message, prepared, now):
        inbox.ignored(work, delivery.id)


def _is_known(database: Database, delivery: Delivery) -> bool:
    """Whether somebody of the firm wrote it: what strangers say is read by nobody, a plug-in least of all."""
    with database.read(system(Part.INTAKE)) as work:
        return people.knows(work, delivery.channel, delivery.person.partition(":")[2])


def apologise(database: Database, delivery_id: int, now: datetime) -> None:
    """A message was set aside after several tries: the person is told that it is kept and somebody will look."""
    with database.work(system(Part.INTAKE)) as work:
        joining.apologise(work, delivery_id, now)


def _apply(
    work: Work,
    tools: Tools,
    ear: Understander,
    delivery: Delivery,
    message: Incoming,
    prepared: Prepared,
    now: datetime,
) -> bool:
    user_ref = delivery.person.partition(":")[2]
    met = people.account(work, delivery.channel, user_ref)
    account = joining.recognise(work, delivery, user_ref, now)
    if message.kind is Kind.JOIN and message.text:
        return joining.join(work, delivery, user_ref, message, now)
    account, employee = _on_behalf_of(work, delivery.channel, account)
    if account is None or employee is None or not employee.active:
        return joining.refuse(work, delivery, user_ref, message, now)
    if message.kind is Kind.LEAVE:
        people.out_of_reach(work, account.id, "left", now)
        return True
    if message.kind is Kind.NOTICE:
        return False
    if message.kind is Kind.ENTER and met is None:
        message = replace(message, kind=Kind.JOIN)
    if not account.reachable:
        people.set_reachable(work, account.id, True)
    turn = Turn(work, tools, ear, now, min(message.at, now), account, employee, message)
    turn.set_account(reachable=True, chat_ref=delivery.chat_ref)
    if message.kind is not Kind.EDIT:
        turn.released = outbox.release(work, delivery.channel, delivery.chat_ref, now)
    handle(turn, message, prepared)
    key = f"album:{account.id}:{message.album}" if message.album else f"in:{delivery.id}"
    turn.finish(key)
    return True


def _on_behalf_of(work: Work, channel: str, met: Account | None) -> tuple[Account | None, Employee | None]:
    """From here on for whoever wrote, alone with what they do: what is outside of their scope is not there."""
    while met is not None:
        employee = people.employee(work, met.employee)
        if employee is None or not employee.active:
            return met, employee
        work.act_for(scope_of(employee))
        people.alone(work, employee.code)
        now = people.employee(work, employee.code)
        account = people.account(work, channel, met.user_ref) if now == employee else None
        if account is not None:
            return account, employee
        work.act_for(system(Part.INTAKE))  # while this waited, the person or whose the account is was changed
        met = people.account(work, channel, met.user_ref)
    return None, None


def handle(turn: Turn, message: Incoming, prepared: Prepared) -> None:
    """What a message of a known person does."""
    if prepared.problem:
        turn.say(prepared.problem)
        _remind_of_question(turn)
    elif message.kind is Kind.TAP:
        tapped(turn, message.tapped)
    elif message.kind is Kind.JOIN:
        commands.start(turn)
    elif message.kind is Kind.ENTER:
        return
    elif message.kind is Kind.EDIT and message.place is None:
        turn.say("edit.not_taken")
        _remind_of_question(turn)
    elif message.kind is Kind.TEXT:
        text(turn, message.text)
    elif turn.employee.manages:
        if message.kind is not Kind.EDIT:
            turn.say("help.manager")
    elif message.place is not None:
        evidence_in.take_place(turn, message.place, track=message.kind is Kind.EDIT)
    elif message.kind is Kind.PHOTO and message.media is not None and prepared.photo is not None:
        evidence_in.take_photo(turn, message.media, prepared.photo, _summary_in(message.text))
    elif message.kind is Kind.VOICE and message.media is not None:
        evidence_in.take_voice(turn, message.media)
    else:
        turn.say("other.not_taken")
        _remind_of_question(turn)


def tapped(turn: Turn, data: str) -> None:
    """A button, or several ticked at once: bound to their question, so that an old or second press is told apart."""
    pressed = read_taps(data)
    question = people.question(turn.work, pressed[0], turn.account.id) if pressed else None
    if pressed is None or question is None or max(pressed[1]) >= len(question.options):
        turn.say("stale.gone")
        _remind_of_question(turn)
        return
    if len(pressed[1]) > 1 and not question.multi:
        turn.say("visit.pick_one")
        _remind_of_question(turn)
        return
    for index in dict.fromkeys(pressed[1]):
        choose(turn, question, question.options[index])


def text(turn: Turn, typed: str) -> None:
    """A text: a command, a number or label that answers the open question, a correction, an answer, or a summary."""
    typed = typed[:LONGEST_TEXT].strip()
    command = commands.read_command(typed)
    if command is not None:
        turn.set_account(expects=None)
        commands.run(turn, command)
        return
    question = _current_question(turn)
    labels = _labels(turn, question) if question is not None else {}
    picked = chosen(typed, question.options, labels, multi=question.multi) if question is not None else []
    # After 推迟 a new date is only an offer: "3" still means 丢单 below the reminder, and never the third of the month.
    waited_for = turn.account.expects is not None and not (picked and "postpone" in turn.account.expects)
    if waited_for and _expected(turn, turn.account.expects or {}, typed):
        return
    if question is not None and picked:
        for option in picked:
            choose(turn, question, option)
        return
    named = _named_question(turn, typed)
    if named is not None:
        choose(turn, *named)
        return
    if turn.employee.manages:
        turn.say("help.manager")
        return
    visit = current_visit(turn)
    target = visit or _last_closed(turn)
    if target is not None and corrections.correct(turn, target, typed):
        return
    if reminders.answer_in_words(turn, typed):
        return
    if visit is None:
        _note_or_hint(turn, typed)
        return
    _free_text(turn, visit, typed)


def choose(turn: Turn, question: Question, option: str) -> None:
    """One option of one question, tapped or typed. Whatever was waited for in words is given up."""
    turn.set_account(expects=None)
    if question.about in ("todo", "alert", "appeal", "switch"):
        {
            "todo": lambda: reminders.answer(turn, question.subject, option),
            "alert": lambda: alerts.drill(turn, question.subject, option),
            "appeal": lambda: appeals.decide(turn, question.subject, option),
            "switch": lambda: commands.switch_to(turn, option),
        }[question.about]()
        return
    visit = visits.load(turn.work, question.subject)
    if visit is None or visit.rep != turn.employee.code:
        turn.say("stale.gone")
        return
    if question.about == "closed":
        _after_closing(turn, visit, option)
        return
    if question.answered_at is not None:
        turn.say("stale.twice")
        _remind_of_question(turn)
        return
    if not _still_asked(turn, question, visit):
        turn.say("stale.old")
        _remind_of_question(turn)
        return
    people.answered(turn.work, question.id, turn.now)
    turn.set_account(current_visit=visit.id if visit.state is State.OPEN else turn.account.current_visit)
    if question.step == "card":
        _card_tapped(turn, visit, option)
    elif question.step == "edit":
        corrections.begin(turn, visit, option)
    else:
        answer(turn, visit, turn.tools.flow.step(question.step), Said(choice=option))


def _still_asked(turn: Turn, question: Question, visit: Visit) -> bool:
    """Whether a tap on this question still means something: it is the latest, or what it asks is still open."""
    if turn.account.current_question == question.id:
        return visit.state is not State.VOID
    if visit.state is not State.OPEN:
        return False
    if question.step == "card":
        return bool(visit.proposals)
    step = turn.tools.flow.open_step(visit)
    return step is not None and step.name == question.step


def _card_tapped(turn: Turn, visit: Visit, option: str) -> None:
    if option == card.CONFIRM:
        confirm(turn, visit)
    else:
        turn.ask(card.edit_question(visit))


def _after_closing(turn: Turn, visit: Visit, option: str) -> None:
    """撤销, 申诉 and 建待办 below a closed visit: each may be tapped as long as it still means that visit."""
    if option == "undo" and last_changed(turn) == visit.id:
        undo(turn)
    elif option == "appeal" and visit.state is State.CLOSED:
        appeals.begin(turn, visit.id)
    elif option == "todo" and visit.state is State.CLOSED:
        if has_follow_up(turn, visit):
            turn.say("stale.twice")
            return
        todo = make_follow_up(turn, visit, asked=True)
        if todo is not None:
            turn.say("todo.made_short", window=card.window_say(todo.window))
    else:
        turn.say("stale.old")
        _remind_of_question(turn)


def _expected(turn: Turn, expects: dict[str, object], typed: str) -> bool:
    """Whether this text was waited for: a new outlet's name, an appeal's words, a new date, a corrected item."""
    for what, subject in expects.items():
        if not isinstance(subject, int):
            continue
        if what == "appeal":
            appeals.file(turn, subject, typed)
            return True
        if what == "postpone":
            window = read_window(typed, turn.at.astimezone(turn.tools.zone))
            if window is None:
                turn.set_account(expects=None)
                return False
            reminders.postpone_to(turn, subject, window)
            return True
        visit = visits.load(turn.work, subject)
        if visit is None or visit.rep != turn.employee.code or visit.state is State.VOID:
            continue
        if what == "new_outlet":
            if len(typed) < 2 or len(typed) > 60:
                turn.ask(Reply(Say("visit.outlet.new_name")))
                return True
            after = evidence_in.add_outlet_found(turn, visit, typed)
            turn.say("visit.outlet.added", name=typed, code=after.outlet or "")
            go_on(turn, after)
            return True
        if what.startswith("edit:"):
            corrections.finish(turn, visit, what.removeprefix("edit:"), typed)
            return True
    return False


def _free_text(turn: Turn, visit: Visit, typed: str) -> None:
    """A text that is no choice, while a visit is open: the answer to a question of words, or part of the summary."""
    step = turn.tools.flow.open_step(visit)
    asked = _current_question(turn)
    in_card = asked is not None and asked.step == "card" and visit.proposals
    asks_for_words = step is not None and step.name in ("problem", "outlet") and not in_card
    is_name = step is not None and step.name == "outlet" and len(typed) < SHORTEST_NOTE * 2
    if step is not None and asks_for_words and ("report" in visit.answers or is_name):
        answer(turn, visit, step, Said(text=typed))
    elif ("report" not in visit.answers and len(typed) >= 4) or len(typed) >= SHORTEST_NOTE:
        evidence_in.take_typed_note(turn, typed)
    elif step is not None:
        try:
            step.read(Said(text=typed), visit)
        except NotUnderstood as problem:
            turn.lines.append(problem.say)
        go_on(turn, visit)
    else:
        turn.say("not_understood")
        go_on(turn, visit)


def _note_or_hint(turn: Turn, typed: str) -> None:
    """Outside a visit: a summary opens one, small talk gets a hint."""
    heard = turn.ear.understand(typed, turn.at.astimezone(turn.tools.zone))
    says_something = heard.outlet is not None or heard.outcome is not None or bool(heard.orders)
    if len(typed) >= SHORTEST_NOTE and says_something:
        evidence_in.take_typed_note(turn, typed)
    else:
        turn.say("not_understood")
        turn.say("help.short")


def _summary_in(caption: str) -> str:
    """A photo's caption where it tells of the visit, else nothing."""
    caption = caption[:LONGEST_TEXT].strip()
    return caption if len(caption) >= SHORTEST_NOTE and commands.read_command(caption) is None else ""


def _last_closed(turn: Turn) -> Visit | None:
    last = visits.last_closed(turn.work, turn.employee.code, 1)
    return last[0] if last else None


def _current_question(turn: Turn) -> Question | None:
    """What a typed number or label answers: the last thing offered, unless that was answered."""
    number = turn.account.current_question
    question = people.question(turn.work, number, turn.account.id) if number is not None else None
    return question if question is not None and question.answered_at is None else None


def _named_question(turn: Turn, typed: str) -> tuple[Question, str] | None:
    """The question and the option that a typed 57-1 names; see bot.rendering."""
    found = _NAMED.fullmatch(unicodedata.normalize("NFKC", typed).strip())
    question = people.question(turn.work, int(found[1]), turn.account.id) if found is not None else None
    if found is None or question is None or not 1 <= int(found[2]) <= len(question.options):
        return None
    return question, question.options[int(found[2]) - 1]


def _labels(turn: Turn, question: Question) -> dict[str, tuple[str, ...]]:
    """The words an option may be called by: its label in every language, and the variants beside it."""
    labels: dict[str, tuple[str, ...]] = {}
    for option in question.options:
        words: list[str] = []
        for key in label_keys(question, option):
            for language in LANGUAGES:
                texts = load(language)
                words += [texts.say(key)] if texts.knows(key) and not texts.placeholders(key) else []
                words += texts.variants(key)
        labels[option] = tuple(words)
    if question.step == "outlet":
        visit = visits.load(turn.work, question.subject)
        if visit is not None:
            labels |= {code: (name,) for code, name in around(turn, visit).outlet_names}
    return labels


def label_keys(question: Question, option: str) -> tuple[str, ...]:
    """The text keys that label an option of a question."""
    return {
        "card": (f"card.{option}",),
        "outcome": (f"outcome.{option}",),
        "todo": (f"todo.{option}_tap",),
        "closed": (f"{option}.tap", "todo.make") if option == "todo" else (f"{option}.tap",),
        "edit": (f"field.{option}",),
        "appeal": (f"appeal.{option}_tap",),
        "outlet": ("visit.outlet.new",) if option == "new" else (),
    }.get(question.step, ())


def _remind_of_question(turn: Turn) -> None:
    """After something that changed nothing: what is being waited for."""
    visit = current_visit(turn)
    if visit is not None and not turn.employee.manages:
        go_on(turn, visit)
