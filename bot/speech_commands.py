"""Commands about hearing and understanding: model pull, model check, summarize."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import click

from bot.cli import DATA_PROBLEM, SAMPLE_FIRM, SURROUNDINGS, USAGE, progress_bar, say, settings_of, stop
from bot.settings import Settings
from nlp import models, transcribe
from nlp.firm_words import FirmWords, OutletWords, OwnWords, PhraseRule, ProductWords
from nlp.labels import FIELDS, Score, disagreements, score, to_json
from nlp.models import ModelTooSmall, NoModel, PullFailed, TranscribeSettings
from nlp.plugin import Plugin, plugin_or_none, understander
from nlp.sound_limits import BadAudio
from nlp.transcribe import Hints, NoEngine
from nlp.understand import Understanding
from reports.firm_import import FirmData, ImportRefused, read_firm
from rules.limits import Limits

TEST_MODEL = SAMPLE_FIRM / "test_model"
_MB = 1_000_000


@click.group()
def model() -> None:
    """语音模型：下载、检查。"""


@model.command()
@click.argument("name", metavar="名字")
@click.option("--mirror", help="下载镜像的网址；默认用 config.toml 里的。")
@click.option("--allow-small", is_flag=True, help="tiny、base 也下载（听中文错得很多）。")
@click.pass_context
def pull(context: click.Context, name: str, mirror: str | None, allow_small: bool) -> None:
    """下载一个语音模型，例如 small、medium、large-v3-turbo、sensevoice-small。中断了再运行会接着下载。"""
    settings = settings_of(context)
    allowed = allow_small or settings.transcribe.allow_small_models
    try:
        folder = _pull(name, settings.model_dir, mirror or settings.mirror, allow_small=allowed)
    except PullFailed as failed:
        code = USAGE if failed.reason == "unknown" else SURROUNDINGS
        stop(code, f"model.failed.{failed.reason}", name=failed.name, detail=failed.detail)
    except ModelTooSmall as small:
        stop(SURROUNDINGS, "model.too_small", name=small.name, cer=small.cer)
    click.echo(say("model.pulled", folder=folder))


def _pull(name: str, into: Path, mirror: str | None, *, allow_small: bool) -> Path:
    click.echo(say("model.pulling", name=name), err=True)
    with progress_bar(1, "model.progress") as bar:

        def show(done: int, total: int | None) -> None:
            if total:
                bar.length = total
                bar.update(min(done, total) - bar.pos)

        return models.pull_model(name, into, mirror, show, allow_small_models=allow_small)


@model.command()
@click.option("--model", "name", help="模型的名字或文件夹；默认用 config.toml 里的。")
@click.option("--clip", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="用这段语音试听。")
@click.pass_context
def check(context: click.Context, name: str | None, clip: Path | None) -> None:
    """找到模型、载入、听一段示例语音，报告快慢和听到的话。"""
    settings = _hearing(settings_of(context).transcribe, name)
    try:
        report = transcribe.check_model(settings, (clip or SAMPLE_FIRM / "clips" / "note00.ogg").read_bytes())
    except BadAudio as bad:
        stop(DATA_PROBLEM, "summarize.bad_audio", file=clip, detail=_reason(bad))
    except (NoModel, ModelTooSmall, NoEngine) as error:
        _no_recogniser(error)
    click.echo(say("model.found", folder=report.folder))
    for file, size in report.files:
        click.echo(say("model.file", name=file, size=f"{size / _MB:.1f}"))
    click.echo(say("model.load", seconds=f"{report.load_seconds:.1f}"))
    click.echo(say("model.speed", rtf=f"{report.rtf:.2f}"))
    click.echo(say("model.heard", text=report.transcript.text))


def _hearing(settings: TranscribeSettings, name: str | None) -> TranscribeSettings:
    """The recogniser's settings with another model; the bundled test model was trained without prompt and hotwords."""
    chosen = replace(settings, model=name) if name else settings
    if Path(chosen.model).resolve() == TEST_MODEL:
        return replace(chosen, engine="whisper", prompt="", hotword_tokens=0)
    return chosen


