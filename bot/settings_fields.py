"""The settings themselves: every field, its Chinese key in config.toml (the title), its default and what it may be.

Defaults of the business are those of rules.limits; a value that is a slip of the keyboard (full-width digits, 18：00)
is read as what it means.
"""

import re
import unicodedata
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bot.sayings import in_chinese
from nlp.models import TranscribeSettings
from rules.limits import EVIDENCE, Limits, Saying

PREFIX: Final = "ZOUDIAN_"
BETWEEN: Final = "__"
WEEK: Final = "一二三四五六日"
WEBHOOK_PATH: Final = "/telegram/webhook"
_LIMITS = Limits()


def _folded(value: Any) -> Any:
    return unicodedata.normalize("NFKC", value).strip() if isinstance(value, str) else value


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("number", "not a number")
    return _folded(value)


def _time(value: Any) -> Any:
    found = re.fullmatch(r"(\d{1,2})[:点时](\d{1,2})?分?", _folded(value)) if isinstance(value, str) else None
    if found is None:
        return value
    return f"{int(found[1]):02}:{int(found[2] or 0):02}"


def _days(value: Any) -> Any:
    """Words for the days of the week as numbers from Monday, 0."""
    if not isinstance(value, list):
        return value
    words = [re.sub(r"^(?:周|星期|礼拜)", "", str(day).strip()).replace("天", "日") for day in value]
    if not words or any(word not in WEEK or len(word) != 1 for word in words):
        raise PydanticCustomError("days", "not days of the week")
    return sorted({WEEK.index(word) for word in words})


def _yes_no(value: Any) -> Any:
    return {"是": True, "否": False}.get(value, value) if isinstance(value, str) else value


def _zone(value: str) -> str:
    if value not in available_timezones():
        raise PydanticCustomError("zone", "unknown time zone")
    return value


def _distinct(value: tuple[str, ...]) -> tuple[str, ...]:
    words = tuple(word.strip() for word in value)
    if not words or len(set(words)) != len(words) or any(not 0 < len(word) <= 40 for word in words):
        raise PydanticCustomError("words", "empty, repeated or too long")
    return words


def _token(value: SecretStr) -> SecretStr:
    if value.get_secret_value() and not re.fullmatch(r"\d+:[A-Za-z0-9_-]{20,}", value.get_secret_value().strip()):
        raise PydanticCustomError("token", "not a token")
    return SecretStr(value.get_secret_value().strip())


def _long_key(value: SecretStr) -> SecretStr:
    if 0 < len(value.get_secret_value()) < 32:
        raise PydanticCustomError("long_key", "too short")
    return value


def _aes_key(value: SecretStr) -> SecretStr:
    """EncodingAESKey: 43 characters, base64 of 32 bytes without its padding."""
    plain = value.get_secret_value().strip()
    if plain and not re.fullmatch(r"[A-Za-z0-9]{43}", plain):
        raise PydanticCustomError("aes_key", "not an EncodingAESKey")
    return SecretStr(plain)


def _dsn(value: SecretStr) -> SecretStr:
    plain = value.get_secret_value().strip()
    if plain and not re.fullmatch(r"https?://[^\s/@]+@[^\s/@]+/\S+", plain):
        raise PydanticCustomError("dsn", "not a DSN")
    return SecretStr(plain)


Whole = Annotated[int, BeforeValidator(_number)]
Measure = Annotated[float, BeforeValidator(_number)]
Clock = Annotated[time, BeforeValidator(_time)]
Days = Annotated[tuple[int, ...], BeforeValidator(_days)]
Words = Annotated[tuple[str, ...], AfterValidator(_distinct)]
YesNo = Annotated[bool, BeforeValidator(_yes_no)]


def _robots(value: SecretStr) -> SecretStr:
    """工号=密钥 or 姓名=密钥, separated by commas."""
    parts = re.split("[,，]", value.get_secret_value())
    if any(not re.fullmatch(r"\s*[^=＝\s]+\s*[=＝]\s*[A-Za-z0-9-]{8,80}\s*", part) for part in parts if part.strip()):
        raise PydanticCustomError("robots", "not 工号=密钥")
    return value


def _verify_files(value: tuple[str, ...]) -> tuple[str, ...]:
    """WW_verify_… and MP_verify_… only: nothing else of the site can be replaced by a setting."""
    form = re.compile(r"(?:WW|MP)_verify_[A-Za-z0-9]{4,64}\.txt(?:=[A-Za-z0-9_-]{4,128})?")
    if not all(form.fullmatch(one) for one in value):
        raise PydanticCustomError("verify_files", "not a verification file")
    return value


