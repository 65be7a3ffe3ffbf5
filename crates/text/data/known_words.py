"""Writes known_words.tsv: English words of social text with how often each was seen, in alphabetical order.

    python known_words.py rated-texts.jsonl vader_lexicon.tsv > known_words.tsv

The texts are those that the VADER sentiment lexicon was validated with (tweets, reviews), its words come from the
lexicon itself (Hutto & Gilbert 2014, both MIT). A word of the texts is taken from two sightings on, one of the lexicon
from none. Two letters make a word only where they stand in TWO: the list splits what is written together, and short
strings would fit everywhere. What only doubles a letter of a far commoner word ("soo") is a stretched word, not a word.
"""

import collections
import json
import re
import sys

TWO = (
    "ah am an as at be by do eh er ew go ha he hi hm if in is it la me my no of oh ok on or so to uh um up us we ya yo"
).split()
# Doubled letters that are words of their own, whatever the texts say.
WORDS_OF_THEIR_OWN = {"ass", "bee", "inn", "off", "too", "aww", "ooh", "boo", "woo", "poo", "moo"}
LONGEST = 20


def counts(path):
    found = collections.Counter()
    for line in open(path, encoding="utf-8"):
        text = json.loads(line)["text"].lower().replace("\u2019", "'")
        text = re.sub(r"[#@]\S+|https?\S+", " ", text)
        found.update(re.findall(r"[a-z]+(?:'[a-z]+)*", text))
    return found


def is_stretched(word, found):
    if re.search(r"(.)\1\1", word):
        return True
    plain = (word[:at] + word[at + 1 :] for at in range(1, len(word)) if word[at] == word[at - 1])
    return word not in WORDS_OF_THEIR_OWN and any(found[p] >= 50 * max(found[word], 1) for p in plain)


def main(texts, lexicon):
    found = counts(texts)
    words = {word for word, count in found.items() if count >= 2}
    for line in open(lexicon, encoding="utf-8"):
        word = line.split("\t")[0]
        if re.fullmatch(r"[a-z]+(?:'[a-z]+)*", word) and len(word) > 2:
            words.add(word)
    words = {word for word in words if 3 <= len(word) <= LONGEST and not is_stretched(word, found)}
    words |= {"a", "i", *TWO} | WORDS_OF_THEIR_OWN
    for word in sorted(words):
        print(f"{word}\t{max(found[word], 1)}")


main(*sys.argv[1:])
