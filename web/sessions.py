"""Who a browser is: a signed cookie that holds a chat account's reference, and the token every POST must carry."""

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

COOKIE = "zoudian"


@dataclass(frozen=True, slots=True)
class Session:
    """`user_ref` names a chat account of channel `web`, perhaps nobody's yet. `nonce` tells browsers apart."""

    user_ref: str
    nonce: str
    made_at: datetime


class Sessions:
    """Signs and reads cookies. `key` is secret and lasts; a new key logs everybody out."""

    def __init__(self, key: bytes, days: int = 90) -> None:
        self._key = key
        self._lasts = timedelta(days=days)

    @property
    def max_age_s(self) -> int:
        return int(self._lasts.total_seconds())

    def make(self, now: datetime, user_ref: str = "") -> Session:
        """A new session; without a reference it gets one of 128 random bits."""
        return Session(user_ref or secrets.token_urlsafe(16), secrets.token_urlsafe(12), now)

    def cookie(self, session: Session) -> str:
        packed = _text(f"{session.user_ref}|{session.nonce}|{int(session.made_at.timestamp())}".encode())
        return f"{packed}.{self._sign('cookie', packed)}"

    def read(self, cookie: str, now: datetime) -> Session | None:
        """The session of a cookie that this key signed and that is not too old; None for any other."""
        packed, _, signature = cookie.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("cookie", packed).encode()):
            return None
        user_ref, nonce, made = _untext(packed).rsplit("|", 2)
        session = Session(user_ref, nonce, datetime.fromtimestamp(int(made), UTC))
        return session if now - session.made_at <= self._lasts else None

    def token(self, session: Session) -> str:
        """What a page of this session must send back with every POST (against cross-site requests)."""
        return self._sign("post", f"{session.user_ref}|{session.nonce}")

    def is_token(self, session: Session, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.token(session).encode())

    def _sign(self, purpose: str, content: str) -> str:
        return _text(hmac.new(self._key, f"{purpose}|{content}".encode(), hashlib.sha256).digest())


def load_key(path: Path) -> bytes:
    """The key in this file (32 bytes, readable by its owner only); made at first use."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) < 32:  # a short key could be guessed
            raise ValueError(f"{path} holds no key; delete it to make a new one") from None
        return key
    with os.fdopen(handle, "wb") as file:
        key = secrets.token_bytes(32)
        file.write(key)
    return key


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _untext(text: str) -> str:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
