"""Images one by one: what a viewer shows, in every mode, and what is refused."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from skltransfer._torch import _images
from skltransfer._torch._images import UnreadableImage
from skltransfer._torch._preprocessing import Preprocessing
from skltransfer._torch._rows import EncodedImageRows, ImageArrayRows

SMALL = Preprocessing((16, 16), 16, (0.5,) * 3, (0.25,) * 3)
RAMP = np.arange(12 * 20).reshape(12, 20)  # not square: a turn shows
UPRIGHT = Image.merge(
    "RGB", [Image.fromarray((RAMP * k % 256).astype(np.uint8)) for k in (1, 2, 3)]
)
# The way back from each orientation, so that a viewer shows the image upright.
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def encoded(image, kind="PNG", **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def pixels(item, value_range=None, preprocessing=None):
    """Return what a network is given, (height, width, channels)."""
    rows = EncodedImageRows([item], value_range)
    return rows.batch([0], preprocessing)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_an_image_is_turned_as_its_orientation_says(orientation, kind, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(UPRIGHT.transpose(TURNED[orientation]), kind, exif=exif, **lossless)
    path = tmp_path / "phone"
    path.write_bytes(content)
    lazy, converted = Image.open(path), Image.open(path).convert("RGB")
    for item in (content, path, str(path), lazy, converted, ImageOps.exif_transpose(lazy)):
        assert np.array_equal(pixels(item), np.array(UPRIGHT))


def test_the_digest_of_a_pil_image_has_its_orientation():
    turned = UPRIGHT.copy()
    turned.getexif()[0x0112] = 3
    plain, upside_down = EncodedImageRows([UPRIGHT, turned]).digests()
    assert plain != upside_down
    assert np.array_equal(pixels(turned), np.array(UPRIGHT)[::-1, ::-1])
    assert turned.getexif()[0x0112] == 3  # the user's own is left alone


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_metadata_are_passed_over():
    content = encoded(UPRIGHT, "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x99\x01")
    assert pixels(content).shape == (12, 20, 3)


def checkered(alpha):
    image = UPRIGHT.convert("RGBA")
    image.putalpha(Image.fromarray(alpha.astype(np.uint8)))
    return image


ALPHA = np.where(RAMP % 2, 255, 64)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
@pytest.mark.parametrize("value_range", [None, (-255, 255)])
def test_transparency_is_laid_on_white(mode, value_range):
    if mode in ("RGBA", "LA"):
        image, alpha = checkered(ALPHA).convert(mode), ALPHA
        content, colour = encoded(image), np.array(image.convert("RGB"))
    else:  # one colour of the palette, or one grey, is transparent
        grey = Image.fromarray((RAMP % 7 * 30).astype(np.uint8))
        if mode == "P":
            grey = grey.convert("P")
        content = encoded(grey, transparency=60)
        alpha, colour = np.where(np.array(grey) == 60, 0, 255), np.array(grey.convert("RGB"))
    opacity = alpha[..., None] / 255
    low, high = value_range or (0, 255)
    expected = opacity * ((colour.astype(float) - low) / (high - low)) + (1 - opacity)
    given = pixels(content, value_range)
    if value_range is None:
        given, expected = given.astype(int), np.rint(255 * expected)
    assert np.abs(given - expected).max() < (1.01 if value_range is None else 1e-6)
    assert expected.std() > 0.05


def test_every_mode_has_its_colours():
    red = Image.new("RGB", (12, 20), (200, 30, 40))
    bilevel = Image.fromarray(RAMP % 2 == 0)
    cases = {
        "CMYK": (encoded(red.convert("CMYK"), "TIFF"), red),
        "YCbCr": (encoded(red.convert("YCbCr"), "TIFF"), red),
        "palette": (encoded(red.convert("P", palette=Image.Palette.ADAPTIVE)), red),
        "bilevel": (encoded(bilevel), bilevel),
        "grey": (encoded(UPRIGHT.convert("L"), "BMP"), UPRIGHT.convert("L")),
    }
    for name, (content, image) in cases.items():
        given = pixels(content, preprocessing=SMALL).astype(int)
        expected = SMALL.resize(torch.tensor(np.array(image.convert("RGB"))).permute(2, 0, 1))
        assert np.abs(given - expected.permute(1, 2, 0).numpy()).max() <= 2, name
    for image in (UPRIGHT.convert("CMYK"), UPRIGHT.convert("P")):  # held in memory
        assert np.array_equal(pixels(image), np.array(image.convert("RGB")))


def test_a_network_of_one_channel_takes_files():
    grey = Preprocessing((16, 16), 16, (0.5,), (0.25,))
    given = pixels(encoded(UPRIGHT), preprocessing=grey)
    expected = grey.resize(torch.tensor(np.array(UPRIGHT.convert("L")))[None])
    assert np.array_equal(given, expected.permute(1, 2, 0).numpy())


DEEP = np.linspace(0, 4095, 240).reshape(12, 20).round()


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [("<u2", "PNG"), ("<u2", "TIFF"), (">u2", "TIFF"), ("i4", "TIFF"), ("f4", "TIFF")],
)
def test_deep_files_are_the_same_as_arrays(dtype, kind):
    values = DEEP.astype(dtype)
    content = encoded(Image.fromarray(values), kind)
    for item in (content, Image.fromarray(values)):
        for preprocessing in (SMALL, None):
            rows = ImageArrayRows(values[None], (0, 4095))
            expected = rows.batch([0], preprocessing)[0].permute(1, 2, 0).numpy()
            given = pixels(item, (0, 4095), preprocessing)
            assert np.array_equal(given, np.broadcast_to(expected, given.shape))


def test_white_is_what_the_format_says():
    values = (DEEP * 16).astype(np.uint16)
    for kind in ("PNG", "TIFF", "PPM", "JPEG2000"):
        given = pixels(encoded(Image.fromarray(values), kind))
        assert np.abs(given[..., 0] - values / 257).max() <= 0.5
    rows = EncodedImageRows([encoded(Image.fromarray(values)), encoded(UPRIGHT)])
    assert rows.batch([0, 1], SMALL).dtype == torch.uint8  # whatever stands beside it
    for mode in ("I", "F"):
        with pytest.raises(UnreadableImage, match=f"mode '{mode}'.*value_range"):
            pixels(Image.fromarray(values.astype("i4")).convert(mode))


def test_twelve_bits_in_sixteen_are_warned_about():
    item = encoded(Image.fromarray(DEEP.astype(np.uint16)))
    with pytest.warns(UserWarning, match="nearly black.*value_range"):
        pixels(item)
    deep_colour = b"P6 2 1 65535\n" + struct.pack(">6H", *[4000] * 6)
    assert pixels(deep_colour).max() == 16  # Pillow scales these
    rows = [b"\0" + struct.pack(">6H", *[4000] * 6)]
    png = b"\x89PNG\r\n\x1a\n"
    for name, content in {
        b"IHDR": struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0),
        b"IDAT": zlib.compress(b"".join(rows)),
        b"IEND": b"",
    }.items():
        check = struct.pack(">I", zlib.crc32(name + content))
        png += struct.pack(">I", len(content)) + name + content + check
    with pytest.warns(UserWarning, match="nearly black.*as arrays"):
        pixels(png)
    with pytest.raises(ValueError, match="Row 0: value_range.*8 bits per channel.*arrays"):
        pixels(png, (0, 4095))


def test_twelve_bits_of_a_tiff_are_read_by_its_own_word():
    entries = [(256, 3, 2), (257, 3, 1), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8)]
    entries += [(277, 3, 1), (278, 3, 1), (279, 4, 3)]
    content = b"II*\0" + struct.pack("<I", 12) + bytes([0xFF, 0xF0, 0x00]) + b"\0"
    content += struct.pack("<H", len(entries))
    content += b"".join(struct.pack("<HHII", tag, kind, 1, v) for tag, kind, v in entries)
    content += struct.pack("<I", 0)
    assert pixels(content)[..., 0].tolist() == [[255, 0]]


@pytest.mark.parametrize(
    ("item", "value_range", "message"),
    [
        (encoded(UPRIGHT), (0, 4095), "Row 0: value_range.*8 bits"),
        (encoded(UPRIGHT), (0, 16), "Row 0: the pixel values.*run from 0 to 255"),
        (encoded(UPRIGHT), (1, 0), r"value_range=\(1, 0\)"),
        (encoded(Image.fromarray(DEEP.astype("f4") * np.nan), "TIFF"), (0, 1), "nan"),
    ],
)
def test_a_range_that_cannot_be_is_refused(item, value_range, message):
    with pytest.raises(ValueError, match=message):
        pixels(item, value_range)


def test_a_range_of_eight_bits_is_used():
    values = RAMP.astype(np.uint8) % 17
    expected = ImageArrayRows(values[None], (0, 16)).batch([0], None)[0].permute(1, 2, 0)
    assert np.array_equal(pixels(encoded(Image.fromarray(values)), (0, 16)), expected)
    assert pixels(encoded(UPRIGHT), (0, 255)).dtype == np.uint8


def test_arrays_of_several_sizes_and_files_stand_side_by_side():
    grey = np.array(UPRIGHT.convert("L"))
    items = [np.array(UPRIGHT), grey, encoded(UPRIGHT), np.array(UPRIGHT.resize((9, 7)))]
    given = EncodedImageRows(items).batch([0, 1, 2, 3], SMALL)
    assert torch.equal(given[0], given[2])
    for i in (0, 1, 3):
        rows = ImageArrayRows(items[i][None]).batch([0], SMALL)[0]
        assert torch.equal(given[i], rows.expand(3, -1, -1))
    unit = EncodedImageRows([*items, grey / 255]).batch([0, 4], SMALL)  # floats among bytes
    assert unit.dtype == torch.float32
    assert (unit[0] - given[0] / 255).abs().max() < 1.01 / 255
    assert len(set(EncodedImageRows(items).digests())) == 4


def bomb():
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0)
    check = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + check
    return start + struct.pack(">I", 10) + b"IDAT" + bytes(14)


def closed():
    with Image.open(io.BytesIO(encoded(UPRIGHT))) as image:
        return image


def cut_short():
    return Image.open(io.BytesIO(encoded(UPRIGHT)[:-30]))


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) print\n%%EOF\n"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EPS, "of no format that is known.*convert it to one of JPEG, PNG"),
        (bomb, "exceeds limit.*MAX_IMAGE_PIXELS"),
        (closed, "closed before its pixels were read.*Call image.load"),
        (cut_short, "the PIL image is not an image that can be decoded"),
        (lambda: Image.new("La", (4, 4)), "mode 'La', which cannot be converted"),
        (lambda: "/dev/zero", "'/dev/zero' cannot be read .*pipe or a device"),
        (lambda: {"bytes": b""}, "Row 0 is a dict"),
    ],
)
def test_what_cannot_be_read_names_its_row(make, message):
    rows = EncodedImageRows([make()])
    with pytest.raises((UnreadableImage, TypeError), match=message) as caught:
        rows.digests()
        rows.batch([0], SMALL)
    assert str(caught.value).startswith("Row 0")


def test_no_program_is_started(tmp_path, monkeypatch):
    path = tmp_path / "cat.jpg"
    path.write_bytes(EPS)
    monkeypatch.setattr("subprocess.Popen", None)
    with pytest.raises(UnreadableImage, match="Row 0: .*cat.jpg.*of no format that is known"):
        pixels(path)
    with pytest.raises(UnreadableImage, match="Row 0: the PIL image is an EPS"):
        pixels(Image.open(io.BytesIO(EPS)))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "cat.jpg")
    with pytest.raises(UnreadableImage, match=r"Row 0.*cat\.jpg.*a pipe or a device"):
        pixels(tmp_path / "cat.jpg")


def test_a_folder_and_a_huge_file_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UnreadableImage, match="it is a folder.*load_image_folder"):
        pixels(tmp_path)
    path = tmp_path / "cat.png"
    path.write_bytes(encoded(UPRIGHT))
    monkeypatch.setattr(_images, "MAX_BYTES", 50)
    with pytest.raises(UnreadableImage, match="bytes, more than 50"):
        pixels(path)
