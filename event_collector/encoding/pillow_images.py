"""The kind of images of Pillow: mode, size and pixels. Imported if the program has Pillow."""

from typing import Any

from PIL import Image

from event_collector.encoding.buffers import LARGE
from event_collector.encoding.byte_kinds import own_bytes
from event_collector.encoding.exact import exact
from event_collector.encoding.tagged import Restorer, Tagger, ValueKind, kinds


def _encode(image: "Image.Image", tagger: Tagger) -> Any:
    pixels = image.tobytes()  # reads the file first, if it is one
    palette = None if image.palette is None else image.palette.getdata()
    return image.mode, image.size, tagger.buffer(pixels), palette, _travelling(image.info)


def _travelling(info: dict[Any, Any]) -> dict[Any, Any]:
    """Return what Pillow notes about an image, without the objects that cannot travel."""
    found = {}
    for key, value in info.items():
        data = exact(value)
        try:
            Tagger(inline=True).encode((exact(key), data))
        except Exception:  # noqa: S112 - objects of Pillow's readers, such as texts with a language
            continue
        found[exact(key)] = data
    return found


def _decode(content: Any, _: Restorer) -> "Image.Image":
    mode, size, pixels, palette, info = content
    image = Image.frombytes(mode, tuple(size), own_bytes(pixels) if len(pixels) < LARGE else pixels)
    if palette is not None:
        image.putpalette(palette[1], palette[0])
    image.info.update(info)
    return image


kinds.add(ValueKind("PIL.image", _encode, _decode), family=Image.Image)
