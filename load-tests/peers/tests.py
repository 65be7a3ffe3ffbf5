"""Tests of the pure parts; run by `python -m unittest tests` in this folder."""

from __future__ import annotations

import os
import unittest

import numpy as np

import bench_gpu
import gpu_feed
import gpu_report
import records
from ledger import Ledger
from race.feed import Rounds, number_of, posts
from race.processes import Stat, of_tree
from race.report import medians, networks_of_jtav, networks_table
from race.runs import quantile
from reader import MARK, Reader
from records import Fused


class LedgerTest(unittest.TestCase):
    def test_a_commit_never_passes_an_unsettled_post(self) -> None:
        ledger = Ledger()
        for offset in (5, 6, 9):
            ledger.read(0, offset)
        ledger.settle(0, 6)
        ledger.settle(0, 9)
        self.assertEqual(ledger.take_positions(), [])
        ledger.settle(0, 5)
        self.assertEqual(ledger.take_positions(), [(0, 10)])
        self.assertEqual(ledger.take_positions(), [], "nothing has moved since")

    def test_a_partition_that_was_lost_is_forgotten(self) -> None:
        ledger = Ledger()
        ledger.read(3, 1)
        ledger.forget(3)
        ledger.settle(3, 1)
        self.assertEqual(ledger.take_positions(), [])


class ReaderTest(unittest.TestCase):
    reader = Reader()

    def words(self, text: str) -> list[str]:
        reading = self.reader.read([text])
        return reading.words if reading else []

    def test_links_and_handles_go_and_the_sentence_stays(self) -> None:
        self.assertEqual(self.words("see https://a.example/b?c=d, @me and www.a.example/x!"), ["see", ",", "and", "!"])
        self.assertEqual(self.words("@somebody https://a.example"), [])

    def test_faces_emoji_and_hashtags_are_written_out(self) -> None:
        self.assertEqual(self.words("so good :)"), ["so", "good", "smiling", "face"])
        self.assertEqual(self.words("#blacklivesmatter #NBAFinals"), ["black", "lives", "matter", "nba", "finals"])
        self.assertEqual(self.words("😀😀😀"), ["grinning", "face", "grinning", "face"])

    def test_what_was_stretched_is_what_was_meant(self) -> None:
        self.assertEqual(self.words("soooo goooood tooo"), ["so", "good", "too"])
        self.assertEqual(self.words("h a t e you"), ["hate", "you"])
        self.assertEqual(self.words("a b c d"), ["a", "b", "c", "d"])

    def test_the_longest_text_comes_first(self) -> None:
        reading = self.reader.read(["one!", "two three", "@nobody"])
        assert reading is not None
        self.assertEqual((reading.words, reading.protagonist), (["one", "!", "two", "three"], 2))
        self.assertEqual(reading.kinds[1], MARK)


class NgramTest(unittest.TestCase):
    def test_a_batch_hashed_at_once_says_what_n_grams_say_one_by_one(self) -> None:
        from collections import Counter

        from text import NgramBag, _finish, _fnv

        random = np.random.default_rng(3)
        bag = NgramBag(random.standard_normal(997), random.uniform(0, 2, 997), 0.25)
        readings = [Reader().read(texts) for texts in (["so naïve, so good!", "a caption"], ["one"], ["привет, мир"])]
        for reading, found in zip(readings, bag.evidence(readings).logits, strict=True):  # type: ignore[arg-type]
            assert reading is not None
            words: Counter[str] = Counter()
            pieces: Counter[str] = Counter()
            for start, end in ((0, reading.protagonist), (reading.protagonist, len(reading.words))):
                part = [reading.words[at] for at in range(start, end) if reading.kinds[at] != MARK]
                words.update(part)
                words.update(f"{a} {b}" for a, b in zip(part, part[1:], strict=False))
                for word in (f" {word} " for word in part):
                    pieces.update(word[at : at + n] for n in range(2, 6) for at in range(len(word) - n + 1))
            expected = bag.bias
            for kind, group in ((b"w", words), (b"c", pieces)):
                hashes = {text: int(_finish(np.array([_fnv(_fnv(2_166_136_261, kind), text.encode())], np.uint32))[0]) % 997 for text in group}
                values = {text: (1 + np.log(times)) * bag.idf[hashes[text]] for text, times in group.items()}
                length = np.sqrt(sum(value * value for value in values.values()))
                expected += sum(value / length * bag.weight[hashes[text]] for text, value in values.items())
            self.assertAlmostEqual(float(found), float(expected), places=4)


