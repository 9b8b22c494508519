"""One row of a table that operations people filled in, read cell by cell; what is wrong is noted, not raised."""

import difflib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from rules.places import Point

# A box around China, for telling a slip from a place; degrees.
_LAT, _LON = (3.0, 54.0), (73.0, 136.0)
_DATE = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?: 0{1,2}:00(?::00)?)?")
_EXCEL_DAY_0 = date(1899, 12, 30)
_BETWEEN = re.compile(r"[|｜,，、;；/]")
_LENGTHS = {
    "编码": 40,
    "工号": 40,
    "企业微信账号": 64,
    "名称": 120,
    "姓名": 80,
    "竞品名称": 80,
    "规格": 80,
    "其他": 40,
    "长文": 500,
}
_LONG = frozenset({"地址", "配送要求"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RowProblem:
    """What is wrong in one place. `line` is 0 for a whole file, `column` empty for a whole row.

    `key` is a text key under `import_problem.`, `values` what to fill in.
    """

    file: str
    line: int
    column: str
    key: str
    values: Mapping[str, Any] = field(default_factory=dict)


class Row:
    """One row being read: each reader gives a value, or notes a problem and gives what keeps the reading going."""

    def __init__(self, file: str, line: int, cells: Mapping[str, str], problems: list[RowProblem]) -> None:
        self._file, self._line, self._cells, self._problems = file, line, cells, problems

    def refuse(self, column: str, key: str, **values: Any) -> None:
        self._problems.append(RowProblem(self._file, self._line, column, key, values))

    def has(self, column: str) -> bool:
        """Whether the file has this column at all."""
        return column in self._cells

    def text(self, column: str, *, needed: bool = False) -> str:
        value = re.sub(r"\s+", " ", self._cells[column])
        longest = _longest(column)
        if needed and not value:
            self.refuse(column, "empty_cell")
        if len(value) > longest:
            self.refuse(column, "too_long", longest=longest, length=len(value))
        return value

    def code(self, column: str, *, needed: bool = False) -> str:
        """Full-width letters and digits count as the plain ones."""
        return folded(self.text(column, needed=needed)).replace(" ", "")

    def words(self, column: str) -> tuple[str, ...]:
        parts = (part.strip() for part in _BETWEEN.split(self._cells[column]))
        return tuple(dict.fromkeys(part for part in parts if part))

    def one_of(self, column: str, choices: Mapping[str, T], default: T) -> T:
        value = folded(self._cells[column])
        for word in (value, value.upper()):
            if word in choices:
                return choices[word]
        names = [name for name in choices if name]
        near = difflib.get_close_matches(value, names, 1, cutoff=0.4)
        self.refuse(column, "not_one_of", value=value, choices=near or names)
        return default

    def day(self, column: str) -> date | None:
        value = folded(self._cells[column])
        if not value:
            return None
        found = _DATE.fullmatch(value)
        try:
            if found:
                day = date(*map(int, found.groups()))
            elif re.fullmatch(r"[2-6]\d{4}", value):  # Excel's own count of days, in a cell without a date format
                day = _EXCEL_DAY_0 + timedelta(days=int(value))
            else:
                raise ValueError
            if not 1990 <= day.year <= 2100:
                raise ValueError
        except ValueError:
            self.refuse(column, "bad_date", value=value)
            return None
        return day

    def fen(self, column: str) -> int | None:
        """A price in fen. ¥ 1,268.00 元 is 126800."""
        value = re.sub(r"^(?:¥|RMB)|元$|[, ]", "", folded(self._cells[column]))
        if not value:
            return None
        try:
            fen = Decimal(value.replace("。", ".")) * 100
        except InvalidOperation:
            fen = Decimal(-1)
        if not fen.is_finite() or not 0 <= fen <= 10**9 or fen != fen.to_integral_value():
            self.refuse(column, "bad_price", value=self._cells[column])
            return None
        return int(fen)

    def point(self) -> Point | None:
        """纬度 and 经度 together; what lies outside of China is a slip."""
        lat, lon = self._degrees("纬度"), self._degrees("经度")
        if lat is None and lon is None:
            return None
        if lat is None or lon is None:
            column = "纬度" if lat is None else "经度"
            if not self._cells[column]:
                self.refuse(column, "half_a_point")
            return None
        if not (_within(lat, _LAT) and _within(lon, _LON)):
            swapped = _within(lon, _LAT) and _within(lat, _LON)
            self.refuse("纬度", "swapped" if swapped else "outside_china", lat=lat, lon=lon)
            return None
        return Point(lat, lon)

    def _degrees(self, column: str) -> float | None:
        value = folded(self._cells[column]).replace("。", ".").rstrip("°")
        if not value:
            return None
        if not re.fullmatch(r"-?\d{1,3}(?:\.\d+)?", value):
            self.refuse(column, "bad_degrees", value=self._cells[column])
            return None
        return float(value)


def folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip()


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def _longest(column: str) -> int:
    if column in _LONG:
        return _LENGTHS["长文"]
    for ending in (column, column[-2:]):
        if ending in _LENGTHS:
            return _LENGTHS[ending]
    return _LENGTHS["其他"]
