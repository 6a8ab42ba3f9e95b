"""Parts of a budget that several tests read."""

LATENCY_AND_WAIVER = """threads = 2
rate_hz = 30
p50 = { growth = "5%" }
p90 = { max = "25 ms" }

[[budget.waiver]]
metric = "size"
until = 2027-03-01
reason = "the new head"
"""
