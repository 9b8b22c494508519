"""Writing the made-up firm into an empty database, piece by piece, so that memory stays flat whatever its size."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from bot.simulated import names
from bot.simulated.firm import Rep, SimulatedFirm
from bot.simulated.visits import Rows, rows_of
from storage import simulated
from storage.database import Database

REPS_AT_A_TIME = 250
OUTLETS_AT_A_TIME = 10_000
_TABLES = ("visit", "place", "photo", "photo_pieces", "note", "visit_change", "confirmation", "follow_up")


def write_firm(
    database: Database, firm: SimulatedFirm, now: Callable[[], datetime], progress: Callable[[int], None]
) -> dict[str, int]:
    """Everything, marked as whole at the very end; the rows of each table. `progress` gets the steps done: see `steps`.

    Broken off, the database says that it is not whole.
    """
    simulated.begin(database, firm.plan.to_plain(), now())
    counts: dict[str, int] = {}
    for rows in _people(firm):
        _write(database, rows, counts)
    outlets = ((*row[:9], "", "[]", row[9]) for row in firm.outlet_rows())
    while chunk := list(islice(outlets, OUTLETS_AT_A_TIME)):
        _write(database, {"outlet": chunk}, counts)
    progress(1)
    for day in range(firm.plan.days):
        for first in range(0, firm.plan.reps, REPS_AT_A_TIME):
            chunk_of_reps = firm.reps[first : first + REPS_AT_A_TIME]
            _write(database, _of_day(firm, chunk_of_reps, day), counts)
            progress(len(chunk_of_reps))
    for _, statement in simulated.finishing(database):
        simulated.finish(database, statement)
        progress(_weight(firm))
    simulated.complete(database, now())
    return counts


def steps(database: Database, firm: SimulatedFirm) -> int:
    """How many steps `write_firm` will report: one a rep and day, and as much again for building indexes."""
    return 1 + firm.plan.days * firm.plan.reps + len(simulated.finishing(database)) * _weight(firm)


def _weight(firm: SimulatedFirm) -> int:
    return max(1, firm.plan.days * firm.plan.reps // 200)


def _write(database: Database, rows: dict[str, list[tuple[Any, ...]]], counts: dict[str, int]) -> None:
    simulated.write(database, rows)
    for table, given in rows.items():
        counts[table] = counts.get(table, 0) + len(given)


def _of_day(firm: SimulatedFirm, reps: list[Rep], day: int) -> dict[str, list[tuple[Any, ...]]]:
    gathered = Rows([], [], [], [], [], [], [], [])
    for rep in reps:
        for whole, part in zip(gathered, rows_of(firm, rep, day, account_id(firm, rep)), strict=True):
            whole.extend(part)
    return dict(zip(_TABLES, gathered, strict=True))


def account_id(firm: SimulatedFirm, rep: Rep) -> int:
    """Managers come first, each with a chat and a group."""
    return 2 * len(firm.managers) + rep.number + 1


def _people(firm: SimulatedFirm) -> Iterator[dict[str, list[tuple[Any, ...]]]]:
    managers, of_district = [], {}
    for manager in firm.managers:
        held = [firm.districts[number][0] for number in manager.districts or ()]
        above = None if manager.role == "director" else "D0001"
        managers.append((manager.code, manager.name, manager.role, _json(held), above, True, ""))
        of_district.update(dict.fromkeys(manager.districts or (), manager.code))
    reps = [
        (
            *(rep.code, rep.name, "rep", _json([firm.districts[rep.district][0]]), of_district[rep.district]),
            *(rep.left is None, ""),
        )
        for rep in firm.reps
    ]
    yield {"employee": managers}
    yield {"employee": reps}
    yield {
        "product": [
            (code, name, "[]", "冻品", "1kg*10包/箱", '["箱","包"]', fen, False) for code, name, fen in names.PRODUCTS
        ],
        "competitor": [(name, "冻品") for name in names.COMPETITORS],
    }
    linked = firm.moment(0, 8 * 3600)
    chats = [
        (2 * number + nth + 1, channel, f"{channel}-{manager.code}", f"{channel}-{manager.code}", manager.code)
        for number, manager in enumerate(firm.managers)
        for nth, channel in enumerate(("web", "wecom_group"))
    ]
    made = [(*chat, "zh-CN", True, _stamp(linked)) for chat in chats]
    for rep in firm.reps:
        ref, since = f"web-{rep.code}", linked + timedelta(days=rep.joined)
        made.append((account_id(firm, rep), "web", ref, ref, rep.code, "zh-CN", True, _stamp(since)))
    yield {"account": made}


def _json(words: list[str]) -> str:
    return "[" + ",".join(f'"{word}"' for word in words) + "]"


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}.000000"
