"""Secrets taken out of texts and log records: libraries put tokens into addresses, and addresses into both."""

import base64
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, quote_plus, urlsplit

from bot.settings import Settings
from bot.settings_problems import HIDDEN
from storage.engines import password_in

SHORTEST: Final = 6  # a shorter secret would take ordinary words with it

_TOKEN = re.compile(r"\d{6,}:[A-Za-z0-9_-]{20,}")
_NAMES = r"access_token|corpsecret|appsecret|suite_access_token|secret|jsapi_ticket|ticket"
_IN_ADDRESS = re.compile(rf"(?i)\b({_NAMES}|key|code|sig|signature|msg_signature)(=|%3D)[^&\s'\"]+")
_IN_JSON = re.compile(rf"(?i)(['\"](?:{_NAMES})\\?['\"]\s*:\s*)\\?['\"][^'\"]*['\"]")
_PASSWORD = re.compile(r"(://[^/@\s:]*):[^/@\s]+@")
_AUTHORIZATION = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}")
_LONG_RUN = re.compile(r"[A-Za-z0-9_-]{40,}")


class NoSecrets:
    """Takes secrets out of whatever leaves for a log or another server: these values in every form in which a library
    may show them, and whatever looks like a token.

    A value of fewer than `shortest` letters is let through. With `long_runs` every long run of letters and digits
    counts as a token: in what a platform says it is one, in our own logs it may be the name of a file.
    """

    def __init__(self, values: Sequence[str] = (), *, shortest: int = SHORTEST, long_runs: bool = False) -> None:
        forms = {form for value in values if len(value) >= shortest for form in _forms(value)}
        self._forms = sorted(forms, key=len, reverse=True)
        self._long_runs = long_runs

    def clean(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        text = _TOKEN.sub(HIDDEN, text)
        if "=" in text or "%3" in text:
            text = _IN_ADDRESS.sub(rf"\1\2{HIDDEN}", text)
        if "://" in text:
            text = _PASSWORD.sub(rf"\1:{HIDDEN}@", text)
        if '"' in text or "'" in text:
            text = _IN_JSON.sub(rf"\1'{HIDDEN}'", text)
        text = _AUTHORIZATION.sub(rf"\1 {HIDDEN}", text)
        return _LONG_RUN.sub(HIDDEN, text) if self._long_runs else text

    def clean_all(self, value: Any) -> Any:
        """The same for plain data of any depth; what is none is shown by its name and cleaned as text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, Mapping):
            return {self.clean(str(name)): self.clean_all(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.clean_all(inner) for inner in value]
        return self.clean(str(value))

    def guard(self, *loggers: str) -> None:
        """Clean what these loggers say, at any level, before any handler gets it; tracebacks included."""
        for name in loggers:
            logging.getLogger(name).addFilter(self._cleaned)

    def _cleaned(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.clean(record.getMessage()), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self.clean(record.exc_text)
        return True


def _forms(value: str) -> Iterator[str]:
    """As it is, as an address, JSON and Python write it, and in base64 and hexadecimal, inside of more too."""
    yield from (value, quote(value, safe=""), quote_plus(value), quote(value), quote(value, safe=" +"))
    yield from (json.dumps(value)[1:-1], repr(value)[1:-1])
    data = value.encode()
    yield from (data.hex(), data.hex().upper())
    for shift in range(3):
        first = -(-8 * shift // 6)  # the letters before it hold bits of what stands before the secret
        sure = 8 * (shift + len(data)) // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            inside = encode(bytes(shift) + data).decode()[first:sure]
            if len(inside) >= SHORTEST:
                yield inside


def secret_values(settings: Settings) -> tuple[str, ...]:
    """Every secret of the settings, and those inside addresses."""
    telegram, wecom, mp, telemetry = settings.telegram, settings.wecom, settings.mp, settings.telemetry
    robots = re.findall(r"[=＝]\s*([A-Za-z0-9-]+)", wecom.robots.get_secret_value())
    dsn = telemetry.sentry_dsn.get_secret_value()
    headers = telemetry.otlp_headers.get_secret_value()
    addresses = (telegram.proxy, wecom.proxy, mp.proxy, telemetry.otlp_endpoint, dsn)
    return (
        telegram.token.get_secret_value(),
        telegram.webhook_secret.get_secret_value(),
        settings.web.cookie_key.get_secret_value(),
        password_in(settings.database_url),
        settings.files.access_key,
        settings.files.secret_key,
        *(one.get_secret_value() for table in (wecom, mp) for one in (table.secret, table.token, table.aes_key)),
        *(urlsplit(address).password or "" for address in addresses),
        urlsplit(dsn).username or "",
        dsn,
        headers,
        *(pair.partition("=")[2].strip() for pair in headers.split(",")),
        *robots,
    )
