"""The HTML pages of reports: one look, everything inside one file."""

from pathlib import Path
from typing import Any

import jinja2

from models.files import atomic

FOLDER = Path(__file__).parent


def write_page(path: str | Path, template: Path, **values: Any) -> None:
    """Write a page from a template that extends `page.html.jinja` (blocks `title` and `body`).

    Args:
        path: the file to write.
        template: the page's own template; `values` are its variables, and are text, not markup.

    Raises:
        BadInput: `path` cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, FOLDER]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    html = environment.get_template(template.name).render(**values)
    with atomic(path) as temporary:
        temporary.write_text(html)
