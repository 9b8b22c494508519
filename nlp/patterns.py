"""Patterns that are compiled when they are first asked: the words of a note are some two hundred long ones, and
compiling them was a third of the bot's start. `compile_rest` does it afterwards, while nobody waits.
"""

import re
from typing import Any, cast


def regex(source: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """re.compile, but a mistake in the pattern shows at its first use (tests/test_patterns.py compiles them all). The
    `re` of a match is the compiled pattern, not what is returned here: what is compared with it is made by re.compile.
    """
    return cast("re.Pattern[str]", _Late(source, flags))


def compile_rest() -> int:
    """Compile what nobody has asked yet; how many that were."""
    left = list(_waiting)
    for one in left:
        one.compile()
    return len(left)


class _Late:
    def __init__(self, source: str, flags: re.RegexFlag) -> None:
        self._source, self._flags = source, flags
        self._compiled: re.Pattern[str] | None = None
        _waiting[self] = None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.compile(), name)
        setattr(self, name, found)  # the next time nothing stands between
        return found

    def compile(self) -> re.Pattern[str]:
        if self._compiled is None:
            _waiting.pop(self, None)
            self._compiled = re.compile(self._source, self._flags)
        return self._compiled


_waiting: dict[_Late, None] = {}
