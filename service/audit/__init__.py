"""Who did what, when, with which version: lines that are chained, and on the disk before the answer is given."""
