"""What runs in the measured process: one request file in, one result file out.

It imports nothing of mlopt, so that it travels to a board as one zip: the standard library, and the runtime that is
measured (with the numpy that came with it). Written for Python 3.10 and later, which boards have. A result is a plain
dict with the fields of `mlopt.profiling.contract`; the host side checks it on the way in.
"""

RUNNER = "mlopt Python runner 1"
SCHEMA = 1
