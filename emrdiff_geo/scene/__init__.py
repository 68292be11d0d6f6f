"""Scene statistics, and what follows from them: arrays only, no files and no maps."""
