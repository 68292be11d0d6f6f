"""EMR-Diff in QGIS: the engine emrdiff-geo as Processing algorithms."""


def classFactory(iface):
    """QGIS calls this to make the plugin."""
    from .plugin import EmrdiffPlugin

    return EmrdiffPlugin(iface)
