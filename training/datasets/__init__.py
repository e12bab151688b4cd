"""Published data sets, each read from the layout in which it is published, and how they are split."""
