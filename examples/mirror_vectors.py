#!/usr/bin/env python3
"""Copies vectors into a store of its own (SQLite), and stays true to revisions, erasures and models. Why so:
../docs/vectors-elsewhere.md.

    python3 mirror_vectors.py follow vectors.db --brokers localhost:9092        for ever; --until-end: what is there now
    python3 mirror_vectors.py like vectors.db POST_ID                           the nearest, by the same model
    python3 mirror_vectors.py holds vectors.db POST_ID                          exit status 1 where nothing of it is held
    python3 mirror_vectors.py forget vectors.db MODEL_VERSION                   a model that nobody asks for any more

    pip install --require-hashes -r requirements.txt
"""

import argparse
import base64
import json
import sqlite3
import sys
import time

import numpy
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

TIMEOUT_S = 30
BATCH = 500
# Compaction keeps the null value of an erased post for the topic's `delete.retention.ms` (24 h where nobody has set it). Whoever
# was away for longer may have missed one.
TOMBSTONES_STAY_S = 24 * 3600
SCHEMA = """
    -- What is deleted is overwritten in the file, too.
    PRAGMA secure_delete = ON;
    CREATE TABLE IF NOT EXISTS vectors (
        post_id TEXT, model_version TEXT, revision TEXT, labelled_at_ms INTEGER, vector BLOB,
        partition INTEGER, reading INTEGER, PRIMARY KEY (post_id, model_version));
    CREATE TABLE IF NOT EXISTS partitions (
        partition INTEGER PRIMARY KEY, next INTEGER, reading INTEGER, whole_at INTEGER, read_at REAL);
"""


def open_store(file):
    db = sqlite3.connect(file)
    db.executescript(SCHEMA)
    return db


class Partition:
    """How far a partition has been read. A *reading* goes from its beginning to what was its end then: what was there before
    and has not come again is gone, erased while nobody looked."""

    def __init__(self, db, number, low, high):
        held = db.execute("SELECT next, reading, whole_at, read_at FROM partitions WHERE partition = ?", (number,)).fetchone()
        self.number = number
        self.next, self.reading, self.whole_at, read_at = held or (None, 0, None, 0)
        # Records that retention took, a topic that was made anew, a null value that compaction took.
        is_gap = self.next is not None and (self.next < low or self.next > high)
        is_late = time.time() - read_at > TOMBSTONES_STAY_S
        if self.next is None or is_gap or is_late:
            self.next, self.reading, self.whole_at = None, self.reading + 1, high

    def passed(self, db, offset):
        self.next = offset
        if self.whole_at is not None and offset >= self.whole_at:
            db.execute("DELETE FROM vectors WHERE partition = ? AND reading < ?", (self.number, self.reading))
            self.whole_at = None
        row = (self.number, self.next, self.reading, self.whole_at, time.time())
        db.execute("INSERT OR REPLACE INTO partitions VALUES (?, ?, ?, ?, ?)", row)


def take(db, record, partition):
    key, value = record.key(), record.value()
    if key is None:
        return
    post_id = key.decode()
    if value is None:
        # An erasure is of every model.
        db.execute("DELETE FROM vectors WHERE post_id = ?", (post_id,))
        return
    embedding = json.loads(value)
    vector = base64.b64decode(embedding["fused"]["f16_le_base64"])
    # The key is post *and* model: vectors of two models are never compared, and never replace each other. Of one model a record
    # counts unless a higher revision is held. As text with leading zeros: a revision can be too large for SQLite's integers.
    db.execute(
        "INSERT INTO vectors VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (post_id, model_version) DO UPDATE SET"
        " revision = excluded.revision, labelled_at_ms = excluded.labelled_at_ms, vector = excluded.vector,"
        " partition = excluded.partition, reading = excluded.reading"
        " WHERE excluded.revision >= vectors.revision OR excluded.reading > vectors.reading",
        (post_id, embedding["model_version"], f"{embedding['revision']:020}", embedding["labelled_at_ms"], vector,
         partition.number, partition.reading),
    )


def follow(arguments):
    db = open_store(arguments.file)
    # No group: the position stands beside the vectors, in the same transaction.
    consumer = Consumer({"bootstrap.servers": arguments.brokers, "group.id": "mirror-vectors", "enable.auto.commit": False,
                         "enable.auto.offset.store": False, "auto.offset.reset": "error", "enable.partition.eof": True})
    topic = consumer.list_topics(arguments.topic, TIMEOUT_S).topics[arguments.topic]
    if topic.error:
        raise KafkaException(topic.error)
    partitions = {}
    for number in topic.partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(arguments.topic, number), TIMEOUT_S)
        partitions[number] = Partition(db, number, low, high)
    start = lambda p: TopicPartition(arguments.topic, p.number, OFFSET_BEGINNING if p.next is None else p.next)
    consumer.assign([start(partition) for partition in partitions.values()])
    at_end = set()
    while not (arguments.until_end and at_end == set(partitions)):
        with db:
            for record in consumer.consume(BATCH, timeout=1):
                partition = partitions[record.partition()]
                error = record.error()
                if error is None:
                    take(db, record, partition)
                    partition.passed(db, record.offset() + 1)
                elif error.code() == KafkaError._PARTITION_EOF:
                    # Whatever lay between was compacted away.
                    partition.passed(db, record.offset())
                    at_end.add(record.partition())
                else:
                    # A position that the topic no longer has: started again, it is found to be a gap.
                    raise KafkaException(error)
    consumer.close()


def like(arguments):
    db = open_store(arguments.file)
    asked = db.execute("SELECT model_version, vector FROM vectors WHERE post_id = ? ORDER BY labelled_at_ms DESC",
                       (arguments.post_id,)).fetchone()
    if asked is None:
        sys.exit("nothing of this post is held")
    rows = db.execute("SELECT post_id, vector FROM vectors WHERE model_version = ? AND post_id <> ?",
                      (asked[0], arguments.post_id)).fetchall()
    floats = lambda vector: numpy.frombuffer(vector, dtype="<f2").astype(numpy.float32)
    vectors = numpy.array([floats(vector) for _, vector in rows]).reshape(len(rows), -1)
    query = floats(asked[1])
    cosines = vectors @ query / (numpy.linalg.norm(vectors, axis=1) * numpy.linalg.norm(query)) if rows else []
    best = sorted(zip(cosines, rows), key=lambda pair: -pair[0])[:10]
    near = [{"post_id": row[0], "similarity": float(cosine)} for cosine, row in best]
    print(json.dumps({"model_version": asked[0], "neighbours": near}))


def holds(arguments):
    count = "SELECT count(*) FROM vectors WHERE post_id = ?"
    return 0 if open_store(arguments.file).execute(count, (arguments.post_id,)).fetchone()[0] else 1


def forget(arguments):
    with open_store(arguments.file) as db:
        db.execute("DELETE FROM vectors WHERE model_version = ?", (arguments.model_version,))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for run, *names in ((follow,), (like, "post_id"), (holds, "post_id"), (forget, "model_version")):
        command = commands.add_parser(run.__name__)
        command.set_defaults(run=run)
        command.add_argument("file")
        for name in names:
            command.add_argument(name)
        if run is follow:
            command.add_argument("--brokers", default="localhost:9092")
            command.add_argument("--topic", default="embeddings")
            command.add_argument("--until-end", action="store_true")
    arguments = parser.parse_args()
    return arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
