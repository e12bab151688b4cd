"""`python -m tests.service.archive.nodes`: a Ray cluster of two nodes of one core each, all on the loopback address.

Prints its address. A line on its input kills the node that was there first, and starts another; its end ends all.
"""

import socket
import sys

from ray.cluster_utils import Cluster

OBJECT_STORE_BYTES = 100_000_000


def add(cluster: Cluster, cores: int) -> object:
    """A node; its ports are given, since Ray waits but 15 s for its processes to find some for themselves."""
    ports = dict.fromkeys(("metrics_agent_port", "dashboard_agent_listen_port", "runtime_env_agent_port"), 0)
    for name in ports:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ports[name] = listener.getsockname()[1]
    return cluster.add_node(
        num_cpus=cores,
        node_ip_address="127.0.0.1",
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        **ports,
    )


def main() -> None:
    """Until its input ends."""
    cluster = Cluster()
    add(cluster, 0)  # the head only keeps count
    nodes = [add(cluster, 1) for _ in range(2)]
    print(cluster.address, flush=True)  # noqa: T201 (whoever started this reads it)
    for _ in sys.stdin:
        cluster.remove_node(nodes.pop(0), allow_graceful=False)
        nodes.append(add(cluster, 1))
        print("killed", flush=True)  # noqa: T201
    cluster.shutdown()


if __name__ == "__main__":
    main()
