"""Train the small Whisper on synthetic clauses, shortest notes first.

    python train.py CLAUSES.npz OUT MINUTES [CHECKPOINT.pt]

Notes are put together on the fly: clauses of one voice, silence between them, hiss, and in nearly half of them the
sound of AMR. A CTC head on the encoder (Graves et al. 2006) finds the alignment early; it is dropped at export. OUT.pt
is the checkpoint, OUT the folder of the exported model. With a checkpoint the course starts with the long notes.
"""

import logging
import math
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
import torch
from grammar import COMPETITORS, OUTLETS, PRODUCTS, ROLES
from model import BLANK, POSITIONS, SPACE, Shape, Vocabulary, export, untrained
from torch import distributed, multiprocessing, nn
from torch.nn import functional

WINDOW = 2 * POSITIONS  # frames of 10 ms
MUTE = -10.0  # log10 mel power of digital silence
IGNORE = -100
BANDS = 80
# The AMR codec keeps nothing above 4 kHz; the mel bands from this one on lie wholly there.
NARROW_BANDS = 63
NAMES = tuple(" ".join((*OUTLETS, *(names for names, _ in PRODUCTS), *COMPETITORS, *ROLES)).split())
NAME_SEPARATORS = ("，", "，", "、")
INITIAL_PROMPT = "以下是普通话的句子。"  # the one Whisper is usually given for simplified, punctuated Chinese
PEAK_RATE = 1.5e-3
# On a busy machine two workers of one thread each get further than one of two threads, which wait for each other in
# every operation. They meet this often (McDonald et al. 2010, iterative parameter mixing).
WORKERS = 2
ROUND_SECONDS = 4


@dataclass(frozen=True)
class Stage:
    """A part of the course: it lasts until ``until`` of the time is over."""

    until: float
    clauses: int
    batch: int
    padded: float  # share of batches with up to 12 s of padding
    full: float  # share of batches padded to the whole window, as at recognition
    shifted: float  # share of batches placed somewhere inside the window


COURSE = (
    Stage(until=0.20, clauses=1, batch=16, padded=0.1, full=0.0, shifted=0.3),
    Stage(until=0.38, clauses=2, batch=16, padded=0.1, full=0.0, shifted=0.3),
    Stage(until=0.60, clauses=4, batch=10, padded=0.15, full=0.0, shifted=0.3),
    Stage(until=0.85, clauses=6, batch=8, padded=0.25, full=0.03, shifted=0.2),
    Stage(until=1.01, clauses=6, batch=5, padded=0.1, full=0.65, shifted=0.0),
)


@dataclass
class Sample:
    """One note. ``heard`` has shape (80, frames), normalised; labels are ``IGNORE`` where nothing is to be learned."""

    heard: np.ndarray
    told: list[int]
    labels: list[int]
    characters: list[int] = field(default_factory=list)


