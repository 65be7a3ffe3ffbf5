"""Tests of the examples against servers that answer from a script: python3 -m unittest discover examples

Those of what needs packages (requirements.txt) are skipped where these are not.
"""

import base64
import contextlib
import importlib.util
import json
import os
import pathlib
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import unittest

HERE = pathlib.Path(__file__).parent
HAS_PACKAGES = all(importlib.util.find_spec(name) for name in ("confluent_kafka", "numpy", "redis"))


class Scripted:
    """A server that gives these answers, one to a connection, and keeps what it was asked."""

    def __init__(self, *answers):
        self.listener, self.asked = socket.create_server(("127.0.0.1", 0)), []
        self.listener.settimeout(30)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve, args=answers, daemon=True)
        self.thread.start()

    def serve(self, *answers):
        with self.listener:
            for answer in answers:
                stream, _ = self.listener.accept()
                with stream:
                    asked = b""
                    while b"\r\n\r\n" not in asked:
                        asked += stream.recv(65536)
                    self.asked.append(asked.decode())
                    stream.sendall(answer.encode())


def answer(status, media_type, body):
    return f"HTTP/1.1 {status} X\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"


def stream(text):
    return f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n{text}"


def run(name, *arguments):
    command = [sys.executable, "-B", HERE / name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | {"JTAV_KEY": "k"})
    return done.returncode, done.stdout, done.stderr


class ByHttp(unittest.TestCase):
    def test_a_label_is_asked_for_by_an_encoded_id_and_with_the_key(self):
        label = {"sentiment": {"label": "positive", "certain": True, "probabilities": {"positive": 1}}}
        near = {"neighbours": [{"post_id": "b"}]}
        server = Scripted(*(answer(200, "application/json", json.dumps(body)) for body in (label, near)))
        code, stdout, stderr = run("by_http.py", server.url, "a/b")
        self.assertEqual((code, json.loads(stdout)["like_it"]), (0, ["b"]), stderr)
        self.assertTrue(all(asked.startswith("GET /v1/posts/a%2Fb") for asked in server.asked))
        self.assertTrue(all("Authorization: Bearer k" in asked for asked in server.asked))

    def test_a_problem_is_told_with_its_reason_and_no_control_character_of_it(self):
        problem = json.dumps({"status": 410, "reason": "erased", "detail": "\x1b[31m"})
        code, stdout, stderr = run("by_http.py", Scripted(answer(410, "application/problem+json", problem)).url, "a")
        self.assertEqual((code, stdout, json.loads(stderr)["reason"]), (1, "", "erased"))
        self.assertNotIn("\x1b", stderr)


class FollowStream(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name, "labels.db")

    def follow(self, events, *answers):
        server = Scripted(*answers)
        code, stdout, stderr = run("follow_stream.py", server.url, self.file, "--events", str(events))
        self.assertEqual(code, 0, stderr)
        return server.asked, [json.loads(line)["event"] for line in stdout.splitlines()]

    def rows(self, sql):
        with contextlib.closing(sqlite3.connect(self.file)) as db:
            return db.execute(sql).fetchall()

    @staticmethod
    def label(offset, post_id, revision, label):
        sentiment = {"post_id": post_id, "revision": revision, "label": label, "certain": True}
        data = json.dumps({"partition": 0, "offset": offset, "sentiment": sentiment})
        return f"id: 0:{offset + 1}\nevent: label\ndata: {data}\n\n"

    def test_it_goes_on_where_a_busy_and_ending_server_says(self):
        busy = "HTTP/1.1 503 X\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        dropped = 'id: 0:7\nevent: dropped\ndata: {"reason":"server_ends","resume_from":"0:7"}\n\n'
        # Data over two lines, and a last event that was cut off: it did not come.
        rest = ': alive\nid: 0:8\n\nid: 0:9\nevent: erasure\ndata: {"post_id":\ndata: "a"}\n\nid: 0:10\nevent: erasure\ndata: {}'
        asked, told = self.follow(2, busy, stream(f"retry: 2000\n\n{dropped}"), stream(rest))
        self.assertEqual(told, ["dropped", "erasure"])
        self.assertEqual(["last-event-id: 0:7\r\n" in head.lower() for head in asked], [False, False, True])
        self.assertEqual(self.rows("SELECT position FROM position"), [("0:9",)])

    def test_a_label_holds_until_a_higher_revision_or_an_erasure(self):
        largest = 2**64 - 1
        steps = [("a", 10, "positive"), ("a", 9, "negative"), ("b", largest, "neutral"), ("b", largest - 1, "negative"), ("c", 0, "neutral")]
        text = "".join(self.label(offset, *step) for offset, step in enumerate(steps))
        self.follow(6, stream(text + 'id: 0:6\nevent: erasure\ndata: {"post_id":"c"}\n\n'))
        self.assertEqual(self.rows("SELECT post_id, label FROM labels ORDER BY 1"), [("a", "positive"), ("b", "neutral")])

    def test_after_a_gap_what_is_held_is_asked_for_again(self):
        self.follow(2, stream(self.label(0, "a", 1, "positive") + self.label(1, "gone", 1, "positive")))
        found = {"post_id": "a", "sentiment": {"post_id": "a", "revision": 2, "label": "negative", "certain": True}}
        items = [{"post_id": "a", "status": "found", "post": found}, {"post_id": "gone", "status": "erased", "post": None}]
        gap = stream('id: 0:90\nevent: gap\ndata: {"reason":"past_retention","partition":0,"from":2,"to":90}\n\n')
        asked, told = self.follow(1, gap, answer(200, "application/json", json.dumps({"posts": items})))
        self.assertEqual(told, ["gap"])
        self.assertTrue(asked[1].startswith("POST /v1/posts:batch"))
        self.assertEqual(self.rows("SELECT post_id, label FROM labels"), [("a", "negative")])
        self.assertEqual(self.rows("SELECT position FROM position"), [("0:90",)])


