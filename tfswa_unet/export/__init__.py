"""Models that leave Python: graphs in files, each compared with torch before it is put in place."""

from tfswa_unet.export.exporter import TARGETS, Exported, Request, export
from tfswa_unet.export.int8 import METHODS, MOST_LOSS, Price
from tfswa_unet.export.parity import LEAST, Parity

__all__ = ["TARGETS", "Exported", "Request", "export", "METHODS", "MOST_LOSS", "Price", "LEAST", "Parity"]
