"""From the texts of a batch of posts to what the text network reads: words, pieces, language, VADER, n-grams."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import fasttext  # noqa: E402
import numpy as np  # noqa: E402
import orjson  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from vaderSentiment.vaderSentiment import (  # noqa: E402
    BOOSTER_DICT,
    SentimentIntensityAnalyzer,
    SentiText,
)

from reader import MARK, Reader, Reading  # noqa: E402

MAX_PIECES = 256
MAX_KNOWN_WORDS = 200_000
MAX_LANGUAGE_CHARS = 1_000
NO_LANGUAGE = "zxx"


@dataclass(slots=True)
class ReadText:
    """One post, read."""

    reading: Reading
    language: tuple[str, float] | None
    compound: float
    # Rows of the table and the word of each, for the protagonist and, where there is one, the supporting part.
    pieces: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    is_truncated: bool = False


class Vader(SentimentIntensityAnalyzer):
    """vaderSentiment over words that are read already: it need not look for emoji, nor ask its rules about words without a score."""

    def compound(self, text: str) -> float:
        words = SentiText(text)
        tokens, lexicon = words.words_and_emoticons, self.lexicon
        sentiments: list[float] = []
        for at, token in enumerate(tokens):
            small = token.lower()
            is_kind_of = small == "kind" and at + 1 < len(tokens) and tokens[at + 1].lower() == "of"
            if small not in lexicon or small in BOOSTER_DICT or is_kind_of:
                sentiments.append(0)
            else:
                sentiments = self.sentiment_valence(0, words, token, at, sentiments)
        return self.score_valence(self._but_check(tokens, sentiments), text)["compound"]


class TextFrontEnd:
    """Thread-safe; most of its time is Python's and holds the interpreter lock."""

    def __init__(self, weights: Path) -> None:
        self.reader = Reader()
        self.vader = Vader()
        self.languages = fasttext.load_model(str(weights / "lid.176.ftz"))
        file = orjson.loads((weights / "minilm-l6.tokenizer.json").read_bytes())
        vocabulary = file["model"]["vocab"]
        self.first, self.last = vocabulary["[CLS]"], vocabulary["[SEP]"]
        # Padding and the template belong to batches; a post that holds `[SEP]` means these five characters.
        for name in ("padding", "truncation", "post_processor"):
            file[name] = None
        file["added_tokens"] = []
        self._known: dict[str, list[int]] = {}
        self.tokenizer = Tokenizer.from_str(orjson.dumps(file).decode())

    def read(self, posts: list[list[str]]) -> list[ReadText | None]:
        """`None` for a post without a word."""
        read: list[ReadText | None] = []
        parts: list[list[str]] = []
        for texts in posts:
            reading = self.reader.read(texts)
            if reading is None:
                read.append(None)
                continue
            read.append(ReadText(reading, self._language(reading, texts), self._compound(reading)))
            parts.append(reading.words[: reading.protagonist])
            if reading.protagonist < len(reading.words):
                parts.append(reading.words[reading.protagonist :])
        known = self._learn(parts)
        remaining = iter(parts)
        for text in read:
            if text is not None:
                has_support = text.reading.protagonist < len(text.reading.words)
                text.is_truncated = text.reading.is_truncated
                for _ in range(1 + has_support):
                    text.is_truncated |= self._cut(next(remaining), text, known)
        return read

    def _learn(self, parts: list[list[str]]) -> dict[str, list[int]]:
        """Looks up the pieces of words that are new, in one call. Nearly all words of a feed have been seen before; a call of the
        library for each of them would cost twice what reading the text costs."""
        if len(self._known) > MAX_KNOWN_WORDS:
            self._known = {}
        known = self._known
        new = list({word for part in parts for word in part if word not in known})
        if not new:
            return known
        split = self.tokenizer.encode_batch_fast([[word] for word in new], is_pretokenized=True, add_special_tokens=False)
        for word, encoding in zip(new, split, strict=True):
            known[word] = encoding.ids
        return known

    def _cut(self, words: list[str], text: ReadText, known: dict[str, list[int]]) -> bool:
        """Gives a text its pieces; whether there were too many."""
        of_words = [known[word] for word in words]
        ids = [self.first]
        for of_word in of_words:
            ids += of_word
        place = np.repeat(np.arange(len(words)), [len(of_word) for of_word in of_words])
        is_cut = len(ids) > MAX_PIECES - 1
        if is_cut:
            ids, place = ids[: MAX_PIECES - 1], place[: MAX_PIECES - 2]
        ids.append(self.last)
        text.pieces.append((np.array(ids), place))
        return is_cut

    def _language(self, reading: Reading, texts: list[str]) -> tuple[str, float] | None:
        if not reading.speaks:
            return NO_LANGUAGE, 1.0
        text = " ".join(text[:MAX_LANGUAGE_CHARS] for text in texts)[:MAX_LANGUAGE_CHARS].lower().replace("\n", " ")
        labels, probabilities = self.languages.predict(text)
        return (labels[0].removeprefix("__label__"), float(probabilities[0])) if labels else None

    def _compound(self, reading: Reading) -> float:
        words = []
        for word, kind, shouted in zip(reading.words, reading.kinds, reading.shouted, strict=True):
            if kind == MARK and words:
                # Marks stand at the word before them, as people write them.
                words[-1] += word
            else:
                words.append(word.upper() if shouted else word)
        return self.vader.compound(" ".join(words))


