"""Explain why a camera gives no frame, and what to do about it, for each operating system."""

import os
import platform
from pathlib import Path

from pipeline.errors import Failure


def no_camera(source: int | str, advice: str = "") -> Failure:
    """Return the error for a camera without frames, with the likely cause and the next step.

    Args:
        source: camera number or stream address.
        advice: an additional suggestion, ending in ", ".
    """
    name, other = camera_name(source), "or give --source a video or a folder"
    if isinstance(source, str):
        return Failure(f"{name} sends no frames: check in a browser that the stream works, {other}")
    system = platform.system()
    if system == "Darwin":
        return Failure(
            f"{name} cannot be opened: allow your terminal under System Settings > Privacy & Security > Camera and "
            f"restart the terminal, {advice}{other}"
        )
    if system == "Windows":
        return Failure(
            f"{name} cannot be opened: close other programs that use it, allow desktop apps under Settings > Privacy & "
            f"security > Camera, {advice}{other}"
        )
    device = Path(f"/dev/video{source}")
    if not device.exists():
        if "microsoft" in platform.release().lower():
            return Failure(
                f"WSL has no access to cameras: run this with Python on Windows, attach the camera with usbipd, {other}"
            )
        return Failure(f"{name} not found, {device} does not exist: connect a camera, {advice}{other}")
    if not os.access(device, os.R_OK | os.W_OK):
        return Failure(f'no permission to open {device}: run sudo usermod -aG video "$USER", then log in again')
    return Failure(f"{name} ({device}) sends no frames: close other programs that use it, {other}")


def camera_name(source: int | str) -> str:
    return f"camera {source}" if isinstance(source, int) else source
