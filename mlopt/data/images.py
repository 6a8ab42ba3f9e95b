"""Encoded pictures to arrays, within limits: a picture file is hostile until it has been decoded."""

import contextlib
import io
import itertools
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mlopt.errors import DataMismatch, DataUnreadable
from mlopt.model import TensorSpec

LARGEST_PIXELS = 64_000_000     # 256 MB as RGBA: above any camera of a phone, below what harms a worker
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")     # none of them runs a program, as EPS does
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"P5", b"P6")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_BROKEN = (     # all that Pillow was seen to raise for damaged files
    OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, KeyError, TypeError, AttributeError,
    AssertionError, ArithmeticError, RuntimeError, zlib.error,
)
_EXIF_ORIENTATION = 0x0112
_WORTH_THREADS = 16 << 10       # encoded bytes a picture: below, the interpreter's lock costs more than a core gives


@dataclass(frozen=True, kw_only=True)
class PictureShape:
    """What a model's input asks of a picture; None for a side that is free."""

    height: int | None
    width: int | None
    channels: int
    axes: tuple[int, ...]       # from [H, W, C] to the order of the model, e.g. (2, 0, 1) for channels first
    drop_channels: bool         # the model's input has no channel axis

    @classmethod
    def of(cls, spec: TensorSpec) -> "PictureShape | None":
        """None where the input cannot be fed with a picture.

        >>> spec = TensorSpec(name="x", shape=(None, 3, 32, 24), dtype="float32", layout="NCHW")
        >>> shape = PictureShape.of(spec)
        >>> shape.height, shape.width, shape.channels, shape.axes
        (32, 24, 3, (2, 0, 1))
        """
        sizes = spec.shape[1:]
        if len(sizes) == 2 and "C" not in spec.layout[1:]:
            return cls(height=sizes[0], width=sizes[1], channels=1, axes=(0, 1, 2), drop_channels=True)
        if len(sizes) != 3:
            return None
        channels_first = spec.layout == "NCHW" or (spec.layout != "NHWC" and sizes[2] not in _MODES)
        channels = sizes[0] if channels_first else sizes[2]
        if channels not in _MODES:
            return None
        height, width = sizes[1:] if channels_first else sizes[:2]
        return cls(height=height, width=width, channels=channels, axes=(2, 0, 1) if channels_first else (0, 1, 2),
                   drop_channels=False)


class Decoder:
    """Decodes batches for one input and remembers what it had to convert, for the notes.

    A picture of another size than the model's is refused, or scaled by bilinear filtering where `resize` was asked
    for. Where the model leaves a side free, the first picture sets it for all.
    """

    def __init__(self, spec: TensorSpec, source: str, *, resize: bool) -> None:
        shape = PictureShape.of(spec)
        if shape is None:
            raise DataMismatch(
                source, spec.describe(), "encoded images", "Only inputs of [height, width, 1, 3 or 4] take images."
            )
        self.spec, self.source, self.shape, self.resize = spec, source, shape, resize
        self.height, self.width = shape.height, shape.width
        self.converted: Counter[str] = Counter()

    def settle(self, picture: bytes, name: str) -> tuple[int, int]:
        """Height and width; sides that the model leaves free are those of `picture`, the first time."""
        if self.height is None or self.width is None:
            with _warnings_as_errors():
                first, _ = self._decoded(picture, name)
            self.height, self.width = first.shape[:2]
        return self.height, self.width

    def decode(self, pictures: Sequence[bytes], names: Sequence[str]) -> np.ndarray:
        """uint8 [N, *the model's axes]."""
        height, width = self.settle(pictures[0], names[0])
        with _warnings_as_errors():
            out = np.empty((len(pictures), height, width, self.shape.channels), dtype=np.uint8)

            def fill(i: int) -> list[str]:
                out[i], remarks = self._decoded(pictures[i], names[i])
                return remarks

            if sum(map(len, pictures)) >= _WORTH_THREADS * len(pictures):
                with ThreadPoolExecutor(max_workers=4) as threads:
                    remarks = list(threads.map(fill, range(len(pictures))))
            else:
                remarks = [fill(i) for i in range(len(pictures))]
        self.converted.update(itertools.chain.from_iterable(remarks))
        if self.shape.drop_channels:
            return out[..., 0]
        return np.ascontiguousarray(out.transpose(0, *(a + 1 for a in self.shape.axes)))

    def notes(self) -> tuple[str, ...]:
        return tuple(f"{count:,} images {what}" for what, count in sorted(self.converted.items()))

    def _decoded(self, data: bytes, name: str) -> tuple[np.ndarray, list[str]]:
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
                if picture.width * picture.height > LARGEST_PIXELS:
                    raise _too_large(self.source, name, f"{picture.width} x {picture.height} pixels")
                return self._fitted(picture, name)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as err:
            raise _too_large(self.source, name, "more pixels than a camera takes") from err
        except _BROKEN as err:
            what = "holds no image" if not looks_encoded(data) else f"cannot be decoded ({_short(err)})"
            raise DataUnreadable(self.source, f"{name} {what}", "Repair or remove it.") from err

    def _fitted(self, picture: Image.Image, name: str) -> tuple[np.ndarray, list[str]]:
        if picture.mode.startswith(("I", "F")):
            raise DataUnreadable(
                self.source, f"{name} has more than 8 bits a channel (mode {picture.mode})",
                "Give such data as arrays (.npz), scaled as the model was trained.",
            )
        remarks = []
        if getattr(picture, "is_animated", False):      # to count the frames would be to go through all of them
            remarks.append("are animated or have pages: the first one was taken")
        if picture.getexif().get(_EXIF_ORIENTATION, 1) != 1:
            remarks.append("ask to be rotated (EXIF): left as stored, as training pipelines leave them")
        mode = _MODES[self.shape.channels]
        fitted: Image.Image = picture
        if picture.mode != mode:
            if picture.mode not in ("P", "1"):
                remarks.append(f"were {picture.mode} and became {mode}")
            fitted = picture.convert(mode)
        height, width = self.height or fitted.height, self.width or fitted.width
        if (fitted.height, fitted.width) != (height, width):
            if not self.resize:
                raise DataMismatch(
                    self.source, self.spec.describe(),
                    f"an image of height {fitted.height} and width {fitted.width} ({name})",
                    f"Add --resize to scale images to {height} x {width} by bilinear filtering, or scale them yourself "
                    "as in training.",
                )
            remarks.append(f"were scaled to {height} x {width} (bilinear, antialiased, shape not kept)")
            fitted = fitted.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(fitted)
        return pixels.reshape(height, width, self.shape.channels), remarks


@contextlib.contextmanager
def _warnings_as_errors() -> Iterator[None]:
    """Of too many pixels; others, e.g. on odd EXIF blocks, are not shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        yield


def looks_encoded(data: bytes) -> bool:
    """Whether bytes start as a picture file does.

    >>> looks_encoded(b"GIF89a..."), looks_encoded(b"PAR1")
    (True, False)
    """
    return data.startswith(_MAGIC) and (data[:4] != b"RIFF" or data[8:12] == b"WEBP")


def _too_large(source: str, name: str, size: str) -> DataUnreadable:
    return DataUnreadable(
        source, f"{name} claims {size}, above the limit of {LARGEST_PIXELS:,}",
        "It is damaged, or made to exhaust memory: remove or shrink it.",
    )


def _short(err: BaseException) -> str:
    return str(err).splitlines()[0][:120] if str(err) else type(err).__name__
