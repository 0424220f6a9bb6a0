"""The numbers: coefficient sets as TOML files, one loader, and where each law was measured."""

from __future__ import annotations

from coefficients.domain import Domain as Domain
from coefficients.domain import Range as Range
from coefficients.errors import CoefficientError as CoefficientError
from coefficients.load import DEFAULT as DEFAULT
from coefficients.load import available as available
from coefficients.load import load as load
from coefficients.load import parse as parse
from coefficients.misfit import Misfit as Misfit
from coefficients.model import CoefficientSet as CoefficientSet
from coefficients.model import Source as Source
from coefficients.quality import Quality as Quality
from coefficients.save import dumps as dumps
