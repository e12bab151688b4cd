"""From a trained network to the portable graph of a version."""
