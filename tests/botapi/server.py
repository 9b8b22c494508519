"""A Telegram Bot API server on this machine's loopback, for tests, the demo and measuring. Documented in README.md.

It keeps what the official server (tdlib/telegram-bot-api) promises and what bites: updates stay until an `offset`
confirms them, a second poll ends the first with 409, a webhook gets one update a chat at a time and repeats a failed
one, unknown files, chats and old button presses are refused in the official words.
"""

import asyncio
import contextlib
import itertools
import json
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.botapi.flood import FloodControl
from tests.botapi.troubles import Trouble, error_answer, suffer
from tests.botapi.webhooks import Webhook, WebhookQueues, chat_ids

Json = dict[str, Any]

TOKEN = "123456:test-token-AAE5Vv2l0rGz1dXyKq3wPjH7uN4mB8cT"  # of no real bot
MAX_DOWNLOAD = 20 * 1024 * 1024
MAX_LONG_POLL_S = 50.0
DEFAULT_UPDATES = frozenset({"message", "edited_message", "callback_query", "my_chat_member"})


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it arrived. `params` are decoded where they were JSON, `files` are (name, bytes) by field."""

    method: str
    params: Json
    files: dict[str, tuple[str, bytes]]
    at: float  # time.monotonic()


class Refusal(Exception):
    """A call that Telegram answers with an error."""

    def __init__(self, status: int, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.description = description


@dataclass
class BotApi:
    """`async with BotApi() as api:` serves at `api.base`. `give` is what people do; `sent` is what the bot said.

    `flood` refuses what comes too fast, where it is set. `first_id` is where update ids begin; `webhook_pause_s` the
    first pause between two tries of a failing webhook.
    """

    token: str = TOKEN
    username: str = "zoudian_bot"
    first_id: int = 700_000_001
    webhook_pause_s: float = 0.05
    calls: list[Call] = field(default_factory=list)
    sent: list[Json] = field(default_factory=list)  # the messages of the bot, as the API describes them
    commands: list[Json] = field(default_factory=list)
    webhook: Webhook | None = None
    flood: FloodControl | None = None

    def __post_init__(self) -> None:
        self._ids = itertools.count(self.first_id)
        self._message_ids = itertools.count(1)
        self._waiting: deque[Json] = deque()
        self._changed = asyncio.Condition()
        self._allowed = DEFAULT_UPDATES
        self._poller: asyncio.Future[None] | None = None
        self._last_poll: tuple[int | None, float] = (None, 0.0)
        self._files: dict[str, tuple[str, bytes, int]] = {}
        self._chats: set[int] = set()
        self._open_queries: set[str] = set()
        self._serving = 0  # calls, but for polls
        self._troubles: dict[str, deque[Trouble]] = defaultdict(deque)
        self.base = ""

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=60 * 1024 * 1024)
        application.router.add_route("*", "/bot{token}/{method}", self._serve)
        application.router.add_get("/file/bot{token}/{path:.+}", self._serve_file)
        self._routes(application)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.base = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._webhooks = WebhookQueues(lambda: self.webhook, self._taken, self.webhook_pause_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._webhooks.close()
        await self._runner.cleanup()

    def _routes(self, application: web.Application) -> None:
        """For whoever stands beside Telegram in a test."""

    # what people do

    async def give(self, *updates: Json) -> list[int]:
        """Updates happen, in this order; their ids. An update that brings its own `update_id` keeps it."""
        ids = []
        for update in updates:
            whole = update if "update_id" in update else {"update_id": next(self._ids), **update}
            ids.append(whole["update_id"])
            self._chats.update(chat_ids(whole))
            if query := whole.get("callback_query"):
                self._open_queries.add(query["id"])
            if not self._wanted(whole):
                continue
            async with self._changed:
                self._waiting.append(whole)
                self._changed.notify_all()
            if self.webhook is not None:
                self._webhooks.put(whole)
        return ids

    async def give_as_it_is(self, *updates: Json) -> None:
        """Updates of any shape, with an `update_id` of their own, to whoever polls."""
        async with self._changed:
            self._waiting.extend(updates)
            self._changed.notify_all()

    def know(self, *chat_ids: int) -> None:
        """These people have started the bot, so it may write to them."""
        self._chats.update(chat_ids)

    def put_file(self, file_id: str, data: bytes, path: str = "", size: int | None = None) -> None:
        """A file that `getFile` knows. `size` may claim more than there is."""
        self._files[file_id] = (path or f"documents/{file_id}", data, len(data) if size is None else size)

    def drop_file(self, file_id: str) -> None:
        """The bytes are gone, while `getFile` still answers."""
        path, _, size = self._files[file_id]
        self._files[file_id] = (path, b"\0gone", size)

    def expire_queries(self) -> None:
        """Every button press so far is too old to be answered."""
        self._open_queries.clear()

    def trouble(self, method: str, trouble: Trouble) -> None:
        """Trouble for the next calls of a method ("file" for downloads), after what was set before."""
        self._troubles[method.lower()].append(replace(trouble))  # a copy, for it counts down

    def clear_troubles(self) -> None:
        """All is well again."""
        self._troubles.clear()

    def restart_ids(self, first: int) -> None:
        """After a week without updates Telegram counts on from a random number."""
        self._ids = itertools.count(first)

    # what the bot did

    def called(self, method: str) -> list[Call]:
        return [call for call in self.calls if call.method.lower() == method.lower()]

    def waiting(self) -> list[int]:
        """Ids of the updates that are not confirmed."""
        return [update["update_id"] for update in self._waiting]

    def out_of_order(self, number: Callable[[str], int | None]) -> int:
        """How many texts came after a higher-numbered one in the same chat. `number` reads it from a text."""
        highest: dict[int, int] = {}
        late = 0
        for message in self.sent:
            found = number(message.get("text", ""))
            if found is None:
                continue
            chat = message["chat"]["id"]
            late += found < highest.get(chat, found)
            highest[chat] = max(found, highest.get(chat, found))
        return late

    def webhook_statuses(self) -> list[int]:
        """The HTTP status of every webhook call so far; 0 where there was no answer."""
        return self._webhooks.statuses

    async def until(self, true: Callable[[], bool], seconds: float = 5.0) -> None:
        """Wait for something to become true, here or in the bot."""
        async with asyncio.timeout(seconds):
            while not true():  # noqa: ASYNC110 - it may be about the bot's state, which tells nobody when it changes
                await asyncio.sleep(0.01)

    # the server

    async def until_left(self) -> None:
        """Until nobody is connected and every call but a poll has ended: all that a dead process had sent is taken."""
        server = self._runner.server
        assert server is not None
        for _ in range(3):  # a connection may wait to be accepted, a call to be begun
            await asyncio.sleep(0.02)
            await self.until(lambda: not server.connections and not self._serving, 30)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["method"].lower() == "getupdates":
            return await self._call(request)
        self._serving += 1
        try:
            return await self._call(request)
        finally:
            self._serving -= 1

    async def _call(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["token"] != self.token:
            return error_answer(401, "Unauthorized")
        method = request.match_info["method"].lower()
        params, files = await _params(request)
        self.calls.append(Call(request.match_info["method"], params, files, time.monotonic()))
        await self._look()
        trouble = self._next_trouble(method)
        if trouble is not None and trouble.slow_s:
            await asyncio.sleep(trouble.slow_s)
            trouble = None
        if trouble is not None and not trouble.done:
            return await suffer(request, trouble)
        is_message = self.flood is not None and method in ("sendmessage", "sendphoto")
        if self.flood is not None and is_message and not self.flood.takes(int(params["chat_id"]), time.monotonic()):
            return error_answer(429, "Too Many Requests: retry after 3", 3)
        handler = getattr(self, f"_do_{method}", None)
        if handler is None:
            return error_answer(404, "Not Found")
        try:
            result = await handler(params, files)
        except Refusal as refusal:
            return error_answer(refusal.status, refusal.description)
        await self._look()
        if trouble is not None:
            return await suffer(request, trouble)
        return web.json_response({"ok": True, "result": result})

    async def _serve_file(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["token"] != self.token:
            return error_answer(401, "Unauthorized")
        trouble = self._next_trouble("file")
        if trouble is not None and trouble.slow_s:
            await asyncio.sleep(trouble.slow_s)
            trouble = None
        if trouble is not None and not trouble.done:
            return await suffer(request, trouble)
        wanted = request.match_info["path"]
        for path, data, _ in self._files.values():
            if path == wanted and data != b"\0gone":
                if trouble is not None:
                    return await _half_a_file(request, data)
                return web.Response(body=data, content_type="application/octet-stream")
        return error_answer(404, "Not Found")

    def _next_trouble(self, method: str) -> Trouble | None:
        coming = self._troubles[method]
        if not coming:
            return None
        coming[0].times -= 1
        return coming[0] if coming[0].times > 0 else coming.popleft()

    def _taken(self, update: Json) -> None:
        self._waiting = deque(other for other in self._waiting if other is not update)

    async def _look(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _wanted(self, update: Json) -> bool:
        kinds = [key for key in update if key != "update_id"]
        allowed = self.webhook.allowed if self.webhook is not None else self._allowed
        return not kinds or any(kind in allowed or kind not in KNOWN_KINDS for kind in kinds)

    # methods

    async def _do_getme(self, params: Json, files: Any) -> Json:
        return {
            **self._me(),
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
        }

    def _me(self) -> Json:
        number = int(self.token.partition(":")[0])
        return {"id": number, "is_bot": True, "first_name": "走店", "username": self.username}

    async def _do_setmycommands(self, params: Json, files: Any) -> bool:
        self.commands = params["commands"]
        return True

    async def _do_getupdates(self, params: Json, files: Any) -> list[Json]:
        if self.webhook is not None:
            raise Refusal(
                409,
                "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete it first",
            )
        if self._poller is not None and not self._poller.done():
            self._poller.set_result(None)
            await self._look()
        mine = self._poller = asyncio.get_running_loop().create_future()
        if "allowed_updates" in params:  # otherwise as it was
            self._allowed = frozenset(params["allowed_updates"]) or DEFAULT_UPDATES
        offset = params.get("offset")
        self._confirm(offset)
        limit = min(max(int(params.get("limit", 100)), 1), 100)
        if offset is not None and offset == self._last_poll[0] and time.monotonic() - self._last_poll[1] < 0.5:
            limit = 1  # the official server's brake on a client that asks for the same again
        self._last_poll = (offset, time.monotonic())
        await self._wait_for_updates(min(float(params.get("timeout", 0)), MAX_LONG_POLL_S), mine)
        if mine.done():
            raise Refusal(
                409,
                "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
            )
        return list(itertools.islice(self._waiting, limit))

    def _confirm(self, offset: int | None) -> None:
        if offset is not None and offset < 0:
            while len(self._waiting) > -offset:
                self._waiting.popleft()
        elif offset:
            self._waiting = deque(update for update in self._waiting if update["update_id"] >= offset)

    async def _wait_for_updates(self, seconds: float, mine: asyncio.Future[None]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: bool(self._waiting) or mine.done())

    async def _do_setwebhook(self, params: Json, files: Any) -> bool:
        allowed = frozenset(params.get("allowed_updates", [])) or DEFAULT_UPDATES
        self.webhook = Webhook(params["url"], params.get("secret_token", ""), allowed) if params.get("url") else None
        for update in list(self._waiting):
            self._webhooks.put(update)
        return True

    async def _do_deletewebhook(self, params: Json, files: Any) -> bool:
        self.webhook = None
        if params.get("drop_pending_updates"):
            self._waiting.clear()
        return True

    async def _do_sendmessage(self, params: Json, files: Any) -> Json:
        text = params.get("text", "")
        if not text.strip():
            raise Refusal(400, "Bad Request: message text is empty")
        if len(text.encode("utf-16-le")) // 2 > 4096:
            raise Refusal(400, "Bad Request: message is too long")
        return self._said(params, {"text": text})

    async def _do_sendphoto(self, params: Json, files: dict[str, tuple[str, bytes]]) -> Json:
        if "photo" not in files or not files["photo"][1]:
            raise Refusal(400, "Bad Request: file must be non-empty")
        if len(files["photo"][1]) > 10 * 1024 * 1024:
            raise Refusal(400, "Bad Request: file is too big")
        caption = params.get("caption", "")
        if len(caption.encode("utf-16-le")) // 2 > 1024:
            raise Refusal(400, "Bad Request: message caption is too long")
        name, data = files["photo"]
        file_id = f"sent-{len(self._files)}"
        self.put_file(file_id, data, f"photos/{name}")
        size = {
            "file_id": file_id,
            "file_unique_id": f"u{file_id}",
            "width": 640,
            "height": 480,
            "file_size": len(data),
        }
        return self._said(params, {"photo": [size], "caption": caption} if caption else {"photo": [size]})

    async def _do_answercallbackquery(self, params: Json, files: Any) -> bool:
        if params.get("callback_query_id") not in self._open_queries:
            raise Refusal(400, "Bad Request: query is too old and response timeout expired or query ID is invalid")
        self._open_queries.discard(params["callback_query_id"])
        return True

    async def _do_getfile(self, params: Json, files: Any) -> Json:
        file_id = params.get("file_id", "")
        if file_id not in self._files:
            raise Refusal(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        path, _, size = self._files[file_id]
        if size > MAX_DOWNLOAD:
            raise Refusal(400, "Bad Request: file is too big")
        return {"file_id": file_id, "file_unique_id": f"u-{file_id}", "file_size": size, "file_path": path}

    def _said(self, params: Json, content: Json) -> Json:
        chat_id = int(params["chat_id"])
        if chat_id not in self._chats:
            raise Refusal(400, "Bad Request: chat not found")
        markup = params.get("reply_markup")
        for row in (markup or {}).get("inline_keyboard", []):
            for button in row:
                if not 1 <= len(button.get("callback_data", "").encode()) <= 64:
                    raise Refusal(400, "Bad Request: BUTTON_DATA_INVALID")
        message = {
            "message_id": next(self._message_ids),
            "from": self._me(),
            "chat": {"id": chat_id, "first_name": "建", "type": "private"},
            "date": int(time.time()),
            **content,
        }
        if markup and "inline_keyboard" in markup:
            message["reply_markup"] = markup
        self.sent.append({**message, "reply_markup": markup} if markup else message)
        return message


PLAIN = frozenset({"text", "caption", "file_id", "callback_query_id", "url", "secret_token"})  # never JSON inside
KNOWN_KINDS = DEFAULT_UPDATES | {"channel_post", "message_reaction", "inline_query", "poll", "chat_member"}


async def _params(request: web.Request) -> tuple[Json, dict[str, tuple[str, bytes]]]:
    """Parameters of the query, a form, a multipart form or JSON: the API takes all four."""
    params: Json = {key: _decoded(value) for key, value in request.query.items()}
    files: dict[str, tuple[str, bytes]] = {}
    if request.content_type == "application/json":
        params.update(await request.json())
        return params, files
    for key, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            files[key] = (value.filename, value.file.read())
        else:
            params[key] = value if key in PLAIN else _decoded(value)
    return params, files


def _decoded(value: Any) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


async def _half_a_file(request: web.Request, data: bytes) -> web.StreamResponse:
    """The connection is cut in the middle of the bytes."""
    answer = web.StreamResponse(headers={"Content-Length": str(len(data))})
    await answer.prepare(request)
    await answer.write(data[: len(data) // 2])
    if request.transport is not None:
        request.transport.close()
    return answer
