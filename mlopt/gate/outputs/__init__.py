"""A verdict for its readers: terminal.py, json.py (the truth), markdown.py, github.py, junit.py, sarif.py."""
