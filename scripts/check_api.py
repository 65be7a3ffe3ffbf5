"""What scripts/check-api.sh runs. Everything is tried; the exit status is 1 if anything failed."""

import importlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(sys.executable).parent
POST = "pp-000431"


class Check:
    """A running readers' side, and a folder for what comes of looking at it."""

    def __init__(self, place, folder):
        self.place, self.folder = place, folder
        self.document = folder / "openapi.json"
        with urllib.request.urlopen(f"{place['url']}/openapi.json", timeout=20) as answer:
            self.document.write_bytes(answer.read())
        os.environ["JTAV_KEY"] = place["key"]

    def run(self, *command, **options):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, **options)
        return done.returncode, done.stdout, done.stderr

    def expect(self, wanted, *command, **options):
        code, stdout, stderr = self.run(*command, **options)
        assert code == wanted, f"exit status {code}, not {wanted}: {command}\n{stdout[-8000:]}\n{stderr[-4000:]}"
        return stdout


def the_document_is_openapi(check):
    from openapi_spec_validator import OpenAPIV31SpecValidator

    errors = list(OpenAPIV31SpecValidator(json.loads(check.document.read_text())).iter_errors())
    assert not errors, errors
    return "openapi-spec-validator: no errors"


# Rules of vacuum that this document breaks on purpose.
NOT_OURS = {
    "no-$ref-siblings": "OpenAPI 3.0 has it; in 3.1 a description may stand beside a `$ref`",
    "oas3-missing-example": "docs/api.md has an example of every operation, which a test runs",
    "oas3-api-servers": "the document is true of whatever server has it: `/`",
    "paths-kebab-case": "`posts:batch` is a method of its own on a collection, as in AIP-136",
}


def without_conditions(node):
    """The vacuum that PyPI has panics at the `if` of JSON Schema 2020-12: it gets a copy that has none."""
    if isinstance(node, dict):
        return {name: without_conditions(value) for name, value in node.items() if name not in ("if", "then", "else")}
    return [without_conditions(item) for item in node] if isinstance(node, list) else node


def the_document_is_in_good_style(check):
    try:
        import vacuum
    except ImportError:
        return "vacuum: PyPI has none for this machine"
    # The wheel has it without the right to be run.
    program, copy = check.folder / "vacuum", check.folder / "unconditional.json"
    shutil.copy(pathlib.Path(vacuum.__file__).parent / "lib/vacuum", program)
    program.chmod(0o755)
    copy.write_text(json.dumps(without_conditions(json.loads(check.document.read_text())), indent=1))
    report = json.loads(check.expect(0, program, "spectral-report", "-o", copy))
    assert report, "it always has remarks"
    # 0: error, 1: warning.
    bad = [one for one in report if one["severity"] < 2 and one["code"] not in NOT_OURS]
    assert not bad, "\n".join(f"{one['code']} at {'.'.join(map(str, one['path']))}: {one['message']}" for one in bad)
    return f"vacuum: no errors and no warnings but of {len(NOT_OURS)} rules, {len(report)} remarks"


def schemathesis_finds_nothing(check):
    report = check.folder / "schemathesis.json"
    code, stdout, stderr = check.run(
        BIN / "schemathesis", "--config-file", ROOT / "scripts/check-api.toml", "--no-color", "run",
        f"{check.place['url']}/openapi.json", "--checks", "all", "--report-json-path", report,
        cwd=check.folder, env=os.environ | {"PYTHONPATH": str(ROOT / "scripts")},
    )
    if keep := os.environ.get("CHECK_API_KEEP"):
        pathlib.Path(keep, "schemathesis.txt").write_text(stdout + stderr)
        shutil.copy(report, keep)
    assert code == 0, f"{stdout[-20000:]}\n{stderr[-4000:]}"
    return stdout.strip().splitlines()[-1].strip("= ")


