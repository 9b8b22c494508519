"""数量改成8箱: correcting an item at any time, in words or from the card. What stood there is kept beside it."""

from typing import Any

from handlers import card
from handlers.messages import Reply, Say
from handlers.proposals import line_to_plain, window_to_plain
from handlers.steps import Said
from handlers.turn import Turn
from handlers.visit_talk import answer, answer_outlet, ask_step, changed, correct_answer, go_on, settle
from nlp.corrections import Correction, read_correction
from nlp.dates import read_window
from rules.visit import State, Visit
from rules.windows import Window
from storage import firm


def correct(turn: Turn, visit: Visit, typed: str) -> bool:
    """Apply a typed correction. False when the text is none, so that it may be something else."""
    found = read_correction(typed, turn.ear.words, turn.at.astimezone(turn.tools.zone))
    if found is None:
        return False
    if found.field == "quantity":
        _quantity(turn, visit, found)
    elif found.field == "outlet":
        answer_outlet(turn, visit, Said(choice=str(found.value)))
    elif found.field == "follow_up":
        if isinstance(found.value, Window):
            _keep(turn, visit, "follow_up", dict(window_to_plain(found.value)))
    elif found.field == "contacts":
        value = found.value if isinstance(found.value, list | tuple) else [found.value]
        _keep(turn, visit, "contacts", list(value))
    else:
        step = turn.tools.flow.step(found.field)
        if not step.when(visit):
            turn.say("edit.not_asked", name=Say(f"field.{found.field}"))
            return True
        if visit.state is State.OPEN:
            turn.say("edit.kept", name=Say(f"field.{found.field}"))
        answer(turn, visit, step, Said(text=str(found.value), choice=str(found.value)))
    return True


def begin(turn: Turn, visit: Visit, name: str) -> None:
    """An item of the card was tapped for correction."""
    if name in {step.name for step in turn.tools.flow.steps} and name != "problem":
        step = turn.tools.flow.step(name)
        ask_step(turn, visit, step)
        return
    turn.set_account(expects={f"edit:{name}": visit.id})
    turn.ask(Reply(Say(f"edit.ask_{name}")))


def finish(turn: Turn, visit: Visit, name: str, typed: str) -> None:
    """The new words for an item that is not chosen from a list."""
    if name == "problem":
        turn.set_account(expects=None)
        answer(turn, visit, turn.tools.flow.step("problem"), Said(text=typed))
        return
    value = _read(turn, name, typed)
    if value is None:
        turn.say(f"edit.unclear_{name}")
        turn.ask(Reply(Say(f"edit.ask_{name}")))
        return
    turn.set_account(expects=None)
    _keep(turn, visit, name, value)


def _read(turn: Turn, name: str, typed: str) -> Any:
    at = turn.at.astimezone(turn.tools.zone)
    if name == "follow_up":
        window = read_window(typed, at)
        return None if window is None else dict(window_to_plain(window))
    heard = turn.ear.understand(typed, at)
    if name == "orders":
        lines = [line_to_plain(item.value) for item in (*heard.orders, *heard.samples)]
        return lines or None
    contacts = [item.value for item in heard.contacts]
    return contacts or [typed[:20]]


def _quantity(turn: Turn, visit: Visit, found: Correction) -> None:
    """A new quantity for one line of the order; with several lines and none named, the rep is asked which."""
    raw = visit.value("orders")
    lines: list[Any] = [list(line) for line in raw if isinstance(line, list)] if isinstance(raw, list) else []
    meant = [line for line in lines if found.product is None or line[0] == found.product]
    if len(meant) != 1:
        products = {item.code: item.name for item in firm.products(turn.work)}
        names = "、".join(products.get(line[0], str(line[0])) for line in lines)
        turn.say("edit.which_line" if lines else "edit.no_order", names=names)
        if visit.state is State.OPEN:
            go_on(turn, visit)
        return
    quantity, unit = found.value if isinstance(found.value, tuple) else (found.value, None)
    old = f"{meant[0][1]:g}{meant[0][2]}"
    meant[0][1] = quantity
    meant[0][2] = unit or meant[0][2]
    turn.say("edit.quantity", old=old, new=f"{meant[0][1]:g}{meant[0][2]}")
    _keep(turn, visit, "orders", lines)


def _keep(turn: Turn, visit: Visit, name: str, value: Any) -> None:
    """A corrected item of a card still to be confirmed stays a proposal of the rep's own words: sure at once."""
    after = correct_answer(visit, name, value)
    if visit.state is State.OPEN and visit.proposals:
        changed(turn, visit, after)
        turn.ask(card.confirm_question(after, Say("card.again")))
        turn.say("edit.kept", name=Say(f"field.{name}"))
        return
    turn.say("edit.kept", name=Say(f"field.{name}"))
    settle(turn, visit, after)