class RecordsTest(unittest.TestCase):
    def test_an_event_id_is_the_one_of_the_schema(self) -> None:
        # The example of schemas/examples/sentiment.v1 in its first three fields, by another implementation.
        from blake3 import blake3

        parts = [b"p-1", (3).to_bytes(8, "little"), b"jtav-modern@1"]
        expected = blake3(b"".join(len(part).to_bytes(8, "little") + part for part in parts)).hexdigest()[:32]
        self.assertEqual(records.event_id("p-1", records.identity_tail(3, "jtav-modern@1")), expected)

    def test_vectors_that_no_reader_could_use_are_refused(self) -> None:
        for bad in ([np.nan, 1.0], [np.inf, 1.0], [0.0, 0.0], [1e-9, 0.0]):
            with self.assertRaises(ValueError):
                records.pack_all([np.array(bad, np.float32)])
        (raw, packed), _ = records.pack_all([np.array([3.0, 4.0], np.float32), np.array([1.0, 0.0], np.float32)])
        self.assertEqual((np.frombuffer(raw, "<f2").tolist(), packed["l2_norm"], packed["dimensions"]), ([3.0, 4.0], 5.0, 2))

    def test_a_language_that_is_not_covered_is_named_before_a_low_probability(self) -> None:
        fused = Fused(np.ones(2), (0.2, 0.4, 0.4), 0.5, 0.2, 0.9)
        covered = ({"en"}, 0.5)
        self.assertEqual(records.decide(fused, True, ("de", 0.9), covered), (1, 0.4, "language_not_covered"))
        self.assertEqual(records.decide(fused, True, ("en", 0.4), covered)[2], "language_unclear")
        self.assertEqual(records.decide(fused, True, ("en", 0.9), covered)[2], "low_probability")
        self.assertIsNone(records.decide(Fused(np.ones(2), (0.0, 0.0, 1.0), 1.0, 1.0, 0.9), False, None, covered)[2])


class DriverTest(unittest.TestCase):
    def test_rounds_have_fresh_ids_and_keys_that_are_the_ids(self) -> None:
        import json

        rounds = Rounds(posts(True, "http://127.0.0.1:1"))
        seen = set()
        for number in (0, 1, 64, 129):
            key, value = rounds.record(number)
            self.assertEqual((json.loads(value)["id"], number_of(key)), (key, number))
            seen.add(key)
        self.assertEqual(len(seen), 4)

    def test_a_tree_has_what_its_root_started_and_nothing_else(self) -> None:
        own = Stat.parse(f"{os.getpid()} (a b) c) S " + " ".join(str(n) for n in range(1, 50)))
        self.assertEqual((own.pid, own.parent, own.session), (os.getpid(), 1, 3))
        stats = [Stat(pid, parent, 0, 0.0, 0) for pid, parent in ((10, 1), (11, 10), (12, 11), (20, 1))]
        self.assertEqual([stat.pid for stat in of_tree(stats, 10)], [10, 11, 12])

    def test_a_quantile_is_the_smallest_value_that_so_many_are_not_above(self) -> None:
        values = [float(n) for n in range(1, 101)]
        self.assertEqual((quantile(values, 0.5), quantile(values, 0.99), quantile([7.0], 0.99)), (50.0, 99.0, 7.0))

    def test_jtavs_own_figures_stand_beside_those_of_the_same_network(self) -> None:
        lines = networks_of_jtav({"fusion": {"own": {"1": 0.5, "8": 0.25}}, "unknown": {"own": {"1": 1.0}}})
        table = networks_table([{"network": "fusion", "engine": "PyTorch", "batch": 1, "cpu_ms_an_item": 2.0}, *lines])
        self.assertEqual(table[2:], ["| fusion | 1 | 2.000 | 0.500 |", "| fusion | 8 | – | 0.250 |"])

    def test_medians_are_those_of_the_rounds_of_a_side(self) -> None:
        line = {"kind": "saturated", "feed": "stub", "side": "a", "program": "jtav", "cpu_ms_a_post": 1, "first_label_s": 1, "pss_mib": 1, "rss_mib": 1}
        found = medians([{**line, "rate_per_s": rate} for rate in (1.0, 9.0, 2.0)], "saturated", "stub")
        self.assertEqual([(one["rate_per_s"], one["rounds"]) for one in found], [(2.0, 3)])


