"""Secrets taken out of log records and of texts: libraries put tokens into addresses, and addresses into both."""

import logging
from collections.abc import Sequence
from urllib.parse import quote


class HideSecrets(logging.Filter):
    """Replaces secrets in log records, tracebacks included. `hide` does the same to any text."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        plain = [secret for secret in secrets if secret]
        self._secrets = sorted({*plain, *(quote(secret, safe="") for secret in plain)}, key=len, reverse=True)

    def hide(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.hide(record.getMessage()), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self.hide(record.exc_text)
        return True
