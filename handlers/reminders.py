"""待办: reminders that are due, and the one tap that answers them."""

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from handlers.card import window_say
from handlers.messages import Choice, Reply, Say
from handlers.turn import Turn, Word, tell_each
from rules import follow_up
from rules.follow_up import FollowUp, TodoState
from rules.limits import Limits
from rules.windows import Window
from storage import firm, follow_ups
from storage.database import Work
from texts import LANGUAGES, load, plain

AT_A_TIME = 500  # in one transaction: a thousand chats' locks are about what PostgreSQL holds without being told more
LATE = timedelta(minutes=10)  # how much later than planned a tick may come
LATE_ENOUGH_TO_SAY = timedelta(hours=1)  # the machine was off; the rep is told when the reminder was meant to come
DONE, POSTPONE, LOST = "done", "postpone", "lost"


def remind(work: Work, now: datetime, limits: Limits) -> int:
    """Queue reminders that are due, at most so many; how many 待办 were reminded of. Outside working hours it waits.

    None is too late to be sent: the 待办 is open as long as the rep says nothing, and one that comes late says so. One
    that was meant for the last moment of the day is still in time a few minutes later.
    """
    since = now - LATE if follow_up.waking(now, limits) > now else None
    due = follow_ups.to_remind(work, now, since=since, most=AT_A_TIME, take=True)
    if not due:
        return 0
    firm.signs(work, {todo.outlet for todo in due})
    words = [Word(todo.rep, _reminder(work, todo, now, limits), f"todo:{todo.id}:{todo.postponed}") for todo in due]
    tell_each(work, words, now, "reminder")
    follow_ups.reminded(work, [todo.id for todo in due], now)
    return len(due)


def _reminder(work: Work, todo: FollowUp, now: datetime, limits: Limits) -> Reply:
    outlet = firm.sign(work, todo.outlet)
    say = Say(
        "todo.remind",
        {
            "outlet": outlet.name if outlet else todo.outlet,
            "window": window_say(todo.window),
            "quote": todo.window.quote,
            "what": todo.what,
        },
    )
    if now - todo.remind_at > LATE_ENOUGH_TO_SAY:
        meant = _local(todo.remind_at, limits)
        say = Say("lines", {"lines": [say, Say("todo.came_late", {"at": meant})]})
    return Reply(say, _choices(), about="todo", subject=todo.id, step="todo")


def _choices() -> tuple[Choice, ...]:
    return (
        Choice(DONE, Say("todo.done_tap")),
        Choice(POSTPONE, Say("todo.postpone_tap")),
        Choice(LOST, Say("todo.lost_tap")),
    )


def answer(turn: Turn, todo_id: int, choice: str) -> None:
    """完成 / 推迟 / 丢单 of the rep's own 待办; one that is over says so."""
    todo = follow_ups.load(turn.work, todo_id)
    if todo is None or todo.rep != turn.employee.code:
        turn.say("stale.gone")
        return
    if todo.state is not TodoState.OPEN:
        turn.say("todo.over", state=Say(f"todo_state.{todo.state.value}"))
        return
    if choice == POSTPONE:
        postponed = follow_up.postpone(todo, turn.now, turn.tools.limits)
        follow_ups.save(turn.work, postponed)
        turn.set_account(expects={"postpone": todo.id})
        turn.say("todo.postponed", window=window_say(postponed.window), remind=_moment(turn, postponed.remind_at))
        return
    ended = follow_up.finish(todo, turn.now) if choice == DONE else follow_up.lose(todo, turn.now)
    follow_ups.save(turn.work, ended)
    turn.say("todo.done" if choice == DONE else "todo.lost", outlet=_outlet_name(turn.work, todo))


def answer_in_words(turn: Turn, typed: str) -> bool:
    """完成, 推迟 or 丢单 typed below a reminder that is no longer the last thing asked; False for any other words.

    Where it is certain what is meant it is done: one reminder unanswered, and no visit open whose end or outcome could
    be meant. Else the newest reminder is shown again, as the last thing asked.
    """
    choice = _named(typed)
    todos = follow_ups.open_of(turn.work, turn.employee.code) if choice else []
    reminded = sorted((todo.reminded_at, todo.id, todo) for todo in todos if todo.reminded_at is not None)
    if choice is None or not reminded:
        return False
    newest = reminded[-1][-1]
    if len(reminded) == 1 and turn.account.current_visit is None:
        answer(turn, newest.id, choice)
    else:
        turn.ask(_reminder(turn.work, newest, turn.now, turn.tools.limits))
    return True


def _named(typed: str) -> str | None:
    """The choice below a reminder that these words name."""
    for choice in (DONE, POSTPONE, LOST):
        for texts in map(load, LANGUAGES):
            key = f"todo.{choice}_tap"
            if plain(typed) in map(plain, (texts.say(key), *texts.variants(key))):
                return choice
    return None


def postpone_to(turn: Turn, todo_id: int, window: Window) -> None:
    """The rep said to when."""
    todo = follow_ups.load(turn.work, todo_id)
    if todo is None or todo.rep != turn.employee.code or todo.state is not TodoState.OPEN:
        turn.say("stale.gone")
        return
    moved = follow_up.postpone(todo, turn.now, turn.tools.limits, window)
    follow_ups.save(turn.work, replace(moved, postponed=todo.postponed + 1))
    turn.set_account(expects=None)
    turn.say("todo.postponed", window=window_say(window), remind=_moment(turn, moved.remind_at))


def mine(turn: Turn) -> None:
    """我的待办: the open ones, the most urgent first; the first can be answered at once."""
    todos = follow_ups.open_of(turn.work, turn.employee.code)
    if not todos:
        turn.say("todo.none")
        return
    today = turn.now.astimezone(turn.tools.zone).date()
    turn.say("todo.head", count=len(todos))
    for todo in todos[:10]:
        key = "todo.line_overdue" if follow_up.overdue(todo, today) else "todo.line"
        turn.say(key, outlet=_outlet_name(turn.work, todo), window=window_say(todo.window), what=todo.what)
    first = todos[0]
    turn.ask(
        Reply(
            Say("todo.first", {"outlet": _outlet_name(turn.work, first)}),
            _choices(),
            about="todo",
            subject=first.id,
            step="todo",
        )
    )


def _outlet_name(work: Work, todo: FollowUp) -> str:
    outlet = firm.sign(work, todo.outlet)
    return outlet.name if outlet else todo.outlet


def _moment(turn: Turn, at: datetime) -> str:
    return _local(at, turn.tools.limits)


def _local(at: datetime, limits: Limits) -> str:
    local = at.astimezone(ZoneInfo(limits.time_zone))
    return f"{local.month}月{local.day}日 {local:%H:%M}"
