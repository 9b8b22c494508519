"""Which outlet is meant: names matched by sound, shortened and misheard as reps and recognisers do.

A name is laid along the text syllable by syllable (pypinyin; zh=z, ng=n, l=n …), parts of the name may be
left out (马山食堂 is 马山工业区食堂), and general words (饭店, 食堂, 区) weigh little, because they tell no outlets
apart. Matching on sound finds 94–97 % of misheard names where characters find 66 %.
Only outlets that share two neighbouring syllables with the text are looked at, so a list of thousands costs little.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nlp.firm_words import OutletWords
from nlp.patterns import regex
from nlp.pinyin import blurred, likeness, syllables

KINDS = (
    "茶餐厅", "大排档", "农家乐", "便利店", "火锅城", "火锅店", "小吃店", "早餐店", "烧烤店", "烘焙店", "黄酒饭店",
    "大饭店", "大酒店", "酒店", "酒家", "酒楼", "饭店", "饭庄", "饭馆", "面馆", "餐馆", "餐厅", "食堂", "快餐",
    "超市", "商行", "总店", "分店", "火锅", "烧烤", "小吃", "小厨", "茶楼", "宾馆", "面店", "小卖部", "店", "馆",
    "城", "楼",
)  # fmt: skip
_PLACE_WORDS = ("风景区", "工业区", "开发区", "古镇", "市场", "街道", "路", "区", "镇", "县", "市", "街")
_LIGHT = 0.2
"""Weight of a syllable in a general word, against 1 for any other."""
_STREET = 0.5
"""Weight of a syllable of the street in front of the name (鲁迅路阿福面馆)."""
_ENOUGH = 0.5
_MANY = 4
"""Syllables heard that make a light name enough: 鲁迅路那家面馆."""
_MARGIN = 0.12
_NEAR_BONUS = 0.06
_SKIP_IN_TEXT = 0.7
_MAX_SKIP = 3
_ASIDE = regex(r"(?:隔壁|旁边|对面|边上|像|跟着|不是|不去|介绍)(?:就?是)?$")
_ASIDE_AFTER = regex(
    r"(?:隔壁|旁边|对面|没人|介绍|不是)|，(?:哦|噢)?(?:不对|不是|说错了?|错了|搞错了?|记错了?)(?:，|是)"
)
_ARRIVED = regex(r"(?:^|[，。；！？、 ]|去了?|在|到了?|跑完|跑了|是|从|给|跟|找|那家|这家|今天|拜访了?|来了?)$")
_CALLED = regex(r"(?:^|[，。](?:今天|刚)?|去了?|到了?|跑了|在|从|今天|一下|给)$")
"""In front of a short kind that stands for an outlet (烧烤那家, 盘了一下快餐的库存) …"""
_CALLED_SO = regex(
    r"(?:那边|那家|那里|这边|这家|店|他们|今[天年]|去年|上次|又|说|[要订补]了|"
    r"的?(?:老板|采购|厨师|大厨|店长|经理|库存|会计|财务|师傅|服务员))"
)
""" … and behind it: 烧烤生意 and 火锅底料 name no outlet."""
_PIECE = 3
"""Characters of a name that make it known when no other outlet has them (腊味馆)."""
_SPOKEN_KIND = regex(r"(?:" + "|".join(KINDS) + ")")


@dataclass(frozen=True, slots=True)
class OutletMatch:
    code: str
    start: int
    end: int
    score: float
    """0 to 1: the weight of the name that was heard, by how sure its sounds are."""


@dataclass(frozen=True, slots=True)
class _Name:
    code: str
    text: str
    sounds: tuple[str, ...]
    weights: tuple[float, ...]
    kind: str


class OutletNames:
    """The outlets of a firm, ready to be found in a text."""

    def __init__(self, outlets: Iterable[OutletWords]) -> None:
        self._names = [_name(outlet.code, text) for outlet in outlets for text in (outlet.name, *outlet.aliases)]
        self._by_pair: dict[tuple[str, str], set[int]] = defaultdict(set)
        kinds = {name.kind for name in self._names if len(name.kind) >= 2}
        self._only_of_kind = {kind for kind in kinds if len(self._codes_with(kind)) == 1}
        for number, name in enumerate(self._names):
            for place in range(len(name.text) - 1):
                if max(name.weights[place : place + 2]) > _LIGHT or name.kind in self._only_of_kind:
                    self._by_pair[_pair(name.sounds, place)].add(number)

    def _codes_with(self, piece: str) -> set[str]:
        return {name.code for name in self._names if piece in name.text}

    def find(self, text: str, near: Sequence[str] = (), hidden: Sequence[tuple[int, int]] = ()) -> list[OutletMatch]:
        """Matches, the outlet that is meant first; empty when none is near enough. `hidden` spans are other words."""
        shown = list(text)
        for start, end in hidden:
            shown[start:end] = "■" * (end - start)
        return self._ranked("".join(shown), near)

    def meant(self, matches: Sequence[OutletMatch]) -> OutletMatch | None:
        """The first match, unless another outlet fits the words as well: then the rep must be asked."""
        if not matches or matches[0].score < _ENOUGH:
            return None
        best = matches[0]
        rivals = (match for match in matches[1:] if match.code != best.code and _overlap(match, best))
        return None if any(best.score - rival.score < _MARGIN for rival in rivals) else best

    def _ranked(self, text: str, near: Sequence[str]) -> list[OutletMatch]:
        sounds = syllables(text)
        numbers: set[int] = set()
        for place in range(len(text) - 1):
            numbers |= self._by_pair.get(_pair(sounds, place), set())
        best: dict[str, OutletMatch] = {}
        for number in sorted(numbers):
            name = self._names[number]
            match = self._match(name, text, sounds)
            if match is None:
                continue
            bonus = _NEAR_BONUS if name.code in near else 0.0
            match = OutletMatch(match.code, match.start, match.end, min(1.0, match.score + bonus))
            if name.code not in best or best[name.code].score < match.score:
                best[name.code] = match
        return sorted(best.values(), key=lambda match: (_is_aside(text, match), -round(match.score, 1), match.start))

    def _is_known_by(self, text: str, start: int, end: int, name: _Name) -> bool:
        """Said by a piece of its name that no other outlet has: 腊味馆, 茶餐厅, 烧烤那家."""
        piece = text[start:end]
        if len(piece) < _PIECE:
            called = _CALLED.search(text[:start]) and _CALLED_SO.match(text, end)
            return bool(called) and name.text.endswith(piece) and len(self._codes_with(piece)) == 1
        if len(piece) < _PIECE or piece not in name.text or not _ARRIVED.search(text[:start]):
            return False
        return piece in self._only_of_kind if piece == name.kind else len(self._codes_with(piece)) == 1

    def _match(self, name: _Name, text: str, sounds: list[str]) -> OutletMatch | None:
        heard = _align(name, text, sounds)
        if heard is None:
            return None
        score, start, end, same, count = heard
        total = sum(name.weights)
        share = score / total
        if share < 0.75 and same * 2 < count and count < 3:
            return None
        if share < _ENOUGH + 0.05 and self._is_known_by(text, start, end, name):
            share = _ENOUGH + 0.05
        if count >= _MANY and share > _ENOUGH * 0.85:
            share = max(share, _ENOUGH)
        if share < _ENOUGH * 0.6 or _another_kind(name, text, end):
            return None
        return OutletMatch(name.code, start, end, share)


def _name(code: str, text: str) -> _Name:
    weights = [1.0] * len(text)
    for word in (*KINDS, *_PLACE_WORDS):
        at = text.find(word, 1)
        while at > 0:
            # A one-character word is general only at the end of the name or of a place: 城 in 越城 is not.
            if len(word) > 1 or at + 1 == len(text) or word in "路区镇县市":
                weights[at : at + len(word)] = [_LIGHT] * len(word)
            at = text.find(word, at + 1)
    street = re.match(r".{1,3}路", text)
    if street and len(text) > street.end() + 2:
        # Where it lies, which is often left out, and which neighbours share.
        weights[: street.end() - 1] = [_STREET] * (street.end() - 1)
    if all(weight == _LIGHT for weight in weights):
        weights = [1.0] * len(text)
    kind = next((word for word in KINDS if text.endswith(word)), "")
    return _Name(code, text, tuple(syllables(text)), tuple(weights), kind)


def _pair(sounds: Sequence[str], place: int) -> tuple[str, str]:
    return blurred(sounds[place]), blurred(sounds[place + 1])


def _align(name: _Name, text: str, sounds: list[str]) -> tuple[float, int, int, int, int] | None:
    """The best place of the name in the text: (weight heard, start, end, same characters, syllables heard).

    Walks the name once per starting syllable: each next name syllable is taken at the next text position, or after
    skipping at most a few text characters at a cost; name syllables may be left out.
    """
    best: tuple[float, int, int, int, int] | None = None
    firsts = sorted({*range(min(len(name.text), 5)), len(name.text) - max(len(name.kind), 1)})
    for start in range(len(text)):
        for first in firsts:
            if not likeness(text[start], sounds[start], name.text[first], name.sounds[first]):
                continue
            heard = _walk(name, text, sounds, start, first)
            # A single syllable is no name, however distinctive.
            if heard[4] > 1 and (best is None or (heard[0], heard[3]) > (best[0], best[3])):
                best = heard
    return best


def _walk(name: _Name, text: str, sounds: list[str], start: int, first: int) -> tuple[float, int, int, int, int]:
    score, same, count, end = 0.0, 0, 0, start
    place = first
    position = start
    while position < len(text) and position - end <= _MAX_SKIP:
        step = next(
            (
                (other, like)
                for other in range(place, len(name.text))
                if (like := likeness(text[position], sounds[position], name.text[other], name.sounds[other]))
            ),
            None,
        )
        if step is None or text[position] in "，。；！？■":
            if text[position] in "，。；！？■":
                break
            position += 1
            continue
        other, like = step
        skipped = position - end if count else 0
        gained = name.weights[other] * like - (_SKIP_IN_TEXT * skipped if skipped else 0.0)
        if gained <= 0 and skipped:
            position += 1
            continue
        score, count, end, place = score + gained, count + 1, position + 1, other + 1
        same += like == 1.0
        position += 1
    return score, start, end, same, count


def _another_kind(name: _Name, text: str, end: int) -> bool:
    """越城饭店 is not 越城小厨: what follows the heard part names another kind of shop."""
    kind = _SPOKEN_KIND.match(text, end)
    return bool(kind) and kind is not None and kind[0] not in name.text and len(kind[0]) > 1


def _is_aside(text: str, match: OutletMatch) -> bool:
    """Named only to say what it is not or lies next to: 隔壁就是绍兴饭店, 不是胜利路火锅城."""
    return bool(_ASIDE.search(text[: match.start]) or _ASIDE_AFTER.match(text, match.end))


def _overlap(one: OutletMatch, other: OutletMatch) -> bool:
    return one.start < other.end and other.start < one.end
