"""The answer in the same breath: slots, repeats that take over, and connections that are gone."""

import asyncio
import time

from bot.mp_slots import Held, Slots

WINDOW, CUT, REPEAT = 0.2, 0.3, 0.3


class Line:
    """One attempt's connection: takes what is written, unless it is broken."""

    def __init__(self, slots: Slots, key: str = "msg:1", *, broken: bool = False) -> None:
        self.slots, self.attempt, self.broken = slots, slots.open("oWangJian", key), broken
        self.slot = self.attempt.slot
        self.got: list[str] = []
        self.began = asyncio.get_running_loop().time()

    async def write(self, text: str) -> bool:
        if not self.broken:
            self.got.append(text)
        return not self.broken

    async def hold(self) -> Held:
        return await self.slots.hold(self.attempt, self.began, self.write, "还在处理")


def hurried(*, patient: bool = False) -> Slots:
    return Slots(patient=patient, window=WINDOW, cut=CUT, repeat=REPEAT)


async def test_what_is_put_in_is_written_and_remembered() -> None:
    slots = hurried()
    line = Line(slots)
    held, put = await asyncio.gather(line.hold(), slots.put(line.slot, "甲"))
    assert (held, put, line.got) == ("written", True, ["甲"])
    assert slots.answered("msg:1") == "甲"
    assert slots.waiting("oWangJian") is None


async def test_without_an_answer_it_is_acknowledged_in_time_and_the_answer_goes_another_way() -> None:
    slots = hurried()
    line = Line(slots)
    began = time.monotonic()
    assert await line.hold() == "nothing"
    assert WINDOW <= time.monotonic() - began < WINDOW + 0.15
    assert slots.waiting("oWangJian") is None
    assert not await slots.put(line.slot, "甲")
    assert slots.answered("msg:1") is None


async def test_answers_go_to_the_oldest_message_of_their_chat() -> None:
    slots = hurried()
    first, second = Line(slots, "msg:1"), Line(slots, "msg:2")
    assert slots.waiting("oWangJian") is first.slot
    assert slots.waiting("oSomebody") is None
    one = asyncio.ensure_future(slots.put(first.slot, "甲"))
    await asyncio.sleep(0)
    assert slots.waiting("oWangJian") is second.slot
    two = asyncio.ensure_future(slots.put(second.slot, "乙"))
    await asyncio.gather(first.hold(), second.hold())
    assert (await one, await two, first.got, second.got) == (True, True, ["甲"], ["乙"])


async def test_a_slot_takes_one_answer() -> None:
    slots = hurried()
    line = Line(slots)
    one = asyncio.ensure_future(slots.put(line.slot, "甲"))
    await asyncio.sleep(0)
    assert not await slots.put(line.slot, "乙")
    await line.hold()
    assert await one


async def test_a_broken_connection_leaves_the_answer_for_the_repeat() -> None:
    slots = hurried()
    first = Line(slots, broken=True)
    put = asyncio.ensure_future(slots.put(first.slot, "甲"))
    assert await first.hold() == "gone"
    assert not put.done()
    again = Line(slots)
    assert again.slot is first.slot
    assert await again.hold() == "written"
    assert (await put, again.got) == (True, ["甲"])


async def test_a_broken_connection_without_a_repeat_gives_the_answer_back() -> None:
    slots = hurried()
    line = Line(slots, broken=True)
    began = time.monotonic()
    held, put = await asyncio.gather(line.hold(), slots.put(line.slot, "甲"))
    assert (held, put) == ("gone", False)
    assert time.monotonic() - began < CUT + REPEAT + 0.2


async def test_an_attempt_that_was_overtaken_before_it_was_held_writes_nothing() -> None:
    """Storing took so long that the platform has hung up and come again."""
    slots = hurried()
    first, again = Line(slots), Line(slots)
    put = asyncio.ensure_future(slots.put(again.slot, "甲"))
    held = await asyncio.gather(first.hold(), again.hold())
    assert tuple(held) == ("gone", "written")
    assert (first.got, again.got, await put) == ([], ["甲"], True)


async def test_the_patient_one_says_nothing_until_the_platform_has_hung_up_and_answers_the_repeat() -> None:
    slots = hurried(patient=True)
    first = Line(slots)
    holding = asyncio.ensure_future(first.hold())
    await asyncio.sleep(WINDOW + 0.03)
    put = asyncio.ensure_future(slots.put(first.slot, "甲"))
    await asyncio.sleep(0.03)
    assert not holding.done()
    again = Line(slots)
    assert await again.hold() == "written"
    assert (await holding, first.got, again.got, await put) == ("gone", [], ["甲"], True)


async def test_the_patient_one_says_at_last_that_it_is_not_done() -> None:
    slots = hurried(patient=True)
    held = []
    for _ in range(3):
        line = Line(slots)
        held.append(await line.hold())
    assert held == ["gone", "gone", "written"]
    assert line.got == ["还在处理"]
    assert slots.answered("msg:1") is None
    assert slots.waiting("oWangJian") is None


async def test_at_the_end_nobody_is_kept_waiting() -> None:
    slots = hurried(patient=True)
    held, unheld = Line(slots, "msg:1"), Line(slots, "msg:2")
    holding = asyncio.ensure_future(held.hold())
    putting = asyncio.ensure_future(slots.put(unheld.slot, "甲"))
    await asyncio.sleep(0)
    began = time.monotonic()
    slots.close()
    assert (await holding, await putting) == ("gone", False)
    assert time.monotonic() - began < WINDOW / 2


async def test_nothing_is_remembered_for_ever() -> None:
    slots = hurried()
    for number in range(300):
        line = Line(slots, f"msg:{number}")
        await asyncio.gather(line.hold(), slots.put(line.slot, "甲"))
    assert slots.answered("msg:299") == "甲"
    assert slots.answered("msg:0") is None
    assert not slots._open
