"""An optional program (say, a language model on the firm's own machine) that reads what the rules leave open.

Off unless config.toml names one. It gets a note's words and gives data back, nothing else: what it gives is checked
(nlp.plugin_answers), never executed, and only fills fields in which the rules found nothing. Any failure of it leaves
the rules alone at work.
"""

import importlib
import json
import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, Protocol

from nlp.firm_words import FirmWords
from nlp.plugin_answers import merged
from nlp.understand import Understander, Understanding

log = logging.getLogger(__name__)

_LARGEST: Final = 64_000  # characters of one answer as JSON
_KEPT: Final = 256  # answers remembered
_AT_ONCE: Final = 2  # calls that run at a time; one that hangs holds its place until it ends


class Summarizer(Protocol):
    """What a plug-in is: `factory()` makes one, and it is asked once a note."""

    def summarize(self, text: str, at: datetime, words: FirmWords) -> Mapping[str, Any]:
        """Fields of a note said at `at`, as `zoudian summarize --json` has them, with `quotes` by field.

        A field without a quote that stands in the text is dropped.
        """
        ...


class NoPlugin(Exception):
    """The plug-in cannot be loaded; the argument says why."""


class Plugin:
    """Asks a summarizer in a thread of its own, for so many seconds a note, and remembers what it said.

    Asking takes time, so it is done ahead (`consult`), outside of any transaction; `answers` only looks up.
    """

    def __init__(self, summarizer: Summarizer, seconds: float) -> None:
        self._summarizer = summarizer
        self._seconds = seconds
        self._places = threading.BoundedSemaphore(_AT_ONCE)
        self._said: OrderedDict[tuple[str, date], dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def consult(self, text: str, at: datetime, words: FirmWords) -> None:
        """Let the summarizer read one clip or typed note; returns after at most twice the seconds it is given."""
        key = _clip(text), at.date()
        if not key[0] or key in self._said:
            return
        if not self._places.acquire(timeout=self._seconds):
            log.warning("the summarizer is still busy: rules only")
            return
        answered: queue.SimpleQueue[dict[str, Any] | str] = queue.SimpleQueue()
        # A daemon: a plug-in that never ends must not keep the bot from ending.
        threading.Thread(target=self._ask, args=(key[0], at, words, answered), name="summarizer", daemon=True).start()
        try:
            answer = answered.get(timeout=self._seconds)
        except queue.Empty:
            answer = f"no answer within {self._seconds:g} s"
        if isinstance(answer, str):
            log.warning("the summarizer failed (%s): rules only", answer)
            return
        with self._lock:
            self._said[key] = answer
            while len(self._said) > _KEPT:
                self._said.popitem(last=False)

    def answers(self, text: str, at: datetime) -> list[dict[str, Any]]:
        """What was said on that day about the clips this text is made of."""
        with self._lock:
            return [answer for (clip, day), answer in self._said.items() if day == at.date() and clip in text]

    def _ask(
        self, text: str, at: datetime, words: FirmWords, answered: "queue.SimpleQueue[dict[str, Any] | str]"
    ) -> None:
        try:
            # Through JSON and back: from here on it is plain data, whatever objects the plug-in made.
            plain = json.dumps(dict(self._summarizer.summarize(text, at, words)), allow_nan=False)
            answered.put(json.loads(plain) if len(plain) <= _LARGEST else "too long an answer")
        except BaseException as trouble:  # also sys.exit(): nothing a plug-in does may matter beyond its answer
            answered.put(type(trouble).__name__)
        finally:
            self._places.release()


class PluggedUnderstander(Understander):
    """The rules first; where they are silent, what the plug-in said and can show in the text."""

    def __init__(self, words: FirmWords, plugin: Plugin) -> None:
        super().__init__(words)
        self._plugin = plugin

    def understand(self, text: str, at: datetime, near: Sequence[str] = ()) -> Understanding:
        by_rules = super().understand(text, at, near)
        return merged(by_rules, self._plugin.answers(text, at), text, at, self.words)


def understander(words: FirmWords, plugin: Plugin | None) -> Understander:
    return Understander(words) if plugin is None else PluggedUnderstander(words, plugin)


def plugin_or_none(setting: tuple[str, float] | None) -> Plugin | None:
    """The plug-in of the settings (name, seconds); None without one, and, with a word in the log, for a broken one."""
    if setting is None:
        return None
    try:
        return load_plugin(*setting)
    except NoPlugin as trouble:
        log.error("the summarizer %s cannot be loaded, rules only: %s", setting[0], trouble)
        return None


def load_plugin(name: str, seconds: float) -> Plugin:
    """The plug-in called "package.module:factory". Raises NoPlugin."""
    module, _, factory = name.partition(":")
    try:
        summarizer = getattr(importlib.import_module(module), factory)()
    except Exception as trouble:
        raise NoPlugin(f"{type(trouble).__name__}: {trouble}") from trouble
    if not callable(getattr(summarizer, "summarize", None)):
        raise NoPlugin(f"{name} makes nothing that can summarize")
    return Plugin(summarizer, seconds)


def _clip(text: str) -> str:
    """A clip as it stands in the notes of a visit, which are joined by 。"""
    return text.strip().rstrip("。")
