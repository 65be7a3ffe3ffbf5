#!/usr/bin/env python3
"""Makes the seeds in corpus/: small files of every format that is decoded and of some that are not, records, URLs.

    pip install numpy pillow
    apt-get install ffmpeg
    python fuzz/make_corpus.py

Everything is synthetic. Small, because a fuzzer changes a few bytes at a time: the sounds last a tenth of a second.
"""

import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
FIXTURES = HERE.parent / "crates/media-codecs/tests/fixtures"
EXAMPLES = HERE.parent / "schemas/examples"
CORPUS = HERE / "corpus"


def put(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def images():
    y, x = np.mgrid[0:24, 0:32]
    picture = Image.fromarray(np.stack([x * 8, y * 10, (x + y) * 4], -1).astype(np.uint8))
    alpha = picture.copy()
    alpha.putalpha(Image.fromarray((x * 8).astype(np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, image, options in [
        ("baseline.jpg", picture, {"quality": 60}),
        ("progressive.jpg", picture, {"quality": 60, "progressive": True}),
        ("restart.jpg", picture, {"quality": 60, "restart_marker_blocks": 1}),
        ("grey.jpg", picture.convert("L"), {"quality": 60}),
        ("cmyk.jpg", picture.convert("CMYK"), {"quality": 60}),
        ("exif.jpg", picture, {"quality": 60, "exif": exif}),
        ("rgb.png", picture, {}),
        ("rgba.png", alpha, {}),
        ("palette.png", picture.quantize(8), {"transparency": 1}),
        ("bilevel.png", picture.convert("1"), {}),
        ("lossy.webp", picture, {"quality": 50}),
        ("lossless.webp", picture, {"lossless": True}),
        ("alpha.webp", alpha, {"quality": 50}),
        ("animated.webp", picture, {"save_all": True, "append_images": [picture.rotate(180)], "quality": 50}),
        ("still.gif", picture.quantize(16), {}),
        ("animated.gif", picture.quantize(16), {"save_all": True, "append_images": [picture.rotate(180).quantize(16)]}),
        ("bitmap.bmp", picture.resize((4, 4)), {}),
        ("tagged.tiff", picture.resize((4, 4)), {}),
    ]:
        file = io.BytesIO()
        image.save(file, format=None if "." not in name else {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tiff": "TIFF"}[name.split(".")[1]], **options)
        put("image", name, file.getvalue())
    for name in ["interlaced.png", "grey_alpha16.png", "palette4.png", "interlaced.gif", "picture.svg"]:
        shutil.copy(FIXTURES / name, CORPUS / "image" / name)


def sounds():
    (CORPUS / "audio").mkdir(parents=True, exist_ok=True)
    chirp = ["-f", "lavfi", "-i", "aevalsrc=0.4*sin(2*PI*t*(300+9000*t))|0.3*sin(2*PI*t*700):s=44100:d=0.1"]
    for name, *options in [
        ("stereo.mp3", "-b:a", "64k"),
        ("mono.mp3", "-ac", "1", "-ar", "16000", "-b:a", "16k", "-write_xing", "0"),
        ("stereo.m4a", "-c:a", "aac", "-b:a", "64k"),
        ("mono.aac", "-c:a", "aac", "-ac", "1", "-b:a", "32k", "-f", "adts"),
        ("stereo.flac", "-ar", "16000"),
        ("mono24.flac", "-ac", "1", "-ar", "16000", "-sample_fmt", "s32"),
        ("mono.ogg", "-c:a", "libvorbis", "-ac", "1", "-ar", "16000"),
        ("stereo.opus", "-c:a", "libopus", "-b:a", "32k"),
        ("opus.m4a", "-c:a", "libopus", "-b:a", "32k", "-f", "mp4"),
        ("u8.wav", "-ac", "1", "-ar", "8000", "-c:a", "pcm_u8"),
        ("s16.wav", "-ac", "1", "-ar", "8000"),
        ("s24.wav", "-ac", "2", "-ar", "8000", "-c:a", "pcm_s24le"),
        ("f32.wav", "-ac", "1", "-ar", "8000", "-c:a", "pcm_f32le"),
        ("f64.wav", "-ac", "1", "-ar", "8000", "-c:a", "pcm_f64le"),
        ("alaw.wav", "-ac", "1", "-ar", "8000", "-c:a", "pcm_alaw"),
        ("alac.m4a", "-ac", "1", "-ar", "8000", "-c:a", "alac"),
    ]:
        subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *chirp, "-map_metadata", "-1", "-fflags", "+bitexact", *options, str(CORPUS / "audio" / name)], check=True)
    for name in ["tune.mid", "he_aac.aac"]:
        shutil.copy(FIXTURES / name, CORPUS / "audio" / name)
    tag = b"ID3\x03\0\0\0\0\0\x0bTIT2\0\0\0\1\0\0\0"
    put("audio", "tagged.mp3", tag + (CORPUS / "audio" / "mono.mp3").read_bytes())


def addresses():
    urls = """http://example.org/a.jpg
https://example.org:443/a.jpg?x=1#y
http://example.org.:80/
https://user:password@example.org/
http://127.0.0.1/
http://2130706433/
http://0x7f.1/
http://0177.0.0.1/
http://169.254.169.254/latest/meta-data/
http://[::1]/
http://[::ffff:127.0.0.1]/
http://[64:ff9b::7f00:1]/
http://[2002:7f00:1::]/
http://[2001:0:7f00:1::]/
http://[2606:4700::1111]/
http://[2001:db8::1]/
http://[fe80::1]/
http://1.1.1.1:8080/
http://１２７．０．０．１/
http://example.org:0/
ftp://example.org/
file:///etc/passwd
data:image/png;base64,AAAA
javascript:alert(1)
http:\\\\example.org\\a
http://ex%61mple.org/
http://xn--bcher-kva.example/
http://bücher.example/
//example.org/a
http://""".split("\n")
    for index, url in enumerate(urls):
        put("url_policy", f"{index:02}.txt", url.encode())
    put("url_policy", "mapped.bin", bytes(10) + b"\xff\xff\x7f\0\0\1")
    put("url_policy", "isatap.bin", b"\x26\x06\x47\0\0\0\0\0\0\0\x5e\xfe\x0a\0\0\1")


RECORDS = ["post.v1", "dataset-post.v1", "sentiment.v1", "embedding.v1", "dead-letter.v1", "erasure.v1"]


def records():
    for path in sorted((EXAMPLES / "post.v1").glob("*.json")):
        put("post_json", path.name, json.dumps(json.loads(path.read_text())).encode())
    put("post_json", "none.json", b"null")
    for index, name in enumerate(RECORDS):
        for path in sorted((EXAMPLES / name).glob("*.json")):
            text = json.dumps(json.loads(path.read_text())).encode()
            put("schema_round_trip", f"{name}-{path.name}", bytes([ord("0") + index]) + text)


def letters():
    """As `record` in src/targets/records.rs reads them; the names of the headers by their place in `OURS`."""

    def letter(headers, key, value):
        data = bytes([len(headers)])
        for name, content in headers:
            data += bytes([240 + name]) if isinstance(name, int) else bytes([len(name)]) + name
            data += bytes([255]) if content is None else bytes([len(content)]) + content
        return data + (bytes([255]) if key is None else bytes([len(key)]) + key) + value

    added = [(0, b"invalid_json"), (1, b"ingest"), (2, b"line 1: a: b"), (3, b"posts"), (4, b"3"), (5, b"12"), (6, b"1700000000000"), (7, b"1"), (8, b"0"), (9, b"1700000000001"), (10, b"m@1"), (11, b"0.1.0")]
    original = [(b"trace", b"abc"), (b"none", None)]
    put("dead_letter_reader", "plain", letter(original + added, b"a", b'{"id":"a","texts":[]}'))
    put("dead_letter_reader", "replayed", letter([(13, b"posts:3:9"), (8, b"1")] + added, b"a", b'{"id":"a"}'))
    put("dead_letter_reader", "twice", letter(added + added, b"a", b"not json"))
    put("dead_letter_reader", "no_modality", letter([(0, b"no_modality")] + added[1:] + [(12, b'{"text":"absent"}')], b"a", b"{}"))
    put("dead_letter_reader", "escape", letter(original + added, b"\x1b[2J", b"\x1b]0;x\x07\xe2\x80\xae"))
    put("dead_letter_reader", "stranger", letter(original, None, b""))
    put("dead_letter_reader", "unreadable", letter([(0, b"no such reason")], None, b"x"))


TEXTS = [
    "So good!!! #BestDayEver with @somebody https://a.example/b?c=d :-) <3",
    "h\u200bate this &amp;lt; &#128516; \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea 1\ufe0f\u20e3",
    "ＮＯＴ ｂａｄ, \U0001d427\U0001d428\U0001d42d b\u0430d, Awwwwww x@y cool.Next 1,000.5",
    "不错 今天天气 ماشاء\u200cالله नमस्ते",
    "Z\u0351\u036b\u0343a\u0315l\u0321g\u0334o\u0336 h a t e </3 >:( T_T ^_^ :'-)",
]


def texts():
    for index, text in enumerate(TEXTS):
        put("text_reader", f"{index}.txt", text.encode())


for make in (images, sounds, addresses, records, letters, texts):
    make()
total = sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file())
print(f"{total:,} bytes of seeds")
assert total < 300_000
