"""The evaluation's numbers as a page for the results viewer."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .texts import tr

# Name in the engine's report: (unit, which way is better).
_MEASURES = {
    "PSNR": ("dB", "higher"),
    "mPSNR": ("dB", "higher"),
    "SSIM": ("", "higher, 1 at most"),
    "SAM": ("degrees", "lower"),
    "ERGAS": ("", "lower"),
    "RMSE": ("input units", "lower"),
    "correlation": ("", "higher, 1 at most"),
    "correlation_min": ("", "higher, 1 at most"),
    "relative_rmse": ("", "lower"),
    "valid": ("of pixels", ""),
    "pixels": ("", ""),
}
_SECTIONS = {
    "": "Against the reference",
    "spectral": "Degraded result against the hyperspectral image",
    "spatial": "Response of the result against the multispectral image",
}
_STYLE = (
    "body{font-family:sans-serif;margin:1.5em;max-width:70em}table{border-collapse:collapse}"
    "td,th{padding:.2em 1em .2em 0;text-align:left}td.n{text-align:right}th{padding-top:1em}"
    "td.b{color:#666}img{max-width:100%}"
)


def numbers_of(report: Mapping[str, Any]) -> dict[str, float]:
    """The report's numbers by name of the algorithm's output, as in SPECTRAL_CORRELATION."""
    found = {}
    for section in _SECTIONS:
        for name, value in _values(report, section).items():
            found["_".join(filter(None, (section, name))).upper()] = float(value)
    return found


def output_names() -> dict[str, str]:
    """All names that `numbers_of` may give, with what they are."""
    against_reference = ("PSNR", "mPSNR", "SSIM", "SAM", "ERGAS", "RMSE")
    against_input = ("correlation", "correlation_min", "relative_rmse")
    names = {name.upper(): f"{name}: {_SECTIONS['']}" for name in against_reference}
    for section in ("spectral", "spatial"):
        for name in against_input:
            text = f"{name.replace('_', ' ')}: {_SECTIONS[section]}"
            names[f"{section}_{name}".upper()] = text
    return names


def page(title: str, files: Sequence[str], report: Mapping[str, Any], figure: Path | None) -> str:
    """HTML of a report, with its figure inside: one file that can be handed on."""
    rows = "".join(_section(report, key) for key in _SECTIONS)
    notes = "".join(f"<li>{html.escape(str(note))}</li>" for note in report.get("notes", ()))
    names = "".join(f"<li>{html.escape(Path(name).name)}</li>" for name in files)
    return (
        f'<!DOCTYPE html><html><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1><ul>{names}</ul>"
        f"<table>{rows}</table>{f'<ul>{notes}</ul>' if notes else ''}{_picture(figure)}"
        "</body></html>\n"
    )


def _values(report: Mapping[str, Any], section: str) -> dict[str, float]:
    values = report if not section else report.get("consistency", {}).get(section, {})
    return {
        name: values[name]
        for name in _MEASURES
        if isinstance(values.get(name), (int, float)) and math.isfinite(values[name])
    }


def _section(report: Mapping[str, Any], section: str) -> str:
    values = _values(report, section)
    if not values:
        return ""
    rows = [f'<tr><th colspan="4">{html.escape(tr(_SECTIONS[section]))}</th></tr>']
    for name, value in values.items():
        unit, better = _MEASURES[name]
        rows.append(
            f'<tr><td>{html.escape(name.replace("_", " "))}</td><td class="n">{value:.6g}</td>'
            f'<td>{tr(unit) if unit else ""}</td><td class="b">{tr(better) if better else ""}</td>'
            "</tr>"
        )
    return "".join(rows)


def _picture(figure: Path | None) -> str:
    if figure is None or not figure.is_file():
        return ""
    data = base64.b64encode(figure.read_bytes()).decode("ascii")
    return f'<p><img alt="figure" src="data:image/png;base64,{data}"></p>'
