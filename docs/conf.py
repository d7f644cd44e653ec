"""How Sphinx builds these pages."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

project = "evsockets"
author = "The evsockets authors"
copyright = "2026, the evsockets authors"  # the name Sphinx wants
release = version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["width.css"]
html_title = f"evsockets {release}"
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
# Docstrings are plain prose with Markdown's single backticks: shown as code.
default_role = "code"


class NamesInProse(SphinxPostTransform):
    """A public name in prose, such as `fan_out`, leads to its place in the reference."""

    default_priority = 100

    def run(self, **_: object) -> None:
        places = self.env.domains["py"].objects
        for literal in list(self.document.findall(nodes.literal)):
            place = places.get("evsockets." + literal.astext().removesuffix("()"))
            if place and not isinstance(literal.parent, nodes.reference | nodes.title):
                here, there = self.env.docname, place.docname
                literal.replace_self(
                    make_refnode(self.app.builder, here, there, place.node_id, literal.deepcopy())
                )


def setup(app: Sphinx) -> None:
    app.add_post_transform(NamesInProse)
