"""How often a message asks the database: upper bounds, so that it does not creep back up."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import Connection

from bot.replay import Replay
from bot.script import Line, read_script
from storage.database import Database
from tests.chatfirm import played
from tests.databases import POSTGRES

VISIT = """at: 2026-11-23 10:00
rep: [place 30.08218 120.49390 live accuracy=8]
rep: [photo 门头.jpg]
rep: 解决了送货迟到的问题，老板娘订了5箱小酥肉
rep: [tap 确认]
rep: [tap 竞品缺货]
saved: visit = closed
"""
# A line of a transcript: stored, read, applied, its reply queued, a look for slow work, the reply marked as sent. Every
# transaction counts with its BEGIN. One of them releases what waited for this person to write.
LIMITS = {
    "[place 30.08218 120.49390 live accuracy=8]": 25,
    "[photo 门头.jpg]": 22,
    "解决了送货迟到的问题，老板娘订了5箱小酥肉": 26,
    "[tap 确认]": 28,
    "[tap 竞品缺货]": 33,
}
# An errand beyond the own scope tells PostgreSQL so, and tells it again when it is over: at a pin the outlets around,
# and what was said before at the own one.
SCOPES_TOLD = 4


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The statements that are run meanwhile, by whatever connection."""
    seen: list[str] = []

    def note(_connection: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(" ".join(statement.split()))

    engines = {id(engine.pool): engine for engine in (database.reader, database.writer)}.values()
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)


def turns(replay: Replay) -> Iterator[tuple[Line, list[str]]]:
    for line in read_script(VISIT).lines:
        with counted(replay.database) as seen:
            replay.play(line)
        if line.text in LIMITS:
            yield line, seen


def test_a_turn_of_each_kind_asks_the_database_no_more_often_than_this(tmp_path: Path) -> None:
    with played(tmp_path) as replay:
        replay.tools.ear.of(replay.database)  # as the bot does when it starts
        asked = dict((line.text, seen) for line, seen in turns(replay))
    assert set(asked) == set(LIMITS)
    for said, seen in asked.items():
        told = [statement for statement in seen if statement.startswith("SELECT set_config(")]
        assert len(told) <= SCOPES_TOLD * POSTGRES, told
        most = LIMITS[said] + len(told) + POSTGRES  # there, whose the account is, is read again once alone
        assert len(seen) <= most, f"{said}: {len(seen)} statements\n" + "\n".join(seen)
