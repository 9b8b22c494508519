"""What the firm sells, and who sells something like it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Product:
    """`price_fen` is the list price of the first unit in fen (1/100 yuan), or None where the list has none."""

    code: str
    name: str
    aliases: tuple[str, ...]
    line: str
    spec: str
    units: tuple[str, ...]
    price_fen: int | None
    is_new: bool


@dataclass(frozen=True, slots=True)
class Competitor:
    name: str
    line: str