AesKey = Annotated[SecretStr, AfterValidator(_aes_key)]
_NO_SECRET = SecretStr("")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class PhraseValues(_Table):
    phrases: Words = Field(title="短语")
    actions: Words = Field(title="动作")
    evidence: tuple[str, ...] = Field(default=(), title="凭据")

    @field_validator("evidence")
    @classmethod
    def _one_for_each_action(cls, value: tuple[str, ...], said: ValidationInfo) -> tuple[str, ...]:
        actions = said.data.get("actions", ())
        if value and (len(value) != len(actions) or any(word not in EVIDENCE for word in value)):
            raise PydanticCustomError("evidence", "not one known kind of proof for each action")
        return value


class SayingValues(_Table):
    """`means` is an objection or outcome in Chinese, or one of the firm's own close factors or root causes."""

    title: Literal["异议", "结果", "本次成交关键因素", "未成交根因"] = Field(title="栏目")
    means: str = Field(title="意思", min_length=1)
    words: Words = Field(title="说法")


def _saying(saying: Saying) -> SayingValues:
    title, means = in_chinese(saying)
    return SayingValues.model_validate({"title": title, "means": means, "words": saying.words})


class UnderstandingValues(_Table):
    """An optional program that reads what the rules leave open; empty: none."""

    plugin: str = Field(default="", title="插件", pattern=r"^([A-Za-z_][\w.]*:[A-Za-z_]\w*)?$")
    plugin_seconds: Measure = Field(default=10.0, title="插件最长秒数", ge=0.1, le=120)


class SpeechValues(_Table):
    engine: Literal["whisper", "sensevoice"] = Field(default="whisper", title="引擎")
    model: str = Field(default="small", title="模型", min_length=1)
    model_dir: str = Field(default="", title="模型目录")
    mirror: str = Field(default="", title="镜像", pattern=r"^(https?://\S+)?$")
    compute_type: Literal["int8", "int8_float32", "float32"] = Field(default="int8", title="计算精度")
    cpu_threads: Whole = Field(default=0, title="线程数", ge=0, le=256)
    beam_size: Whole = Field(default=5, title="搜索宽度", ge=1, le=20)
    prompt: str = Field(default=TranscribeSettings().prompt, title="提示语")
    hotword_tokens: Whole = Field(default=60, title="热词预算", ge=0, le=150)
    max_seconds: Whole = Field(default=int(TranscribeSettings().max_seconds), title="最长秒数", ge=10, le=3600)
    allow_small_models: YesNo = Field(default=False, title="允许小模型")
    channel_words: Literal["不用", "后备", "优先"] = Field(default="后备", title="平台转写")


class DataValues(_Table):
    folder: Path = Field(default=Path("data"), title="目录")
    url: str = Field(default="", title="数据库")


class FilesValues(_Table):
    kind: Literal["本机", "S3"] = Field(default="本机", title="存放方式")
    folder: str = Field(default="", title="目录")
    bucket: str = Field(default="", title="桶")
    endpoint: str = Field(default="", title="服务地址", pattern=r"^(https?://\S+)?$")
    region: str = Field(default="us-east-1", title="地域")
    prefix: str = Field(default="", title="前缀")
    access_key: SecretStr = Field(default=_NO_SECRET, title="访问密钥")
    secret_key: SecretStr = Field(default=_NO_SECRET, title="访问密钥口令")


class MetricsValues(_Table):
    """The page of figures for Prometheus, with /healthz and /readyz; port 0: none."""

    port: Whole = Field(default=0, title="端口", ge=0, le=65535)
    host: str = Field(default="127.0.0.1", title="地址", min_length=1)
    free_mb: Whole = Field(default=1000, title="磁盘最少MB", ge=0, le=1_000_000)


class TelemetryValues(_Table):
    """What goes out to servers of others, only where it is set: spans by OTLP over HTTP, errors to Sentry."""

    otlp_endpoint: str = Field(default="", title="OTLP网址", pattern=r"^(https?://\S+)?$")
    otlp_headers: SecretStr = Field(default=_NO_SECRET, title="OTLP请求头")
    sentry_dsn: Annotated[SecretStr, AfterValidator(_dsn)] = Field(default=_NO_SECRET, title="SentryDSN")


