"""What brings two images together: registration, PSF, light, resampling; measured once."""
