"""What schemathesis cannot know: what a picture is."""

import pathlib

import schemathesis
from hypothesis import strategies

SAMPLES = pathlib.Path(__file__).parent.parent / "services/feed-simulator/sample-feed/media/image"
PICTURES = [path.read_bytes() for path in sorted(SAMPLES.glob("*.jpg"))[:3]]
CUT_OFF = [picture[: len(picture) // 3] for picture in PICTURES]


def as_written(value):
    """JSON Schema counts 303.0 among the integers. Here an integer is one that is written as one (schemas/reading-posts.md)."""
    if isinstance(value, dict):
        return {name: as_written(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_written(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


@schemathesis.hook
def map_body(context, body):
    return as_written(body)


# A picture is known by its bytes, whatever it is called.
for media_type in ("image/png", "image/jpeg", "image/webp", "image/gif"):
    schemathesis.openapi.media_type(media_type, strategies.sampled_from(PICTURES + CUT_OFF) | strategies.binary(max_size=64))
