"""Live streams: frames in, masks out, with nothing of the web."""
