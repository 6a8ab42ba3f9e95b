"""The text of a configuration file, within a limit."""

from mlopt.configuration.values import Source
from mlopt.documents import DocumentInvalid, content


def read_text(source: Source, *, most_bytes: int) -> str:
    """Raises the source's error for what cannot be read, is larger, is no regular file, or is no text in UTF-8."""
    try:
        found = content(source.path, most_bytes=most_bytes)
    except DocumentInvalid as err:
        raise source.wrong(0, err.found) from err
    except FileNotFoundError as err:
        raise source.wrong(0, f"there is no such file. {source.absent}".strip()) from err
    except OSError as err:
        raise source.wrong(0, f"it cannot be read: {err.strerror}") from err
    if b"\0" in found:
        raise source.wrong(0, "it holds binary data, and no text")
    try:
        return found.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = found.count(b"\n", 0, err.start) + 1
        raise source.wrong(line, f"is not UTF-8 text: byte 0x{found[err.start]:02x}") from err