def a_generated_client_reads_a_post_and_a_problem(check):
    check.expect(0, BIN / "openapi-python-client", "generate", "--path", check.document, "--meta", "none",
                 "--output-path", check.folder / "generated", "--config", ROOT / "scripts/check-api-client.yaml",
                 "--fail-on-warning", env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"})
    sys.path.insert(0, str(check.folder))
    get_post = importlib.import_module("generated.api.posts.get_post")
    client = importlib.import_module("generated").AuthenticatedClient(check.place["url"], check.place["key"])
    found = get_post.sync(POST, client=client)
    assert found.sentiment.label in ("negative", "neutral", "positive"), found
    for post_id, status, reason in (("nobody", 404, "unknown_or_lapsed"), (check.place["erased"], 410, "erased")):
        problem = get_post.sync_detailed(post_id, client=client)
        assert (problem.status_code, problem.parsed.reason) == (status, reason), problem
    return "openapi-python-client: a post, a 404 and a 410 as the document has them"


def the_store_is_read_without_us(check):
    example = (sys.executable, ROOT / "examples/by_redis.py", check.place["redis"])
    found = json.loads(check.expect(0, *example, POST))
    with urllib.request.urlopen(urllib.request.Request(
        f"{check.place['url']}/v1/posts/{POST}", headers={"Authorization": f"Bearer {check.place['key']}"})) as answer:
        said = json.load(answer)
    assert (found["label"], found["model_version"]) == (said["sentiment"]["label"], said["model_version"]), found
    assert len(found["u"]) > 1 and any(found["u"])
    check.expect(1, *example, "nobody")
    check.expect(2, *example, check.place["erased"])
    return "by_redis.py: a label, an unknown post, an erased one"


def the_examples_pass_their_own_tests(check):
    _, _, said = check.run(sys.executable, "-m", "unittest", "discover", "examples", cwd=ROOT)
    assert said.strip().endswith("OK"), said
    return "examples: their own tests"


def erase(check, post_id):
    """As its author would: a null value on the input topic. Blocks until the embeddings topic has one, too."""
    from confluent_kafka import Consumer, Producer

    consumer = Consumer({"bootstrap.servers": check.place["brokers"], "group.id": "check-api", "auto.offset.reset": "earliest"})
    consumer.subscribe(["embeddings"])
    # As Java's clients and ours do it: the records of a post are in one partition.
    producer = Producer({"bootstrap.servers": check.place["brokers"], "partitioner": "murmur2_random"})
    producer.produce("posts", key=post_id, value=None)
    assert producer.flush(30) == 0
    until = time.monotonic() + 60
    while time.monotonic() < until:
        record = consumer.poll(1)
        # A record without a value has length 0, and counts as false.
        if record is not None and not record.error() and record.value() is None and record.key().decode() == post_id:
            consumer.close()
            return
    raise AssertionError("the erasure is not on the embeddings topic after 60 s")


def copied_vectors_stay_true(check):
    store, brokers = check.folder / "vectors.db", ("--brokers", check.place["brokers"], "--until-end")
    mirror = (sys.executable, ROOT / "examples/mirror_vectors.py")
    check.expect(0, *mirror, "follow", store, *brokers)
    db = sqlite3.connect(store)
    rows = lambda sql, *values: db.execute(sql, values).fetchall()
    (held,), = rows("SELECT count(*) FROM vectors")
    assert held >= 60, held
    check.expect(1, *mirror, "holds", store, check.place["erased"])
    near = json.loads(check.expect(0, *mirror, "like", store, POST))["neighbours"]
    assert len(near) == 10 and all(-1.001 <= one["similarity"] <= 1.001 for one in near), near
    # An erasure that comes while nobody looks.
    doomed, other = (one["post_id"] for one in near[:2])
    (vector,), = rows("SELECT vector FROM vectors WHERE post_id = ?", doomed)
    assert vector in store.read_bytes()
    erase(check, doomed)
    check.expect(0, *mirror, "follow", store, *brokers)
    check.expect(1, *mirror, "holds", store, doomed)
    assert vector not in store.read_bytes(), "the bytes of an erased vector are still in the file"
    # Positions that the topic no longer has, a post whose erasure was missed, a vector of a revision that is gone.
    db.execute("UPDATE partitions SET next = 1000000")
    db.execute("INSERT INTO vectors SELECT 'missed', model_version, revision, 0, vector, partition, reading FROM vectors LIMIT 1")
    db.execute("UPDATE vectors SET revision = '99999999999999999999', vector = x'0000' WHERE post_id = ?", (other,))
    db.commit()
    check.expect(0, *mirror, "follow", store, *brokers)
    check.expect(1, *mirror, "holds", store, "missed")
    assert rows("SELECT count(*) FROM vectors WHERE length(vector) = 2") == [(0,)]
    assert rows("SELECT count(*) FROM vectors") == [(held - 1,)]
    (model,), = rows("SELECT DISTINCT model_version FROM vectors")
    check.expect(0, *mirror, "forget", store, model)
    assert rows("SELECT count(*) FROM vectors") == [(0,)]
    return f"mirror_vectors.py: {held} vectors, an erasure, a gap, a model that was forgotten"


def neither_revisions_nor_models_mix(check):
    sys.path.insert(0, str(ROOT / "examples"))
    mirror = importlib.import_module("mirror_vectors")
    db = mirror.open_store(":memory:")
    partition = mirror.Partition(db, 0, 0, 10)

    class Record:
        def __init__(self, value):
            self.key, self.value = lambda: b"a", lambda: value

    def take(revision, model, vector):
        record = {"fused": {"f16_le_base64": vector}, "model_version": model, "revision": revision, "labelled_at_ms": 1}
        mirror.take(db, Record(json.dumps(record).encode()), partition)

    held = lambda: db.execute("SELECT model_version, hex(vector) FROM vectors ORDER BY 1").fetchall()
    take(10, "m@1", "AAA=")
    take(9, "m@1", "AQE=")
    assert held() == [("m@1", "0000")], "a revision went back"
    take(2**64 - 1, "m@1", "AgI=")
    take(10, "m@1", "AAA=")
    take(1, "m@2", "AwM=")
    assert held() == [("m@1", "0202"), ("m@2", "0303")], held()
    mirror.take(db, Record(None), partition)
    assert held() == [], "an erasure is of every model"
    return "mirror_vectors.py: revisions do not go back, models stay apart"


CHECKS = (
    the_document_is_openapi,
    the_document_is_in_good_style,
    a_generated_client_reads_a_post_and_a_problem,
    the_store_is_read_without_us,
    the_examples_pass_their_own_tests,
    schemathesis_finds_nothing,
    neither_revisions_nor_models_mix,
    copied_vectors_stay_true,
)


def main(readers, only):
    started, failed = time.monotonic(), 0
    process = subprocess.Popen([readers], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        line = process.stdout.readline()
        if not line:
            return f"{readers} has ended with {process.wait()}"
        with tempfile.TemporaryDirectory(prefix="jtav-check-api-") as folder:
            check = Check(json.loads(line), pathlib.Path(folder))
            print(f"check-api: the readers' side is there after {time.monotonic() - started:.0f} s", flush=True)
            for one in CHECKS:
                if only and one.__name__ not in only:
                    continue
                begun = time.monotonic()
                try:
                    said = one(check)
                except Exception:
                    failed += 1
                    said = f"FAILED {one.__name__}\n{traceback.format_exc()}"
                print(f"check-api: {said} ({time.monotonic() - begun:.0f} s)", flush=True)
    finally:
        # It ends when its standard input does, and takes broker and store with it.
        process.stdin.close()
        process.wait(60)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
