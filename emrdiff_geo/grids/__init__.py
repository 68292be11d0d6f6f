"""Grids of pixels: how two go together, resampling, windows of images, tiles."""
