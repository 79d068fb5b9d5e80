"""libtiff, silent: it writes a line to stderr for each line of a page that it finds damaged.

A fax from anybody could fill the log so. Pillow silences libtiff's warnings, but not its errors, and hands neither
on; what is wrong we find out ourselves (`careful`).
"""

from __future__ import annotations

import ctypes
import ctypes.util
from pathlib import Path

import PIL


def silence_libtiff() -> None:
    """For the whole process. Where that libtiff is not found it stays as loud as it is."""
    # Loaded by Pillow already: the same path gives the same library. A distribution's Pillow has the system's.
    beside = [str(file) for file in (Path(PIL.__file__).parent.parent / "pillow.libs").glob("libtiff-*.so*")]
    for name in beside or [ctypes.util.find_library("tiff") or ""]:
        try:
            library = ctypes.CDLL(name)
            library.TIFFSetErrorHandler.argtypes = [ctypes.c_void_p]
            library.TIFFSetErrorHandler.restype = ctypes.c_void_p
            library.TIFFSetErrorHandler(None)
        except (OSError, AttributeError):
            continue