class WebValues(_Table):
    """`public_url` is what a phone opens; empty for this machine only. An empty cookie key means: made and kept.

    `verify_files` are what the platforms' consoles want to find at the domain, to see that it is the firm's: a name, or
    name=content where the content is not the name's last part.
    """

    host: str = Field(default="127.0.0.1", title="地址", min_length=1)
    port: Whole = Field(default=8350, title="端口", ge=0, le=65535)
    public_url: str = Field(default="", title="公网网址", pattern=r"^(https?://\S+)?$")
    upload_mb: Whole = Field(default=20, title="上传上限MB", ge=1, le=100)
    verify_files: Annotated[tuple[str, ...], AfterValidator(_verify_files)] = Field(default=(), title="域名校验文件")
    cookie_key: Annotated[SecretStr, AfterValidator(_long_key)] = Field(default=_NO_SECRET, title="登录密钥")


class TelegramValues(_Table):
    """Telegram is on when there is a token."""

    mode: Literal["polling", "webhook"] = Field(default="polling", title="方式")
    webhook_url: str = Field(default="", title="网址", pattern=rf"^(https://\S+{WEBHOOK_PATH})?$")
    bot_name: str = Field(default="", title="机器人用户名", pattern=r"^@?[A-Za-z0-9_]{0,40}$")
    api_base: str = Field(default="https://api.telegram.org", title="接口地址", pattern=r"^https?://\S+$")
    proxy: str = Field(default="", title="代理", pattern=r"^(http://\S+)?$")
    token: Annotated[SecretStr, AfterValidator(_token)] = Field(default=_NO_SECRET, title="令牌")
    webhook_secret: SecretStr = Field(default=_NO_SECRET, title="回调密钥")


class WecomValues(_Table):
    """企业微信 is on when there is a secret. `robots` are the keys of group robots, each with the manager whose group
    it is: 工号=密钥 or 姓名=密钥, separated by commas. `cards`: choices as cards; the WeChat plug-in shows none.
    """

    corp_id: str = Field(default="", title="企业ID", pattern=r"^[A-Za-z0-9_-]{0,64}$")
    agent_id: str = Field(default="", title="应用ID", pattern=r"^[0-9]{0,12}$")
    datum: Literal["gcj02", "wgs84"] = Field(default="gcj02", title="坐标系")
    report_datum: Literal["gcj02", "wgs84"] = Field(default="gcj02", title="上报坐标系")
    api_base: str = Field(default="", title="接口地址", pattern=r"^(https?://\S+)?$")
    login_base: str = Field(default="", title="网页授权地址", pattern=r"^(https?://\S+)?$")
    script: str = Field(default="", title="网页组件地址", pattern=r"^(https?://\S+)?$")
    proxy: str = Field(default="", title="代理", pattern=r"^(http://\S+)?$")
    secret: SecretStr = Field(default=_NO_SECRET, title="应用密钥")
    token: SecretStr = Field(default=_NO_SECRET, title="回调令牌")
    aes_key: AesKey = Field(default=_NO_SECRET, title="回调密钥")
    cards: YesNo = Field(default=True, title="按钮卡片")
    robots: Annotated[SecretStr, AfterValidator(_robots)] = Field(default=_NO_SECRET, title="群机器人")


class MpValues(_Table):
    """公众号 is on when there is a token. Only the full mode needs a secret; templates are those of the account.

    Of a template's fields each is written 内容=字段: which of our words (标题, 事项, 客户, 时间, 备注, 选项, 内容) goes
    into which field.
    """

    app_id: str = Field(default="", title="AppID", pattern=r"^[A-Za-z0-9_-]{0,64}$")
    mode: Literal["完整", "只被动回复"] = Field(default="完整", title="方式")
    datum: Literal["gcj02", "wgs84"] = Field(default="gcj02", title="坐标系")
    report_datum: Literal["gcj02", "wgs84"] = Field(default="wgs84", title="上报坐标系")
    template_kind: Literal["模板消息", "订阅通知"] = Field(default="模板消息", title="模板种类")
    reminder_template: str = Field(default="", title="提醒模板", pattern=r"^[A-Za-z0-9_-]{0,80}$")
    reminder_fields: tuple[str, ...] = Field(default=(), title="提醒模板字段")
    alert_template: str = Field(default="", title="预警模板", pattern=r"^[A-Za-z0-9_-]{0,80}$")
    alert_fields: tuple[str, ...] = Field(default=(), title="预警模板字段")
    accept_plain: YesNo = Field(default=False, title="允许明文")
    api_base: str = Field(default="", title="接口地址", pattern=r"^(https?://\S+)?$")
    login_base: str = Field(default="", title="网页授权地址", pattern=r"^(https?://\S+)?$")
    script: str = Field(default="", title="网页组件地址", pattern=r"^(https?://\S+)?$")
    proxy: str = Field(default="", title="代理", pattern=r"^(http://\S+)?$")
    secret: SecretStr = Field(default=_NO_SECRET, title="AppSecret")
    token: SecretStr = Field(default=_NO_SECRET, title="回调令牌")
    aes_key: AesKey = Field(default=_NO_SECRET, title="回调密钥")


