"""A known law moved to another corpus and tokenizer by a few cheap runs.

move        the prior that an old law is, the moved law, its draws and its misfit
report      the document, the coefficient set, and the cheapest next pilots
"""

from __future__ import annotations

from planner.calibrate.move import Moved as Moved
from planner.calibrate.move import move as move
from planner.calibrate.move import moving_task as moving_task
