"""The user's data: one Dataset, whatever it was read from.

`materialise` writes samples to a folder, `samples` reads them back, `fingerprint` says what they look like; `opening`
finds the reader that fits a source.
"""