def _no_recogniser(error: NoModel | ModelTooSmall | NoEngine) -> NoReturn:
    if isinstance(error, NoEngine):
        stop(SURROUNDINGS, "model.no_engine", extra=error.extra)
    if isinstance(error, ModelTooSmall):
        stop(SURROUNDINGS, "model.too_small", name=error.name, cer=error.cer)
    if error.missing:
        stop(SURROUNDINGS, "model.not_whole", name=error.name, missing=error.missing, looked=error.looked)
    stop(SURROUNDINGS, "model.none", name=error.name, looked=error.looked)


# --- summarize --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Note:
    """One note to understand; `labels` are what a person says it means, where the file has them."""

    id: str
    at: datetime
    text: str
    labels: Mapping[str, Any] | None = None
    heard: bool = False


@click.command()
@click.argument(
    "files", metavar="文件…", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False, allow_dash=True)
)
@click.option(
    "--firm", type=click.Path(path_type=Path, file_okay=False, exists=True), help="公司资料的文件夹（同 import）。"
)
@click.option("--at", "at_text", help="说这段话的时间，例如 2026-11-23T09:30；默认是现在。jsonl 里的 at 优先。")
@click.option("--model", "name", help="语音模型的名字或文件夹；默认用 config.toml 里的。")
@click.option("--json", "as_json", is_flag=True, help="每条小结一行 JSON。")
@click.option("--score", "scoring", is_flag=True, help="和 jsonl 里的 expect 标注比，打印每个字段的查准、查全、F1。")
@click.pass_context
def summarize(
    context: click.Context,
    files: tuple[Path, ...],
    firm: Path | None,
    at_text: str | None,
    name: str | None,
    as_json: bool,
    scoring: bool,
) -> None:
    """从小结里读出拜访内容。文件可以是文字、语音，或 .jsonl（每行 {"id", "at", "text"}）；- 是标准输入。"""
    settings = settings_of(context)
    at = _moment(at_text, ZoneInfo(settings.limits.time_zone))
    understand = _reader(_words(_firm(firm), settings.limits), plugin_or_none(settings.plugin))
    notes = _notes(files, at, settings, name)
    if scoring:
        _print_scores(understand, list(notes), as_json=as_json)
        return
    for note in notes:
        found = to_json(understand(note))
        if as_json:
            click.echo(json.dumps({"id": note.id, **found}, ensure_ascii=False))
        else:
            _print_note(note, found)


def _reader(words: FirmWords, plugin: Plugin | None) -> Callable[[_Note], Understanding]:
    ear = understander(words, plugin)

    def understand(note: _Note) -> Understanding:
        if plugin is not None:
            plugin.consult(note.text, note.at, words)
        return ear.understand(note.text, note.at)

    return understand


def _moment(text: str | None, zone: ZoneInfo) -> datetime:
    """An ISO time; one without a zone is the firm's local time."""
    if text is None:
        return datetime.now(zone)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        stop(USAGE, "cli.bad_time", value=text)
    return at.replace(tzinfo=zone) if at.tzinfo is None else at.astimezone(zone)


def _firm(folder: Path | None) -> FirmData:
    if folder is None:
        click.echo(say("summarize.sample_firm"), err=True)
    try:
        return read_firm(folder or SAMPLE_FIRM)
    except ImportRefused as refused:
        from bot.firm_commands import tell_problems  # noqa: PLC0415  only when something is wrong

        tell_problems(refused)
        raise click.exceptions.Exit(DATA_PROBLEM) from None


def _words(data: FirmData, limits: Limits) -> FirmWords:
    return FirmWords(
        outlets=tuple(OutletWords(outlet.code, outlet.name, outlet.aliases) for outlet in data.outlets),
        products=tuple(ProductWords(item.code, item.name, item.aliases, item.units) for item in data.products),
        competitors=tuple(item.name for item in data.competitors),
        close_factors=limits.close_factors,
        root_causes=limits.root_causes,
        phrase_rules=tuple(PhraseRule(rule.phrases, rule.actions, rule.evidence) for rule in limits.phrase_actions),
        own_words=tuple(OwnWords(saying.field, saying.means, saying.words) for saying in limits.sayings),
    )


def _notes(files: Sequence[Path], at: datetime, settings: Settings, model_name: str | None) -> Iterator[_Note]:
    recogniser = None
    for file in files:
        data = _bytes(file)
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            recogniser = recogniser or transcribe.make_transcriber(_hearing(settings.transcribe, model_name))
            yield _Note(file.name, at, _heard(recogniser, file, data), heard=True)
            continue
        if file.suffix.lower() == ".jsonl":
            yield from _lines(file, text, at)
        else:
            yield _Note(file.name, at, text.strip())


