"""Why a camera gives no frame, and what to do about it, for each operating system."""

import os
import platform
from pathlib import Path

from pipeline.errors import Failure


def no_camera(source: int | str, advice: str = "") -> Failure:
    """Why a camera gives no frame, as far as the system tells, and what to do; `advice` is one thing more."""
    name, other = camera_name(source), "or give --source a video or a folder"
    if isinstance(source, str):
        return Failure(f"{name} sends no picture: open it in a browser to see whether it does, {other}")
    system = platform.system()
    if system == "Darwin":
        return Failure(
            f"{name} does not open: allow your terminal under System Settings > Privacy & Security > Camera and "
            f"restart the terminal, {advice}{other}"
        )
    if system == "Windows":
        return Failure(
            f"{name} does not open: close other programs that show it, allow desktop apps under Settings > Privacy & "
            f"security > Camera, {advice}{other}"
        )
    device = Path(f"/dev/video{source}")
    if not device.exists():
        if "microsoft" in platform.release().lower():
            return Failure(
                f"WSL gives no access to a camera: run this in Windows' own Python, attach it by usbipd, {other}"
            )
        return Failure(f"there is no {name}, no {device}: plug one in, {advice}{other}")
    if not os.access(device, os.R_OK | os.W_OK):
        return Failure(f'no permission to open {device}: run sudo usermod -aG video "$USER", then log in again')
    return Failure(f"{name} ({device}) gives no picture, another program may be using it: close that, {other}")


def camera_name(source: int | str) -> str:
    return f"camera {source}" if isinstance(source, int) else source
