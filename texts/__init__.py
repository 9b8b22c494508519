"""Every sentence a person reads. A folder a language, a file a flow; keys are `file.table.key` without the file's name.

`say` fills a template; the accepted spoken variants of a label stand beside it in `variants.toml`.
"""

import tomllib
import unicodedata
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

LANGUAGES = ("zh-CN", "en")
DEFAULT = "zh-CN"


class Texts:
    """The sentences of one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._sentences: dict[str, str] = {}
        self._variants: dict[str, tuple[str, ...]] = {}
        for path in sorted((Path(__file__).parent / language.replace("-", "_")).glob("*.toml")):
            table = tomllib.loads(path.read_text(encoding="utf-8"))
            if path.stem == "variants":
                self._variants = {key: tuple(words) for key, words in _flat(table).items()}
            else:
                self._sentences.update(_flat(table))

    def say(self, key: str, values: Mapping[str, Any] | None = None) -> str:
        """The sentence of a key. KeyError where the key, or a value that it names, is missing."""
        return self._sentences[key].format_map(values or {})

    def knows(self, key: str) -> bool:
        return key in self._sentences

    def variants(self, key: str) -> tuple[str, ...]:
        """Other words people use for a label: 对 and 好的 for 确认."""
        return self._variants.get(key, ())

    def keys(self) -> frozenset[str]:
        return frozenset(self._sentences)

    def variant_keys(self) -> frozenset[str]:
        return frozenset(self._variants)

    def placeholders(self, key: str) -> frozenset[str]:
        return frozenset(name for _, name, _, _ in Formatter().parse(self._sentences[key]) if name)


@cache
def load(language: str) -> Texts:
    """The texts of a language; an unknown one reads Chinese."""
    return Texts(language if language in LANGUAGES else DEFAULT)


def plain(text: str) -> str:
    """Text as it is compared: full-width folded, case, spaces and end punctuation dropped. `２。` is `2`."""
    folded = unicodedata.normalize("NFKC", text).strip().lower()
    return folded.strip(" 。．.,，!！?？、~～;；:：").replace(" ", "")


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(_flat(value, name + "."))
        else:
            flat[name] = value
    return flat
