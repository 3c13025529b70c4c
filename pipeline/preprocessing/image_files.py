"""Image files: their pixels, whatever the format, and which files of a folder are images."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pipeline.errors import Failure

try:  # photographs of iPhones, where pillow-heif is installed
    from pillow_heif import register_heif_opener
except ImportError:
    pass
else:
    register_heif_opener()

MAX_PIXELS = 64e6  # of a picture, at the most: a phone's 48 megapixels pass, a bomb of 100 does not
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".heic", ".heif"}


def read_image(path: Path) -> np.ndarray:
    """The pixels of a file, upright, with the colors in OpenCV's order, as a camera would give them.

    Returns:
        (H, W), (H, W, 3) blue, green, red, or (H, W, 4) with opacity; uint8, or what the file has:
        uint16 of 16 bits in gray, float32.

    Raises:
        Failure: no file, no picture, a damaged one, or one of more than 64 megapixels.
    """
    try:
        if path.exists() and not path.is_file():
            raise Failure(f"{path} is not a regular file")  # a pipe would be waited for
        # a bomb is refused before a pixel is unpacked; what Pillow warns of is either read or not
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_formats()) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Failure(f"{path} has {image.width} x {image.height} pixels, which is too many: reduce it")
            image = ImageOps.exif_transpose(image)
            if image.mode in ("1", "CMYK", "YCbCr", "LAB", "HSV"):
                image = image.convert("L" if image.mode == "1" else "RGB")
            elif image.mode in ("P", "PA"):
                image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
            pixels = np.array(image)
    except FileNotFoundError:
        raise Failure(f"there is no {path}") from None
    except PermissionError:
        raise Failure(f"no permission to read {path}") from None
    except Failure:
        raise
    except Exception:  # what a damaged file makes Pillow's decoders raise is in no list
        raise Failure(f"{path} is not a readable image") from None
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    return pixels[:, :, order[pixels.shape[2]]] if pixels.ndim == 3 and pixels.shape[2] in order else pixels


def _formats() -> list[str]:
    """Pillow's names of what IMAGE_SUFFIXES promise: it knows others, of which one starts a program."""
    Image.init()
    wanted = {
        *(Image.EXTENSION[suffix] for suffix in IMAGE_SUFFIXES if suffix in Image.EXTENSION),
        "MPO",
    }  # phones' JPEG
    return sorted(wanted & Image.OPEN.keys())


def list_images(path: Path) -> list[Path]:
    """The pictures of a folder and its folders, by name, or the one file that it is; hidden ones are passed over.

    Raises:
        Failure: no such path, or no pictures in it.
    """
    try:
        files = [path] if path.stat() and not path.is_dir() else sorted(filter(_is_image, path.rglob("*")))
    except FileNotFoundError:
        raise Failure(f"there is no {path}: give an image or a folder of images") from None
    except OSError as failure:
        raise Failure(f"cannot read {path} ({failure.strerror}): give an image or a folder of images") from None
    if not files:
        raise Failure(
            f"{path} contains no images ({' '.join(sorted(IMAGE_SUFFIXES))}): add some, or give another folder"
        )
    return files


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()
