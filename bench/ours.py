"""走店 itself, by polling, on SQLite: `python -m bench.ours API_BASE FOLDER CHATS`. Only the pace is left out."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from bench.conversation import FIRST_CHAT, TOKEN, outlet_place
from bot.app import App, utc_now
from bot.telegram_channel import ABILITIES, TelegramChannel, TelegramSettings
from bot.wiring import SAMPLE_FIRM
from handlers.tools import make_tools
from nlp.models import NoModel
from nlp.transcribe import Hints, Transcript
from reports.firm_import import read_firm, save_firm
from rules.limits import Limits
from rules.outlets import Outlet
from rules.people import Employee, Part, Role, system
from rules.places import Point
from storage import firm, people
from storage.database import Database
from storage.files import LocalFiles
from storage.migrate import migrate
from storage.people import Account


class NoRecogniser:
    """Notes are typed here."""

    def transcribe(self, audio: bytes, hints: Hints) -> Transcript:
        raise NoModel("bench", (), ())


def make_firm(database: Database, chats: int) -> None:
    """The sample firm, and for each chat a rep with an outlet and a tied account."""
    migrate(database)
    numbers = range(FIRST_CHAT, FIRST_CHAT + chats)
    with database.work(system(Part.CONSOLE)) as work:
        save_firm(work, read_firm(SAMPLE_FIRM))
        people.save_employees(work, [Employee(f"B{n}", f"业务{n}", Role.REP, ("柯桥区",), "E002") for n in numbers])
        outlets = [
            Outlet(f"B{n}", f"测试餐饮店{n}", "餐饮", "柯桥区", "", Point(*outlet_place(n)), f"B{n}", None)
            for n in numbers
        ]
        firm.save_outlets(work, outlets)
        for n in numbers:
            people.link(work, Account("telegram", str(n), str(n), f"B{n}"), utc_now())


async def main(api_base: str, folder: Path, chats: int) -> None:
    there = (folder / "bench.sqlite").exists()
    database = Database(f"sqlite:///{folder / 'bench.sqlite'}")
    if not there:
        make_firm(database, chats)
    channel = TelegramChannel(TelegramSettings(TOKEN, api_base=api_base))
    channel.abilities = replace(ABILITIES, pace=None)
    await App(database, make_tools(Limits(), LocalFiles(folder / "files")), NoRecogniser(), [channel]).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
