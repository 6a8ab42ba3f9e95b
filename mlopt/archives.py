"""Members of zip archives that strangers made: which may be unpacked at all."""

import zipfile

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)     # zipfile unpacks the others without a bound on memory
_ENCRYPTED = 1                                            # bit of a member's flags


def why_not(member: zipfile.ZipInfo) -> str:
    """Why a member is not unpacked, to be read after its name; "" where it may be."""
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if member.compress_type not in _METHODS:
        return f"is packed by method {member.compress_type} of zip, not by deflate"
    return ""
