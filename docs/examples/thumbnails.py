"""Make thumbnails of the pictures in a folder with Pillow, a C library, in worker processes.

python thumbnails.py PICTURES THUMBNAILS
"""

import asyncio
import sys
from collections import Counter
from pathlib import Path

import msgspec
from PIL import Image

from event_collector import CollectorQueue, WorkerLimits, collector


class Picture(msgspec.Struct):
    """Names travel to the worker, not contents: it reads and writes the files itself."""

    source: str
    target: str


class Thumbnail(msgspec.Struct):
    """What became of a picture."""

    kind: str
    width: int
    height: int


@collector("thumbnail", timeout=60)
def shrink(picture: Picture) -> Thumbnail:
    """Shrink one picture. What hangs, crashes or eats memory here costs this worker and this picture only."""
    with Image.open(picture.source) as image:
        kind = image.format or "unknown"
        image.thumbnail((128, 128))  # keeps the proportions
        image.convert("RGB").save(picture.target, "JPEG")
    return Thumbnail(kind, *image.size)


def find(pictures: Path, thumbnails: Path) -> list[Picture]:
    """Return what is to be done for the files of a folder."""
    thumbnails.mkdir(exist_ok=True)
    files = sorted(path for path in pictures.iterdir() if path.is_file())
    return [Picture(str(file), str(thumbnails / f"{file.name}.jpg")) for file in files]


async def main(pictures: list[Picture]) -> int:
    """Send every picture, tell of each as it is finished, and return how many failed."""
    kinds: Counter[str] = Counter()
    queue = CollectorQueue([shrink], logging=False, worker_limits=WorkerLimits(address_space=4 * 1024**3))
    async with queue:
        publisher = queue.get_publisher()
        events = await publisher.send_many(pictures)
        async for event in publisher.as_completed(events):
            name = Path(event.payload.value.source).name
            try:
                made = event.get_result().of(shrink).unwrap()
            except Exception as exc:
                kinds["failed"] += 1
                print(f"{name}: {type(exc).__name__}: {exc}")
            else:
                kinds[made.kind] += 1
                print(f"{name}: {made.width} x {made.height}")
    print(*(f"{number} {kind}" for kind, number in sorted(kinds.items())), sep=", ")
    return kinds["failed"]


if __name__ == "__main__":
    sys.exit(asyncio.run(main(find(Path(sys.argv[1]), Path(sys.argv[2])))) > 0)
