"""From files, arrays and datasets to one form of image."""
