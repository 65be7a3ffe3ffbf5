"""Posts as people write them, made into words: the rules of jtav's reader (crates/text/src/reading), in regular expressions.

Not here, because an ordinary feed does not need it and leaving it out only helps this side: text that hides from a reader on purpose
(look-alike letters, stacked marks, invisible characters in every place), scripts without blanks, and the bounds on what one text may
cost. On other texts the words are the same.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import emoji

KNOWN_WORDS_PATH = Path(__file__).resolve().parents[2] / "crates" / "text" / "data" / "known_words.tsv"
MAX_PROTAGONIST_WORDS = 160
MAX_SUPPORTING_WORDS = 40
MAX_WORD_CHARS = 40
MAX_EQUAL_SYMBOLS = 2
MAX_PUNCTUATION = 3
MIN_SPACED_LETTERS = 4
DOUBLE_OVER_SINGLE = 150
NOT_STRETCHED = {"iii", "viii", "xiii", "xviii", "zzz"}

WORD, MARK, SYMBOL, NUMBER = range(4)

PLAIN_DOMAINS = (
    "ac|ae|app|ar|au|biz|br|ca|ch|cl|cn|co|com|cz|de|dev|dk|edu|es|eu|fi|fm|fr|gg|gl|gov|gr|hk|hu|ie|il|info|int|io|ir|jp|kr|ly|mil|mobi|"
    "mx|net|nl|nz|onion|org|ph|pl|pt|ro|rs|ru|se|sg|sk|social|th|tk|tr|tv|tw|ua|uk|vn|xyz|za"
)
_LINK_BODY = r"""[^\s<>"“”«»]*[^\s<>"“”«».,!?:;)\]'*]"""
_LABELS = r"(?:[^\W_][^\W_-]*(?:-[^\W_-]+)*\.)+"
_FREE = r"(?<![^\W_])"
_ENDS = r"(?![^\W_])"
_LINKS = rf"""
    (?P<link>https?://(?:{_LINK_BODY})?
      |{_FREE}www\.{_LABELS}[^\W_](?:{_LINK_BODY})?
      |{_FREE}[\w.%+-]{{1,64}}@{_LABELS}[^\W_]{{2,}}
      |{_FREE}{_LABELS}(?:(?:{PLAIN_DOMAINS})(?![\w@-]|\.\.)(?:[/?\#]{_LINK_BODY})?|[a-z]{{2}}/{_LINK_BODY}))
    |(?P<handle>{_FREE}@\w+(?:@{_LABELS}[^\W_]+)?(?:'[sS]{_ENDS})?)
    |"""
_TOKENS = rf"""
    (?P<face><[/\\]?3|[:;=]\S|>[:;=._<]|\^[\^_.\-ow]|[-.¬@*]_+\S|-\.-|[;*]-[;*]|{_FREE}[xXtTqQoO0uU][_.]\S|{_FREE}D-?:|[()]'?-?[:;=]
      |\\o/|\(╯|\(ノ|¯|ʕ|♡)
    |\#(?P<tag>_*[^\W_][\w']*)
    |{_FREE}\$(?P<ticker>[A-Z]{{1,6}}){_ENDS}
    |(?P<word>[^\W_]+(?:(?:'|(?<=\d)[.,](?=\d))[^\W_]+)*)
    |(?P<mark>(?P<sign>[.,!?:;])(?P=sign)*)"""
MAY_HOLD_LINK = re.compile(r"[^\s.]\.[^\s.]|@|://")
# Most texts hold nothing that could be a link; looking for one at every word costs as much as all the rest.
TOKEN = re.compile(_TOKENS, re.VERBOSE)
TOKEN_OR_LINK = re.compile(_LINKS + _TOKENS, re.VERBOSE)
STRETCHED = re.compile(r"([^\W\d_])\1\1")
TAG_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[^\W\d_A-Z]+(?:'[^\W\d_]+)?|[A-Z][^\W\d_A-Z]+(?:'[^\W\d_]+)?|[A-Z]+|\d+")
WHOLE_FACES = {
    "¯\\_(ツ)_/¯": "person shrugging", "¯_(ツ)_/¯": "person shrugging", "ʕ•ᴥ•ʔ": "bear", "\\o/": "person cheering",
    "♡": "red heart", "^^": "smiling face", ">.<": "frustrated face", "><": "frustrated face", "=_=": "expressionless face",
    "(:": "smiling face", "(-:": "smiling face", "(=": "smiling face", "(;": "winking face", "(-;": "winking face",
    "):": "frowning face", ")-:": "frowning face", ")':": "crying face", "D:": "anguished face", "D-:": "anguished face",
}  # fmt: skip
SIDEWAYS = re.compile(r"(>?)([:;=])('?[-^~]?'?)(?:([)\]}(\[{<cC*/\\|@#$sSxX3pPbBoO0dD])\4*)")
PAIR = re.compile(r"([tTqQoOxXuU0\-.¬@*^;>])(_+|[.\-ow])([tTqQoOxXuU0\-.¬@*^;><])")
PAIR_NAMES = {
    "t": "crying face", "q": "crying face", ";": "crying face", "o": "surprised face", "0": "surprised face", "x": "dizzy face",
    "@": "dizzy face", "u": "sad face", "*": "starry eyed face", ">": "frustrated face", "-": "expressionless face",
    ".": "expressionless face", "¬": "expressionless face",
}  # fmt: skip
APOSTROPHES = str.maketrans({c: "'" for c in "’‘‛´′ʼʻ`＇"} | {c: "-" for c in "‐‑‒–—―−"} | {c: "" for c in "\u200b\u00ad\u2060\ufeff\ufe0f"})


