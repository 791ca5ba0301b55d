"""The page that shows what a mix did and why."""

from .collect import Collector
from .page import Fact, write_page

__all__ = ["Collector", "Fact", "write_page"]
