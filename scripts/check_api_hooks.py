"""What schemathesis cannot know: what a picture is."""

import pathlib

import schemathesis
from hypothesis import strategies

SAMPLES = pathlib.Path(__file__).parent.parent / "services/feed-simulator/sample-feed/media/image"
PICTURES = [path.read_bytes() for path in sorted(SAMPLES.glob("*.jpg"))[:3]]
CUT_OFF = [picture[: len(picture) // 3] for picture in PICTURES]

# A picture is known by its bytes, whatever it is called.
for media_type in ("image/png", "image/jpeg", "image/webp", "image/gif"):
    schemathesis.openapi.media_type(media_type, strategies.sampled_from(PICTURES + CUT_OFF) | strategies.binary(max_size=64))
