"""What the model is: the network, an image's way into it, and its answer's way out to masks and areas."""
