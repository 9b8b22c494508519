"""What can go wrong when WeChat's or WeCom's API is called, as the caller has to act on it.

Every text here is free of secrets: tokens, secrets and addresses never enter an exception. Error codes are those of
developers.weixin.qq.com (全局返回码) and developer.work.weixin.qq.com/document/path/90313.
"""

import re
from typing import Final

from bot.no_secrets import NoSecrets

# The token was refused: it is fetched anew once, then it is the operator's affair.
TOKEN_REFUSED: Final = frozenset({40001, 40014, 42001})
# Nothing but a change of settings helps: a wrong secret, app id or corp id, a caller's address that is not listed.
SET_UP_WRONG: Final = frozenset({40013, 40125, 40164, 40243, 60020, 41002, 41004, 50002})
# -1 busy; 45009 quota of the day (or 企业微信: calls too often), 45011 and 45033 too fast.
TOO_FAST: Final = {-1: 5.0, 45009: 60.0, 45011: 60.0, 45033: 60.0}

_ADDRESS: Final = re.compile(r"(?:from ip:?|invalid ip|ip:)\s*([0-9a-fA-F:.]*[0-9a-fA-F])", re.IGNORECASE)


class ApiError(Exception):
    """A call did not do what it should; the text is for the operator and holds no secret."""


class ApiRefused(ApiError):
    """The platform refuses this call for good. `errcode` is the platform's, or the HTTP status (400 to 499)."""

    def __init__(self, errcode: int, text: str) -> None:
        super().__init__(f"errcode {errcode}: {text}")
        self.errcode = errcode
        self.text = text


class ApiBusy(ApiError):
    """The platform asks to come back later (too fast, over quota, busy): nothing happened. `seconds` to wait."""

    def __init__(self, seconds: float, errcode: int = 0) -> None:
        super().__init__(f"asked to wait {seconds:.0f} s (errcode {errcode})")
        self.seconds = seconds
        self.errcode = errcode


class ApiNotReached(ApiError):
    """No connection was made, so surely nothing happened."""


class ApiUnsure(ApiError):
    """It may have happened or not: no answer after the request went out, half an answer, 5xx, or nonsense."""


class TokenTrouble(ApiError):
    """The platform does not accept our credentials, the one refresh included: the operator has to act.

    The exception's text is a sentence for the operator that says what to do. `ip` is the address that the platform
    wants on its list, where it named one; `detail` the platform's own words. Nothing was sent.
    """

    def __init__(self, errcode: int, sentence: str, ip: str = "", detail: str = "") -> None:
        super().__init__(sentence)
        self.errcode = errcode
        self.ip = ip
        self.detail = detail


class TooBig(ApiError):
    """A file has more bytes than the limit allows."""


def cleaned(text: object, secrets: tuple[str, ...] = ()) -> str:
    """A platform's or a library's words without these secrets and without whatever looks like a token; one line."""
    plain = " ".join(str(text).split())
    return NoSecrets(secrets, shortest=1, long_runs=True).clean(plain)[:300]


def address_in(text: str) -> str:
    """The caller's address that the platform names in a refusal ("not allow to access from your ip, from ip: …")."""
    found = _ADDRESS.search(text)
    return found[1] if found else ""