def _bytes(file: Path) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        stop(USAGE, "cli.cannot_read", path=file, detail=error.strerror)


def _heard(recogniser: transcribe.Transcriber, file: Path, data: bytes) -> str:
    try:
        return recogniser.transcribe(data, Hints()).text
    except BadAudio as bad:
        stop(DATA_PROBLEM, "summarize.bad_audio", file=file, detail=_reason(bad))
    except (NoModel, ModelTooSmall, NoEngine) as error:
        _no_recogniser(error)


def _reason(bad: BadAudio) -> str:
    return say(f"summarize.audio.{bad.reason}")


def _lines(file: Path, text: str, at: datetime) -> Iterator[_Note]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            said = str(entry["text"])
            moment = datetime.fromisoformat(entry["at"]) if "at" in entry else at
        except (ValueError, KeyError, TypeError) as error:
            stop(DATA_PROBLEM, "summarize.bad_line", file=file, line=number, detail=error)
        local = moment.replace(tzinfo=at.tzinfo) if moment.tzinfo is None else moment.astimezone(at.tzinfo)
        yield _Note(str(entry.get("id", number)), local, said, entry.get("expect"))


def _print_note(note: _Note, found: Mapping[str, Any]) -> None:
    click.echo(say("summarize.note", id=note.id))
    if note.heard:
        click.echo(say("summarize.heard", text=note.text))
    shown = [name for name in (*FIELDS, "problem", "actions") if found[name] not in (None, [])]
    for name in shown:
        words = found["quotes"].get(name, "")
        quotes = say("summarize.quotes", words=words) if words else ""
        label = say(f"field.{'outlet' if name == 'customer' else name}")
        value = [_with_proof(one, found["proofs"]) for one in found[name]] if name == "actions" else found[name]
        click.echo(say("summarize.field", name=label, value=_readable(name, value), quotes=quotes))
    if not shown:
        click.echo(say("summarize.nothing"))


def _with_proof(action: str, proofs: Mapping[str, str]) -> str:
    return say("summarize.action", action=action, proof=proofs[action]) if proofs[action] else action


def _readable(name: str, value: Any) -> str:
    if name == "outcome":
        return say(f"outcome.{value}")
    if name == "objections":
        return say("listed", items=[say(f"objection.{code}") for code in value])
    if name in ("orders", "samples"):
        return say("listed", items=[" ".join(str(part) for part in line) for line in value])
    if name == "payment":
        return say("listed", items=[part for part in value if part is not None])
    if name == "follow_up":
        return f"{value['from']} — {value['to']} {value['time'] or ''}".strip()
    return say("listed", items=value) if isinstance(value, list) else str(value)


def _print_scores(understand: Callable[[_Note], Understanding], notes: Sequence[_Note], *, as_json: bool) -> None:
    labelled = [(note, note.labels) for note in notes if note.labels is not None]
    if not labelled:
        stop(DATA_PROBLEM, "summarize.no_labels")
    found = []
    with progress_bar(len(labelled), "summarize.working") as bar:
        for note, _ in labelled:
            found.append(to_json(understand(note)))
            bar.update(1)
    scores = score([labels for _, labels in labelled], found)
    if as_json:
        click.echo(json.dumps({name: _figures(one) for name, one in scores.items()}, ensure_ascii=False))
        return
    click.echo(say("summarize.head"))
    for name, one in scores.items():
        click.echo(say("summarize.score", name=name, **_figures(one)))
    odd = [
        (note.id, names)
        for (note, labels), one in zip(labelled, found, strict=True)
        if (names := disagreements(labels, one))
    ]
    if odd:
        click.echo("\n" + say("summarize.wrong"))
        for note_id, names in odd:
            click.echo(say("summarize.disagreement", id=note_id, names=names))


def _figures(one: Score) -> dict[str, float]:
    return {
        "precision": round(one.precision, 4),
        "recall": round(one.recall, 4),
        "f1": round(one.f1, 4),
        "right": one.right,
        "wrong": one.wrong,
        "missed": one.missed,
    }
