"""Wavelengths, bands, spectral responses and the nodes of the universal model."""
