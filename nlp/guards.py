"""Guards against text nobody said.

On silence and noise a Whisper model writes what often stood under silent pictures in its training data: subtitle
credits, channel begging, or its own prompt; on hard speech it repeats itself. Every guard here is a pure function.
Thresholds and where they come from: docs/voice.md.
"""

import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import opencc

from nlp.patterns import regex

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Below this root mean square (full scale is 1.0) a second holds no speech, only the noise of the recording.
SILENCE_RMS = 0.0025
# zlib ratio of UTF-8 bytes. Real Mandarin notes stay under 1.7; loops of three and more repeats lie above 2.4.
LOOP_COMPRESSION = 2.4
# Mean log probability of a token: true notes lie above -0.8, invented ones on foreign speech below -1.3.
UNSURE_LOGPROB = -1.0
# Characters of a note that are read; a minute of the fastest Mandarin has fewer than 500.
LONGEST_WORDS = 4096

# Nobody says these in a shop: cut out wherever they stand.
_CREDITS = regex(
    r"(?:请|請)?不吝点赞[\s，,、]*订阅[\s，,、]*转发(?:[\s，,、]*打赏支持?(?:明镜(?:与|和|跟)?点点栏目)?)?"
    r"|打赏支持明镜(?:与|和|跟)?点点栏目|明镜(?:与|和|跟)点点栏目"
    r"|(?:中文)?字幕(?:由|by|提供)?[\s:：]*Amara\.?org\s*(?:社[群区])?(?:提供)?"
    r"|(?:中文)?字幕(?:志愿者|制作|组|校对|翻译)[\s:：]*[^\s，。！？,!?]{0,12}"
    r"|字幕\s*by[\s:：]*[^\s，。！？,!?]{1,8}"
    r"|优优独播剧场[\s—–-]*(?:YoYo Television Series Exclusive)?|YoYo Television Series Exclusive"
    r"|(?:欢迎|请|记得)?订阅(?:我的|我们的|本)频道|词曲[\s:：]*李宗盛|(?:作词|作曲|编曲)[\s:：]*李宗盛"
    r"|(?:谢谢|感谢|多谢)(?:大家|您|你们|各位)?(?:的)?(?:观看|收看|收听)|MING PAO CANADA[^，。！？]*",
    re.IGNORECASE,
)
# These are dropped only when they are a whole clause: "请帮我转发" is something a shop owner may say.
_CREDIT_CLAUSES = frozenset(
    ("点赞", "订阅", "转发", "打赏", "请点赞", "请订阅", "谢谢大家", "下期再见", "我们下期再见", "我们下期节目再见")
)
_CLAUSE_END = "，。！？；、,!?;\n"
_CLAUSE = regex(rf"[^{_CLAUSE_END}]+[{_CLAUSE_END}]*|[{_CLAUSE_END}]+")
_BLANKS = r"[\s，。！？；、,.!?;]*"
# A count said twice ("八八八八") is a number, so a run of digits is never shortened.
_NOT_DIGIT = r"[^\d一二三四五六七八九十百千万零两幺]"
_LOOPS = (
    (regex(rf"({_NOT_DIGIT}{{1,3}}?)(?:{_BLANKS}\1){{5,}}"), r"\1"),
    (regex(rf"(.{{4,40}}?)(?:{_BLANKS}\1){{2,}}"), r"\1"),
    (regex(rf"(.{{8,60}}?)(?:{_BLANKS}\1)"), r"\1"),
)


def near_silent(samples: "NDArray[np.float32]", rate: int = 16_000) -> bool:
    """True when no second of the sound (shape (n,), full scale 1.0) is louder than SILENCE_RMS.

    The loudest second counts, not the mean: ten seconds of quiet pocket noise around one said sentence are speech.
    """
    import numpy as np  # noqa: PLC0415  20 MB, only where notes are heard

    if samples.size == 0:
        return True
    squares = np.square(samples, dtype=np.float64)
    starts = np.arange(0, samples.size, rate)
    lengths = np.diff(np.append(starts, samples.size))
    # A last piece shorter than half a second is weighed as half a second, so that a click does not count as speech.
    means = np.add.reduceat(squares, starts) / np.maximum(lengths, min(rate // 2, samples.size))
    return bool(np.sqrt(means.max()) < SILENCE_RMS)


def plain_words(text: str) -> str:
    """Words from outside as one line a database takes: at most LONGEST_WORDS, nothing unprintable, blanks single."""
    printable = "".join(char if char.isprintable() else " " for char in text[:LONGEST_WORDS])
    return " ".join(printable.split())


def believable(text: str) -> str:
    """Words another recogniser heard, through the guards that need no sound; empty when nothing is left of them."""
    return collapse_repeats(drop_credits(simplify(text).strip()))


def drop_credits(text: str) -> str:
    """The text without subtitle credits and channel begging; every other clause stays. Expects simplified script."""
    clauses = (clause.group() for clause in _CLAUSE.finditer(_CREDITS.sub("", text)))
    kept = [clause for clause in clauses if clause.strip(_CLAUSE_END + " .") not in _CREDIT_CLAUSES]
    cleaned = "".join(kept)
    if cleaned == text:
        return text
    cleaned = re.sub(rf"([{_CLAUSE_END}])\s*[{_CLAUSE_END}\s]+", r"\1", cleaned)
    return cleaned.strip().lstrip(_CLAUSE_END).strip()


def collapse_repeats(text: str) -> str:
    """Loops shortened to one turn: 8 or more characters twice running, 4 or more three times, 1-3 six times."""
    for pattern, once in _LOOPS:
        text = pattern.sub(once, text)
    return text


def compression(text: str) -> float:
    """How much zlib shrinks the UTF-8 bytes (>= 1 means shrinks), as Whisper computes it; 0 for no text."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0


def echoes_hints(text: str, names: Sequence[str]) -> bool:
    """True when the text is nothing but three or more of the names the model was given: it read its prompt aloud."""
    rest = text
    found = 0
    for name in sorted(filter(None, names), key=len, reverse=True):
        if name in rest:
            rest = rest.replace(name, " ")
            found += 1
    return found >= 3 and re.fullmatch(_BLANKS, rest) is not None


def simplify(text: str) -> str:
    """Traditional characters to simplified (OpenCC t2s). Simplified text comes back unchanged."""
    return str(_converter().convert(text))


@lru_cache(maxsize=1)
def _converter() -> opencc.OpenCC:
    return opencc.OpenCC("t2s")
