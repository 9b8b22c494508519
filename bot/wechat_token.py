"""Access tokens and tickets: fetched by one caller at a time, kept in the firm's database, replaced when refused."""

import json
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from wechatpy.session import SessionStorage

from bot.wechat_errors import TOO_FAST, ApiBusy, ApiError, ApiNotReached, ApiRefused, TokenTrouble
from bot.wechat_transport import Answer, errcode_of, json_of
from storage import tokens
from storage.database import Database

MARGIN: Final = timedelta(seconds=60)  # a token that ends within it is not used any more
LEAST_LIFE: Final = timedelta(seconds=120)  # what a fetched token is kept for at least
SETTLED: Final = timedelta(seconds=60)  # a token refused sooner after it was fetched is not fetched once more
CLAIM: Final = timedelta(seconds=45)  # longer than a call can take
RETRY_NETWORK: Final = timedelta(seconds=3)
RETRY_REFUSED: Final = timedelta(seconds=60)
EXPIRED: Final = 42001
BUSY: Final = -1
WAIT_S: Final = 45.0  # for somebody else's fetch


class TokenSession(SessionStorage):  # type: ignore[misc]  # wechatpy ships no types
    """wechatpy's storage of tokens and tickets, in the firm's database.

    Every key begins with the account, agent id included: two apps of one corp never get each other's ticket.
    """

    def __init__(self, database: Database, prefix: str, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._prefix = prefix
        self._clock = clock

    def get(self, key: str, default: Any = None) -> Any:
        with self._database.read() as work:
            found = tokens.kept(work, f"{self._prefix}:{key}", self._clock())
        return default if found is None else json.loads(found.value)

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        if value is None:
            return
        now = self._clock()
        ends = None if ttl is None else now + timedelta(seconds=ttl)
        with self._database.work() as work:
            tokens.keep(work, f"{self._prefix}:{key}", json.dumps(value), now, ends)

    def delete(self, key: str) -> None:
        with self._database.work() as work:
            tokens.drop(work, f"{self._prefix}:{key}")

    def __getitem__(self, key: str) -> Any:
        return self.get(key)


class ErrorOf(Protocol):
    """What an errcode of the platform means, its text cleaned of secrets."""

    def __call__(self, code: int, text: str, wanted_token: bool = False) -> ApiError: ...


class TokenKeeper:
    """The token of one account, kept under `name`. `ask` fetches a new one, forced where the old one was refused; the
    answer holds it as `field`.

    Its methods block; they are for the client's own threads.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        name: str,
        ask: Callable[[bool], Answer],
        error_of: ErrorOf,
        field: str = "access_token",
    ) -> None:
        self._database = database
        self._clock = clock
        self._name = name
        self._ask = ask
        self._error_of = error_of
        self._field = field
        self._one_fetches = threading.Lock()

    def token(self, refused: str | None = None, errcode: int = 0) -> str:
        """A token that is good as far as we know; `refused` is one that the platform just refused with `errcode`.

        Many callers at once, in this process and in others, make one call to the platform. Raises TokenTrouble,
        ApiBusy or ApiNotReached, in each case before anything was sent with it.
        """
        ends = time.monotonic() + WAIT_S
        if not self._one_fetches.acquire(timeout=WAIT_S):
            raise ApiNotReached("another call is still fetching the token")
        try:
            while True:
                now = self._clock()
                if found := self._kept(refused, errcode, now):
                    return found
                with self._database.work() as work:
                    ours = tokens.claim(work, self._name, now, until=now + CLAIM, refused=refused, margin=MARGIN)
                if ours:
                    return self._fetch(forced=refused is not None and errcode != EXPIRED)
                if time.monotonic() > ends:
                    raise ApiNotReached("another process is still fetching the token")
                threading.Event().wait(0.05)
        finally:
            self._one_fetches.release()

    def _kept(self, refused: str | None, errcode: int, now: datetime) -> str | None:
        with self._database.read() as work:
            found = tokens.kept(work, self._name, now)
            failure = tokens.failed(work, self._name, now)
        if found and found.value != refused and (found.expires_at is None or found.expires_at > now + MARGIN):
            return found.value
        if found and found.value == refused and now < found.fetched_at + SETTLED:
            raise self._error_of(errcode, "", wanted_token=True)
        if failure is None:
            return None
        if failure.errcode == 0:
            raise ApiNotReached(failure.text)
        if failure.errcode in TOO_FAST:
            raise ApiBusy((failure.retry_at - now).total_seconds(), failure.errcode)
        raise self._error_of(failure.errcode, failure.text, wanted_token=True)

    def _fetch(self, forced: bool) -> str:
        """Ask the platform, and keep what it says for everybody. The claim is ours and ends here, whatever happens."""
        value, life, code, trouble = "", LEAST_LIFE, 0, ApiError("nothing was answered")
        try:
            answer = json_of(self._ask(forced)) or {}
            value, code = str(answer.get(self._field) or ""), errcode_of(answer)
            life = max(timedelta(seconds=float(answer.get("expires_in") or 7200)), LEAST_LIFE)
            if code:
                trouble = self._error_of(code, str(answer.get("errmsg", "")), wanted_token=True)
            elif not value:
                trouble = ApiNotReached("no token in the answer")
        except ApiBusy as error:
            trouble, code = error, BUSY
        except ApiRefused as error:
            trouble, code = self._error_of(error.errcode, error.text, wanted_token=True), error.errcode
        except TokenTrouble as error:  # of the token that a ticket is fetched with
            trouble, code = error, error.errcode
        except ApiError as error:  # however it ended, what the token was wanted for was not sent
            trouble, code = ApiNotReached(f"no token: {error}"), 0
        except Exception as error:
            trouble, code = ApiNotReached(f"no token ({type(error).__name__})"), 0
        fetched = bool(value) and code == 0
        now = self._clock()
        with self._database.work() as work:
            if fetched:
                tokens.keep(work, self._name, value, now, now + life)
            else:
                text = trouble.detail if isinstance(trouble, TokenTrouble) else str(trouble)
                tokens.give_up(work, self._name, code, text, now + _pause_after(trouble))
        if fetched:
            return value
        raise trouble


def _pause_after(trouble: ApiError) -> timedelta:
    if isinstance(trouble, ApiBusy):
        return timedelta(seconds=trouble.seconds)
    return RETRY_NETWORK if isinstance(trouble, ApiNotReached) else RETRY_REFUSED
