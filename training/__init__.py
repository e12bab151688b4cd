"""Makes versions: data sets, training, evaluation, export and publishing. Beside the network, the only user of torch."""
