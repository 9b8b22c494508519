"""What a turn works with besides the database: the firm's limits, its files, its questions, and its ear."""

import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

from handlers.steps import Flow
from handlers.visit_flow import visit_flow
from nlp.firm_words import FirmWords, OutletWords, OwnWords, PhraseRule, ProductWords
from nlp.plugin import Plugin, understander
from nlp.understand import Understander
from rules.limits import Limits
from rules.people import Part, system
from storage import firm
from storage.database import Database, Work
from storage.files import Files

# Words that a channel itself recognised in a voice note: never taken, taken where our own recogniser has no model or
# fails, or taken instead of asking it.
ChannelWords: TypeAlias = Literal["never", "fallback", "first"]


@dataclass(slots=True)
class Ear:
    """The firm's Understander, rebuilt when outlets, products or competitors changed. Building takes about a second,
    so it is never done inside a transaction.
    """

    limits: Limits
    plugin: Plugin | None = None
    _looked_at: tuple[object, ...] = ()
    _built_for: FirmWords | None = None
    _understander: Understander | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, database: Database) -> Understander:
        with database.read(system(Part.INTAKE)) as work:
            state = (database.url, firm.revision(work))
            if self._understander is not None and state == self._looked_at:
                return self._understander
            words = firm_words(work, self.limits)
        with self._lock:
            if self._understander is None or words != self._built_for:
                self._understander, self._built_for = understander(words, self.plugin), words
            self._looked_at = state
            return self._understander

    def as_of(self, database: Database, work: Work) -> Understander | None:
        """The one at hand, or None where names changed since it was built, as this transaction sees them."""
        return self._understander if self._looked_at == (database.url, firm.revision(work)) else None

    def think_ahead(self, database: Database, text: str, at: datetime) -> None:
        """Let the plug-in, where there is one, read a note that is about to be understood; never in a transaction."""
        if self.plugin is not None and text:
            self.plugin.consult(text, at.astimezone(ZoneInfo(self.limits.time_zone)), self.of(database).words)


@dataclass(frozen=True, slots=True)
class Tools:
    limits: Limits
    files: Files
    flow: Flow
    ear: Ear
    has_recogniser: bool = True
    channel_words: ChannelWords = "fallback"

    @property
    def zone(self) -> ZoneInfo:
        """The firm's own time zone."""
        return ZoneInfo(self.limits.time_zone)


def make_tools(
    limits: Limits,
    files: Files,
    *,
    has_recogniser: bool = True,
    plugin: Plugin | None = None,
    channel_words: ChannelWords = "fallback",
) -> Tools:
    return Tools(limits, files, visit_flow(limits), Ear(limits, plugin), has_recogniser, channel_words)


def firm_words(work: Work, limits: Limits) -> FirmWords:
    """The names a note may hold, as the ear wants them."""
    return FirmWords(
        outlets=tuple(OutletWords(outlet.code, outlet.name, outlet.aliases) for outlet in firm.outlets(work)),
        products=tuple(ProductWords(item.code, item.name, item.aliases, item.units) for item in firm.products(work)),
        competitors=tuple(item.name for item in firm.competitors(work)),
        close_factors=limits.close_factors,
        root_causes=limits.root_causes,
        phrase_rules=tuple(PhraseRule(rule.phrases, rule.actions, rule.evidence) for rule in limits.phrase_actions),
        own_words=tuple(OwnWords(saying.field, saying.means, saying.words) for saying in limits.sayings),
    )
