"""Makes versions: data sets, training, evaluation, export and publishing.

Beside the network itself, the only user of torch.
"""
