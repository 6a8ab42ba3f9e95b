"""The verdict as JUnit XML: one test case a limit, for CI systems that show tests."""

from xml.etree import ElementTree

from mlopt.gate.outputs.terminal import headline
from mlopt.gate.verdict import Check, Status, Verdict


def to_junit(verdict: Verdict) -> bytes:
    """A broken limit is a failure, one that was not measured an error; inconclusive and waived ones are skipped.

    Where the policy fails on inconclusive limits, they are failures here too.
    """
    fails = {Status.FAIL} | ({Status.INCONCLUSIVE} if verdict.inconclusive_fails else set())
    skipped = {Status.WAIVED, Status.INCONCLUSIVE} - fails
    counts = {
        "tests": len(verdict.checks), "failures": sum(c.status in fails for c in verdict.checks),
        "errors": verdict.count(Status.ERROR), "skipped": sum(c.status in skipped for c in verdict.checks),
    }
    attributes = {name: str(count) for name, count in counts.items()}
    suites = ElementTree.Element("testsuites", attributes | {"name": "mlopt gate"})
    title = _text(f"mlopt gate: {headline(verdict)}")
    suite = ElementTree.SubElement(suites, "testsuite", attributes | {"name": title})
    for check in verdict.checks:
        _case(suite, check, fails, skipped)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True) + b"\n"


def _case(suite: ElementTree.Element, check: Check, fails: set[Status], skipped: set[Status]) -> None:
    name = f"{check.metric} {check.rule}" + (f" on {check.target}" if check.target else "")
    title = _text(f"{name}, line {check.line}")
    case = ElementTree.SubElement(suite, "testcase", classname=_text(check.model), name=title)
    message = _text(check.sentence)
    if check.status in fails:
        ElementTree.SubElement(case, "failure", message=message, type=check.status.value).text = message
    elif check.status is Status.ERROR:
        ElementTree.SubElement(case, "error", message=message, type="not measured").text = message
    elif check.status in skipped:
        ElementTree.SubElement(case, "skipped", message=message)
    else:
        ElementTree.SubElement(case, "system-out").text = message


def _text(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold."""
    return "".join(c if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff" else "\ufffd"
                   for c in text)
