"""Where air ends and tissue begins, told from the values of a volume alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CT_SKIN_HU = -300.0


def threshold_of(array: npt.NDArray[np.float32]) -> float:
    """Between background and tissue: midway of the two on a square-root scale, by iteration.

    The background's noise (Rician in MR) is far narrower than tissue, hence the root.
    """
    low, high = np.percentile(array, (0.5, 99.0))
    root = np.sqrt(np.clip(array - low, 0, high - low))
    cut = float(root.mean()) / 2
    for _ in range(30):
        above, below = root[root > cut], root[root <= cut]
        if not above.size or not below.size:  # one value everywhere: nothing to tell apart
            break
        cut = 0.42 * float(above.mean()) + 0.58 * float(below.mean())
    return float(low + cut * cut)


def skin_level(array: npt.NDArray[np.float32], modality: str) -> float:
    """HU for CT, the volume's own units for everything else."""
    return CT_SKIN_HU if modality == "CT" else threshold_of(array)
