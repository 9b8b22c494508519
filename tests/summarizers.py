"""Plug-ins for the tests of the seam: one with rules of its own, and some that behave as badly as they can."""

import re
import sys
import threading
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from nlp.firm_words import FirmWords


class Regular:
    """Knows a few words of its own that the rules do not: 侬家车子快, 有点犹疑."""

    def summarize(self, text: str, at: datetime, words: FirmWords) -> Mapping[str, Any]:
        said: dict[str, Any] = {"quotes": {}}
        for name, value, pattern in (
            ("outcome", "won", "拍胸脯"),
            ("close_factor", "配送及时", "侬家车子快"),
            ("problem", "墙钟停摆", "墙钟停摆"),
        ):
            if re.search(pattern, text):
                said[name] = value
                said["quotes"][name] = pattern
        if "犹疑" in text:
            said["objections"] = ["price"]
            said["quotes"]["objections"] = ["犹疑"]
        return said


class Answering:
    """Says one fixed thing, whatever the note."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def summarize(self, text: str, at: datetime, words: FirmWords) -> Any:
        self.asked.append(text)
        return self.answer


class Hanging:
    """Never ends while `gate` is closed."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def summarize(self, text: str, at: datetime, words: FirmWords) -> Mapping[str, Any]:
        self.gate.wait()
        return {}


class Raising:
    def summarize(self, text: str, at: datetime, words: FirmWords) -> Mapping[str, Any]:
        raise RuntimeError(f"a secret of the note: {text}")


class Leaving:
    def summarize(self, text: str, at: datetime, words: FirmWords) -> Mapping[str, Any]:
        sys.exit(3)


class Odd:
    """Gives what is no plain data."""

    def summarize(self, text: str, at: datetime, words: FirmWords) -> Mapping[str, Any]:
        return {"outcome": date(2026, 11, 23), "quotes": {}}


def not_one() -> object:
    return object()


def broken() -> object:
    raise ValueError("no model file")
