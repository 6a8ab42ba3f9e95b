"""Encoded pictures become the model's arrays, or an error that names the picture."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import GifImagePlugin, Image, TiffImagePlugin

from mlopt.data.images import Decoder, PictureShape
from mlopt.errors import DataMismatch, DataUnreadable
from mlopt.model import TensorSpec

RGB = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


def spec(*shape: int | None, layout: str = "NHWC") -> TensorSpec:
    return TensorSpec(name="image", shape=(None, *shape), dtype="float32", layout=layout)


def packed(picture: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def decode(data: bytes, wanted: TensorSpec, *, resize: bool = False) -> np.ndarray:
    return Decoder(wanted, "data", resize=resize).decode([data], ["row 3"])[0]


def test_pixels_stay_as_they_are():
    np.testing.assert_array_equal(decode(packed(Image.fromarray(RGB)), spec(4, 6, 3)), RGB)


def test_channels_first_models_get_channels_first():
    found = decode(packed(Image.fromarray(RGB)), spec(3, 4, 6, layout="NCHW"))
    np.testing.assert_array_equal(found, RGB.transpose(2, 0, 1))
    np.testing.assert_array_equal(decode(packed(Image.fromarray(RGB)), spec(3, 4, 6, layout="N???")), found)


def test_a_model_without_a_channel_axis_gets_grey():
    grey = RGB[..., 0]
    np.testing.assert_array_equal(decode(packed(Image.fromarray(grey)), spec(4, 6, layout="NHW")), grey)


def test_grey_colour_and_alpha_are_converted_and_told():
    grey = RGB[..., 1]
    decoder = Decoder(spec(4, 6, 3), "data", resize=False)
    alpha = np.concatenate([RGB, np.full((4, 6, 1), 128, np.uint8)], axis=2)
    found = decoder.decode([packed(Image.fromarray(grey)), packed(Image.fromarray(alpha))], ["a", "b"])
    np.testing.assert_array_equal(found[0], np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_array_equal(found[1], RGB)
    assert decoder.notes() == ("1 images were L and became RGB", "1 images were RGBA and became RGB")


def test_a_palette_picture_gives_its_colours():
    picture = Image.fromarray(RGB).quantize(200)
    np.testing.assert_array_equal(decode(packed(picture), spec(4, 6, 3)), np.asarray(picture.convert("RGB")))


def test_another_size_is_refused_with_both_sizes_and_the_way_out():
    with pytest.raises(DataMismatch, match=r"\[N, 8, 8, 3\].*height 4 and width 6 \(row 3\).*--resize"):
        decode(packed(Image.fromarray(RGB)), spec(8, 8, 3))


def test_another_size_is_scaled_when_asked_for_and_told():
    decoder = Decoder(spec(2, 3, 3), "data", resize=True)
    flat = np.full((4, 6, 3), 77, np.uint8)
    assert (decoder.decode([packed(Image.fromarray(flat))], ["a"]) == np.full((1, 2, 3, 3), 77)).all()
    assert decoder.notes() == ("1 images were scaled to 2 x 3 (bilinear, antialiased, shape not kept)",)


def test_where_the_model_leaves_the_size_free_the_first_picture_sets_it():
    decoder = Decoder(spec(None, None, 3), "data", resize=False)
    assert decoder.decode([packed(Image.fromarray(RGB))], ["a"]).shape == (1, 4, 6, 3)
    with pytest.raises(DataMismatch, match="height 3 and width 6"):
        decoder.decode([packed(Image.fromarray(RGB[:3]))], ["b"])


@pytest.mark.parametrize("keep", [0.4, 0.9])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "GIF"])
def test_a_truncated_picture_names_its_row(form, keep):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = packed(Image.fromarray(noise), form)
    with pytest.raises(DataUnreadable, match="row 3 cannot be decoded"):
        decode(data[: int(len(data) * keep)], spec(40, 40, 3))


def test_bytes_that_are_no_picture_are_told():
    with pytest.raises(DataUnreadable, match="row 3 holds no image"):
        decode(b"hello", spec(4, 6, 3))


def test_a_page_description_that_would_run_a_program_is_no_picture():
    with pytest.raises(DataUnreadable, match="holds no image"):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", spec(4, 6, 3))


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
def test_a_picture_that_claims_more_pixels_than_a_camera_takes_is_not_decoded(side):
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")
    with pytest.raises(DataUnreadable, match=r"row 3 claims .* pixels"):
        decode(b"\x89PNG\r\n\x1a\n" + chunks, spec(side, side, 3))


def test_sixteen_bits_a_channel_are_refused_and_never_clipped():
    deep = Image.fromarray(np.full((4, 6), 40_000, np.uint16))
    with pytest.raises(DataUnreadable, match="more than 8 bits"):
        decode(packed(deep), spec(4, 6, 1))


def test_a_rotation_in_the_file_is_left_alone_and_told():
    exif = Image.Exif()
    exif[0x0112] = 6
    decoder = Decoder(spec(4, 6, 3), "data", resize=False)
    assert decoder.decode([packed(Image.fromarray(RGB), "JPEG", exif=exif)], ["a"]).shape == (1, 4, 6, 3)
    assert "EXIF" in decoder.notes()[0]


def test_large_pictures_decode_the_same_on_threads():
    noise = np.random.default_rng(0).integers(0, 256, (5, 90, 90, 3), dtype=np.uint8)
    data = [packed(Image.fromarray(n)) for n in noise]
    assert min(map(len, data)) > 16 << 10
    np.testing.assert_array_equal(Decoder(spec(90, 90, 3), "d", resize=False).decode(data, list("abcde")), noise)


def test_an_input_that_is_no_picture_takes_none():
    assert PictureShape.of(spec(10, layout="NC")) is None
    with pytest.raises(DataMismatch, match="encoded images"):
        Decoder(spec(10, layout="NC"), "data", resize=False)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_several_frames_the_first_is_taken_and_no_other_is_looked_at(form, monkeypatch):
    pictures = [Image.fromarray(RGB), Image.fromarray(RGB[::-1]), Image.fromarray(RGB[:, ::-1])]
    exactly = {"lossless": True} if form == "WEBP" else {}
    data = packed(pictures[0], form, save_all=True, append_images=pictures[1:], **exactly)
    monkeypatch.setattr(GifImagePlugin.GifImageFile, "n_frames", property(lambda picture: 1 / 0))
    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "n_frames", property(lambda picture: 1 / 0))
    decoder = Decoder(spec(4, 6, 3), "data", resize=False)
    found = decoder.decode([data], ["a"])[0]
    assert np.abs(found.astype(int) - RGB).max() <= (0 if form != "GIF" else 40)      # GIF has 256 colours
    assert "1 images are animated or have pages: the first one was taken" in decoder.notes()


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP", "PNG", "JPEG"])
def test_a_picture_of_one_frame_is_not_called_animated(form):
    decoder = Decoder(spec(4, 6, 3), "data", resize=False)
    decoder.decode([packed(Image.fromarray(RGB), form)], ["a"])
    assert not any("animated" in note for note in decoder.notes())