def expression(eyes: str, mouth: str, angry: bool, tear: bool) -> str | None:
    """What a face on its side shows."""
    mouth = mouth.lower()
    smiles, frowns = mouth in ")]}d", mouth in "([{c<"
    if tear:
        return "crying face" if frowns else "face with tears of joy" if smiles else None
    if angry:
        return "smiling face with horns" if smiles else "angry face" if frowns or mouth in "/\\|o@" else None
    if eyes == ";":
        if mouth in "p*(":
            return {"p": "winking face with tongue", "*": "face blowing a kiss", "(": "crying face"}[mouth]
        return "winking face" if smiles else None
    if mouth == "d":
        return "grinning face"
    if smiles:
        return "smiling face"
    for mouths, name in (("pb", "face with tongue"), ("([{", "frowning face"), ("/\\", "confused face"), ("|", "neutral face"),
                         ("o0", "surprised face"), ("*", "kissing face")):  # fmt: skip
        if mouth in mouths:
            return name
    if eyes == "=":
        return None
    return {"c": "frowning face", "<": "frowning face", "s": "confused face", "x": "face with closed mouth", "#": "face with closed mouth",
            "3": "cat face", "@": "angry face", "$": "blushing face"}.get(mouth)  # fmt: skip


def face_at(text: str, at: int) -> tuple[int, str] | None:
    """Where the emoticon ends that begins at `at`, and what it shows."""
    end = text.find(" ", at)
    chunk = text[at : end if end >= 0 else len(text)].split(None, 1)
    run = chunk[0] if chunk else ""
    free_before = at == 0 or not text[at - 1].isalnum()
    for face in (run, run.rstrip(".,!?")):
        # Reversed faces count only where they stand alone.
        if face in WHOLE_FACES and (face[0] not in "()D" or at == 0 or text[at - 1].isspace()):
            return at + len(face), WHOLE_FACES[face]

    def ends_free(to: int) -> bool:
        return to >= len(text) or not text[to].isalnum()

    heart = re.match(r"<([/\\]?)3+", run)
    if heart:
        to = at + heart.end()
        return (to, "broken heart" if heart[1] else "red heart") if ends_free(to) and free_before else None
    found = SIDEWAYS.match(run)
    if found:
        angry, eyes, nose, mouth = found.groups()
        name = expression(eyes, mouth, bool(angry), "'" in nose)
        to = at + found.end()
        ambiguous = mouth.isalnum() or eyes == "=" or mouth in "/\\|*@#$"
        is_path = mouth == "/" and run[found.end() - 1 : found.end()] == "/" and found.end() - found.start(4) > 1
        if name and ends_free(to) and (not ambiguous or free_before) and not is_path:
            return to, name
    found = PAIR.match(run)
    if found:
        eye, mouth, other = found[1].lower(), found[2], found[3].lower()
        fits = {
            "_": (eye in "tqoxu" and (other == eye or (eye, other) == ("o", "0"))) or (eye == "0" and other in "0o")
            or (eye == ">" and other in "<>") or (eye in "-.¬@*^;" and other == eye),
            ".": eye in "tqoxu^-" and other == eye,
            "-": eye in "^;*" and other == eye,
            "o": eye == "^" == other,
            "w": eye == "^" == other,
        }[mouth[0]]  # fmt: skip
        to = at + found.end()
        if fits and free_before and ends_free(to) and (eye.isalnum() or text[to : to + 1] != eye):
            return to, PAIR_NAMES.get(eye, "smiling face")
    return None


