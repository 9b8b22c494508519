"""待办: reminders that are due, and the one tap that answers them."""

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from handlers.card import window_say
from handlers.messages import Choice, Reply, Say
from handlers.turn import Turn, tell
from rules import follow_up
from rules.follow_up import FollowUp, TodoState
from rules.limits import Limits
from rules.windows import Window
from storage import firm, follow_ups
from storage.database import Work

LATE = timedelta(minutes=10)  # how much later than planned a tick may come
DONE, POSTPONE, LOST = "done", "postpone", "lost"


def remind(work: Work, now: datetime, limits: Limits) -> int:
    """Queue every reminder that is due; how many 待办 were reminded of. Outside working hours it waits.

    One that was meant for the last moment of the day is still in time a few minutes later.
    """
    due = follow_ups.to_remind(work, now, take=True)
    if follow_up.waking(now, limits) > now:
        due = [todo for todo in due if now - todo.remind_at <= LATE]
    for todo in due:
        tell(work, todo.rep, _reminder(work, todo), now, f"todo:{todo.id}:{todo.postponed}", "reminder")
        follow_ups.save(work, replace(todo, reminded_at=now))
    return len(due)


def _reminder(work: Work, todo: FollowUp) -> Reply:
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
    local = at.astimezone(ZoneInfo(turn.tools.limits.time_zone))
    return f"{local.month}月{local.day}日 {local:%H:%M}"
