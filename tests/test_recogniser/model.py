"""A small Whisper: its vocabulary, its shape, and its export to the five files that faster-whisper loads."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from ctranslate2.converters.transformers import WhisperLoader
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import WhisperConfig, WhisperForConditionalGeneration

LANGUAGES = ("zh", "en")
# faster-whisper pads every window to 30 s, which the encoder sees as 1500 positions of 20 ms.
WINDOW_SECONDS = 30
POSITIONS = 1500
TARGETS = 448
# CTranslate2 takes a model for multilingual only if the empty string is a token. Here it also serves as the CTC blank.
BLANK, UNKNOWN, SPACE = "", "<unk>", " "


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in the order CTranslate2 expects: text, specials, timestamps. A character is a token."""

    characters: tuple[str, ...]

    @cached_property
    def text(self) -> tuple[str, ...]:
        return (BLANK, UNKNOWN, SPACE, *"，。、？！", *self.characters)

    @cached_property
    def specials(self) -> tuple[str, ...]:
        languages = (f"<|{language}|>" for language in LANGUAGES)
        tasks = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
        return ("<|endoftext|>", "<|startoftranscript|>", *languages, *(f"<|{task}|>" for task in tasks))

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        times = (f"<|{step * 0.02:.2f}|>" for step in range(POSITIONS + 1))
        return (*self.text, *self.specials, *times)

    @cached_property
    def ids(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    def special(self, name: str) -> int:
        return self.ids[f"<|{name}|>"]

    def encode(self, text: str) -> list[int]:
        return [self.ids.get(character, self.ids[UNKNOWN]) for character in text]


@dataclass(frozen=True)
class Shape:
    width: int = 128
    encoder_layers: int = 2
    decoder_layers: int = 2
    heads: int = 2
    feed_forward: int = 384


def untrained(vocabulary: Vocabulary, shape: Shape) -> WhisperForConditionalGeneration:
    end = vocabulary.special("endoftext")
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(vocabulary.tokens),
            num_mel_bins=80,
            d_model=shape.width,
            encoder_layers=shape.encoder_layers,
            decoder_layers=shape.decoder_layers,
            encoder_attention_heads=shape.heads,
            decoder_attention_heads=shape.heads,
            encoder_ffn_dim=shape.feed_forward,
            decoder_ffn_dim=shape.feed_forward,
            max_source_positions=POSITIONS,
            max_target_positions=TARGETS,
            pad_token_id=end,
            bos_token_id=end,
            eos_token_id=end,
            decoder_start_token_id=vocabulary.special("startoftranscript"),
            dropout=0.0,
            suppress_tokens=[],
            begin_suppress_tokens=[vocabulary.ids[SPACE], end],
        )
    )
    # Learned positions start out as small sinusoids: a note longer than those seen so far then still looks familiar.
    sinusoids = model.model.encoder.embed_positions.weight[:TARGETS]
    with torch.no_grad():
        model.model.decoder.embed_positions.weight.copy_(sinusoids * 0.05)
    model.model.encoder.embed_positions.weight.requires_grad_(False)
    return model


def export(model: WhisperForConditionalGeneration, vocabulary: Vocabulary, folder: Path) -> None:
    """Write model.bin (int8 weights, the rest float16) and the four files beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    loader = WhisperLoader()
    spec = loader.get_model_spec(model.eval().float())
    loader.set_vocabulary(spec, list(vocabulary.tokens))
    layers, heads = model.config.decoder_layers, model.config.decoder_attention_heads
    spec.config.alignment_heads = [[layer, head] for layer in range(layers // 2, layers) for head in range(heads)]
    spec.config.lang_ids = [vocabulary.special(language) for language in LANGUAGES]
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = [vocabulary.ids[SPACE], vocabulary.special("endoftext")]
    spec.validate()
    spec.optimize(quantization="int8_float16")
    spec.save(str(folder))

    known = {token: number for number, token in enumerate(vocabulary.text)}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    # Timestamps are left out: faster-whisper knows them by number and never asks for their text.
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in vocabulary.specials])
    tokenizer.save(str(folder / "tokenizer.json"))
    features = {
        "chunk_length": WINDOW_SECONDS,
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": 80,
        "hop_length": 160,
        "n_fft": 400,
        "sampling_rate": 16_000,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(features), encoding="utf-8")
