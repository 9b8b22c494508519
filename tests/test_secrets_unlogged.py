"""The real command at DEBUG, with secrets easy to find, through a visit with every kind of trouble on the way."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from bot.settings import load_settings
from bot.stand_in import made_photo
from storage import people
from storage.people import Account
from tests.botapi import updates
from tests.botapi.server import BotApi
from tests.botapi.troubles import Trouble, flood
from tests.botapi.updates import Person
from tests.databases import WHOLE, sqlite_only
from tests.telegramfirm import START, WANG_JIAN, sample_database

CANARIES = {
    "ZOUDIAN_TELEGRAM__TOKEN": "987654321:CANARYtokenCANARYtokenCANARYtoken12",
    "ZOUDIAN_TELEGRAM__WEBHOOK_SECRET": "CANARY-webhook-secret",
    "ZOUDIAN_WEB__COOKIE_KEY": "CANARY-cookie-key-of-more-than-thirty-two-letters",
    "ZOUDIAN_FILES__ACCESS_KEY": "CANARYaccesskey",
    "ZOUDIAN_FILES__SECRET_KEY": "CANARYsecretkey",
}


@sqlite_only
@pytest.mark.chaos
async def test_no_secret_and_no_words_of_a_rep_are_logged_at_debug(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    database = sample_database(tmp_path / "data")
    with database.work(WHOLE) as work:
        people.link(work, Account("telegram", "501", "501", WANG_JIAN), START)
    database.close()
    (tmp_path / "data" / "firm.db").rename(tmp_path / "data" / "zoudian.db")
    async with BotApi(token=CANARIES["ZOUDIAN_TELEGRAM__TOKEN"]) as api:
        environment = {
            **os.environ,
            **CANARIES,
            "ZOUDIAN_TELEGRAM__API_BASE": api.base,
            "ZOUDIAN_LOG_LEVEL": "DEBUG",
            "ZOUDIAN_WEB__PORT": "0",
            "PYTHONASYNCIODEBUG": "1",
            "PYTHONPATH": str(Path(__file__).parent.parent),
        }
        log = tmp_path / "log"
        with log.open("wb") as out:
            bot = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bot", "run", cwd=tmp_path, env=environment, stdout=out, stderr=out
            )
            try:
                await api.until(lambda: bool(api.called("getUpdates")), 60)
                await _a_visit_with_troubles(api)
            finally:
                bot.terminate()
                await asyncio.wait_for(bot.wait(), 30)
    written = log.read_text(encoding="utf-8", errors="replace")
    assert "DEBUG" in written
    assert "CANARY" not in written
    assert [secret for secret in CANARIES.values() if secret in written] == []
    assert "CanaryWords" not in written


async def _a_visit_with_troubles(api: BotApi) -> None:
    rep = Person(501)
    api.put_file("front", made_photo("front"), "photos/front.jpg")
    for method in ("sendMessage", "getUpdates", "getFile", "file", "answerCallbackQuery"):
        api.trouble(method, Trouble(500, f"Internal Server Error of bot{CANARIES['ZOUDIAN_TELEGRAM__TOKEN']}"))
        api.trouble(method, Trouble(cut=True))
        api.trouble(method, Trouble(body=b"no json"))
    api.trouble("sendMessage", flood(1))
    await api.give(updates.live(person=rep), updates.poison(rep), updates.tap("q1.0", rep))
    await api.give(updates.text("CanaryWords 送货太晚", rep), updates.photo(rep, file_id="front"))
    await api.until(lambda: len(api.sent) >= 3 and not api.waiting(), 90)


def test_the_settings_do_not_show_them_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.telegram.token.get_secret_value() == CANARIES["ZOUDIAN_TELEGRAM__TOKEN"]
    assert "CANARY" not in repr(settings) + str(settings.values) + repr(settings.telegram)
