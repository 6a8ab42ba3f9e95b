"""CRC-32C (Castagnoli), as TFRecord files carry it: the checksum of RFC 3720, appendix B.4.

A checksum is linear, so a block's is the exclusive or of one table entry a byte: numpy looks them all up at once.
"""

import functools

import numpy as np

_POLYNOMIAL = 0x82F63B78        # reflected
_BLOCK = 256                    # bytes looked up at once; the tables take 256 KiB
_BLOCKS = 4096                  # blocks looked up at once: a megabyte, which takes four on the way
_MASK_DELTA = 0xA282EAD8        # TFRecord stores a rotated sum plus this, so that sums of sums stay apart


def crc32c(data: bytes) -> int:
    """Checksum of `data`.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    if not data:
        return 0
    tables = _tables()
    blocks = -(-len(data) // _BLOCK)
    padded = np.zeros(blocks * _BLOCK, dtype=np.uint8)       # zeros in front leave a zero register at zero
    padded[-len(data) :] = np.frombuffer(data, dtype=np.uint8)
    octets = padded.reshape(blocks, _BLOCK)
    crc = 0
    for start in range(0, blocks, _BLOCKS):
        looked_up = tables[np.arange(_BLOCK), octets[start : start + _BLOCKS]]
        for block_sum in np.bitwise_xor.reduce(looked_up, axis=1).tolist():
            crc = _past_a_block(crc) ^ block_sum
    return crc ^ _of_start(len(data)) ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """As TFRecord stores it.

    >>> hex(masked(0xE3069283))
    '0xc78ab0e5'
    """
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def of_lengths(lengths: np.ndarray) -> np.ndarray:
    """Masked checksums of many 8-byte little-endian lengths at once, uint32 [N]."""
    octets = lengths.astype("<u8").view(np.uint8).reshape(-1, 8)
    crc = np.bitwise_xor.reduce(_tables()[np.arange(_BLOCK - 8, _BLOCK), octets], axis=1)
    crc ^= np.uint32(_of_start(8) ^ 0xFFFFFFFF)
    return ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(_MASK_DELTA)


@functools.cache
def _tables() -> np.ndarray:
    """[position in a block, byte] -> what that byte adds to the block's sum, uint32."""
    one = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        one = np.where(one & 1, (one >> 1) ^ np.uint32(_POLYNOMIAL), one >> 1)
    tables = np.empty((_BLOCK, 256), dtype=np.uint32)
    tables[-1] = one
    for position in range(_BLOCK - 2, -1, -1):
        later = tables[position + 1]
        tables[position] = (later >> 8) ^ one[later & 0xFF]
    return tables


@functools.cache
def _shift_tables() -> tuple[list[int], ...]:
    """A register's four bytes after a block of zeros has passed: the tables of the block's first four positions."""
    return tuple(_tables()[position].tolist() for position in range(4))


def _past_a_block(crc: int) -> int:
    a, b, c, d = _shift_tables()
    return int(a[crc & 0xFF] ^ b[crc >> 8 & 0xFF] ^ c[crc >> 16 & 0xFF] ^ d[crc >> 24])


@functools.lru_cache(maxsize=4096)
def _of_start(length: int) -> int:
    """What the register's first value, all ones, has become after `length` bytes."""
    crc = 0xFFFFFFFF
    one = _tables()[-1]
    for _ in range(length % _BLOCK):
        crc = (crc >> 8) ^ int(one[crc & 0xFF])
    for _ in range(length // _BLOCK):
        crc = _past_a_block(crc)
    return crc
