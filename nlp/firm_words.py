"""The firm's own words that understanding needs: outlets, products, competitors, reasons and phrase rules."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutletWords:
    code: str
    name: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProductWords:
    code: str
    name: str
    aliases: tuple[str, ...]
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PhraseRule:
    """Vague words of a customer (再考虑下) and the checkable actions they open, from config.toml."""

    phrases: tuple[str, ...]
    actions: tuple[str, ...]
    evidence: tuple[str, ...] = ()
    """What proves each action, in their order; may be empty."""


@dataclass(frozen=True, slots=True)
class OwnWords:
    """Words of this firm's customers that mean something known, from config.toml (说法).

    `field` is objections, outcome, close_factor or root_cause; `means` is the code or the firm's name it stands for.
    """

    field: str
    means: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FirmWords:
    outlets: tuple[OutletWords, ...]
    products: tuple[ProductWords, ...]
    competitors: tuple[str, ...]
    close_factors: tuple[str, ...]
    root_causes: tuple[str, ...]
    phrase_rules: tuple[PhraseRule, ...] = ()
    own_words: tuple[OwnWords, ...] = ()
