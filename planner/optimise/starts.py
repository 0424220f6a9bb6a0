"""Where the search begins: the teachers' reaches within all bounds."""

from __future__ import annotations

import numpy as np

from planner.optimise.batch import Array, Batch


def reach_range(b: Batch) -> tuple[Array, Array]:
    """Range of y over the teachers within bounds and allowed losses; empty (low > high) if none."""
    law = b.supervised
    low = np.maximum(law.log_reach(b.n_high, b.d_high), law.log_reach_of_loss(b.t_low))
    high = np.minimum(law.log_reach(b.n_low, b.d_low), law.log_reach_of_loss(b.t_high))
    allowed = (b.t_low <= b.teacher_loss) & (b.teacher_loss <= b.t_high)
    low = np.where(b.existing, 0.0, low)
    high = np.where(b.existing, np.where(allowed, 0.0, -1.0), high)
    crossed = (b.u_low > b.u_high) | (b.s_low > b.s_high) | (b.ratio_low > b.ratio_high)
    crossed |= ~b.existing & ((b.n_low > b.n_high) | (b.d_low > b.d_high))
    return low, np.where(crossed, -np.inf, high)
