"""Building training sets, simulated defacing, training, exporting and evaluating networks."""
