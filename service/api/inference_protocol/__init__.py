"""The Open Inference Protocol, version 2, over HTTP: what KServe and Triton's clients speak.

Its routes are the same use case as POST /v1/segment, by the same queue and limits; only the words differ.
docs/inference-protocol.md tells which part of the protocol is here.
"""
