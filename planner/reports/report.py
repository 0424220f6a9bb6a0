"""A `Report`: any result that has a versioned document and a sheet in every format."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from planner.documents import SCHEMA_VERSION, Document, Record, derived, dump
from planner.reports import PLAIN_SCREEN, Screen, render

if TYPE_CHECKING:
    from planner.reports.sheet import Sheet


class Report(Record):
    """A dataclass whose fields are its document. Subclasses give KIND and `sheet`."""

    KIND: ClassVar[str]

    def to_dict(self) -> Document:
        """The versioned document of `--format json`: plain numbers, strings, lists and None."""
        document: Document = dump(self)
        return {"schema_version": SCHEMA_VERSION, "kind": self.KIND, **document}

    @derived
    def schema_version(self) -> int:
        """Version of the document; see `planner.documents`."""
        return SCHEMA_VERSION

    @derived
    def kind(self) -> str:
        """Which command or question this answers."""
        return self.KIND

    def sheet(self) -> Sheet:
        """Headline, warnings, tables and remarks."""
        raise NotImplementedError

    def render(self, form: str = "table", screen: Screen = PLAIN_SCREEN) -> str:
        """The text of one of `planner.reports.FORMATS`, ending in a newline."""
        return render(replace(self.sheet(), data=self.to_dict()), form, screen)

    def __repr__(self) -> str:
        return self.render("text").rstrip("\n")

    def _repr_html_(self) -> str:
        return self.render("html")
