"""How Sphinx builds the documentation."""

from importlib.metadata import version as version_of

project = "event_collector"
author = "The event_collector authors"
release = version = version_of("event-collector-hybrid")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"event_collector {version}"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints = "description"
suppress_warnings = ["myst.xref_missing"]  # links to files of the repository, which a test follows
