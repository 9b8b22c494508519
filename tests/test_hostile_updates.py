"""Malformed, huge, deep and fuzzed updates and XML at the running bot: none stops it, none is left over.

A quarter each to Telegram's webhook, through its polling, and to the callbacks of 公众号 and 企业微信, encrypted and
signed as the platforms do. ZOUDIAN_FUZZ_UPDATES says how many in all; `make chaos` sends 20,000.
"""

import asyncio
import itertools
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from aiohttp import ClientSession
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bot.loopback.platform import AES_KEY, CALLBACK_TOKEN
from bot.loopback.signer import Messages, Signer
from bot.telegram_channel import SECRET_HEADER
from storage.tables.post import InboxRow
from tests import mpfirm, wecomfirm
from tests.botapi import updates
from tests.botapi.updates import Person
from tests.figures import figure
from tests.telegramfirm import SUN_HAO, WANG_JIAN, TelegramFirm, running

UPDATES = int(os.environ.get("ZOUDIAN_FUZZ_UPDATES", "400")) // 4
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


WORDS = st.one_of(
    st.text(max_size=40),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
    st.sampled_from(["x" * 100_000, "", "../../etc/passwd", "=1+1", "9" * 400, "]]>", "&#0;", "1e999", "撤销"]),
)
NESTED = (st.integers(1, 10) | st.integers(1, 400)).map(lambda deep: "<a>" * deep + "1" + "</a>" * deep)
ENVELOPES: list[Callable[[Messages, str], str]] = [
    lambda says, who: says.text(who, "好的"),
    lambda says, who: says.image(who, "no-such-media"),
    lambda says, who: says.voice(who, "no-such-media", wide="no-such-media-either"),
    lambda says, who: says.video(who, "no-such-media"),
    lambda says, who: says.location(who, 30.08218, 120.4939, label="柯桥"),
    lambda says, who: says.link(who, "标题", "https://x.example/"),
    lambda says, who: says.position(who, 30.08218, 120.4939, 12.0),
    lambda says, who: says.event(who, "subscribe", EventKey="qrscene_no-such-invite"),
    lambda says, who: says.event(who, "unsubscribe"),
    lambda says, who: says.event(who, "CLICK", EventKey="no-such-key"),
    lambda says, who: says.event(who, "template_card_event", EventKey="1", TaskId="q1.0", ResponseCode="x"),
    lambda says, who: says.event(who, "TEMPLATESENDJOBFINISH", MsgID="1", Status="failed:system failed"),
]