class Lexicon:
    """Known English words and how common they are."""

    def __init__(self) -> None:
        lines = KNOWN_WORDS_PATH.read_text(encoding="utf-8").splitlines()
        self.counts = {word: int(count) for word, count in (line.split("\t") for line in lines)}
        self._log_total = math.log(sum(self.counts.values()))

    def count(self, word: str) -> int:
        return self.counts.get(word, 0)

    def split(self, joined: str) -> list[str] | None:
        """Words written together; `None` for one word, and for what would be no more than scraps."""
        if len(joined) > MAX_WORD_CHARS or joined in self.counts:
            return None
        best: list[tuple[float, int]] = [(0.0, 0)] + [(math.inf, 0)] * len(joined)
        for start in range(len(joined)):
            cost = best[start][0]
            if cost == math.inf:
                continue
            for end in range(start + 1, min(len(joined), start + 20) + 1):
                count = self.counts.get(joined[start:end])
                if count and cost + self._log_total - math.log(count) < best[end][0]:
                    best[end] = (cost + self._log_total - math.log(count), start)
        if best[-1][0] == math.inf:
            return None
        words, end = [], len(joined)
        while end:
            words.append(joined[best[end][1] : end])
            end = best[end][1]
        enough = max(map(len, words)) >= 3 and 5 * len(words) <= 2 * len(joined)
        return words[::-1] if enough else None


@dataclass(slots=True)
class Reading:
    """The texts of a post, read: words in order, those of the longest text first."""

    words: list[str]
    kinds: list[int]
    shouted: list[bool]
    protagonist: int
    is_truncated: bool
    speaks: bool


@dataclass(slots=True)
class _Text:
    words: list[str] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    shouted: list[bool] = field(default_factory=list)
    symbol: str = ""
    symbol_times: int = 0
    marks: int = 0
    letters_from: int = 0
    speaks: bool = False


