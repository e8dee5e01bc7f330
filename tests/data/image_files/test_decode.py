"""Images in many formats; the decoded pixels are compared one by one."""

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leyden.data.image_files import raw
from leyden.data.image_files.decode import decode, decode_all, is_heic
from leyden.data.image_files.listing import ImageFile
from leyden.errors import UserError
from tests.data.building import pixels, save

RNG = np.random.default_rng(0)


class TestDecode:
    @staticmethod
    def read(path: Path, *shape: int) -> list[list[list[int]]]:
        return decode(path.read_bytes(), shape).tolist()

    @pytest.mark.parametrize("extension", ["png", "bmp", "tiff", "webp", "ppm"])
    def test_an_image_of_the_right_size_keeps_its_pixels(self, tmp_path: Path, extension: str) -> None:
        image = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        path = tmp_path / f"image.{extension}"
        save(path, image, **({"lossless": True} if extension == "webp" else {}))
        assert np.array_equal(decode(path.read_bytes(), (3, 5, 7)), image.transpose(2, 0, 1))

    def test_grey_and_colour_become_what_the_shape_says(self, tmp_path: Path) -> None:
        save(tmp_path / "grey.png", pixels(77, channels=1, side=1))
        save(tmp_path / "red.png", np.array([[[255, 0, 0]]], dtype=np.uint8))
        assert self.read(tmp_path / "grey.png", 3, 1, 1) == [[[77]], [[77]], [[77]]]
        assert self.read(tmp_path / "red.png", 1, 1, 1) == [[[76]]]  # 0.299 of 255

    def test_sixteen_bits_become_their_upper_eight(self, tmp_path: Path) -> None:
        Image.fromarray(np.array([[0, 255, 256, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
        assert self.read(tmp_path / "deep.png", 1, 1, 4) == [[[0, 0, 1, 255]]]

    def test_a_palette_is_looked_up_and_what_is_transparent_lies_on_white(self, tmp_path: Path) -> None:
        palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="P")
        palette.putpalette([10, 20, 30, 40, 50, 60])
        palette.save(tmp_path / "palette.png")
        palette.save(tmp_path / "hole.png", transparency=1)
        assert self.read(tmp_path / "palette.png", 3, 1, 2) == [[[10, 40]], [[20, 50]], [[30, 60]]]
        assert self.read(tmp_path / "hole.png", 3, 1, 2) == [[[10, 255]], [[20, 255]], [[30, 255]]]
        save(tmp_path / "half.png", np.array([[[0, 0, 0, 51], [9, 9, 9, 255]]], dtype=np.uint8))
        assert self.read(tmp_path / "half.png", 1, 1, 2) == [[[204, 9]]]  # a fifth of black on white

    def test_a_photograph_is_turned_upright(self, tmp_path: Path) -> None:
        image = np.zeros((16, 16, 3), dtype=np.uint8)
        image[:, 8:] = 255  # white on the right
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was held so that right is down
        save(tmp_path / "turned.jpg", image, exif=exif, quality=100)
        assert self.read(tmp_path / "turned.jpg", 1, 16, 16) == [[[0] * 16] * 8 + [[255] * 16] * 8]

    def test_it_is_brought_to_size_and_its_middle_cut_out(self, tmp_path: Path) -> None:
        image = np.zeros((2, 6), dtype=np.uint8)
        image[:, 2:4] = [[0, 100], [200, 100]]  # the middle square
        image[:, :2] = image[:, 4:] = 255
        save(tmp_path / "wide.png", image)
        assert self.read(tmp_path / "wide.png", 1, 2, 2) == [[[0, 100], [200, 100]]]
        # at half the size a triangle weighs four pixels of a row 1:3:3:1; (255 + 300 + 255) / 8, (255 + 900 + 255) / 8
        assert self.read(tmp_path / "wide.png", 1, 1, 1) == [[[139]]]  # the mean of 101.25 and 176.25

    def test_a_fine_pattern_becomes_grey_and_not_moire(self, tmp_path: Path) -> None:
        stripes = np.tile(np.array([0, 255], dtype=np.uint8), (64, 32))
        save(tmp_path / "stripes.png", stripes)
        small = decode((tmp_path / "stripes.png").read_bytes(), (1, 8, 8))
        assert abs(small.astype(int) - 127).max() <= 12

    def test_a_large_jpeg_is_as_a_small_one(self, tmp_path: Path) -> None:
        image = np.zeros((512, 512, 3), dtype=np.uint8)
        image[:256, :, 0], image[:, 256:, 1] = 200, 100
        save(tmp_path / "large.jpg", image, quality=95)
        save(tmp_path / "large.png", image)
        one, other = (decode((tmp_path / name).read_bytes(), (3, 8, 8)) for name in ("large.jpg", "large.png"))
        assert abs(one.astype(int) - other).max() <= 4

    def test_what_is_no_image_says_why(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="not an image of a known format"):
            decode(b"hello", (3, 4, 4))
        save(tmp_path / "whole.png", RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8))
        with pytest.raises(ValueError, match="truncated"):
            decode((tmp_path / "whole.png").read_bytes()[:300], (3, 4, 4))
        Image.fromarray(np.ones((2, 2), dtype=np.float32)).save(tmp_path / "float.tiff")
        with pytest.raises(ValueError, match="without a known range"):
            decode((tmp_path / "float.tiff").read_bytes(), (3, 4, 4))


class TestHostileImages:
    """One line each, in bounded time and memory."""

    def large(self, tmp_path: Path, side: int, extension: str = "png", mode: str = "L") -> Path:
        Image.new(mode, (side, side)).save(tmp_path / f"large.{extension}")
        return tmp_path / f"large.{extension}"

    def test_more_pixels_than_are_read(self, tmp_path: Path) -> None:
        payload = self.large(tmp_path, 7_100).read_bytes()
        assert len(payload) < 200_000
        with pytest.raises(ValueError, match=r"^7100x7100 pixels, more than the 50,000,000 that are read"):
            decode(payload, (1, 8, 8))

    def test_a_header_that_claims_a_huge_image(self, tmp_path: Path) -> None:
        payload = self.large(tmp_path, 8).read_bytes()
        huge = payload[:16] + struct.pack(">II", 20_000, 20_000) + payload[24:]
        crc = struct.pack(">I", zlib.crc32(huge[12:29]))
        with pytest.raises(ValueError, match="more than the 50,000,000 pixels"):
            decode(huge[:29] + crc + huge[33:], (1, 8, 8))

    def test_a_large_jpeg_is_reduced_while_it_is_decoded(self, tmp_path: Path) -> None:
        payload = self.large(tmp_path, 8_000, "jpg").read_bytes()
        assert decode(payload, (1, 8, 8)).max() == 0

    def test_a_program_is_not_an_image(self, tmp_path: Path) -> None:
        """Pillow runs Ghostscript for this format."""
        Image.new("RGB", (8, 8)).save(tmp_path / "x.eps")
        with pytest.raises(ValueError, match="not an image of a known format"):
            decode((tmp_path / "x.eps").read_bytes(), (3, 8, 8))

    def test_files_that_are_too_large_are_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        with path.open("wb") as file:
            file.truncate(10**12)
        images, broken = decode_all([ImageFile(str(path), 0, 10**12, 0)], (1, 8, 8))
        assert broken == {0: "1,000,000,000,000 bytes, more than the 200,000,000 that are read"}
        assert images.shape == (1, 1, 8, 8)

    def test_images_that_need_more_memory_than_there_is(self) -> None:
        files = [ImageFile("a.png", 0, 1, 0)] * 1000
        with pytest.raises(UserError, match=r"^data.shape: got .*; an array of 1,000 such images needs 3,000,000.0 GB"):
            decode_all(files, (3, 1_000_000, 1_000_000))


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


class TestHEIC:
    def test_without_a_reader_it_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pillow_heif", None)  # importing it then raises an ImportError
        with pytest.raises(ValueError, match=r'^HEIC, which needs pillow-heif: pip install -e "\.\[heic\]"$'):
            decode(HEIC, (3, 8, 8))

    def test_a_folder_names_the_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        (tmp_path / "photo.heic").write_bytes(HEIC)
        with pytest.raises(UserError, match=r"^image: cannot read .*photo\.heic \(HEIC, which needs pillow-heif"):
            raw.pixels(tmp_path / "photo.heic", (3, 8, 8))

    def test_its_pixels(self, tmp_path: Path) -> None:
        heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
        image = Image.new("RGB", (64, 64), (200, 30, 60))
        heif.from_pillow(image).save(tmp_path / "red.heic", quality=100)
        found = decode((tmp_path / "red.heic").read_bytes(), (3, 8, 8)).reshape(3, -1)
        assert np.abs(found.astype(int) - np.array([[200], [30], [60]])).max() <= 4

    def test_a_damaged_file_is_a_value_error(self) -> None:
        pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
        with pytest.raises(ValueError):  # noqa: PT011 (the text is libheif's)
            decode(HEIC, (3, 8, 8))

    def test_avif_is_not_heic(self) -> None:
        assert is_heic(HEIC)
        assert not is_heic(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf")
        assert not is_heic(b"\x89PNG")
