"""A reply as one channel can show it: buttons where it has them, else 回复数字. Flows never ask which channel it is."""

from typing import Any

from bot.channels import Abilities, Button, Rendered
from handlers.messages import Choice, Say
from handlers.sentences import label, sentence, shown
from handlers.wire import reply_from_plain, tap_data
from texts import Texts, load

_ROW_WIDTH = 18  # label characters that fit beside each other on a phone


def render(body: dict[str, Any], abilities: Abilities, *, plain_numbers: bool = True) -> Rendered:
    """Render an outbox body (see handlers.wire).

    Without `plain_numbers` a typed 1 would answer another question, so each number names its question too: 57-1.
    """
    reply = reply_from_plain(body)
    texts = load(body.get("language", ""))
    text = sentence(texts, reply.say)
    rows: tuple[tuple[Button, ...], ...] = ()
    if reply.choices and abilities.answers and _as_buttons(texts, reply.choices, abilities):
        rows = _rows(texts, reply.choices, body["question"], abilities)
    elif reply.choices and abilities.answers:
        text = f"{text}\n{numbered(texts, reply.choices, None if plain_numbers else body['question'])}"
    if reply.later and abilities.push == "none":
        text = f"{text}\n{texts.say('push.ask_for_it')}"
    return Rendered(
        _pieces(text, abilities),
        rows,
        reply.wants_place and abilities.place_button,
        language=body.get("language", ""),
        multi=reply.multi,
        again=reply.again,
    )


def details(body: dict[str, Any]) -> dict[str, str]:
    """What a template's fields may be filled with: the values of the sentences by their names, the first of a name,
    the whole as `text`, its first line as `title`, the numbered choices as `choices`.
    """
    reply = reply_from_plain(body)
    texts = load(body.get("language", ""))
    whole = sentence(texts, reply.say)
    found: dict[str, str] = {}
    for say in (reply.say, *(line for line in reply.say.values.get("lines", ()) if isinstance(line, Say))):
        for name, value in say.values.items():
            if name != "lines":
                found.setdefault(name, shown(texts, value))
    found |= {"title": whole.partition("\n")[0], "text": whole, "choices": numbered(texts, reply.choices)}
    return found


def numbered(texts: Texts, choices: tuple[Choice, ...], question: int | None = None) -> str:
    """1 确认  2 修改: on one line while short, else one a line. With a question's number: 57-1 确认  57-2 修改."""
    before = "" if question is None else f"{question}-"
    items = [f"{before}{number} {label(texts, choice)}" for number, choice in enumerate(choices, 1)]
    together = "  ".join(items)
    return together if len(together) <= 36 and len(items) <= 4 else "\n".join(items)


def _as_buttons(texts: Texts, choices: tuple[Choice, ...], abilities: Abilities) -> bool:
    if len(choices) > abilities.buttons:
        return False
    return not abilities.whole_labels or all(len(label(texts, one)) <= abilities.button_label for one in choices)


def _rows(
    texts: Texts, choices: tuple[Choice, ...], question: int, abilities: Abilities
) -> tuple[tuple[Button, ...], ...]:
    rows: list[list[Button]] = []
    width = _ROW_WIDTH
    for index, choice in enumerate(choices):
        text = label(texts, choice)
        if len(text) > abilities.button_label:
            text = text[: abilities.button_label - 1] + "…"
        button = Button(tap_data(question, index), text)
        if rows and width + len(text) + 2 <= _ROW_WIDTH and len(rows[-1]) < 4:
            rows[-1].append(button)
            width += len(text) + 2
        else:
            rows.append([button])
            width = len(text) + 2
    return tuple(tuple(row) for row in rows)


def _pieces(text: str, abilities: Abilities) -> tuple[str, ...]:
    """A text cut where the channel would cut or refuse it, at line ends where there are any."""
    pieces: list[str] = []
    piece = ""
    for line in text.splitlines(keepends=True):
        rest = line
        while _size(piece + rest, abilities) > abilities.text_limit:
            if piece:
                pieces.append(piece.rstrip("\n"))
                piece = ""
                continue
            fits = _longest_that_fits(rest, abilities)
            pieces.append(rest[:fits])
            rest = rest[fits:]
        piece += rest
    pieces.append(piece.rstrip("\n"))
    return tuple(item for item in pieces if item) or ("—",)


def fits(text: str, abilities: Abilities) -> bool:
    """Whether a text goes out as one piece."""
    return _size(text, abilities) <= abilities.text_limit


def _longest_that_fits(line: str, abilities: Abilities) -> int:
    low, high = 1, len(line)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(line[:middle], abilities) <= abilities.text_limit else (low, middle - 1)
    return low


def _size(text: str, abilities: Abilities) -> int:
    return len(text.encode("utf-16-le")) // 2 if abilities.text_unit == "utf16" else len(text.encode())
