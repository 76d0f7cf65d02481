"""Pages as files: templates that escape whatever is put in, and a policy under which a page loads nothing from afar."""

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from xray_jax.files import atomic_write
from xray_jax.report.extra import needed
from xray_jax.report.html.wording import MARKS, ORDER

_FOLDER = "xray_jax.report.html"
_SLUG = 40


def page_name(checkpoint_id: str) -> str:
    """A name for a checkpoint's page and pictures: readable, safe on any file system, and its own."""
    readable = re.sub(r"[^a-z0-9]+", "-", checkpoint_id.lower()).strip("-")[-_SLUG:].strip("-")
    unique = hashlib.sha256(checkpoint_id.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"{readable}-{unique}" if readable else unique


def check() -> None:
    """Makes sure that pages can be written.

    Raises:
      ExtraError: the templates' library is not installed.
    """
    with needed("an HTML report"):
        _environment()


def write(path: Path, template: str, **context: Any) -> None:
    """Renders a template to a file."""
    text = _environment().get_template(template).render(context)
    with atomic_write(path, "w") as file:
        file.write(text)


@cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = _text("report.css")
    environment.globals |= {
        "style": style,
        "marks": MARKS,
        "order": ORDER,
        "script": _text,
        "policy": lambda name: _policy(style, None if name is None else _text(name)),
    }
    return environment


def _policy(style: str, script: str | None) -> str:
    """What a page may load: its own style and script by their hashes, pictures beside it, and nothing else."""
    scripts = "'none'" if script is None else _hash(script)
    return (
        f"default-src 'none'; script-src {scripts}; style-src {_hash(style)}; img-src 'self' file:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _text(name: str) -> str:
    return resources.files(_FOLDER).joinpath(name).read_text(encoding="utf-8")
