"""Translation, and the files that come with the plugin."""

from __future__ import annotations

from pathlib import Path

from qgis.PyQt.QtCore import QCoreApplication, QUrl
from qgis.PyQt.QtGui import QIcon

_FOLDER = Path(__file__).parent


def tr(text: str) -> str:
    """Translate a text that a person sees."""
    return QCoreApplication.translate("Emrdiff", text)


def icon(name: str) -> QIcon:
    """Icon of an algorithm or of the provider."""
    return QIcon(icon_path(name))


def icon_path(name: str) -> str:
    """Path of an icon's SVG."""
    return str(_FOLDER / "icons" / f"{name}.svg")


def help_url(name: str) -> str:
    """Address of an algorithm's chapter in the help that comes with the plugin."""
    url = QUrl.fromLocalFile(str(_FOLDER / "help" / "index.html"))
    url.setFragment(name)
    return url.toString()


def with_picture(name: str, text: str) -> str:
    """Short help with the algorithm's picture above it."""
    picture = QUrl.fromLocalFile(str(_FOLDER / "help" / f"{name}.svg")).toString()
    return f'<p><img src="{picture}" width="210"></p>{text}'
