"""A text: a command, a number or label that answers the open question, a correction, an answer, or a summary."""

import re
import unicodedata

from handlers import appeals, commands, corrections, evidence_in, reminders
from handlers.messages import NotUnderstood, Reply, Say
from handlers.offered import choose, current_question
from handlers.sentences import chosen
from handlers.steps import Said
from handlers.turn import Turn
from handlers.visit_talk import answer, around, current_visit, go_on
from nlp.dates import read_window
from rules.visit import State, Visit
from storage import people, visits
from storage.people import Question
from texts import LANGUAGES, load

LONGEST_TEXT = 4096
SHORTEST_NOTE = 8  # characters of a free text that is taken for a typed summary rather than for small talk
_NAMED = re.compile(r"(\d{1,18})[-－–—](\d{1,2})")


def text(turn: Turn, typed: str) -> None:
    """What somebody typed, and what it does."""
    typed = typed[:LONGEST_TEXT].strip()
    command = commands.read_command(typed)
    if command is not None:
        turn.set_account(expects=None)
        commands.run(turn, command)
        return
    question = current_question(turn)
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
    asked = current_question(turn)
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


def _last_closed(turn: Turn) -> Visit | None:
    last = visits.last_closed(turn.work, turn.employee.code, 1)
    return last[0] if last else None


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