class Clauses:
    """The spoken clauses, by voice; each is its text and its two spectra."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as stored:
            self.texts = [str(text) for text in stored["texts"]]
            self.wide, self.narrow = stored["wide"], stored["narrow"]
            self.ends = stored["ends"]
            variants, opens = stored["variants"], stored["opens"]
        self.voices = [
            (np.flatnonzero((variants == voice) & opens), np.flatnonzero((variants == voice) & ~opens))
            for voice in np.unique(variants)
        ]

    def characters(self) -> tuple[str, ...]:
        return tuple(sorted(set("".join(self.texts))))

    def spectrum(self, number: int, narrow: bool) -> np.ndarray:
        source = self.narrow if narrow else self.wide
        start = self.ends[number - 1] if number else 0
        return source[:, start : self.ends[number]].astype(np.float32)


class Notes:
    """Makes notes out of clauses."""

    def __init__(self, clauses: Clauses, vocabulary: Vocabulary, seed: int) -> None:
        self.clauses = clauses
        self.vocabulary = vocabulary
        self.random = Random(seed)
        self.noise = np.random.default_rng(seed)
        special = vocabulary.special
        self.start = [special("startoftranscript"), special("zh"), special("transcribe")]
        self.end, self.no_speech = special("endoftext"), special("nospeech")
        self.previous, self.no_times = special("startofprev"), special("notimestamps")
        self.time_zero = special("0.00")

    def sample(self, most: int, shift: int) -> Sample:
        """A note of up to ``most`` clauses whose first frame stands at encoder position ``shift``."""
        if self.random.random() < 0.03:
            silence = np.full((BANDS, self.random.randint(100, 600)), MUTE, np.float32)
            return Sample(self.recorded(silence, narrow=False), self.start, [self.no_speech, IGNORE, IGNORE])
        openings, bodies = self.random.choice(self.clauses.voices)
        narrow = self.random.random() < 0.45
        parts = [self.silence(0, 60)]
        now = parts[0].shape[1]
        spans: list[tuple[int, int, str]] = []
        for place in range(self.random.randint(1, most)):
            pool = openings if place == 0 and self.random.random() < 0.6 else bodies
            number = int(self.random.choice(pool))
            sound, gap = self.clauses.spectrum(number, narrow), self.silence(5, 45)
            length = sound.shape[1]
            if now + length + gap.shape[1] > WINDOW - 2 * shift:
                break
            parts += [sound + self.random.uniform(-0.1, 0.1), gap]
            spans.append((now, now + length, self.clauses.texts[number]))
            now += length + gap.shape[1]
        heard = np.concatenate(parts, axis=1) + self.random.uniform(-1.5, 0.5)
        return self.labelled(self.recorded(heard, narrow), spans, shift)

    def silence(self, least: int, most: int) -> np.ndarray:
        return np.full((BANDS, self.random.randint(least, most)), MUTE, np.float32)

    def recorded(self, clean: np.ndarray, narrow: bool) -> np.ndarray:
        """The spectrum with hiss added, now and then a few bands lost, normalised the way Whisper does it."""
        level = self.random.uniform(-10, -5) if self.random.random() < 0.6 else self.random.uniform(-5, -3)
        tilt = np.linspace(self.random.uniform(-0.7, 0.7), self.random.uniform(-0.7, 0.7), BANDS, dtype=np.float32)
        hiss = level + tilt[:, None] + self.noise.standard_normal(clean.shape, dtype=np.float32) * 0.2
        if narrow:
            hiss[NARROW_BANDS:] = MUTE
        heard = np.log10(10 ** np.maximum(clean, MUTE) + 10**hiss)
        heard = (np.maximum(heard, heard.max() - 8) + 4) / 4
        if self.random.random() < 0.3:
            band = self.random.randrange(BANDS - 8)
            heard[band : band + self.random.randint(1, 8)] = heard.mean()
        return heard

    def labelled(self, heard: np.ndarray, spans: list[tuple[int, int, str]], shift: int) -> Sample:
        timed = self.random.random() < 0.5
        body: list[int] = []
        for place, (start, end, text) in enumerate(spans):
            said = self.vocabulary.encode(text + ("。" if place == len(spans) - 1 else "，"))
            body += [self.time(start, shift), *said, self.time(end, shift)] if timed else said
        prompt = self.prompt()
        head = [*prompt, *self.start] if timed else [*prompt, *self.start, self.no_times]
        told = [*head, *body]
        labels = [IGNORE] * len(head) + [*body[1:], self.end]
        labels[len(head) - 1] = body[0]
        labels[len(prompt)] = self.start[1]  # the language, told by the first token after the prompt
        return Sample(heard, told, labels, [number for *_, text in spans for number in self.vocabulary.encode(text)])

    def time(self, frame: int, shift: int) -> int:
        return self.time_zero + shift + round(frame / 2)

    def prompt(self) -> list[int]:
        """What came before, or names as hot words come. A quarter of the notes have one; it says nothing about them."""
        drawn = self.random.random()
        if drawn > 0.25:
            return []
        if drawn > 0.22:
            return [self.previous, *self.vocabulary.encode(SPACE + INITIAL_PROMPT)]
        if drawn > 0.12:
            texts = self.random.choices(self.clauses.texts, k=self.random.randint(1, 3))
            said = "，".join(texts) + "。"
        else:
            said = self.random.choice(NAME_SEPARATORS).join(self.random.sample(NAMES, self.random.randint(2, 20)))
        asked = SPACE + INITIAL_PROMPT if self.random.random() < 0.4 else ""
        return [self.previous, *self.vocabulary.encode(SPACE + said)[:100], *self.vocabulary.encode(asked)]


@dataclass(frozen=True)
class Batch:
    heard: torch.Tensor  # (notes, 80, frames)
    shift: int  # encoder position of the first frame
    told: torch.Tensor  # (notes, tokens)
    labels: torch.Tensor  # (notes, tokens)
    positions: torch.Tensor  # (notes,), encoder positions that are not padding
    characters: torch.Tensor  # of all notes in a row
    counts: torch.Tensor  # (notes,)


def batches(notes: Notes, stage: Stage) -> list[Batch]:
    """Six batches of notes of like length; made together so that little is padded."""
    random = notes.random
    shift = random.randint(0, 700) if random.random() < stage.shifted else 0
    made = [notes.sample(stage.clauses, shift) for _ in range(6 * stage.batch)]
    made.sort(key=lambda note: note.heard.shape[1])
    groups = [made[first : first + stage.batch] for first in range(0, len(made), stage.batch)]
    random.shuffle(groups)
    return [collated(group, shift, padding(random, stage), notes.end) for group in groups]


def padding(random: Random, stage: Stage) -> int:
    """Frames of padding behind the longest note; the window itself bounds them."""
    drawn = random.random()
    if drawn < stage.full:
        return WINDOW
    return random.randint(0, 1200) if drawn < stage.full + stage.padded else 0


def collated(group: list[Sample], shift: int, padding: int, end: int) -> Batch:
    longest = max(note.heard.shape[1] for note in group)
    frames = min(WINDOW - 2 * shift, longest + padding)
    frames += frames % 2
    tokens = max(len(note.told) for note in group)
    heard = np.zeros((len(group), BANDS, frames), np.float32)
    told = torch.full((len(group), tokens), end)
    labels = torch.full((len(group), tokens), IGNORE)
    for row, note in enumerate(group):
        heard[row, :, : note.heard.shape[1]] = note.heard
        told[row, : len(note.told)] = torch.tensor(note.told)
        labels[row, : len(note.labels)] = torch.tensor(note.labels)
    return Batch(
        heard=torch.from_numpy(heard),
        shift=shift,
        told=told,
        labels=labels,
        positions=torch.tensor([(note.heard.shape[1] + 1) // 2 for note in group]),
        characters=torch.tensor([character for note in group for character in note.characters], dtype=torch.long),
        counts=torch.tensor([len(note.characters) for note in group]),
    )


@dataclass(frozen=True)
class Plan:
    source: Path
    out: Path
    minutes: float
    checkpoint: Path | None
    start: float  # share of the course that is skipped
    rate: float  # highest learning rate
    characters: tuple[str, ...]
    meeting: Path  # a file that does not exist yet, by which the workers find each other


class Learner(nn.Module):
    def __init__(self, vocabulary: Vocabulary, shape: Shape) -> None:
        super().__init__()
        self.whisper = untrained(vocabulary, shape)
        self.blank = vocabulary.ids[BLANK]
        self.spell = nn.Linear(shape.width, len(vocabulary.text))

    def encoded(self, heard: torch.Tensor, shift: int) -> torch.Tensor:
        """The encoder at any length and place in the window; transformers' own insists on all 30 seconds."""
        encoder = self.whisper.model.encoder
        hidden = functional.gelu(encoder.conv1(heard))
        hidden = functional.gelu(encoder.conv2(hidden)).transpose(1, 2)
        hidden = hidden + encoder.embed_positions.weight[shift : shift + hidden.shape[1]]
        for layer in encoder.layers:
            passed = layer(hidden, None)
            hidden = passed[0] if isinstance(passed, tuple) else passed
        return encoder.layer_norm(hidden)

    def losses(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Loss of the decoder and of the CTC head, nats a token, and the share of tokens the decoder foretells."""
        hidden = self.encoded(batch.heard, batch.shift)
        spelled = self.spell(hidden).log_softmax(-1).transpose(0, 1)
        ctc = functional.ctc_loss(
            spelled, batch.characters, batch.positions, batch.counts, self.blank, reduction="sum", zero_infinity=True
        )
        decoder = self.whisper.model.decoder
        told = decoder(input_ids=batch.told, encoder_hidden_states=hidden, use_cache=False).last_hidden_state
        learned = batch.labels != IGNORE
        logits, labels = told[learned] @ decoder.embed_tokens.weight.T, batch.labels[learned]
        right = (logits.argmax(-1) == labels).float().mean().item()
        told_loss = functional.cross_entropy(logits, labels, label_smoothing=0.05)
        return told_loss, ctc / batch.counts.sum().clamp(min=1), right


def share(learner: Learner, steps: int) -> None:
    """Give all workers the mean of their weights, each counted by the steps it took since the last time."""
    weights = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    flat = torch.cat([nn.utils.parameters_to_vector(weights).detach() * steps, torch.tensor([float(steps)])])
    distributed.all_reduce(flat)
    nn.utils.vector_to_parameters(flat[:-1] / flat[-1], weights)


def train(learner: Learner, notes: Notes, plan: Plan, leads: bool) -> None:
    """Run the course; the clock, not the number of steps, says where in it we are."""
    weights = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.01)
    began = time.monotonic()
    reported, step, stage, waiting, sums = began, 0, COURSE[0], [], np.zeros(4)
    for round_number in range(1, int(plan.minutes * 60 / ROUND_SECONDS) + 1):
        first = step
        while step == first or time.monotonic() < began + round_number * ROUND_SECONDS:
            passed = min(1.0, (time.monotonic() - began) / 60 / plan.minutes)
            position = plan.start + (1 - plan.start) * passed
            now = next(stage for stage in COURSE if position < stage.until)
            if not waiting or now is not stage:
                stage, waiting = now, batches(notes, now)
            warm, cool = min(1, (step + 1) / 200), 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * passed))
            for group in optimizer.param_groups:
                group["lr"] = plan.rate * warm * cool
            told_loss, ctc_loss, right = learner.losses(waiting.pop())
            optimizer.zero_grad()
            (told_loss + (0.5 if position < 0.6 else 0.2) * ctc_loss).backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            step += 1
            sums += (told_loss.item(), ctc_loss.item(), right, 1)
        share(learner, step - first)
        if leads and time.monotonic() - reported > 60:
            reported = time.monotonic()
            told, ctc, foretold = sums[:3] / sums[3]
            logging.info(
                "%.1f min, step %d, up to %d clauses: decoder %.3f, ctc %.3f, foretold %.3f",
                (reported - began) / 60, step, stage.clauses, told, ctc, foretold,
            )  # fmt: skip
            sums[:] = 0
            save(learner, plan)


def save(learner: Learner, plan: Plan) -> None:
    torch.save({"learner": learner.state_dict(), "characters": plan.characters}, plan.out.with_suffix(".pt"))


def work(rank: int, plan: Plan) -> None:
    """One of the workers: one thread, its own notes, the same start as the others."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{plan.meeting}", rank=rank, world_size=WORKERS)
    torch.manual_seed(0)
    vocabulary = Vocabulary(plan.characters)
    learner = Learner(vocabulary, Shape())
    if plan.checkpoint:
        learner.load_state_dict(torch.load(plan.checkpoint)["learner"])
    notes = Notes(Clauses(plan.source), vocabulary, seed=rank + (WORKERS if plan.checkpoint else 0))
    distributed.barrier()
    train(learner, notes, plan, leads=rank == 0)
    if rank == 0:
        logging.info("%d weights", sum(weight.numel() for weight in learner.whisper.parameters()))
        save(learner, plan)
        export(learner.whisper, vocabulary, plan.out)
    distributed.destroy_process_group()


def main(source: Path, out: Path, minutes: float, checkpoint: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(
            source=source,
            out=out,
            minutes=minutes,
            checkpoint=checkpoint,
            start=0.6 if checkpoint else 0.0,
            rate=PEAK_RATE / 2 if checkpoint else PEAK_RATE,
            characters=torch.load(checkpoint)["characters"] if checkpoint else Clauses(source).characters(),
            meeting=Path(folder) / "meeting",
        )
        multiprocessing.spawn(work, args=(plan,), nprocs=WORKERS)


if __name__ == "__main__":
    source, target, minutes, *checkpoints = sys.argv[1:]
    main(Path(source), Path(target), float(minutes), Path(checkpoints[0]) if checkpoints else None)
