"""How good a result is: simulated pairs, metrics, consistency, reports."""