@unittest.skipUnless(HAS_PACKAGES, "the packages of requirements.txt are not there")
class MirrorVectors(unittest.TestCase):
    def setUp(self):
        sys.path.insert(0, str(HERE))
        self.addCleanup(sys.path.remove, str(HERE))
        import mirror_vectors

        self.mirror, self.db = mirror_vectors, mirror_vectors.open_store(":memory:")
        self.addCleanup(self.db.close)

    def take(self, partition, post_id, *record):
        class Record:
            key = staticmethod(post_id.encode)

            @staticmethod
            def value():
                if not record:
                    return None
                revision, model, vector = record
                fused = {"f16_le_base64": base64.b64encode(vector).decode()}
                return json.dumps({"fused": fused, "model_version": model, "revision": revision, "labelled_at_ms": 1})

        self.mirror.take(self.db, Record, partition)

    def held(self):
        return self.db.execute("SELECT post_id, model_version, vector FROM vectors ORDER BY 1, 2").fetchall()

    def test_revisions_do_not_go_back_and_models_stay_apart(self):
        partition = self.mirror.Partition(self.db, 0, 0, 10)
        for revision, model, vector in ((10, "m@1", b"10"), (9, "m@1", b"09"), (1, "m@2", b"01")):
            self.take(partition, "a", revision, model, vector)
        self.assertEqual(self.held(), [("a", "m@1", b"10"), ("a", "m@2", b"01")])
        self.take(partition, "a", 2**64 - 1, "m@1", b"++")
        self.take(partition, "a", 11, "m@1", b"11")
        self.assertEqual(self.held()[0], ("a", "m@1", b"++"))
        self.take(partition, "a")
        self.assertEqual(self.held(), [], "an erasure is of every model")

    def test_a_position_that_the_topic_does_not_have_begins_a_reading_that_drops_what_does_not_come_again(self):
        partition = self.mirror.Partition(self.db, 0, 0, 2)
        for offset, post_id in enumerate(("a", "missed")):
            self.take(partition, post_id, 5, "m@1", b"v1")
            partition.passed(self.db, offset + 1)
        self.assertEqual(self.mirror.Partition(self.db, 0, 0, 9).next, 2, "nothing is missing: it goes on")
        for low, high in ((3, 9), (0, 1)):
            again = self.mirror.Partition(self.db, 0, low, high)
            self.assertEqual((again.next, again.whole_at), (None, high))
        self.take(again, "a", 4, "m@1", b"v2")
        self.assertEqual(len(self.held()), 2, "until the end is reached nothing goes")
        again.passed(self.db, 1)
        self.assertEqual(self.held(), [("a", "m@1", b"v2")])

    def test_an_absence_that_a_null_value_does_not_outlast_begins_a_reading_anew(self):
        self.mirror.Partition(self.db, 0, 0, 1).passed(self.db, 1)
        self.db.execute("UPDATE partitions SET read_at = read_at - 25 * 3600")
        self.assertIsNone(self.mirror.Partition(self.db, 0, 0, 9).next)


if __name__ == "__main__":
    unittest.main()
