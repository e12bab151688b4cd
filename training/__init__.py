"""Makes versions: data sets, training, evaluation, export and publishing. The only user of torch but for the network."""
