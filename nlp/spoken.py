"""Spoken text made even: simplified, half-width, without fillers, every character traceable to where it was said."""

from dataclasses import dataclass
from functools import cache

import opencc

from nlp.numbers import HANZI_DIGITS
from nlp.patterns import regex

# 那个/这个 in front of a measure of time is a date (这个月), not a filler.
_SOUND = r"(?:[嗯呃唔欸诶]+[啊呀哦]?|(?:那个|这个)(?![月星礼周])|就是说|怎么说呢)"
# A filler between two commas takes one of them along, or both where the words run on (账期，呃，太短).
_FILLER = regex(
    rf"，(?:{_SOUND}[ \t\u3000]*)+，(?=[太偏蛮很]|有点|有些|[{HANZI_DIGITS}\d])|"
    rf"(?:^|(?<=[，。；！？]))(?:{_SOUND}[ \t\u3000]*)+，|{_SOUND}|"
    r"[ \t\u3000]+(?=[^\x00-\x7f])|(?<=[^\x00-\x7f])[ \t\u3000]+"
)
_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_HALF_WIDTH[ord("：")] = ord(":")
# Full-width marks that separate clauses keep their Chinese form: the patterns of this room are written with it.
for _mark in "，。；！？（）":
    _HALF_WIDTH.pop(ord(_mark), None)
_SAME = str.maketrans({",": "，", ";": "；", "!": "！", "?": "？", "\n": "。", "帐": "账", "臯": "皋"})

_THOUSANDS = regex(r"(?<=\d),(?=\d{3}(?!\d))")
"""The comma of 12,500, never the Chinese one, which parts clauses. Looked for in the words as written."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """`text` is what the rules read; `places[i]` is the offset of its i-th character in `original`."""

    original: str
    text: str
    places: tuple[int, ...]

    def quote(self, start: int, end: int) -> str:
        """The original words behind text[start:end]."""
        if start >= end:
            return ""
        return self.original[self.places[start] : self.places[end - 1] + 1]


@cache
def _to_simplified() -> opencc.OpenCC:
    return opencc.OpenCC("t2s")


def simplified(text: str) -> str:
    """Traditional characters to simplified ones, with the same number of characters."""
    whole = str(_to_simplified().convert(text))
    if len(whole) == len(text):
        return whole
    one_by_one = (str(_to_simplified().convert(char)) for char in text)
    return "".join(new if len(new) == 1 else old for new, old in zip(one_by_one, text, strict=True))


def even_out(text: str) -> str:
    """Simplified and half-width, same length: offsets stay valid."""
    return simplified(text.translate(_HALF_WIDTH)).translate(_SAME)


def read_spoken(original: str) -> Spoken:
    even = even_out(original)
    kept: list[int] = []
    done = 0
    gaps = sorted([*_FILLER.finditer(even), *_THOUSANDS.finditer(original)], key=lambda gap: gap.start())
    for filler in gaps:
        kept += range(done, filler.start())
        done = filler.end()
    kept += range(done, len(even))
    return Spoken(original, "".join(even[place] for place in kept), tuple(kept))
