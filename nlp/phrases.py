"""Vague words of customers to checkable actions, by the firm's own rules (再考虑下 opens three actions)."""

import re
from collections.abc import Sequence
from itertools import zip_longest

from nlp.firm_words import PhraseRule
from nlp.patterns import regex

_SOFT = regex(r"再|一下|下|看看|看|了|吧|嘛|一")
_DOUBLED = regex(r"(.{1,2})\1")
_REFUSED = regex(r"(?:不用|没有?|别|不|无需|不必)$")


def find_actions(text: str, rules: Sequence[PhraseRule]) -> dict[str, str]:
    """Actions of every rule whose phrase was said, in whatever soft form (考虑考虑), with what proves each."""
    said = _core(text)
    actions: dict[str, str] = {}
    for rule in rules:
        if any(_was_said(phrase, text) or _was_said(_telling_core(phrase), said) for phrase in rule.phrases):
            for action, proof in zip_longest(rule.actions, rule.evidence[: len(rule.actions)], fillvalue=""):
                actions[action] = actions.get(action) or proof
    return actions


def _core(text: str) -> str:
    return _DOUBLED.sub(r"\1", _SOFT.sub("", text))


def _telling_core(phrase: str) -> str:
    """The core of a phrase, where enough of it is left to tell: of 再想想 only 想 remains, which 想要 holds too."""
    core = _core(phrase)
    return core if len(core) >= 2 else ""


def _was_said(phrase: str, said: str) -> bool:
    if not phrase:
        return False
    return any(not _REFUSED.search(said[: match.start()]) for match in re.finditer(re.escape(phrase), said))
