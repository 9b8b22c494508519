"""From a delivery to its turn: order, second tries, trouble with files, and what is set aside."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

import bot.intake
from bot.abilities import TELEGRAM
from bot.channels import Accept, MediaProblem, Rendered
from bot.intake import Intake
from bot.stand_in import made_photo
from handlers.messages import Incoming, Kind, Media
from handlers.tools import Tools
from handlers.wire import incoming_to_plain
from storage import inbox, outbox, people, photo_pieces
from storage.database import Database
from storage.people import Account
from storage.tables.post import InboxRow
from storage.tables.visits import PhotoRow
from tests.databases import WHOLE
from tests.telegramfirm import START, SUN_HAO, WANG_JIAN, Clock, delivery, firm_tools, sample_database


class Doorstep:
    """A channel whose files may be slow or out of reach: `trouble` holds what the next fetches of a file raise."""

    name, account, abilities = "telegram", "123456", TELEGRAM

    def __init__(self) -> None:
        self.trouble: dict[str, list[Exception]] = defaultdict(list)
        self.hold: dict[str, asyncio.Event] = {}
        self.fetched: list[str] = []

    async def start(self, accept: Accept) -> None: ...

    async def stop(self) -> None: ...

    async def fetch(self, media: Media) -> bytes:
        self.fetched.append(media.ref)
        if media.ref in self.hold:
            await self.hold[media.ref].wait()
        if self.trouble[media.ref]:
            raise self.trouble[media.ref].pop(0)
        return made_photo(media.ref)

    async def send(self, chat_ref: str, message: Rendered) -> str:
        raise AssertionError("nothing is sent here")

    def invite_link(self, token: str) -> str:
        return token


class House:
    """An intake at work over the sample firm, with 王建 (501) and 孙浩 (502) known. `clock` runs fast."""

    def __init__(self, folder: Path) -> None:
        self.database: Database = sample_database(folder)
        self.tools: Tools = firm_tools(folder)
        self.clock, self.door = Clock(speed=200), Doorstep()
        self.woken = 0
        with self.database.work(WHOLE) as work:
            for ref, code in (("501", WANG_JIAN), ("502", SUN_HAO)):
                people.link(work, Account("telegram", ref, ref, code), START)
        self.intake = Intake(self.database, self.tools, {"telegram": self.door}, self.clock, self._wake)

    def _wake(self) -> None:
        self.woken += 1

    async def gets(self, key: str, message: Incoming | None, person: str = "501", position: int = 0) -> bool:
        plain = None if message is None else incoming_to_plain(message)
        return await self.intake.accept(delivery(person, key, plain, self.clock(), position))

    def rows(self) -> dict[str, InboxRow]:
        with self.database.read(WHOLE) as work:
            return {row.delivery_key: row for row in work.session.scalars(select(InboxRow).order_by(InboxRow.id))}

    def said(self, person: str = "501") -> list[str]:
        with self.database.read(WHOLE) as work:
            return [str(message.body["say"]) for message in outbox.to_chat(work, "telegram", person)]

    async def until_done(self, *keys: str, seconds: float = 15.0) -> None:
        async with asyncio.timeout(seconds):
            while any(self.rows()[key].state == "new" for key in keys):  # noqa: ASYNC110 - the database tells nobody
                await asyncio.sleep(0.02)

    def order(self, person: str = "501") -> list[str]:
        with self.database.read(WHOLE) as work:
            return [item.delivery_key for item, _ in inbox.of_person(work, "telegram", f"telegram:{person}")]


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(bot.intake, "SWEEP_SECONDS", 0.05)
    made = House(tmp_path)
    await made.intake.start()
    yield made
    await made.intake.stop()
    await made.intake.close()
    made.database.close()


def text(words: str) -> Incoming:
    return Incoming(Kind.TEXT, START, text=words)


def photo(name: str) -> Incoming:
    return Incoming(Kind.PHOTO, START, media=Media(name, mime="image/jpeg"))


async def test_deliveries_side_by_side_are_stored_in_order_once_and_applied_in_order(house: House) -> None:
    given = [(f"{number}", "501" if number % 2 else "502") for number in range(40)]
    new = await asyncio.gather(*(house.gets(key, text("/help"), person) for key, person in given))
    again = await asyncio.gather(*(house.gets(key, text("/help"), person) for key, person in given))
    assert all(new)
    assert not any(again)
    await house.intake.idle()
    assert list(house.rows()) == [key for key, _ in given]
    for person in ("501", "502"):
        assert house.order(person) == [key for key, whose in given if whose == person]
        assert len(house.said(person)) == 20
    assert house.woken >= 40


async def test_what_cannot_be_stored_is_refused_and_what_comes_later_is_not(house: House) -> None:
    with house.database.connection() as connection:
        connection.exec_driver_sql("ALTER TABLE inbox RENAME TO inbox_away")
    both = (house.gets(key, text("/help")) for key in "12")
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert all(isinstance(outcome, Exception) for outcome in outcomes)
    with house.database.connection() as connection:
        connection.exec_driver_sql("ALTER TABLE inbox_away RENAME TO inbox")
    assert await house.gets("1", text("/help"))
    await house.intake.idle()
    assert house.rows()["1"].state == "done"


async def test_a_failing_turn_is_tried_five_times_then_apologised_for_while_others_go_on(house: House) -> None:
    broken = incoming_to_plain(text("/help")) | {"place": {"lat": 30.0}}  # a pin that our own code cannot read back
    await house.intake.accept(delivery("501", "bad", broken, house.clock()))
    await house.gets("after", text("/help"))
    await house.gets("other", text("/help"), "502")
    await house.until_done("other", "bad", "after")
    assert house.order() == ["bad", "after"], "what came later waits, for the order's sake"
    bad, other = house.rows()["bad"], house.rows()["other"]
    assert other.done_at is not None
    assert bad.done_at is not None
    assert other.done_at < bad.done_at
    assert (bad.state, bad.tries, bad.error) == ("dead", 5, "KeyError")
    assert "broken.apology" in house.said()[0]
    assert len(house.said()) == 2
    assert house.rows()["after"].state == "done"
    assert house.clock() - START > timedelta(seconds=2 + 4 + 8 + 16)


async def test_a_file_that_is_out_of_reach_twice_is_fetched_at_last(house: House) -> None:
    house.door.trouble["门头"] = [ConnectionError("down"), TimeoutError()]
    await house.gets("1", photo("门头"))
    await house.gets("2", text("/help"))
    await house.until_done("1", "2")
    assert house.door.fetched == ["门头"] * 3
    assert house.order() == ["1", "2"]
    assert house.rows()["1"].tries == 0
    with house.database.read(WHOLE) as work:
        kept = work.session.scalars(select(PhotoRow)).all()
    assert [house.tools.files.get(row.file) for row in kept] == [made_photo("门头")]


async def test_a_file_that_is_gone_is_told_and_one_that_stays_away_a_day_counts_as_gone(house: House) -> None:
    house.door.trouble["弃"] = [MediaProblem("gone")]
    house.door.trouble["远"] = [ConnectionError()] * 1000
    await house.gets("1", photo("弃"))
    await house.gets("2", photo("远"))
    await house.until_done("1")
    assert "media.gone" in house.said()[0]
    assert house.rows()["2"].state == "new"
    house.clock.moved += timedelta(hours=24)
    await house.until_done("2")
    assert "media.gone" in house.said()[1]
    with house.database.read(WHOLE) as work:
        assert not photo_pieces.of_others(work, START - timedelta(days=1), 0)


async def test_one_persons_slow_file_holds_up_nobody_else(house: House) -> None:
    house.door.hold["慢"] = asyncio.Event()
    await house.gets("1", photo("慢"))
    await house.gets("2", text("/help"))
    await house.gets("3", text("/help"), "502")
    await house.until_done("3")
    assert {row.state for key, row in house.rows().items() if key != "3"} == {"new"}
    house.door.hold["慢"].set()
    await house.until_done("1", "2")
    assert house.order() == ["1", "2"]


async def test_what_comes_while_stopping_is_stored_and_waits(house: House) -> None:
    await house.intake.stop()
    assert await house.gets("late", text("/help"))
    await house.intake.idle()
    assert house.rows()["late"].state == "new"
    second = Intake(house.database, house.tools, {"telegram": house.door}, house.clock, lambda: None)
    await second.start()
    await house.until_done("late")
    await second.stop()
    await second.close()


async def test_what_cannot_be_read_is_kept_aside_and_is_no_turn(house: House) -> None:
    assert await house.gets("x", None)
    assert await house.gets("1", text("/help"))
    await house.intake.idle()
    assert {key: row.state for key, row in house.rows().items()} == {"x": "dead", "1": "done"}


async def test_what_comes_now_does_not_overtake_what_waits_for_its_file(house: House) -> None:
    house.door.trouble["门头"] = [ConnectionError("down")]
    await house.gets("1", photo("门头"))
    await house.intake.idle()
    assert house.rows()["1"].state == "new", "held for twenty seconds, a tenth of a second here"
    await house.gets("2", text("/help"))
    await house.until_done("1", "2")
    assert house.order() == ["1", "2"]


async def test_what_a_death_left_is_caught_up_with_at_once_and_in_order(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.intake.stop()  # what comes now is stored, and nobody is left to apply it
    monkeypatch.setattr(bot.intake, "SWEEP_SECONDS", 60)
    people_ = ["501", "502", *(f"{number}" for number in range(600, 640))]  # more than one look takes
    for number in range(5):
        await asyncio.gather(*(house.gets(f"{number}-{person}", text("/help"), person) for person in people_))
    second = Intake(house.database, house.tools, {"telegram": house.door}, house.clock, lambda: None)
    await second.start()
    for person in people_:
        await second.accept(delivery(person, f"now-{person}", incoming_to_plain(text("/help")), house.clock()))
    await house.until_done(*(f"{number}-{person}" for number in range(5) for person in people_))
    await house.until_done(*(f"now-{person}" for person in people_))
    for person in ("501", "502"):
        assert house.order(person) == [*(f"{number}-{person}" for number in range(5)), f"now-{person}"]
    await second.stop()
    await second.close()
