"""Read image files: which files of a folder are images, how many pages they have, and their pixels."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pipeline.errors import Failure

try:  # photos of iPhones
    import pillow_heif
except ImportError:
    HAS_HEIF = False
else:
    HAS_HEIF = True
    pillow_heif.register_heif_opener()

MAX_PIXELS = 64e6  # more than a phone's 48 megapixels, less than a decompression bomb's 100
HEIF_SUFFIXES = {".heic", ".heif", ".hif"}
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")  # in bytes 8 to 12 of such a file
UNREAD_FORMATS = {"EPS", "BUFR", "GRIB", "HDF5", "MPEG", "WMF"}  # Pillow starts Ghostscript, or has no decoder
PAGED_FORMATS = {"TIFF", "DCX"}  # whose further images are pages; those of others are frames, thumbnails or layers
IGNORED_FILES = {"readme.md", "thumbs.db", "desktop.ini"}  # not reported: they describe the folder


Image.init()
IMAGE_FORMATS = sorted(Image.OPEN.keys() & set(Image.EXTENSION.values()) - UNREAD_FORMATS)  # Pillow's names
IMAGE_SUFFIXES = {suffix for suffix, name in Image.EXTENSION.items() if name in IMAGE_FORMATS} | HEIF_SUFFIXES


def read_image(path: Path, page: int = 0) -> np.ndarray:
    """Read the pixels of an image file, rotated as its EXIF data says.

    Args:
        page: of a file with `count_pages` pages.

    Returns:
        (H, W), (H, W, 3) BGR, or (H, W, 4) BGR and opacity; uint8, uint16 for 16-bit gray, or float32.

    Raises:
        Failure: the file is missing, damaged, not an image, or larger than 64 megapixels.
    """
    try:
        if path.exists() and not path.is_file():
            raise Failure(f"{path} is not a file, but a folder or a pipe")  # reading a pipe would block
        # a decompression bomb is refused before it is decoded
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=IMAGE_FORMATS) as image:
            if page:
                image.seek(page)
            if image.width * image.height > MAX_PIXELS:
                raise Failure(f"{path} has {image.width} x {image.height} pixels, which is too many: reduce it")
            has_color_key = "transparency" in image.info
            image = ImageOps.exif_transpose(image)
            if image.mode in ("P", "PA", "1", "L", "RGB") and (has_color_key or image.mode == "PA"):
                image = image.convert("RGBA")
            elif image.mode in ("1", "LA", "La", "CMYK", "YCbCr", "LAB", "HSV", "P"):
                image = image.convert({"1": "L", "LA": "RGBA", "La": "RGBA"}.get(image.mode, "RGB"))
            pixels = np.array(image)
    except FileNotFoundError:
        raise Failure(f"there is no {path}") from None
    except PermissionError:
        raise Failure(f"no permission to read {path}") from None
    except Failure:
        raise
    except Exception:  # for damaged files Pillow's decoders raise exceptions of many types
        if not HAS_HEIF and _is_heif(path):
            raise Failure(f"{path} is a HEIC image: pip install pillow-heif") from None
        place = f"page {page + 1} of {path}" if page else path
        raise Failure(f"{place} is not a readable image") from None
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    return pixels[:, :, order[pixels.shape[2]]] if pixels.ndim == 3 and pixels.shape[2] in order else pixels


def count_pages(path: Path) -> int:
    """Return the number of pages of an image file; print a line if something of it is not read.

    That is the frames of an animation but the first, and the pages after a damaged one.
    """
    if not path.is_file():  # opening a pipe would block; `read_image` reports it
        return 1
    is_paged = False
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=IMAGE_FORMATS) as image:
            is_paged = image.format in PAGED_FORMATS
            count = getattr(image, "n_frames", 1)
            if is_paged:
                return count
            if count > 1 and image.format in ("GIF", "PNG", "WEBP", "AVIF"):
                print(f"{path} has {count} frames: only the first is read")
    except Exception:
        if is_paged:
            print(f"{path} is damaged: only its first page is read")
    return 1


def _is_heif(path: Path) -> bool:
    with open(path, "rb") as file:
        header = file.read(12)
    return header[4:8] == b"ftyp" and header[8:12] in HEIF_BRANDS


def list_images(path: Path) -> list[Path]:
    """Return the images of a folder and its folders, sorted by name, or the one file that `path` is.

    Raises:
        Failure: `path` is missing or contains no images.
    """
    return list_files(path)[0]


def list_files(path: Path) -> tuple[list[Path], list[Path]]:
    """Return the images of a folder and its folders, and the other files; hidden files are ignored.

    Raises:
        Failure: `path` is missing or contains no images.
    """
    try:
        if path.stat() and not path.is_dir():
            return [path], []
        files = [file for file in sorted(path.rglob("*")) if _is_visible(file)]
    except FileNotFoundError:
        raise Failure(f"there is no {path}: give an image or a folder of images") from None
    except OSError as failure:
        raise Failure(f"cannot read {path} ({failure.strerror}): give an image or a folder of images") from None
    images = [file for file in files if is_image(file)]
    if not images:
        raise Failure(f"{path} contains no images (PNG, JPEG, TIFF, HEIC, ...): add some, or give another folder")
    return images, [file for file in files if not is_image(file)]


def is_image(file: Path) -> bool:
    """Return whether a file's suffix is that of an image format that is read."""
    return file.suffix.lower() in IMAGE_SUFFIXES


def _is_visible(file: Path) -> bool:
    return not file.name.startswith(".") and file.name.lower() not in IGNORED_FILES and not file.is_dir()
