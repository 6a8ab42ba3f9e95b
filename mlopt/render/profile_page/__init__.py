"""A profile as one self-contained page: no request leaves it, and it prints."""

from mlopt.render.profile_page.page import to_html

__all__ = ["to_html"]
