"""Hyperspectral and multispectral image fusion with EMR-Diff, for geospatial data."""
