"""Files behind a signed address: for whoever has the address, for half an hour, and as a download only."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiohttp
import pytest
from aiohttp import web

from storage.files import LocalFiles
from web.signed_files import MINUTES, PATH, SignedFiles

CONTENT = b"PK\x03\x04<script>alert(1)</script>"


@dataclass
class House:
    signed: SignedFiles
    files: LocalFiles
    now: list[datetime]

    async def get(self, url: str) -> tuple[int, bytes, dict[str, str]]:
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            return answer.status, await answer.read(), {**answer.headers}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    now = [datetime(2026, 11, 23, 2, 0, tzinfo=UTC)]
    site = web.Application()
    holder: list[SignedFiles] = []

    async def serve(request: web.Request) -> web.StreamResponse:
        return await holder[0].serve(request)

    site.router.add_get(PATH, serve)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    files = LocalFiles(tmp_path)
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    holder.append(SignedFiles(address, b"k" * 32, files, lambda: now[0]))
    yield House(holder[0], files, now)
    await runner.cleanup()


async def test_a_link_gives_the_file_as_a_download_until_it_ends(house: House) -> None:
    url = house.signed.link(house.files.put(CONTENT), "周报 11/23?.xlsx")
    status, content, headers = await house.get(url)
    assert (status, content) == (200, CONTENT)
    assert unquote(headers["Content-Disposition"]) == "attachment; filename*=UTF-8''周报 11_23_.xlsx"
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["X-Content-Type-Options"] == "nosniff"
    house.now[0] += timedelta(minutes=MINUTES, seconds=2)
    status, content, _ = await house.get(url)
    assert status == 410
    assert "过期" in content.decode()
    assert '<a class="primary button" href="" hidden>' in content.decode(), "nowhere to try again"


async def test_nothing_in_a_link_can_be_changed(house: House) -> None:
    key, other = house.files.put(CONTENT), house.files.put(b"somebody else's")
    url = house.signed.link(key, "a.xlsx")
    _, _, until, signature, _, _ = urlsplit(url).path.split("/")
    later = str(int(until) + 3600)
    for changed in (
        url.replace(key, other),
        url.replace(until, later),
        url.replace("a.xlsx", "a.html"),
        url.replace(signature, signature[:-1] + ("A" if signature[-1] != "A" else "B")),
        url.replace(signature, "x"),
        url.replace(until, "soon"),
        url.replace(until, "9" * 40),
    ):
        status, content, _ = await house.get(changed)
        assert status == 404
        assert CONTENT not in content


async def test_another_sites_key_signs_nothing_here(house: House) -> None:
    foreign = SignedFiles(house.signed.address, b"x" * 32, house.files, house.signed.clock)
    assert (await house.get(foreign.link(house.files.put(CONTENT), "a.xlsx")))[0] == 404
    assert "k" * 32 not in repr(house.signed)


async def test_a_file_that_is_lost_is_not_found(house: House) -> None:
    assert (await house.get(house.signed.link("0" * 64, "a.xlsx")))[0] == 404
    assert (await house.get(house.signed.link("../../etc/passwd", "a.xlsx")))[0] == 404
