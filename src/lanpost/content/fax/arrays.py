"""numpy, as the fax pages use it: loaded by whoever needs it, and without the threads of its linear algebra.

It takes a tenth of a second to load, so a module that not everybody needs is loaded where it is needed.
"""

from __future__ import annotations

import os

# Here nothing is multiplied; each thread would cost address space, which `fax.decode_memory` bounds, and turn idly.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

Octets = NDArray[np.uint8]

__all__ = ["NDArray", "Octets", "np"]