class Values(BaseSettings):
    """Everything that can be set. Distances in metres, times local to the firm, durations as the titles say."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=BETWEEN,
        extra="forbid",
        frozen=True,
        str_strip_whitespace=True,
        hide_input_in_errors=True,
    )
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(default=_LIMITS.time_zone, title="时区")
    language: Literal["zh-CN", "en"] = Field(default="zh-CN", title="语言")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", title="日志级别")
    log_format: Literal["文字", "JSON"] = Field(default="文字", title="日志格式")
    fence_m: Measure = Field(default=_LIMITS.fence_m, title="围栏半径米", ge=20, le=5000)
    clear_match_ratio: Measure = Field(default=_LIMITS.clear_match_ratio, title="最近门店倍数", ge=1, le=10)
    pin_fresh_minutes: Whole = Field(default=_LIMITS.pin_fresh_minutes, title="定位有效分钟", ge=1, le=1440)
    top_speed_kmh: Measure = Field(default=_LIMITS.top_speed_kmh, title="最高时速公里", ge=30, le=1000)
    photo_fresh_hours: Whole = Field(default=_LIMITS.photo_fresh_hours, title="照片有效小时", ge=1, le=720)
    near_same_bits: Whole = Field(default=_LIMITS.near_same_bits, title="照片相似位数", ge=0, le=60)
    shortest_visit_minutes: Whole = Field(default=_LIMITS.shortest_visit_minutes, title="拜访最短分钟", ge=0, le=120)
    forgotten_after_minutes: Whole = Field(default=_LIMITS.forgotten_after_minutes, title="忘记结束分钟", ge=5, le=720)
    undo_hours: Whole = Field(default=_LIMITS.undo_hours, title="可撤销小时", ge=1, le=720)
    todo_over_minutes: Whole = Field(default=_LIMITS.todo_over_minutes, title="自动待办超过分钟", ge=0, le=480)
    work_days: Days = Field(default=_LIMITS.work_days, title="工作日")
    holidays_off: YesNo = Field(default=_LIMITS.holidays_off, title="法定节假日休息")
    day_starts: Clock = Field(default=_LIMITS.day_starts, title="上班时间")
    day_ends: Clock = Field(default=_LIMITS.day_ends, title="下班时间")
    remind_at: Clock = Field(default=_LIMITS.remind_at, title="提醒时间")
    remind_ahead_minutes: Whole = Field(default=_LIMITS.remind_ahead_minutes, title="提前提醒分钟", ge=0, le=1440)
    alert_at: Clock = Field(default=_LIMITS.alert_at, title="预警时间")
    alert_catch_up_hours: Whole = Field(default=_LIMITS.alert_catch_up_hours, title="预警补发小时", ge=1, le=48)
    new_outlets_a_day: Whole = Field(default=_LIMITS.new_outlets_a_day, title="每日新客目标", ge=0, le=100)
    new_outlet_run_days: Whole = Field(default=_LIMITS.new_outlet_run_days, title="连续未完成天数", ge=1, le=30)
    close_factors: Words = Field(default=_LIMITS.close_factors, title="本次成交关键因素")
    root_causes: Words = Field(default=_LIMITS.root_causes, title="未成交根因")
    phrase_actions: tuple[PhraseValues, ...] = Field(
        default=tuple(
            PhraseValues(phrases=rule.phrases, actions=rule.actions, evidence=rule.evidence)
            for rule in _LIMITS.phrase_actions
        ),
        title="再跟进短语",
    )
    sayings: tuple[SayingValues, ...] = Field(
        default=tuple(_saying(saying) for saying in _LIMITS.sayings),
        title="说法",
    )
    speech: SpeechValues = Field(default=SpeechValues(), title="语音")
    understanding: UnderstandingValues = Field(default=UnderstandingValues(), title="理解")
    data: DataValues = Field(default=DataValues(), title="数据")
    files: FilesValues = Field(default=FilesValues(), title="文件")
    web: WebValues = Field(default=WebValues(), title="网页")
    telegram: TelegramValues = Field(default=TelegramValues(), title="telegram")
    wecom: WecomValues = Field(default=WecomValues(), title="企业微信")
    mp: MpValues = Field(default=MpValues(), title="公众号")
    metrics: MetricsValues = Field(default=MetricsValues(), title="指标")
    telemetry: TelemetryValues = Field(default=TelemetryValues(), title="外送")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources are read one by one by `load_settings`, which tells where each value came from."""
        return (init_settings,)
