"""The page that shows what a render did and why."""

from .collect import Collector
from .page import write_page

__all__ = ["Collector", "write_page"]
