"""Every table into a folder: one workbook with a sheet a table, and a CSV file a table. Whole, or not at all."""

import csv
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reports.columns import COLUMNS
from reports.firm_rows_out import Cell, Known, all_tables, known
from reports.sheets import CSV_QUOTING, csv_cell, defused
from storage.database import Work
from texts import Texts

if TYPE_CHECKING:
    from openpyxl import Workbook
    from openpyxl.worksheet._write_only import WriteOnlyWorksheet

WORKBOOK: Final = "全部.xlsx"
_MOST_ROWS = 1_048_576  # of a sheet, by the format; a CSV holds any number


class WouldOverwrite(Exception):
    """The folder holds something. `foreign`: files that are none of ours, which not even force removes."""

    def __init__(self, folder: Path, foreign: tuple[str, ...]) -> None:
        super().__init__(str(folder))
        self.folder, self.foreign = folder, foreign


def export_firm(
    work: Work,
    folder: Path,
    texts: Texts,
    time_zone: str,
    *,
    force: bool = False,
    days: tuple[date, date] | None = None,
    only_csv: bool = False,
    progress: Callable[[str, int], None] = lambda table, rows: None,
) -> dict[str, int]:
    """Write everything to `folder` and return the rows of each table. Raises WouldOverwrite.

    With `days` (first and last local day) of what happens day by day only that, and the firm's own tables whole. A
    workbook takes ten times as long as the CSV files, hence `only_csv`. It is written beside the folder and put in its
    place when complete. `progress` gets (table, its rows) as each table is done.
    """
    may_write(folder, force=force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    arriving = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        counts = _write_all(work, arriving, known(work, texts, time_zone, days), progress, only_csv=only_csv)
        _put_in_place(arriving, folder)
    finally:
        shutil.rmtree(arriving, ignore_errors=True)
    return counts


def may_write(folder: Path, *, force: bool) -> None:
    """Raises WouldOverwrite unless the folder is new or empty, or holds an earlier export that force gives up."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise WouldOverwrite(folder, (folder.name,))
    ours = {WORKBOOK, *(f"{name}.csv" for name in COLUMNS)}
    there = {path.name for path in folder.iterdir()}
    if there and (not force or there - ours):
        raise WouldOverwrite(folder, tuple(sorted(there - ours)))


def _write_all(
    work: Work, folder: Path, names: Known, progress: Callable[[str, int], None], *, only_csv: bool
) -> dict[str, int]:
    book = None if only_csv else _workbook()
    counts: dict[str, int] = {}
    try:
        for table, read in all_tables().items():
            rows = _counted(read(work, names), table, counts)
            _write_table(folder / f"{table}.csv", None if book is None else book.create_sheet(table), table, rows)
            progress(table, counts[table])
        if book is not None:
            book.save(folder / WORKBOOK)
    except BaseException:
        if book is not None:
            _throw_away(book)
        raise
    return counts


def _workbook() -> "Workbook":
    from openpyxl import Workbook  # noqa: PLC0415  half a second, only here

    return Workbook(write_only=True)


def _throw_away(book: "Workbook") -> None:
    """A sheet left open complains when it is thrown away."""
    from openpyxl.utils.exceptions import WorkbookAlreadySaved  # noqa: PLC0415  as above

    for sheet in book.worksheets:
        with suppress(WorkbookAlreadySaved):
            sheet.close()


def _write_table(
    csv_file: Path, sheet: "WriteOnlyWorksheet | None", table: str, rows: Iterable[tuple[Cell, ...]]
) -> None:
    if sheet is not None:
        sheet.freeze_panes = "A2"
        sheet.append(list(COLUMNS[table]))
        rows = _also_into(sheet, rows)
    with csv_file.open("w", encoding="utf-8", newline="", buffering=1 << 20) as file:
        file.write("\ufeff")  # by which Excel knows UTF-8; the codec that writes it by itself is slow
        writer = csv.writer(file, quoting=CSV_QUOTING)
        writer.writerow(COLUMNS[table])
        # Moments, days, numbers and what is not there the writer writes itself, as ISO has them.
        writer.writerows([csv_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)


def _also_into(sheet: "WriteOnlyWorksheet", rows: Iterable[tuple[Cell, ...]]) -> Iterator[tuple[Cell, ...]]:
    for number, row in enumerate(rows, 2):
        if number <= _MOST_ROWS:
            sheet.append(list(_xlsx_cells(sheet, row)))
        yield row


def _counted(rows: Iterable[tuple[Cell, ...]], table: str, counts: dict[str, int]) -> Iterator[tuple[Cell, ...]]:
    counts[table] = 0
    for row in rows:
        counts[table] += 1
        yield row


def _xlsx_cells(sheet: "WriteOnlyWorksheet", row: Iterable[Cell]) -> Iterator[object]:
    """Text stays text, whatever it looks like: openpyxl would make a formula of "=1+1" and an error of "#N/A"."""
    from openpyxl.cell import WriteOnlyCell  # noqa: PLC0415  half a second, only here
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE  # noqa: PLC0415

    for value in row:
        if not isinstance(value, str):
            yield value
            continue
        text = ILLEGAL_CHARACTERS_RE.sub("", value)
        cell = WriteOnlyCell(sheet, value=text)
        cell.data_type = "s"
        if defused(text) != text:
            cell.quotePrefix = True  # so that it stays text when somebody edits the cell
        yield cell


def _put_in_place(arriving: Path, folder: Path) -> None:
    for file in arriving.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    if not folder.exists():
        arriving.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    folder.rename(old / folder.name)
    arriving.rename(folder)
    shutil.rmtree(old)
