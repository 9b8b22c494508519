"""The sample firm on a real database, fresh for every test, with one ear for all: building it takes a second."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from bot.replay import Replay
from bot.script import read_script
from handlers.tools import Tools, make_tools
from reports.firm_import import read_firm, save_firm
from rules.limits import Limits
from storage.database import Database
from storage.files import LocalFiles
from storage.migrate import migrate
from tests.databases import WHOLE, database_url

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_FIRM = ROOT / "bot" / "sample_firm"
TRANSCRIPTS = sorted((ROOT / "tests" / "transcripts").glob("*.txt"))


@cache
def _folder() -> Path:
    return Path(mkdtemp(prefix="zoudian-firm-"))


@cache
def template() -> str:
    """The URL of a closed database with the sample firm in it, to be copied."""
    url = database_url(_folder(), keep=True)
    database = Database(url)
    migrate(database)
    with database.work(WHOLE) as work:
        save_firm(work, read_firm(SAMPLE_FIRM))
    database.close()
    return url


@cache
def _first_tools() -> Tools:
    return make_tools(Limits(), LocalFiles(_folder() / "files"))


def tools_in(folder: Path) -> Tools:
    first = _first_tools()
    return Tools(first.limits, LocalFiles(folder / "files"), first.flow, first.ear)


@contextmanager
def fresh_firm(folder: Path) -> Iterator[tuple[Database, Tools]]:
    database = Database(database_url(folder, like=template()))
    try:
        yield database, tools_in(folder)
    finally:
        database.close()


@contextmanager
def played(folder: Path, text: str = "", *, channel: str = "terminal") -> Iterator[Replay]:
    """A replay that has played these lines."""
    with fresh_firm(folder) as (database, tools):
        replay = Replay(database, tools, channel=channel)
        replay.run(read_script(text))
        yield replay
