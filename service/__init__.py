"""The HTTP service: an image is uploaded, its mask and areas come back; and the same for files, without a server."""
