"""Delivering updates to a bot's webhook, in the order and with the repeats of the official server."""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Webhook:
    url: str
    secret: str
    allowed: frozenset[str]


class WebhookQueues:
    """`current` tells the webhook in force, `confirm` is called with every update that was taken.

    `pause_s` is the first pause between two tries of a failing update, doubled up to a minute.
    """

    def __init__(self, current: Callable[[], Webhook | None], confirm: Callable[[Json], None], pause_s: float) -> None:
        self.statuses: list[int] = []  # HTTP status of every try; 0 for no answer
        self._current = current
        self._confirm = confirm
        self._pause_s = pause_s
        self._queues: dict[str, deque[Json]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._client = ClientSession(timeout=ClientTimeout(total=10))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    def put(self, update: Json) -> None:
        """One queue a chat for messages and one for its button presses."""
        key = _queue_key(update)
        if key in self._queues:
            self._queues[key].append(update)
            return
        self._queues[key] = deque([update])
        task = asyncio.get_running_loop().create_task(self._drain(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, key: str) -> None:
        """Only the head of a queue is under way; a failed one is tried at once, then after growing pauses."""
        queue = self._queues[key]
        while queue and await self._deliver(queue[0]):
            self._confirm(queue.popleft())
        del self._queues[key]

    async def _deliver(self, update: Json) -> bool:
        pause = 0.0
        while (webhook := self._current()) is not None:
            if await self._call(webhook, update):
                return True
            await asyncio.sleep(pause)
            pause = min(max(2 * pause, self._pause_s), 60.0)
        return False

    async def _call(self, webhook: Webhook, update: Json) -> bool:
        headers = {"Content-Type": "application/json"}
        if webhook.secret:
            headers["X-Telegram-Bot-Api-Secret-Token"] = webhook.secret
        body = json.dumps(update, ensure_ascii=False).encode("utf-8", "replace")
        try:
            async with self._client.post(webhook.url, data=body, headers=headers) as answer:
                status = answer.status
        except (ClientError, TimeoutError):
            status = 0
        self.statuses.append(status)
        return 200 <= status < 300


def chat_ids(update: Json) -> list[int]:
    found = []
    for body in update.values():
        if isinstance(body, dict):
            chat = (body.get("message") or body).get("chat")
            if isinstance(chat, dict) and isinstance(chat.get("id"), int):
                found.append(chat["id"])
    return found


def _queue_key(update: Json) -> str:
    chats = chat_ids(update)
    return f"{'taps' if 'callback_query' in update else 'chat'} {chats[0] if chats else 0}"