FNV_START, FNV_PRIME = np.uint32(2_166_136_261), np.uint32(16_777_619)
SHORTEST, LONGEST = 2, 5


def _finish(hashes: np.ndarray) -> np.ndarray:
    """Murmur3's finaliser."""
    hashes = (hashes ^ (hashes >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    hashes = (hashes ^ (hashes >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return hashes ^ (hashes >> np.uint32(16))


def _fnv(start: int, text: bytes) -> int:
    for byte in text:
        # Bytes are sign-extended, as fastText does it.
        start = ((start ^ (byte | 0xFFFFFF00 if byte > 127 else byte)) * 16_777_619) & 0xFFFFFFFF
    return start


_WORD_START, _PIECE_START = _fnv(2_166_136_261, b"w"), _fnv(2_166_136_261, b"c")


@dataclass(slots=True)
class Evidence:
    """What the n-grams of a batch say."""

    logits: np.ndarray
    # Of each post what each of its words adds, by size.
    per_word: list[np.ndarray]


class NgramBag:
    """The linear model over hashed n-grams, for a whole batch in numpy: hashing n-gram by n-gram in Python would cost more than every
    network of this checkpoint."""

    def __init__(self, weight: np.ndarray, idf: np.ndarray, bias: float) -> None:
        self.weight, self.idf, self.bias = weight.ravel().astype(np.float32), idf.ravel().astype(np.float32), bias
        self.buckets = len(self.idf)

    def evidence(self, readings: list[Reading]) -> Evidence:
        counts = [len(reading.words) for reading in readings]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        words: list[bytes] = []
        owners: list[int] = []
        pairs: list[tuple[int, int]] = []
        for post, reading in enumerate(readings):
            base, before = int(offsets[post]), -1
            for at, (word, kind) in enumerate(zip(reading.words, reading.kinds, strict=True)):
                if at == reading.protagonist:
                    before = -1
                if kind == MARK:
                    continue
                if before >= 0:
                    pairs.append((before, len(words)))
                before = len(words)
                words.append(word.encode())
                owners.append(base + at)
        places = np.array(owners)
        post_of = np.repeat(np.arange(len(readings)), counts)
        per_word = np.zeros(int(offsets[-1]), np.float32)
        # The constant counts once.
        logits = np.full(len(readings), self.bias, np.float32)
        for hashes, first, last in (self._words(words, places, pairs), self._pieces(words, places)):
            self._add(hashes, first, last, post_of, logits, per_word)
        per_word = np.abs(per_word)
        return Evidence(logits, [per_word[a:b] for a, b in zip(offsets[:-1], offsets[1:], strict=True)])

    def _add(
        self, hashes: np.ndarray, first: np.ndarray, last: np.ndarray, post_of: np.ndarray, logits: np.ndarray, per_word: np.ndarray
    ) -> None:
        """Adds one group, whose features together have length 1 in each post."""
        posts = post_of[first]
        keys = posts.astype(np.uint64) << np.uint64(32) | hashes.astype(np.uint64)
        unique, inverse, times = np.unique(keys, return_inverse=True, return_counts=True)
        bucket = (unique & np.uint64(0xFFFFFFFF)).astype(np.int64) % self.buckets
        owner = (unique >> np.uint64(32)).astype(np.int64)
        value = (1.0 + np.log(times)).astype(np.float32) * self.idf[bucket]
        length = np.sqrt(np.bincount(owner, value * value, len(logits)))
        part = value / np.maximum(length, 1e-30)[owner] * self.weight[bucket]
        logits += np.bincount(owner, part, len(logits)).astype(np.float32)
        share = (part / (2 * times))[inverse]
        per_word += np.bincount(first, share, len(per_word)).astype(np.float32)
        per_word += np.bincount(last, share, len(per_word)).astype(np.float32)

    @staticmethod
    def _matrix(words: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Bytes of the words, `[words, longest]`, sign-extended, and their lengths."""
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        longest = int(lengths.max(initial=1))
        flat = np.frombuffer(b"".join(word.ljust(longest, b"\0") for word in words), np.int8)
        return flat.reshape(len(words), longest).astype(np.int32).view(np.uint32), lengths

    def _words(self, words: list[bytes], places: np.ndarray, pairs: list[tuple[int, int]]) -> tuple[np.ndarray, ...]:
        table, lengths = self._matrix(words)
        single = self._run(np.full(len(words), _WORD_START, np.uint32), table, lengths)
        if not pairs:
            return _finish(single), places, places
        left, right = (np.array(side) for side in zip(*pairs, strict=True))
        both = (single[left] ^ np.uint32(32)) * FNV_PRIME
        both = self._run(both, table[right], lengths[right])
        return (
            _finish(np.concatenate([single, both])),
            np.concatenate([places, places[left]]),
            np.concatenate([places, places[right]]),
        )

    @staticmethod
    def _run(state: np.ndarray, table: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        state = state.copy()
        for column in range(table.shape[1]):
            inside = lengths > column
            state[inside] = (state[inside] ^ table[inside, column]) * FNV_PRIME
        return state

    def _pieces(self, words: list[bytes], places: np.ndarray) -> tuple[np.ndarray, ...]:
        """Two to five characters in a row within a word and the blanks around it."""
        text = b"".join(b" " + word + b" " for word in words)
        raw = np.frombuffer(text, np.int8)
        # A character begins at every byte that does not go on with one.
        starts = np.flatnonzero((raw.view(np.uint8) & 0xC0) != 0x80)
        spans = np.fromiter((len(word) + 2 for word in words), np.int64, len(words))
        word_of_byte = np.repeat(np.arange(len(words)), spans)
        word_of = word_of_byte[starts]
        ends = np.append(starts[1:], len(text))
        extended = raw.astype(np.int32).view(np.uint32)
        state = np.full(len(starts), _PIECE_START, np.uint32)
        alive = np.arange(len(starts))
        hashes, owners = [], []
        for step in range(LONGEST):
            here = alive + step
            keep = here < len(starts)
            alive, here = alive[keep], here[keep]
            same = word_of[here] == word_of[alive]
            alive, here = alive[same], here[same]
            at, end = starts[here], ends[here]
            # Nearly all characters are one byte.
            while True:
                state[alive[at < end]] = (state[alive[at < end]] ^ extended[at[at < end]]) * FNV_PRIME
                at = at + 1
                if not (at < end).any():
                    break
            if step + 1 >= SHORTEST:
                hashes.append(state[alive])
                owners.append(places[word_of[alive]])
        owner = np.concatenate(owners)
        return _finish(np.concatenate(hashes)), owner, owner
