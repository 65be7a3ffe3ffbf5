"""Draws tests/semantic/reviews.jsonl from rated-texts.jsonl: python3 make.py .../rated-texts.jsonl

The sentences of the source `vader-amazon` are of reviews of five products (Hu and Liu 2004), which stand one after the other:
the number of a review says its product. The borders were found by the products' names in the sentences.
"""
import hashlib
import json
import pathlib
import sys

SENTENCES = 600
LEAST_WORDS = 5
PRODUCTS = [(99, "DVD player"), (144, "Canon camera"), (178, "Nikon camera"), (217, "telephone"), (10**6, "MP3 player")]


def digest(text):
    return hashlib.sha256(text.encode()).digest()


def product(group):
    return next(name for end, name in PRODUCTS if int(group.split("/")[1]) < end)


texts = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
# The sealed tenth is for nothing but the last evaluation.
texts = [t for t in texts if t["group"].startswith("vader-amazon/") and digest(t["group"])[0] % 10 != 0]
texts = [t for t in texts if len(t["text"].split()) >= LEAST_WORDS]
texts.sort(key=lambda t: digest("semantic " + t["id"]))
drawn = sorted(texts[:SENTENCES], key=lambda t: [int(n) for n in t["id"].split("/")[1].split("_")])
with open(pathlib.Path(__file__).with_name("reviews.jsonl"), "w", encoding="utf-8") as out:
    for t in drawn:
        out.write(json.dumps({"id": t["id"], "product": product(t["group"]), "text": t["text"]}, ensure_ascii=False) + "\n")
