"""What the commands that copy a firm have in common: bars that show how far they are, and why it could not be done."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click

from bot.cli import DATA_PROBLEM, SURROUNDINGS, USAGE, say, stop
from storage.database import Database
from storage.migrate import newest
from storage.move import Damaged, InUse, NotEmpty, OtherRevision
from storage.table_copy import Differs, Unfit

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

Progress = Callable[[int, int], None]


@contextmanager
def progress_bars() -> Iterator[Callable[[str], Progress]]:
    """Makes a bar of a text key, drawn on the error stream from its first step on."""
    with ExitStack() as open_bars:
        yield lambda label: _bar(open_bars, label)


def _bar(open_bars: ExitStack, label: str) -> Progress:
    drawn: list[ProgressBar[int]] = []

    def move(done: int, total: int) -> None:
        if not drawn:
            bar: ProgressBar[int] = click.progressbar(length=max(total, 1), label=say(label), file=sys.stderr)
            drawn.append(open_bars.enter_context(bar))
        drawn[0].length = max(total, 1)
        drawn[0].update(done - drawn[0].pos)

    return move


@contextmanager
def told_copying(target: Database) -> Iterator[None]:
    """What a copy ran into, as a sentence that says what to do; nothing was changed then."""
    url = target.url.render_as_string(hide_password=True)
    try:
        yield
    except NotEmpty as refused:
        stop(USAGE, "copy.not_empty", url=url, tables=refused)
    except InUse:
        stop(SURROUNDINGS, "copy.in_use", url=url)
    except OtherRevision as other:
        key = "copy.newer" if other.newer else "copy.older"
        where = say(f"copy.where_{other.where}")
        stop(SURROUNDINGS, key, where=where, revision=other.revision or "—", newest=newest())
    except Damaged as damaged:
        stop(DATA_PROBLEM, "copy.damaged", detail=damaged)
    except Unfit as unfit:
        stop(DATA_PROBLEM, "copy.unfit", table=unfit.table, detail=unfit.detail)
    except Differs as differs:
        stop(DATA_PROBLEM, "copy.differs", tables=differs)
