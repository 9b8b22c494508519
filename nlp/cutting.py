"""Words and clauses by jieba, which is used as a lexicon matcher: the firm's own words are always cut whole."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from nlp.dictionaries import dictionaries, quiet_jieba
from nlp.numbers import Quantity
from nlp.patterns import regex
from nlp.pinyin import blurred, syllables

_ALWAYS = 10_000_000
"""Word frequency that beats every other cut."""
# Where a new thought starts when a recogniser gave no punctuation.
_TURNS = frozenset(
    (
        "但是",
        "但",
        "不过",
        "可是",
        "只是",
        "然后",
        "后来",
        "另外",
        "而且",
        "所以",
        "因为",
        "就是",
        "还说",
        "现在",
        "今年",
        "这次",
        "这回",
    )
)
_MARKS = regex(r"[，。；！？…]+")


@dataclass(frozen=True, slots=True)
class Mention:
    start: int
    end: int
    code: str
    word: str
    sure: bool = True
    """False when it only sounds like the word."""


@dataclass(frozen=True, slots=True)
class Clause:
    start: int
    end: int


def load_tokenizer(words: Iterable[str]) -> Any:
    """A jieba tokenizer of its own, over the tables of nlp.dictionaries, with these words added."""
    tables = dictionaries()
    tokenizer = quiet_jieba().Tokenizer()
    tokenizer.FREQ, tokenizer.total, tokenizer.initialized = tables.counts(), tables.total, True
    for word in words:
        tokenizer.add_word(word, _ALWAYS)
    return tokenizer


class Lexicon:
    """Finds the firm's products and competitors, and cuts clauses."""

    def __init__(self, codes: Mapping[str, str], others: Iterable[str], lone: Iterable[str] = ()) -> None:
        """`codes`: word to code (several may share one); `others` are only kept whole.

        `lone` words never stand beside a quantity, so when misheard they are believed without one.
        """
        self._codes = dict(codes)
        self._lone = frozenset(lone)
        self._tokenizer = load_tokenizer([*codes, *others])
        self._sounds: dict[tuple[str, ...], str] = {}
        for word in sorted(codes, key=len):
            if len(word) > 1:
                self._sounds[tuple(map(blurred, syllables(word)))] = word

    def tokens(self, text: str) -> list[tuple[str, int, int]]:
        return list(self._tokenizer.tokenize(text, HMM=False))

    def clauses(self, text: str) -> list[Clause]:
        """Cut at punctuation and in front of words that turn the thought."""
        cuts = [0]
        for mark in _MARKS.finditer(text):
            cuts.append(mark.end())
        cuts += [start for token, start, _ in self.tokens(text) if token in _TURNS]
        edges = sorted({*cuts, len(text)})
        return [Clause(start, end) for start, end in pairwise(edges) if text[start:end].strip("，。；！？")]

    def mentions(self, text: str, quantities: Iterable[Quantity]) -> list[Mention]:
        """Words of the firm in order, then those that only sound like one."""
        found = [
            Mention(start, end, self._codes[token], token)
            for token, start, end in self.tokens(text)
            if token in self._codes
        ]
        taken = {place for mention in found for place in range(mention.start, mention.end)}
        found += self._misheard(text, taken, list(quantities))
        return sorted(found, key=lambda mention: mention.start)

    def _misheard(self, text: str, taken: set[int], quantities: list[Quantity]) -> list[Mention]:
        sounds = [blurred(sound) for sound in syllables(text)]
        edges = {quantity.start for quantity in quantities} | {quantity.end for quantity in quantities}
        found = []
        for length in sorted({len(key) for key in self._sounds}, reverse=True):
            for start in range(len(text) - length + 1):
                span = range(start, start + length)
                word = self._sounds.get(tuple(sounds[start : start + length]))
                if word is None or taken.intersection(span):
                    continue
                # Two syllables sound like many things (几块 is not 鸡块): they need a quantity beside them.
                beside = start in edges or start + length in edges
                common = self._is_common(text[start : start + length])
                if not common and (length > 2 or beside or word in self._lone):
                    found.append(Mention(start, start + length, self._codes[word], word, sure=False))
                    taken.update(span)
        return found

    def _is_common(self, text: str) -> bool:
        """Whether it is an ordinary word by itself, so hardly a misheard one."""
        return bool(self._tokenizer.FREQ.get(text, 0)) or not re.fullmatch(r"[\u4e00-\u9fff]+", text)
