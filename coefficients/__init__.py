"""The numbers: coefficient sets as TOML files, one loader, and where each law was measured.

What this package offers is imported when it is first used, so that a command's help needs no numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coefficients.domain import Domain as Domain
    from coefficients.domain import Range as Range
    from coefficients.errors import CoefficientError as CoefficientError
    from coefficients.loader import load as load
    from coefficients.loader import parse as parse
    from coefficients.misfit import Misfit as Misfit
    from coefficients.model import CoefficientSet as CoefficientSet
    from coefficients.model import Source as Source
    from coefficients.quality import Quality as Quality
    from coefficients.save import dumps as dumps
    from coefficients.shipped import DEFAULT as DEFAULT
    from coefficients.shipped import available as available

_MODULES = {
    "domain": ("Domain", "Range"),
    "errors": ("CoefficientError",),
    "loader": ("load", "parse"),
    "misfit": ("Misfit",),
    "model": ("CoefficientSet", "Source"),
    "quality": ("Quality",),
    "save": ("dumps",),
    "shipped": ("DEFAULT", "available"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            found = getattr(importlib.import_module(f"{__name__}.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
