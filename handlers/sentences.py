"""From text keys to sentences, and from what a person typed to the choice it means."""

import re
from typing import Any

from handlers.messages import Choice, Say
from texts import Texts, plain

_CHINESE_DIGITS = {word: number for number, word in enumerate("零一二三四五六七八九十")} | {"两": 2}
_BETWEEN = re.compile(r"[,，、;；\s和]+")


def sentence(texts: Texts, say: Say) -> str:
    """The sentence of a Say. A list of `lines` stands one a line, any other list is an enumeration."""
    values = {name: shown(texts, value, name) for name, value in say.values.items()}
    return texts.say(say.key, values)


def label(texts: Texts, choice: Choice) -> str:
    return choice.label if isinstance(choice.label, str) else sentence(texts, choice.label)


def shown(texts: Texts, value: Any, name: str = "") -> Any:
    """A value as it stands in the sentence under this name."""
    if isinstance(value, Say):
        return sentence(texts, value)
    if isinstance(value, list | tuple):
        between = "\n" if name == "lines" else texts.say("between")
        return between.join(str(shown(texts, item)) for item in value)
    return "" if value is None else value


def chosen(typed: str, options: tuple[str, ...], labels: dict[str, tuple[str, ...]], *, multi: bool) -> list[str]:
    """Which options a typed answer means: a digit (2, ２, 二), a label, one of its variants, the only label that
    begins so, or several of these ("1,3") where several may be chosen. Empty when it means none of them.
    """
    whole = _one(typed, options, labels)
    if whole is not None:
        return [whole]
    if not multi:
        return []
    parts = [_one(part, options, labels) for part in _BETWEEN.split(typed.strip()) if part]
    picked = [part for part in parts if part is not None]
    return list(dict.fromkeys(picked)) if parts and len(picked) == len(parts) else []


def _one(typed: str, options: tuple[str, ...], labels: dict[str, tuple[str, ...]]) -> str | None:
    word = plain(typed)
    if not word:
        return None
    number = _number(word)
    if number is not None:
        return options[number - 1] if 1 <= number <= len(options) else None
    for option in options:
        if word in {plain(text) for text in (option, *labels.get(option, ()))}:
            return option
    beginning = [
        option
        for option in options
        if len(word) >= 2 and any(plain(text).startswith(word) for text in (option, *labels.get(option, ())))
    ]
    return beginning[0] if len(beginning) == 1 else None


def _number(word: str) -> int | None:
    word = word.removeprefix("第").removesuffix("个")
    if word.isascii() and word.isdigit():
        return int(word) if len(word) <= 3 else None
    if word in _CHINESE_DIGITS:
        return _CHINESE_DIGITS[word]
    if len(word) == 2 and word[0] == "十" and word[1] in _CHINESE_DIGITS:
        return 10 + _CHINESE_DIGITS[word[1]]
    return None
