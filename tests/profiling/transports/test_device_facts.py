import math

from adb_shims import MEMINFO, THERMAL

from mlopt.profiling.transports.android import Thermal, android_facts, parse_pss, parse_thermal
from mlopt.profiling.transports.facts import features, hottest_zone, linux_facts, processor_name, sections

PI4 = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd08

processor\t: 1
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU part\t: 0xd08

Hardware\t: BCM2835
Model\t\t: Raspberry Pi 4 Model B Rev 1.4
"""


def test_a_board_is_named_by_its_device_tree():
    facts = linux_facts({"model": "Raspberry Pi 4 Model B Rev 1.4", "uname": "Linux 6.1 aarch64", "cpuinfo": PI4,
                         "os": '"Debian GNU/Linux 12 (bookworm)"', "governor": "ondemand", "khz": "600000\n1500000",
                         "zones": "48200\n"})
    assert facts.name == "Raspberry Pi 4 Model B Rev 1.4" and facts.processor == "2 x Cortex-A72"
    assert facts.system == "Debian GNU/Linux 12 (bookworm), Linux 6.1 aarch64"
    assert (facts.cores, facts.governor, facts.frequency_khz) == (2, "ondemand", (600000, 1500000))
    assert facts.temperature_c == 48.2 and facts.features == ("asimd",)


def test_cores_of_two_kinds_are_both_named():
    parts = "".join(f"CPU implementer\t: 0x41\nCPU part\t: {part}\n" for part in ["0xd05"] * 4 + ["0xd0b"] * 2)
    assert processor_name(parts) == "4 x Cortex-A55 + 2 x Cortex-A76"


def test_a_core_of_another_maker_keeps_its_numbers():
    assert processor_name("CPU implementer\t: 0x51\nCPU part\t: 0x804\n") == "1 x implementer 0x51 part 0x804"


def test_what_a_device_does_not_tell_stays_empty():
    facts = linux_facts({})
    assert (facts.name, facts.processor, facts.features, facts.cores) == ("unknown", "", (), 0)
    assert math.isnan(facts.temperature_c) and math.isnan(hottest_zone("-40000\n0\n200000\nabsent"))


def test_the_dot_product_is_seen_among_the_features():
    assert features("Features\t: fp asimd asimdhp asimddp") == ("asimd", "asimddp", "asimdhp")


def test_sections_survive_empty_answers():
    assert sections("\n@@a\n\n@@b\none\ntwo\n\n@@end\n") == {"a": "", "b": "one\ntwo", "end": ""}


def test_the_current_temperatures_count_and_not_the_cached_ones():
    assert parse_thermal(THERMAL) == Thermal(status="moderate", hottest_c=47.5)
    assert parse_thermal(THERMAL).throttling and not Thermal(status="light").throttling


def test_a_phone_without_a_thermal_service_tells_nothing():
    told = parse_thermal("Can't find service: thermalservice")
    assert told.status == "" and math.isnan(told.hottest_c) and not told.throttling


def test_pss_is_the_total_in_bytes_and_minus_one_without_a_process():
    assert parse_pss(MEMINFO) == 31337 * 1024
    assert parse_pss("        TOTAL    31337    20112     6212") == 31337 * 1024
    assert parse_pss("No process found for: org.absent") == -1


def test_a_phone_is_named_by_model_and_release():
    properties = "ro.product.model=Pixel 7\nro.build.version.release=15\nro.build.version.sdk=35\n" \
                 "ro.product.cpu.abi=arm64-v8a\nro.soc.manufacturer=Google\nro.soc.model=GS201"
    facts = android_facts({"properties": properties, "thermal": THERMAL, "cpuinfo": PI4, "uname": "Linux 5.10 aarch64"})
    assert facts.name == "Pixel 7, Android 15" and facts.processor == "Google GS201 (2 x Cortex-A72)"
    assert facts.system == "Android 15 (API 35), arm64-v8a, Linux 5.10 aarch64" and facts.temperature_c == 47.5
