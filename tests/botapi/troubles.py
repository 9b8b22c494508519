"""What may go wrong on the way to Telegram and back, on demand."""

import asyncio
from dataclasses import dataclass
from typing import Any

from aiohttp import web


@dataclass(slots=True)
class Trouble:
    """What happens to the next `times` calls of a method.

    `status` and `description` answer in Telegram's form, with `retry_after` for 429. `cut` closes the connection
    instead, `hang_s` keeps silent that long, `slow_s` too, but then all is well; `body` answers 200 with these bytes.
    `done` says whether the call takes effect all the same: an answer that was lost, or a file that breaks off half-way.
    """

    status: int = 500
    description: str = "Internal Server Error"
    retry_after: int | None = None
    cut: bool = False
    hang_s: float = 0.0
    slow_s: float = 0.0
    body: bytes | None = None
    done: bool = False
    times: int = 1


def flood(seconds: int, times: int = 1) -> Trouble:
    return Trouble(429, f"Too Many Requests: retry after {seconds}", retry_after=seconds, times=times)


def blocked() -> Trouble:
    return Trouble(403, "Forbidden: bot was blocked by the user")


async def suffer(request: web.Request, trouble: Trouble) -> web.StreamResponse:
    if trouble.hang_s:
        await asyncio.sleep(trouble.hang_s)
    if trouble.cut and request.transport is not None:
        request.transport.abort()
    if trouble.body is not None:
        return web.Response(body=trouble.body, content_type="application/json")
    return error_answer(trouble.status, trouble.description, trouble.retry_after)


def error_answer(status: int, description: str, retry_after: int | None = None) -> web.Response:
    answer: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    if retry_after is not None:
        answer["parameters"] = {"retry_after": retry_after}
    return web.json_response(answer, status=status)