@st.composite
def letters(draw: st.DrawFn, says: Messages, senders: tuple[str, ...]) -> str:
    """The XML of a message with a few of its fields replaced, left out, doubled or nested; one in ten anything."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.one_of(WORDS, NESTED, WORDS.map(lambda word: f"<xml><A>{escape(word)}</A></xml>")))
    whole = draw(st.sampled_from(ENVELOPES))(says, draw(st.sampled_from(senders)))
    fields = re.findall(r"<(\w+)>([^<]*)</\1>", whole)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(fields) - 1))
        name, _old = fields[place]
        match draw(st.integers(0, 4)):
            case 0:
                fields = fields[:place] + fields[place + 1 :] or [("Nothing", "")]
            case 1:
                fields.append((name, draw(NESTED)))
            case 2:
                fields[place] = (name, draw(NESTED))
            case _:
                fields[place] = (name, escape(draw(WORDS)))
    return "<xml>" + "".join(f"<{name}>{value}</{name}>" for name, value in fields) + "</xml>"


def drawn(number: int, of: st.SearchStrategy[Any]) -> list[Any]:
    """`number` bodies, drawn by hypothesis with a new seed each time, which it prints when the test fails."""
    found: list[Any] = []

    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(of)
    def draw(body: Any) -> None:
        found.append(body)

    draw()
    return found


def batches(bodies_: list[Any]) -> Iterator[list[Any]]:
    for place in range(0, len(bodies_), AT_ONCE):
        yield bodies_[place : place + AT_ONCE]


def nothing_is_wrong(rows: list[InboxRow], caplog: pytest.LogCaptureFixture) -> None:
    """Every row was dealt with; dead are only those that no message could be made of; nothing failed in the log.
    And enough of it got past the doors to mean something.
    """
    assert len(rows) > UPDATES / 3
    assert {row.state for row in rows} <= {"done", "ignored", "dead"}
    bad = [row for row in rows if row.state == "dead" and row.message]
    assert not bad, [(row.raw, row.message, row.error) for row in bad][:3]
    failures = [record for record in caplog.records if record.exc_info and record.levelno >= logging.ERROR]
    # A busy machine may be too slow to store in time; such a letter is refused with 503, and comes again.
    assert [record for record in failures if record.exc_info and record.exc_info[0] is not TimeoutError] == []


async def settled(rows: Callable[[], list[InboxRow]], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while any(row.state == "new" for row in rows()):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.2)


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
            for batch in batches(drawn(UPDATES, bodies())):
                statuses |= set(await asyncio.gather(*(post(client, firm, body, next(numbers)) for body in batch)))
        assert statuses <= {200, 400}
        await firm.idle(max(120, UPDATES / 10))
        nothing_is_wrong(firm.inbox(), caplog)
        await rep.sends(rep.text("/help"))
        assert "命令" in rep.texts()[-1]
        figure("fuzzed, Telegram webhook", f"{UPDATES}: {len(firm.inbox())} kept, 0 crashes, 0 left over")


@pytest.mark.chaos
async def test_no_polled_update_stops_the_bot_or_is_left_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(tmp_path) as firm:
        rep, _ = firm.link(WANG_JIAN, 501), firm.link(SUN_HAO, 502)
        firm.app.sender._limits._paces.clear()
        numbers = itertools.count(900_000_000)
        for batch in batches(drawn(UPDATES, bodies())):
            given = [{**body, "update_id": next(numbers)} for body in batch if isinstance(body, dict)]
            await firm.api.give_as_it_is(*given)
            await firm.api.until(lambda: not firm.api.waiting(), 60)
        await firm.idle(max(120, UPDATES / 10))
        nothing_is_wrong(firm.inbox(), caplog)
        await rep.sends(rep.text("/help"))
        assert "命令" in rep.texts()[-1]
        figure("fuzzed, Telegram polling", f"{UPDATES}: {len(firm.inbox())} kept, 0 crashes, 0 left over")


async def post_letter(client: ClientSession, url: str, signer: Signer, xml: str) -> int:
    """Repeated, as the platforms do, while the bot cannot store it in time on a busy machine."""
    status = 503
    for _ in range(3):
        query, body = signer.seal(xml, timestamp=int(time.time()))  # the guard knows no other clock
        async with client.post(url, params=query, data=body) as answer:
            await answer.read()
            status = answer.status
        if status != 503:
            break
    return status


async def post_letters(firm: mpfirm.MpFirm | wecomfirm.WecomFirm, senders: tuple[str, ...]) -> set[int]:
    says, signer = firm.platform.messages, Signer(CALLBACK_TOKEN, AES_KEY, firm.platform.app_id)
    statuses: set[int] = set()
    async with ClientSession() as client:
        for batch in batches(drawn(UPDATES, letters(says, senders))):
            posts = (post_letter(client, firm.url, signer, xml) for xml in batch)
            statuses |= set(await asyncio.gather(*posts))
    return statuses


@pytest.mark.chaos
async def test_no_xml_stops_the_official_account_or_is_left_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with mpfirm.running(tmp_path, **mpfirm.fast()) as firm:
        rep = firm.follower(WANG_JIAN, "o-wangjian")
        firm.follower(SUN_HAO, "o-sunhao")
        statuses = await post_letters(firm, ("o-wangjian", "o-sunhao", "o-nobody"))
        assert statuses <= {200, 400, 403, 503}, "503 asks for the repeat, which is to be answered"
        await settled(firm.inbox, max(120, UPDATES / 10))
        nothing_is_wrong(firm.inbox(), caplog)
        await rep.sends(firm.platform.messages.text("o-wangjian", "/help"), settle=False)
        await settled(firm.inbox, 60)
        assert firm.inbox()[-1].state == "done"
        figure("fuzzed, 公众号 callback", f"{UPDATES}: {len(firm.inbox())} kept, 0 crashes, 0 left over")


@pytest.mark.chaos
async def test_no_xml_stops_wecom_or_is_left_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with wecomfirm.running(tmp_path) as firm:
        statuses = await post_letters(firm, ("wangjian", "sunhao", "nobody"))
        assert statuses <= {200, 400, 403}
        await settled(firm.inbox, max(120, UPDATES / 10))
        nothing_is_wrong(firm.inbox(), caplog)
        await firm.member("wangjian").sends(firm.platform.messages.text("wangjian", "/help"), settle=False)
        await settled(firm.inbox, 60)
        assert firm.inbox()[-1].state == "done"
        figure("fuzzed, 企业微信 callback", f"{UPDATES}: {len(firm.inbox())} kept, 0 crashes, 0 left over")