class Reader:
    """Reads texts."""

    def __init__(self) -> None:
        self.lexicon = Lexicon()
        names = {}
        for sign, about in emoji.EMOJI_DATA.items():
            # Signs that are letters or punctuation stay text.
            if len(sign) == 1 and ord(sign) < 0x2139:
                continue
            name = about["en"].strip(":").replace("_", " ").replace("’", "'")
            names[sign] = re.sub(r" (?:medium-)?(?:light|dark|medium) skin tone", "", name)
        self._names = names
        ordered = sorted(names, key=len, reverse=True)
        self._emoji = re.compile("|".join(map(re.escape, ordered)))

    def read(self, texts: list[str]) -> Reading | None:
        """`None` where no text has a word."""
        read = [text for text in map(self._text, texts) if any(kind != MARK for kind in text.kinds)]
        if not read:
            return None
        first = max(read, key=lambda text: len(text.words[:MAX_PROTAGONIST_WORDS]))
        others = [text for text in read if text is not first]
        words, kinds, shouted = (list(getattr(first, name)[:MAX_PROTAGONIST_WORDS]) for name in ("words", "kinds", "shouted"))
        protagonist = len(words)
        cut = any(len(text.words) > MAX_PROTAGONIST_WORDS for text in read)
        room = MAX_SUPPORTING_WORDS
        for text in others:
            limit = min(room, MAX_PROTAGONIST_WORDS)
            cut |= len(text.words) > limit
            words += text.words[:limit]
            kinds += text.kinds[:limit]
            shouted += text.shouted[:limit]
            room = MAX_SUPPORTING_WORDS - (len(words) - protagonist)
        return Reading(words, kinds, shouted, protagonist, cut, any(text.speaks for text in read))

    def _text(self, text: str) -> _Text:
        out = _Text()
        if "&" in text:
            text = html.unescape(text)
        if text.isascii():
            self._plain(text.replace("`", "'") if "`" in text else text, out)
        else:
            at = 0
            for found in self._emoji.finditer(text):
                self._plain(self._normal(text[at : found.start()]), out)
                self._symbol(out, self._names[found[0]])
                at = found.end()
            self._plain(self._normal(text[at:]), out)
        self._join_letters(out)
        return out

    @staticmethod
    def _normal(text: str) -> str:
        return unicodedata.normalize("NFKC", text.translate(APOSTROPHES)).translate(APOSTROPHES)

    def _plain(self, text: str, out: _Text) -> None:
        at, search = 0, (TOKEN_OR_LINK if MAY_HOLD_LINK.search(text) else TOKEN).search
        while True:
            found = search(text, at)
            if found is None or len(out.words) > MAX_PROTAGONIST_WORDS:
                return
            at, group = found.end(), found.lastgroup
            if group == "sign":
                group = "mark"
            if group == "face":
                face = face_at(text, found.start())
                if face is not None:
                    at, name = face
                    self._symbol(out, name)
                    continue
                found = WORD_OR_MARK.match(text, found.start())
                # It matches any character.
                assert found is not None
                at, group = found.end(), "mark" if found.lastgroup in ("sign", "mark") else found.lastgroup
            if group == "word":
                self._word(out, found["word"], False)
            elif group == "mark":
                self._mark(out, found["mark"])
            elif group == "tag":
                for part in TAG_PART.findall(found["tag"]):
                    pieces = self.lexicon.split(part.lower()) if 5 <= len(part) <= 40 and part.isascii() and part.isalpha() else None
                    if pieces:
                        start = 0
                        for piece in pieces:
                            self._word(out, part[start : start + len(piece)], True)
                            start += len(piece)
                    else:
                        self._word(out, part, True)
            elif group == "ticker":
                self._word(out, found["ticker"], True)

    def _word(self, out: _Text, word: str, is_tag: bool) -> None:
        small = word.lower()
        if small == word:
            shouted = False
        else:
            shouted = word.upper() == word and sum(c.isupper() for c in word) >= 2
        if len(small) > MAX_WORD_CHARS or STRETCHED.search(small):
            small = self.squeezed(small)
        if small in ("xd", "xdd"):
            self._symbol(out, "laughing face")
            return
        kind = NUMBER if small[0].isdigit() and all(c.isdigit() or c in ".," for c in small) else WORD
        out.symbol, out.marks = "", 0
        single = len(small) == 1 and kind == WORD and small.isascii()
        if not single:
            self._join_letters(out)
        out.words.append(small)
        out.kinds.append(kind)
        out.shouted.append(shouted)
        out.speaks |= kind == WORD
        if not single:
            out.letters_from = len(out.words)

    @staticmethod
    def _mark(out: _Text, run: str) -> None:
        if out.marks == MAX_PUNCTUATION:
            return
        out.symbol = ""
        out.words.append(run[:MAX_PUNCTUATION])
        out.kinds.append(MARK)
        out.shouted.append(False)
        out.marks += 1
        out.letters_from = len(out.words)

    def _symbol(self, out: _Text, name: str) -> None:
        out.symbol_times = out.symbol_times + 1 if out.symbol == name else 1
        out.symbol = name
        if out.symbol_times > MAX_EQUAL_SYMBOLS:
            return
        self._join_letters(out)
        for word in re.findall(r"[^\W_]+(?:'[^\W_]+)*", name.lower()):
            out.words.append(word)
            out.kinds.append(SYMBOL)
            out.shouted.append(False)
        out.letters_from = len(out.words)
        out.marks = 0

    def _join_letters(self, out: _Text) -> None:
        """`h a t e` becomes one word, if known words are all that comes of it."""
        count = len(out.words) - out.letters_from
        if count >= MIN_SPACED_LETTERS:
            joined = "".join(out.words[out.letters_from :])
            is_alphabet = all(ord(b) == ord(a) + 1 for a, b in zip(joined, joined[1:], strict=False))
            known = [joined] if self.lexicon.count(self.squeezed(joined)) else self.lexicon.split(joined)
            if known and not is_alphabet:
                for name in ("words", "kinds", "shouted"):
                    del getattr(out, name)[out.letters_from :]
                for word in known:
                    out.words.append(self.squeezed(word))
                    out.kinds.append(WORD)
                    out.shouted.append(False)
        out.letters_from = len(out.words)

    def squeezed(self, word: str) -> str:
        """What a stretched word was: of three or more equal letters one or two stay, whichever makes the commoner word."""
        runs = [(run[0][0], len(run[0])) for run in re.finditer(r"([^\W\d_])\1*|[\W\d_]", word)][:MAX_WORD_CHARS]
        stretched = [at for at, (_, times) in enumerate(runs) if times > 2]

        def written(most: dict[int, int], otherwise: int = 2) -> str:
            return "".join(c * min(times, most.get(at, otherwise)) for at, (c, times) in enumerate(runs))[:MAX_WORD_CHARS]

        if not stretched:
            return written({})
        if all(times <= 3 for _, times in runs) and written({}, 3) in NOT_STRETCHED:
            return written({}, 3)
        best, chosen = 0, written({})
        if len(stretched) <= 4:
            for singles in range(1 << len(stretched)):
                most = {at: 1 if singles >> nth & 1 else 2 for nth, at in enumerate(stretched)}
                doubles = len(stretched) - singles.bit_count()
                weight = self.lexicon.count(written(most)) * DOUBLE_OVER_SINGLE**doubles
                if weight > best:
                    best, chosen = weight, written(most)
        return chosen


WORD_OR_MARK = re.compile(
    r"(?P<word>[^\W_]+(?:(?:'|(?<=\d)[.,](?=\d))[^\W_]+)*)|(?P<mark>(?P<sign>[.,!?:;])(?P=sign)*)|(?P<none>.)", re.DOTALL
)

