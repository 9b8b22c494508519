"""The audit trail as a table: a CSV file under the firm's own column names, safe to open in a spreadsheet."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from reports.sheets import CSV_QUOTING, csv_cell
from rules.audit import CONSOLE, Entry
from rules.people import Employee
from texts import Texts

COLUMNS: Final = (
    "编号",
    "时间",
    "操作人工号",
    "操作人",
    "角色",
    "渠道",
    "操作",
    "涉及的人",
    "涉及的记录",
    "改前",
    "改后",
)


def lines(
    entries: Iterable[Entry], staff: Iterable[Employee], texts: Texts, time_zone: str
) -> Iterator[tuple[str, ...]]:
    """A row for each entry, in the order of COLUMNS, as plain words; times are local."""
    names, zone = {person.code: person.name for person in staff}, ZoneInfo(time_zone)
    for entry in entries:
        console = entry.role == CONSOLE
        yield (
            str(entry.id),
            f"{entry.at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
            entry.who,
            texts.say("seen.console") if console else names.get(entry.who, entry.who),
            texts.say("seen.console") if console else texts.say(f"web.role.{entry.role}"),
            texts.say("seen.console") if console else _channel(texts, entry.channel),
            texts.say(f"audit_action.{entry.action.value}"),
            "、".join(names.get(code, code) for code in entry.whose),
            "；".join(f"{_table(texts, name)} {_numbers(numbers)}" for name, numbers in (entry.rows or {}).items()),
            entry.old,
            entry.new,
        )


def write_csv(path: Path, rows: Iterable[tuple[str, ...]]) -> int:
    """Write the table where no file is yet; how many rows. Raises FileExistsError or OSError."""
    count = 0
    with path.open("x", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, quoting=CSV_QUOTING)
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([csv_cell(cell) for cell in row])
            count += 1
    return count


def _channel(texts: Texts, channel: str) -> str:
    return texts.say(f"channel.{channel}") if texts.knows(f"channel.{channel}") else channel


def _table(texts: Texts, name: str) -> str:
    return texts.say(f"audit_rows.{name}") if texts.knows(f"audit_rows.{name}") else name


def _numbers(numbers: tuple[int | str, ...]) -> str:
    return ", ".join(str(number) for number in numbers)
