"""What was offered to be chosen: a tap or a typed number finds its question, and what is chosen there is done."""

from handlers import alerts, appeals, card, commands, corrections, reminders
from handlers.steps import Said
from handlers.turn import Turn
from handlers.undoing import last_changed, undo
from handlers.visit_talk import answer, confirm, current_visit, go_on, has_follow_up, make_follow_up
from handlers.wire import read_taps
from rules.visit import State, Visit
from storage import people, visits
from storage.people import Question


def tapped(turn: Turn, data: str) -> None:
    """A button, or several ticked at once: bound to their question, so that an old or second press is told apart."""
    pressed = read_taps(data)
    question = people.question(turn.work, pressed[0], turn.account.id) if pressed else None
    if pressed is None or question is None or max(pressed[1]) >= len(question.options):
        turn.say("stale.gone")
        remind_of_question(turn)
        return
    if len(pressed[1]) > 1 and not question.multi:
        turn.say("visit.pick_one")
        remind_of_question(turn)
        return
    for index in dict.fromkeys(pressed[1]):
        choose(turn, question, question.options[index])


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
        remind_of_question(turn)
        return
    if not _still_asked(turn, question, visit):
        turn.say("stale.old")
        remind_of_question(turn)
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
        remind_of_question(turn)


def current_question(turn: Turn) -> Question | None:
    """What a typed number or label answers: the last thing offered, unless that was answered."""
    number = turn.account.current_question
    question = people.question(turn.work, number, turn.account.id) if number is not None else None
    return question if question is not None and question.answered_at is None else None


def remind_of_question(turn: Turn) -> None:
    """After something that changed nothing: what is being waited for."""
    visit = current_visit(turn)
    if visit is not None and not turn.employee.manages:
        go_on(turn, visit)
