"""config.toml as people write it.

The file is TOML. TOML wants Chinese keys in quotes, and Chinese keyboards type ＝ “ ” ： and full-width digits; a line
with such slips is mended before it is read, so that nobody has to know. Everything else is refused with its line.
"""

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_KEY_LINE = re.compile(r"""^\s*(?P<key>"[^"]*"|'[^']*'|“[^”]*”|[^\s"'“#＃=＝\[［【]+)\s*[=＝](?P<value>.*)$""")
_HEADER = re.compile(r"""^\s*(?P<open>[\[［【]{1,2})\s*(?P<name>[^\]］】]+?)\s*[\]］】]{1,2}\s*(?:[#＃].*)?$""")
_WHERE = re.compile(r"at line (\d+)")
_BARE_TIME = re.compile(r"\d{1,2}:\d{2}")
_QUOTES = "\"'“”"
_FOLDED = {"、": ",", "，": ",", "。": ".", "【": "[", "】": "]", "＃": "#"}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the settings: a text key under `settings.` and what to fill in."""

    key: str
    values: Mapping[str, Any] = field(default_factory=dict)


class SettingsRefused(Exception):
    """The settings cannot be used; `problems` says everything that is wrong, not only the first thing."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(", ".join(problem.key for problem in problems))
        self.problems = problems


def parse(text: str) -> dict[str, Any]:
    """The tables of a config file. Raises SettingsRefused with the line that cannot be read."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        mended = "\n".join(_mend(line) for line in text.splitlines())
    try:
        return tomllib.loads(mended)
    except tomllib.TOMLDecodeError as error:
        lines = text.splitlines() or [""]
        found = _WHERE.search(str(error))
        number = min(int(found[1]), len(lines)) if found else len(lines)
        shown = re.split("[=＝]", lines[number - 1])[0].strip()[:40]  # never the value, it may be a secret
        values = {"line": number, "text": shown, "detail": str(error)}
        raise SettingsRefused((Problem("settings.unreadable", values),)) from None


def line_of(text: str, table: str, key: str) -> int:
    """The line (from 1) on which a key of a table stands, or the table's own line, or 0."""
    here, table_line = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            here = _bare(header["name"])
            if here == (table or key):
                table_line = table_line or number
        elif here == table and (entry := _KEY_LINE.match(line)) and _bare(entry["key"]) == key:
            return number
    return table_line


def _mend(line: str) -> str:
    if header := _HEADER.match(line):
        brackets = len(header["open"])
        return "[" * brackets + _quoted(header["name"]) + "]" * brackets
    if entry := _KEY_LINE.match(line):
        return f"{_quoted(entry['key'])} = {_mend_value(entry['value'])}"
    return _mend_value(line)


def _quoted(name: str) -> str:
    """A key with every part in quotes; `语音.模型` has two parts."""
    if name[0] in _QUOTES:
        return f'"{_bare(name)}"'
    return ".".join(f'"{part.strip()}"' for part in name.replace("．", ".").split("."))


def _bare(name: str) -> str:
    return name.strip().strip(_QUOTES)


def _mend_value(value: str) -> str:
    """Signs and digits folded outside of strings, curly quotes straightened, the comment left out."""
    mended = "".join(_folded(value)).strip()
    return f'"{mended}"' if _BARE_TIME.fullmatch(mended) else mended


def _folded(value: str) -> Iterator[str]:
    closing, escaped = "", False
    for char in value:
        if closing:
            ends = char in closing and not escaped
            escaped = char == "\\" and not escaped
            yield ('"' if '"' in closing else "'") if ends else char
            closing = "" if ends else closing
        elif char in "#＃":
            return
        elif char in _QUOTES:
            closing = {"'": "'", '"': '"'}.get(char, '“”"')
            yield "'" if char == "'" else '"'
        else:
            yield _FOLDED.get(char) or unicodedata.normalize("NFKC", char)
