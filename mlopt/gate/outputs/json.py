"""The verdict as strict JSON, raw times included: what is unknown is null."""

import msgspec

from mlopt.gate.verdict import Verdict


def to_json(verdict: Verdict) -> bytes:
    """One object with `schema`, `exit`, `checks`, `samples`, `devices` and `notes`."""
    plain = msgspec.to_builtins(verdict)
    plain["exit"] = int(verdict.exit)
    return msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n"
