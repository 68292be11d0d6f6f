"""From tiles to one file that is whole: layout, metadata, journal, GeoTIFF and Zarr."""
