"""Base models built in a second: real architectures of two small layers, seeded, and their tokenizers."""

import random
from pathlib import Path
from typing import Literal

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from schemas.clean import Clean
from schemas.record import Coordinates, Kind
from tests.unit.trainers.samples import START
from trainers.tasks.examples import Question, Tagged, Text

Architecture = Literal["bert", "distilbert", "roberta", "gpt2"]

PEOPLE = ("anna", "boris", "carla", "dmitri", "emma", "farid")
PLACES = ("paris", "lagos", "quito", "oslo", "hanoi", "lima")
THINGS = ("lamp", "desk", "teapot", "bicycle", "novel", "garden")
VERBS = ("visited", "painted", "sold", "found", "liked", "repaired")
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_LETTERS = list("abcdefghijklmnopqrstuvwxyz.?")


def corpus() -> list[str]:
    """Return every word of the examples, in sentences."""
    chance = random.Random(3)
    return [
        f"{w} is what {v} did in the {t} of {p} ."
        for w, v, t, p in zip(PEOPLE, VERBS, THINGS, PLACES, strict=True)
    ] * 3 + [" ".join(chance.sample(PEOPLE + PLACES + THINGS + VERBS, 8)) for _ in range(40)]


def build(folder: Path, architecture: Architecture, *, positions: int = 64) -> Path:
    """Write a base model with random weights and a tokenizer that knows the corpus' words."""
    tokenizer = _word_pieces() if architecture in {"bert", "distilbert"} else _byte_pairs(architecture)
    size = tokenizer.get_vocab_size()
    torch.manual_seed(11)
    config = {
        "bert": lambda: transformers.BertConfig(
            vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=positions,
        ),
        "distilbert": lambda: transformers.DistilBertConfig(
            vocab_size=size, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=positions
        ),
        "roberta": lambda: transformers.RobertaConfig(
            vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=positions + 2, pad_token_id=1, type_vocab_size=1,
        ),
        "gpt2": lambda: transformers.GPT2Config(
            vocab_size=size, n_embd=32, n_layer=2, n_head=2, n_positions=positions,
            bos_token_id=0, eos_token_id=0,
        ),
    }[architecture]()  # fmt: skip
    head = transformers.AutoModelForCausalLM if architecture == "gpt2" else transformers.AutoModelForMaskedLM
    model = head.from_config(config)
    with torch.no_grad():  # words further apart than at birth, so that a head has something to go by
        model.get_input_embeddings().weight.mul_(8.0)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _word_pieces() -> Tokenizer:
    """Words and letters as pieces, in a fixed order: a trained vocabulary differs from process to process."""
    words = sorted({word for text in corpus() for word in text.split() if word.isalpha()})
    unused = [f"[unused{number}]" for number in range(40)]  # as BERT's own has
    inside = [f"##{letter}" for letter in _LETTERS]
    pieces = dict.fromkeys([*_SPECIAL, *words, *_LETTERS, *inside, *unused])
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(_SPECIAL)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer


def _byte_pairs(architecture: Architecture) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if architecture == "roberta" else ["<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(corpus(), trainer)
    if architecture == "roberta":
        tokenizer.post_processor = processors.RobertaProcessing(
            ("</s>", 2), ("<s>", 0), add_prefix_space=False
        )
    return tokenizer


def texts(seed: int, count: int) -> list[Text]:
    """Return sentences about a person, a place or a thing, and which of them."""
    chance = random.Random(seed)
    kinds = {"person": PEOPLE, "place": PLACES, "thing": THINGS}
    drawn = [chance.choice(list(kinds)) for _ in range(count)]
    return [
        Text(f"{chance.choice(VERBS)} {chance.choice(kinds[k])} {chance.choice(kinds[k])}", k) for k in drawn
    ]


def tagged(seed: int, count: int) -> list[Tagged]:
    """Return sentences in which persons and places are tagged; some places have two words."""
    chance = random.Random(seed)
    rows = []
    for _ in range(count):
        person, verb, place = chance.choice(PEOPLE), chance.choice(VERBS), chance.choice(PLACES)
        two = chance.random() < 0.3
        words = (person, verb, "garden", place) if two else (person, verb, place)
        tags = ("B-PER", "O", "B-LOC", "I-LOC") if two else ("B-PER", "O", "B-LOC")
        rows.append(Tagged(words, tags))
    return rows


def questions(seed: int, count: int) -> list[Question]:
    """Return questions whose answer is the only place of the context."""
    chance = random.Random(seed)
    rows = []
    for _ in range(count):
        person, verb, thing, place = map(chance.choice, (PEOPLE, VERBS, THINGS, PLACES))
        context = f"{person} {verb} the {thing} in {place} ."
        rows.append(Question("where ?", context, place, context.index(place)))
    return rows


def lines(seed: int, count: int) -> list[tuple[Clean, str | None]]:
    """Return the sentences of `texts` as log lines of a stream `logs`, no two alike, with their labels."""
    return [
        (
            Clean(
                stream="logs", kind=Kind.LOG, source="s", id=str(number), time=START,
                raw=Coordinates("events.raw", 0, number), text=f"{example.text} {number % 7}",
            ),
            example.label,
        )
        for number, example in enumerate(texts(seed, count))
    ]  # fmt: skip
