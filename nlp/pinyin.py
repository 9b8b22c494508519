"""Syllables that a recogniser (or a 绍兴 accent) confuses count as near."""

from functools import cache

from nlp.dictionaries import dictionaries

_INITIALS = (("zh", "z"), ("ch", "c"), ("sh", "s"), ("hu", "f"), ("l", "n"), ("r", "n"))
SAME_WORD, SAME_SOUND, NEAR_SOUND = 1.0, 0.95, 0.8


def syllables(text: str) -> list[str]:
    """One entry a character: its pinyin without tone, or the character itself. Read by words, so 行 in 银行 is hang."""
    return dictionaries().sounds(text)


@cache
def blurred(syllable: str) -> str:
    """The syllable with zh=z, ch=c, sh=s, ng=n, l=n, hu=f: what cannot be told apart by ear."""
    for full, short in _INITIALS:
        if syllable.startswith(full):
            syllable = short + syllable[len(full) :]
            break
    return syllable.removesuffix("g") if syllable.endswith("ng") else syllable


def likeness(char: str, sound: str, other: str, other_sound: str) -> float:
    """1 the same character, .95 the same sound, .8 easily confused, 0 different."""
    if char == other:
        return SAME_WORD
    if sound == other_sound:
        return SAME_SOUND
    return NEAR_SOUND if blurred(sound) == blurred(other_sound) else 0.0
