#!/usr/bin/env python3
"""How far two runs of `jtav label` over the same posts are apart.

    jtav label posts.jsonl --set model.cpu_precision=f32 -o exact.jsonl
    jtav label posts.jsonl -o fast.jsonl
    scripts/compare_labels.py exact.jsonl fast.jsonl

Lines without a label (skipped, set aside) are left out. Prints the posts in both, those whose label or certainty differs, and the largest difference of a probability. Ends with 1 if more labels
differ than --at-most of a hundred, with 2 if the files are not of the same posts.
"""

import argparse
import json
import sys
from pathlib import Path


def labels(path: Path) -> dict[str, dict]:
    """Labels by post, of the lines that are labels."""
    records = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {record["post_id"]: record for record in records if "probabilities" in record}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--at-most", type=float, default=0.1, help="labels of a hundred that may differ [default: %(default)s]")
    args = parser.parse_args()
    first, second = labels(args.first), labels(args.second)
    if not first or first.keys() != second.keys():
        print(f"not the same posts: {len(first)} and {len(second)} labels", file=sys.stderr)
        return 2
    pairs = [(first[post], second[post]) for post in first]
    flipped = [a["post_id"] for a, b in pairs if a["label"] != b["label"]]
    certainty = sum(a["certain"] != b["certain"] for a, b in pairs)
    most = max(abs(a["probabilities"][name] - b["probabilities"][name]) for a, b in pairs for name in a["probabilities"])
    share = 100 * len(flipped) / len(pairs)
    print(f"{len(pairs)} posts: {len(flipped)} labels differ ({share:.3f} %), certainty of {certainty}; probabilities by {most:.4f} at most")
    for post in flipped[:10]:
        print(f"  {post}: {first[post]['label']} {first[post]['confidence']:.3f}, {second[post]['label']} {second[post]['confidence']:.3f}")
    return 1 if share > args.at_most else 0


if __name__ == "__main__":
    sys.exit(main())