class GpuTest(unittest.TestCase):
    jtav = {"image": {"libtorch": {"1": 0.5, "256": 0.02, "8": 0.1}}, "text": {"libtorch": {"8": 0.25}}}

    def test_the_faster_mode_stands_beside_jtav_at_the_same_batch(self) -> None:
        line = {"network": "image", "precision": "bf16", "batch": 8}
        lines = [{**line, "mode": mode, "ms_an_item": ms} for mode, ms in (("eager", 0.4), ("reduce-overhead", 0.2), ("max-autotune-no-cudagraphs", 0.3))]
        rows = gpu_report.networks(self.jtav, lines)
        self.assertEqual([(row["network"], row["batch"]) for row in rows], [("image", 1), ("image", 8), ("image", 256), ("text", 8)])
        self.assertEqual((rows[1]["eager_bf16_ms"], rows[1]["compiled_bf16_ms"], rows[1]["eager_f32_ms"], rows[1]["ratio"]), (0.4, 0.2, None, 2.0))
        self.assertIsNone(rows[0]["ratio"])
        self.assertTrue(gpu_report.networks_table(rows)[3].endswith("| 8 | 0.1000 | – | 0.4000 | – | 0.2000 | 10,000 | 2.00 |"))

    def test_networks_alone_are_reckoned_at_the_largest_batch_that_serves(self) -> None:
        parts = {"text": 1_000, "audio": 1_000, "image": 1_000, "fusion": 1_000}
        found = gpu_report.alone_s(self.jtav, parts)
        self.assertEqual(list(found), ["text", "image"], "what was not measured is not reckoned")
        self.assertAlmostEqual(found["text"], 0.25)
        self.assertAlmostEqual(found["image"], 0.1)

    def test_the_report_names_what_is_left_out_and_needs_no_feed(self) -> None:
        left_out = [{"network": "image", "precision": "bf16", "mode": "eager", "batch": 1, "reason": "ValueError('cosine 0.99')"}]
        about = {"began": "now", "commit": "c", "card": "a card", "processor": "p", "load": 0.0}
        run = {"wall_s": 2.0, "cpu_s": 1.0, "resident_mib": 1.0, "gpu_busy_percent": None}
        start = gpu_feed.Run(1.0, 0.5, 1.0, None)
        post = {"texts": [{"text": "a"}], "audio": None, "image": None}
        feed = [gpu_feed.summary("all", [post] * 11, start, [gpu_feed.Run(**run)])]
        self.assertEqual((feed[0]["posts_per_s"], feed[0]["cpu_ms_a_post"], feed[0]["parts"]["fusion"]), (10.0, 50.0, 11))
        for of_feed in ([], feed):
            text = gpu_report.markdown(gpu_report.merged(self.jtav, {"about": {"torch": "2"}, "lines": [], "left_out": left_out}, of_feed, about))
            self.assertIn("- image, bf16, eager, batch 1: `ValueError('cosine 0.99')`", text)
            self.assertEqual("end to end" in text, bool(of_feed))

    def test_a_feed_in_rounds_has_fresh_ids_and_media_that_are_found_from_everywhere(self) -> None:
        whole = gpu_feed.sample(())
        posts = gpu_feed.in_rounds(whole, 3)
        self.assertEqual((len(whole), len({post["id"] for post in posts})), (64, 192))
        self.assertTrue(all(os.path.isabs(post["image"]["path"]) for post in posts if post["image"]))
        texts = gpu_feed.sample(("audio", "image"))
        self.assertEqual(gpu_feed.parts_of(texts), {"text": len(texts), "audio": 0, "image": 0, "fusion": len(texts)})

    def test_a_card_that_says_nothing_is_not_idle(self) -> None:
        self.assertEqual(gpu_feed.busy_percent("20\n[N/A]\n 40\n"), 30.0)
        self.assertIsNone(gpu_feed.busy_percent("[N/A]\n"))

    def test_outputs_agree_by_their_cosine_and_a_nan_does_not(self) -> None:
        a, zero = np.array([[3.0, 4.0]], np.float32), np.zeros(2, np.float32)
        self.assertAlmostEqual(bench_gpu.least_cosine((a, zero), (2 * a, zero)), 1.0)
        self.assertAlmostEqual(bench_gpu.least_cosine((a, a), (a, -a)), -1.0)
        self.assertFalse(bench_gpu.least_cosine((a, a), (a, a * np.nan)) >= bench_gpu.LEAST_COSINE)

    def test_the_table_of_a_run_has_a_column_for_each_way_and_a_dash_where_one_failed(self) -> None:
        line = {"network": "image", "precision": "f32", "ms_an_item": 0.5}
        table = bench_gpu.table([{**line, "mode": "eager", "batch": 1}, {**line, "mode": "eager", "batch": 8}, {**line, "mode": "reduce-overhead", "batch": 8}])
        self.assertEqual(table[2:], ["| image | 1 | 0.5000 | – |", "| image | 8 | 0.5000 | 0.5000 |"])


if __name__ == "__main__":
    unittest.main()
