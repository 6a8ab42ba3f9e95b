"""Renderings of a `Report`: JSON is the truth, the others are for reading.

json.py (to_json, from_json), summary.py (the object of `mlopt compress --json`), schema.py (write_schemas), markdown.py
(to_markdown), terminal.py (show), html (to_html). Import the one you need: only terminal.py loads rich.
"""
