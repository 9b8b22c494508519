"""A span of local days in which something was promised."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Window:
    """First and last local day, a clock time "15:00" or a part of the day, and the words it came from."""

    first: date
    last: date
    time: str | None
    quote: str
