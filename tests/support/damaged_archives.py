"""Zip archives with one thing wrong."""


def with_byte_of_directory(content: bytes, offset: int, value: int) -> bytes:
    """The archive, with the byte `offset` of its first directory entry replaced (8: flags, 10: method)."""
    at = content.index(b"PK\1\2") + offset
    return content[:at] + bytes([value]) + content[at + 1 :]
