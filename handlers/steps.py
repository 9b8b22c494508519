"""A visit's questions as a table of steps. Nothing here does I/O, and the open question is computed, never stored."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from handlers.messages import Choice, NotUnderstood, Reply, Say
from rules.outlets import Near
from rules.visit import Answer, Plain, Source, Visit


@dataclass(frozen=True, slots=True)
class Said:
    """A message made ready for the steps: evidence is stored already and known by its id."""

    text: str = ""
    choice: str = ""
    place: int | None = None
    photo: int | None = None
    note: int | None = None


@dataclass(frozen=True, slots=True)
class Around:
    """What a question may need to be put: the outlets near the pin, the names of the ones in question."""

    near: tuple[Near, ...] = ()
    outlet_names: tuple[tuple[str, str], ...] = ()


Read = Callable[[Said, Visit], Plain]


def always(visit: Visit) -> bool:
    return True


def no_choices(visit: Visit, around: Around) -> tuple[Choice, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Step:
    """One thing a visit needs. `takes` says whether a message holds it, whatever is being asked (a pin fills the
    place at any time); `read` makes the answer, or raises NotUnderstood.
    """

    name: str
    read: Read
    takes: Callable[[Said], bool] = lambda said: False
    when: Callable[[Visit], bool] = always
    choices: Callable[[Visit, Around], tuple[Choice, ...]] = no_choices
    evidence: bool = False
    wants_place: bool = False


@dataclass(frozen=True, slots=True)
class Flow:
    """An ordered table of steps."""

    name: str
    steps: tuple[Step, ...]

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    def needed(self, visit: Visit) -> list[Step]:
        return [step for step in self.steps if step.when(visit)]

    def open_step(self, visit: Visit) -> Step | None:
        """The first step still needed: without an answer, or with one that is only proposed."""
        return next((step for step in self.needed(visit) if not visit.sure(step.name)), None)

    def ask(self, step: Step, visit: Visit, around: Around) -> Reply:
        return Reply(
            Say(f"{self.name}.{step.name}.ask"),
            step.choices(visit, around),
            about=self.name,
            subject=visit.id,
            step=step.name,
            wants_place=step.wants_place,
        )

    def take(self, visit: Visit, said: Said) -> tuple[Visit, list[str]]:
        """Offer a message to every step that can read it; the visit with the new answers, and their names."""
        taken: list[str] = []
        for step in self.steps:
            if step.takes(said):
                visit = self.answer(visit, step.name, step.read(said, visit))
                taken.append(step.name)
        return visit, taken

    def take_for(self, visit: Visit, step: Step, said: Said) -> Visit:
        """Read a message as the answer to one step. Raises NotUnderstood."""
        return self.answer(visit, step.name, step.read(said, visit))

    def answer(self, visit: Visit, name: str, value: Plain) -> Visit:
        """Put a rep's answer. What stood there before is kept as its original; answers no longer needed are dropped."""
        changed = visit.put(name, corrected(visit.answers.get(name), value))
        return changed.drop(*(step.name for step in self.steps if not step.when(changed)))

    def without_last(self, visit: Visit) -> tuple[Visit, str | None]:
        """The visit without its last answered question (by step order), evidence excepted; and that question's name."""
        last = next(
            (step.name for step in reversed(self.steps) if not step.evidence and visit.sure(step.name)),
            None,
        )
        return (visit if last is None else visit.drop(last)), last


def corrected(before: Answer | None, value: Plain) -> Answer:
    """The rep's own answer. What stood there first is kept as its original, unless it is the same again."""
    if before is None:
        return Answer(value, Source.REP)
    if before.value == value:
        return Answer(value, Source.REP, quote=before.quote, original=before.original, traces=before.traces)
    first = before.value if before.original is None else before.original
    return Answer(value, Source.REP, original=None if first == value else first, traces=before.traces)


def confirmed(visit: Visit, names: tuple[str, ...]) -> Visit:
    """Turn proposals into the rep's own answers: the one tap on the card."""
    for name in names:
        visit = visit.put(name, replace(visit.answers[name], sure=True))
    return visit


def one_of(*allowed: str) -> Read:
    def read(said: Said, visit: Visit) -> Plain:
        if said.choice not in allowed:
            raise NotUnderstood("visit.pick_one")
        return said.choice

    return read
