"""The server's log: plain lines or JSON lines, and never the words of a fault, which may quote a file name."""

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import Any

from streamlit import logger as streamlit_logger


class PlainFormatter(logging.Formatter):
    """Writes time, level, logger and message; of a fault its kind and the places it came through."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatException(self, ei: Any) -> str:
        """Return the fault's kind and places."""
        kind, _, places = ei
        return f"{''.join(traceback.format_tb(places))}{getattr(kind, '__name__', kind)}"


class JsonFormatter(PlainFormatter):
    """Writes the same as one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["fault"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


def set_up(kind: str) -> None:
    """Write every log, SERscope's own and Streamlit's and the web server's, as ``text`` or as ``json``."""
    formatter = JsonFormatter() if kind == "json" else PlainFormatter()
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("serscope").setLevel(logging.INFO)
    logging.captureWarnings(True)

    def with_the_same_handler(logger: logging.Logger) -> None:
        logger.handlers = [handler]
        if logger.name.startswith(("uvicorn", "websockets")):
            # Below a warning the web server writes each request with the reader's address.
            logger.setLevel(logging.WARNING)

    # Streamlit gives every logger of its own a handler, and the web server's as well.
    streamlit_logger.setup_formatter = with_the_same_handler
    streamlit_logger.update_formatter()
