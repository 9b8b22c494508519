"""A lean Bot API server with chats that answer by themselves: each sends its next message when its last was answered.

Run in a process of its own: `python -m bench.server`; it prints its address. `/control/…` is for the runner.
"""

import asyncio
import itertools
import json
import time
from collections import deque
from typing import Any

from aiohttp import web

from bench.conversation import CLOSED, FIRST_CHAT, STEPS, TOKEN, photo_name, update
from bot.stand_in import made_photo

Json = dict[str, Any]


class Server:
    def __init__(self) -> None:
        self._updates: deque[Json] = deque()
        self._arrived = asyncio.Event()
        self._polled = asyncio.Event()
        self._numbers = itertools.count(int(10 * time.time()))  # a bot that is started again knows the earlier ones
        self._steps: dict[int, int] = {}
        self._asked_at: dict[int, float] = {}
        self._photos: dict[str, bytes] = {}
        self._finished = asyncio.Event()
        self._delays: list[float] = []
        self._surplus = 0
        self._unclosed = 0

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", f"/bot{TOKEN}/{{method}}", self._call)
        app.router.add_get(f"/file/bot{TOKEN}/{{name}}", self._file)
        app.router.add_get("/control/ready", self._ready)
        app.router.add_get("/control/run", self._run)
        return app

    async def _ready(self, request: web.Request) -> web.Response:
        """Answers once the bot polls."""
        await self._polled.wait()
        return web.json_response({})

    async def _run(self, request: web.Request) -> web.Response:
        """Let chats `first` to `first + count` talk; answers when all are through."""
        first, count = int(request.query["first"]), int(request.query["count"])
        chats = range(FIRST_CHAT + first, FIRST_CHAT + first + count)
        self._photos = {photo_name(chat): made_photo(photo_name(chat)) for chat in chats}
        self._steps = dict.fromkeys(chats, 0)
        self._delays, self._surplus, self._unclosed = [], 0, 0
        self._finished.clear()
        began = time.monotonic()
        for chat in chats:
            self._say(chat, "")
        await asyncio.wait_for(self._finished.wait(), 600)
        took = time.monotonic() - began
        ordered = sorted(self._delays)
        return web.json_response(
            {
                "seconds": took,
                "messages": count * STEPS,
                "first_ms": 1000 * self._delays[0],
                "p50_ms": 1000 * ordered[len(ordered) // 2],
                "p95_ms": 1000 * ordered[len(ordered) * 95 // 100],
                "surplus": self._surplus,
                "unclosed": self._unclosed,
            }
        )

    def _say(self, chat: int, tapped: str) -> None:
        self._updates.append(update(next(self._numbers), chat, self._steps[chat], tapped, int(time.time())))
        self._asked_at[chat] = time.monotonic()
        self._arrived.set()

    def _heard(self, params: Json) -> None:
        chat = int(params["chat_id"])
        step = self._steps.get(chat, STEPS)
        if step >= STEPS:
            self._surplus += 1
            return
        self._delays.append(time.monotonic() - self._asked_at[chat])
        self._steps[chat] = step + 1
        if step + 1 < STEPS:
            markup = json.loads(params.get("reply_markup") or "{}")
            keyboard = markup.get("inline_keyboard") or [[{"callback_data": ""}]]
            self._say(chat, keyboard[0][0].get("callback_data", ""))
            return
        self._unclosed += CLOSED not in params["text"]
        if all(done == STEPS for done in self._steps.values()):
            self._finished.set()

    async def _call(self, request: web.Request) -> web.Response:
        params: Json = {**request.query}
        if request.content_type == "application/json":
            params |= await request.json()
        else:
            params |= await request.post()
        match request.match_info["method"].lower():
            case "getupdates":
                result: Any = await self._poll(params)
            case "getme":
                result = {"id": 123456, "is_bot": True, "first_name": "走店", "username": "zoudian_bot"}
            case "sendmessage":
                self._heard(params)
                chat = {"id": int(params["chat_id"]), "first_name": "建", "type": "private"}
                result = {
                    "message_id": next(self._numbers),
                    "date": int(time.time()),
                    "chat": chat,
                    "text": params["text"],
                }
            case "getfile":
                name = params["file_id"]
                result = {
                    "file_id": name,
                    "file_unique_id": "AQAD",
                    "file_size": len(self._photos[name]),
                    "file_path": name,
                }
            case _:
                result = True
        return web.json_response({"ok": True, "result": result})

    async def _poll(self, params: Json) -> list[Json]:
        self._polled.set()
        offset = int(params.get("offset") or 0)
        while self._updates and self._updates[0]["update_id"] < offset:
            self._updates.popleft()
        if not self._updates:
            self._arrived.clear()
            try:
                async with asyncio.timeout(float(params.get("timeout") or 0)):
                    await self._arrived.wait()
            except TimeoutError:
                return []
        return list(itertools.islice(self._updates, 100))

    async def _file(self, request: web.Request) -> web.Response:
        return web.Response(body=self._photos[request.match_info["name"]], content_type="image/jpeg")


async def main() -> None:
    runner = web.AppRunner(Server().application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
