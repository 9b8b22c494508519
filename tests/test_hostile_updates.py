"""Malformed, huge, deep and fuzzed updates at the running bot's webhook: none stops it, none is left over.

ZOUDIAN_FUZZ_UPDATES says how many; `make chaos` sends 20,000.
"""

import asyncio
import itertools
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bot.telegram_channel import SECRET_HEADER
from tests.botapi import updates
from tests.botapi.updates import Person
from tests.telegramfirm import SUN_HAO, WANG_JIAN, TelegramFirm, running

UPDATES = int(os.environ.get("ZOUDIAN_FUZZ_UPDATES", "400"))
AT_ONCE = 100

KNOWN, OTHER, STRANGER = Person(501), Person(502), Person(777)
SAMPLES: list[dict[str, Any]] = [
    builder(person=person)
    for person in (KNOWN, OTHER, STRANGER)
    for builder in (updates.pin, updates.live, updates.photo, updates.voice, updates.document, updates.audio)
]
SAMPLES += [
    sample(person)
    for person in (KNOWN, OTHER, STRANGER)
    for sample in (updates.sticker, updates.contact, updates.venue, updates.poison)
]
SAMPLES += [updates.start("no-such-invite", person) for person in (KNOWN, STRANGER)]
SAMPLES += [updates.text(words, KNOWN) for words in ("好的", "撤销", "/end", "数量改成8箱", "x" * 5000, "\x00\ud83d")]
SAMPLES += [updates.tap(data, KNOWN) for data in ("q1.0", "q99999999999999999999.1", "q1.-1", "", "q\x00")]
SAMPLES += [updates.member_change("kicked", STRANGER), updates.in_group(updates.text("x", KNOWN))]

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=40),
    st.sampled_from(["x" * 100_000, "\x00", "\ud800", "../../etc/passwd", "=1+1", "'; drop table inbox;--", "9" * 400]),
    st.recursive(st.none(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)),
    st.integers(1, 60).map(lambda deep: json.loads("[" * deep + "]" * deep)),
)


@st.composite
def bodies(draw: st.DrawFn) -> Any:
    """A sample with a few of its parts replaced, left out or put elsewhere; one in ten anything at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.dictionaries(st.sampled_from(["message", "edited_message", "callback_query", "x"]), JUNK))
    update = json.loads(json.dumps(draw(st.sampled_from(SAMPLES))))
    for _ in range(draw(st.integers(0, 3))):
        place: Any = update
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and draw(st.integers(0, 3)):
                place = place[key]
                continue
            if draw(st.integers(0, 3)):
                place[key] = draw(JUNK)
            else:
                del place[key]
            break
    return update


def drawn(number: int) -> list[Any]:
    """`number` bodies, drawn by hypothesis with a new seed each time, which it prints when the test fails."""
    found: list[Any] = []

    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(bodies())
    def draw(body: Any) -> None:
        found.append(body)

    draw()
    return found


async def post(client: ClientSession, firm: TelegramFirm, body: Any, number: int) -> int:
    whole = {"update_id": number, **body} if isinstance(body, dict) else body
    headers = {SECRET_HEADER: "s3cret", "Content-Type": "application/json"}
    async with client.post(firm.channel._settings.webhook_url, data=json.dumps(whole), headers=headers) as answer:
        return answer.status


@pytest.mark.chaos
async def test_no_update_stops_the_bot_or_is_left_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(tmp_path, mode="webhook") as firm:
        rep, _ = firm.link(WANG_JIAN, 501), firm.link(SUN_HAO, 502)
        firm.app.sender._limits._paces.clear()  # a thousand answers to one chat would take a quarter of an hour
        numbers = itertools.count(900_000_000)
        statuses: set[int] = set()
        async with ClientSession() as client:
            bodies_ = drawn(UPDATES)
            for place in range(0, len(bodies_), AT_ONCE):
                batch = bodies_[place : place + AT_ONCE]
                statuses |= set(await asyncio.gather(*(post(client, firm, body, next(numbers)) for body in batch)))
        assert statuses <= {200, 400}
        await firm.idle(120)
        states = [row.state for row in firm.inbox()]
        assert set(states) <= {"done", "ignored", "dead"}
        bad = [row for row in firm.inbox() if row.state == "dead" and row.message]
        assert not bad, [(row.raw, row.message, row.error) for row in bad][:3]
        assert [record for record in caplog.records if record.exc_info and record.levelno >= logging.ERROR] == []
        await rep.sends(rep.text("/help"))
        assert "命令" in rep.texts()[-1]
