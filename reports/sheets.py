"""A table as operations people hand it over: CSV in the encodings Excel writes in China, or the first sheet of an xlsx.

Also the guard against cells that a spreadsheet would run as a formula: `defused` and `csv_cell` going out,
`from_csv_cell` coming in.
"""

import csv
import io
import re
import zipfile
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import ParseError

MAX_BYTES = 50 * 1024 * 1024

# What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection), behind any number of apostrophes, and
# of blanks, which some importers cut off.
_RUNS = re.compile(r"[' ]*[=+\-@\t\r\n＝＋－＠]")
_MAY_RUN = frozenset("' =+-@\t\r\n＝＋－＠")  # what such a beginning begins with: most text is told apart by one look
# A spreadsheet that expects another separator than the comma (Excel does in half of Europe) splits a line at every one,
# and at line ends: quotes that do not stand at the beginning of what it takes for a cell mean nothing to it.
_RUNS_BEHIND = re.compile(r"([;\t\r\n])(?=[ \"']*[=+\-@＝＋－＠])")
_DEFUSED_BEHIND = re.compile(r"([;\t\r\n])'(?=[ \"']*[=+\-@＝＋－＠])")
CSV_QUOTING: Final = csv.QUOTE_NONNUMERIC  # what takes several separators at once splits text without quotes
_NOT_SHOWN = re.compile(r"[\u200b-\u200f\u2060\ufeff\x00-\x08\x0b\x0c\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class Sheet:
    """`rows` are (line in the file from 1, cells by column name); blank rows are left out."""

    header: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]


class Unreadable(Exception):
    """A file that holds no table. `reason`: encoding, broken, empty, too_big, too_many_cells.

    `line` counts from 1; 0 is the whole file.
    """

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.line = reason, line


def read_sheet(path: Path) -> Sheet:
    """The table in a .csv or .xlsx file, every cell as text. Raises Unreadable."""
    if path.stat().st_size > MAX_BYTES:
        raise Unreadable("too_big")
    lines = _xlsx(path) if path.suffix.lower() == ".xlsx" else _csv(path.read_bytes())
    filled = [(number, cells) for number, cells in lines if any(cells)]
    if not filled:
        raise Unreadable("empty")
    header = tuple(filled[0][1])
    while header and not header[-1]:
        header = header[:-1]
    rows = []
    for number, cells in filled[1:]:
        if any(cells[len(header) :]):
            raise Unreadable("too_many_cells", number)
        padded = [*cells, *[""] * (len(header) - len(cells))]
        rows.append((number, dict(zip(header, padded, strict=False))))
    return Sheet(header, tuple(rows))


def defused(text: str) -> str:
    """Text that no spreadsheet runs: an apostrophe in front of what begins like a formula."""
    return f"'{text}" if text[:1] in _MAY_RUN and _RUNS.match(text) else text


def undefused(text: str) -> str:
    """What was there before `defused`."""
    return text[1:] if text.startswith("'") and _RUNS.match(text) else text


def csv_cell(text: str) -> str:
    """Text as it stands in our CSV files: `defused`, and wherever another separator would begin a cell too."""
    if text[:1] in _MAY_RUN:
        text = defused(text)
    if ";" in text or "\n" in text or "\t" in text or "\r" in text:  # of millions of cells hardly one has them
        return _RUNS_BEHIND.sub(r"\1'", text)
    return text


def from_csv_cell(text: str) -> str:
    """What was there before `csv_cell`, without what cannot be seen."""
    return undefused(_cell(_DEFUSED_BEHIND.sub(r"\1", text)))


def _csv(data: bytes) -> list[tuple[int, list[str]]]:
    text = _decoded(data)
    first = text.partition("\n")[0]
    delimiter = max(",\t;", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines, begins = [], 1
    try:
        for cells in reader:
            lines.append((begins, [from_csv_cell(cell) for cell in cells]))
            begins = reader.line_num + 1
    except csv.Error:
        raise Unreadable("broken", begins) from None
    return lines


def _decoded(data: bytes) -> str:
    """UTF-8 with or without BOM, UTF-16 with BOM (Excel's "Unicode text"), else GB18030."""
    encodings = ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "gb18030")
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Unreadable("encoding")


def _xlsx(path: Path) -> list[tuple[int, list[str]]]:
    from openpyxl import load_workbook  # noqa: PLC0415  half a second, only for xlsx
    from openpyxl.utils.exceptions import InvalidFileException  # noqa: PLC0415

    try:
        book = load_workbook(path, read_only=True, data_only=True)
        try:
            rows = book.worksheets[0].iter_rows(values_only=True)
            return [(number, [_cell(_text(value)) for value in row]) for number, row in enumerate(rows, 1)]
        finally:
            book.close()
    except (InvalidFileException, zipfile.BadZipFile, ParseError, KeyError, ValueError, IndexError, OSError):
        raise Unreadable("broken") from None


def _text(value: Any) -> str:
    """A cell's value as it would be typed."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _cell(text: str) -> str:
    return _NOT_SHOWN.sub("", text).strip()
