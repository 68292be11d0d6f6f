"""How coarse pixels see a fine grid, as linear operators, and interpolation back."""
