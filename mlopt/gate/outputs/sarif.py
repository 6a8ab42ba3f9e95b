"""The verdict as SARIF 2.1.0 (OASIS standard, 2020): results on the budget's lines, for code scanning views."""

import hashlib
import math
from pathlib import PurePath

import msgspec

from mlopt.gate.verdict import Check, Status, Verdict

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_KINDS = {Status.FAIL: "fail", Status.ERROR: "review", Status.INCONCLUSIVE: "open",
          Status.WAIVED: "fail"}
_LEVELS = {Status.FAIL: "error"}        # SARIF: a kind other than "fail" has the level "none"


def to_sarif(verdict: Verdict) -> bytes:
    """Results for what did not pass: viewers show every result as an alert, whatever its kind."""
    shown = [check for check in verdict.checks if check.status is not Status.PASS]
    rules = sorted({c.metric for c in shown})
    run = {
        "tool": {"driver": {"name": "mlopt gate", "version": verdict.mlopt or "0", "rules": [
            {"id": f"mlopt/{metric}", "shortDescription": {"text": f"The budget of a model's {metric}"}}
            for metric in rules
        ]}},
        "results": [_result(check, verdict.budget, rules.index(check.metric)) for check in shown],
        "invocations": [{"executionSuccessful": verdict.count(Status.ERROR) == 0, "exitCode": int(verdict.exit)}],
        "columnKind": "unicodeCodePoints",
    }
    return msgspec.json.format(
        msgspec.json.encode({"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]}), indent=1
    ) + b"\n"


def _result(check: Check, budget: str, rule: int) -> dict[str, object]:
    waived = check.status is Status.WAIVED
    level = "warning" if waived else _LEVELS.get(check.status, "none")
    found: dict[str, object] = {
        "ruleId": f"mlopt/{check.metric}", "ruleIndex": rule, "kind": _KINDS[check.status], "level": level,
        "message": {"text": f"{check.model}: {check.sentence}"},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": _uri(budget)}, "region": {"startLine": check.line},
        }}],
        "partialFingerprints": {"mloptLimit/v1": _fingerprint(check)},
        "properties": {
            name: number
            for name, number in (("value", check.value), ("limit", check.limit), ("baseline", check.baseline))
            if math.isfinite(number)
        } | {"target": check.target, "sha256": check.digest},
    }
    if waived:
        found["suppressions"] = [{"kind": "external", "justification": check.sentence}]
    return found


def _uri(path: str) -> str:
    """A relative reference with forward slashes; an absolute path as a file URI."""
    from urllib.parse import quote

    pure = PurePath(path)
    return pure.as_uri() if pure.is_absolute() else quote(pure.as_posix())


def _fingerprint(check: Check) -> str:
    """The same limit of the same model in every run, wherever its line has moved."""
    text = "\0".join((check.model, check.metric, check.target, check.rule))
    return hashlib.sha256(text.encode()).hexdigest()
