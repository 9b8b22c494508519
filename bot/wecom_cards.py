"""A reply with choices as a card of 企业微信: up to 6 buttons, up to 20 options to tick, else three lists. No I/O.

Limits: developer.work.weixin.qq.com/document/path/90236 (模板卡片消息). Lengths are in characters; the app cuts what is
longer, so it is never put there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bot.channels import Button, Rendered
from handlers.wire import read_taps
from texts import Texts

MAX_BUTTONS: Final = 6
MAX_OPTIONS: Final = 20
MAX_LISTS: Final = 3
LIST_LENGTH: Final = 10  # the first is "none": a list always has something chosen
BUTTON_LABEL: Final = 10
OPTION_LABEL: Final = 16
TITLE: Final = 36
BELOW_BUTTONS: Final = 160  # sub_title_text, which only a card with buttons has
BELOW: Final = 44  # main_title.desc
NONE: Final = "none"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Card:
    """`body` is the template_card. `alone`: it says all there is; else the text goes before it."""

    body: Json
    alone: bool


def question_of(message: Rendered) -> int | None:
    """The question that the buttons answer; None where there are none, or they are of several questions."""
    taps = [read_taps(button.data) for button in _buttons(message)]
    numbers = {tap[0] for tap in taps if tap is not None}
    return numbers.pop() if len(numbers) == 1 and None not in taps else None


def card_of(message: Rendered, task_id: str, texts: Texts) -> Card | None:
    """The card under a message's last text; None where no card can hold these choices."""
    buttons, question = _buttons(message), question_of(message)
    if not buttons or question is None:
        return None
    longest = max(len(button.label) for button in buttons)
    text = message.texts[-1] if len(message.texts) == 1 else ""
    submit = {"text": texts.say("wecom_card.submit"), "key": f"submit-{question}"}
    if not message.multi and len(buttons) <= MAX_BUTTONS and longest <= BUTTON_LABEL:
        title, below, alone = _words(message.texts[-1], text, BELOW_BUTTONS)
        body: Json = {
            "card_type": "button_interaction",
            "main_title": {"title": title},
            "button_list": [{"text": button.label, "key": button.data} for button in buttons],
        }
        if below:
            body["sub_title_text"] = below
    elif len(buttons) <= MAX_OPTIONS and longest <= OPTION_LABEL:
        title, below, alone = _words(message.texts[-1], text, BELOW)
        body = {
            "card_type": "vote_interaction",
            "main_title": {"title": title, **({"desc": below} if below else {})},
            "checkbox": {
                "question_key": f"q{question}",
                "option_list": _options(buttons),
                "mode": 1 if message.multi else 0,
            },
            "submit_button": submit,
        }
    elif len(buttons) <= MAX_LISTS * (LIST_LENGTH - 1) and longest <= OPTION_LABEL:
        title, below, alone = _words(message.texts[-1], text, BELOW)
        body = {
            "card_type": "multiple_interaction",
            "main_title": {"title": title, **({"desc": below} if below else {})},
            "select_list": _lists(buttons, question, texts),
            "submit_button": submit,
        }
    else:
        return None
    return Card({**body, "task_id": task_id}, alone)


def answered(texts: Texts) -> Json:
    """What is put in the place of a card's buttons once it was answered: grey, and no longer to be pressed."""
    return {"replace_name": texts.say("wecom_card.done")}


def numbered(message: Rendered) -> tuple[str, ...]:
    """The texts with the choices as numbers below, for a card that the platform would not take."""
    lines = [f"{number} {button.label}" for number, button in enumerate(_buttons(message), 1)]
    return (*message.texts[:-1], "\n".join([message.texts[-1], *lines]))


def _buttons(message: Rendered) -> list[Button]:
    return [button for row in message.buttons for button in row]


def _words(last: str, whole: str, room: int) -> tuple[str, str, bool]:
    """(title, what stands below it, whether that is all). One or two lines that fit need no text beside the card.

    Else the title is the last line, which is what the choices are about.
    """
    first, _, rest = whole.partition("\n")
    if first and len(first) <= TITLE and len(rest) <= room and "\n" not in rest:
        return first, rest, True
    line = next((line for line in reversed(last.splitlines()) if line.strip()), "—").strip()
    return (line if len(line) <= TITLE else line[: TITLE - 1] + "…"), "", False


def _options(buttons: Sequence[Button]) -> list[Json]:
    return [{"id": button.data, "text": button.label, "is_checked": False} for button in buttons]


def _lists(buttons: Sequence[Button], question: int, texts: Texts) -> list[Json]:
    size = LIST_LENGTH - 1
    return [
        {
            "question_key": f"q{question}-{start // size}",
            "title": texts.say("wecom_card.pick"),
            "selected_id": NONE,
            "option_list": [
                {"id": NONE, "text": texts.say("wecom_card.none")},
                *({"id": button.data, "text": button.label} for button in buttons[start : start + size]),
            ],
        }
        for start in range(0, len(buttons), size)
    ]
