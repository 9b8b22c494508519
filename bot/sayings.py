"""The firm's own sayings between config.toml, which speaks Chinese (异议, 价格), and the rules, which know codes."""

from typing import Final

from nlp.cues import OBJECTIONS
from rules.limits import Saying
from rules.visit import Outcome
from texts import DEFAULT, load

FIELDS: Final = {
    "异议": "objections",
    "结果": "outcome",
    "本次成交关键因素": "close_factor",
    "未成交根因": "root_cause",
}
_LABELS: Final = {
    "objections": {load(DEFAULT).say(f"objection.{code}"): code for code in OBJECTIONS},
    "outcome": {load(DEFAULT).say(f"outcome.{outcome}"): outcome.value for outcome in Outcome},
}


def saying(title: str, means: str, words: tuple[str, ...]) -> Saying:
    """As config.toml says it to what the rules know; a close factor or root cause goes by the firm's own name."""
    field = FIELDS[title]
    return Saying(field, _LABELS.get(field, {}).get(means, means), words)


def in_chinese(saying: Saying) -> tuple[str, str]:
    """(栏目, 意思) of a saying."""
    title = next(title for title, field in FIELDS.items() if field == saying.field)
    labels = _LABELS.get(saying.field, {})
    return title, next((label for label, code in labels.items() if code == saying.means), saying.means)


def meanings(title: str, close_factors: tuple[str, ...], root_causes: tuple[str, ...]) -> tuple[str, ...]:
    """What a saying of this 栏目 may mean."""
    own = {"close_factor": close_factors, "root_cause": root_causes}
    field = FIELDS[title]
    return own[field] if field in own else tuple(_LABELS[field])
