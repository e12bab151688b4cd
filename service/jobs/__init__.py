"""Work that must not be lost: a durable queue of jobs, and the ledger of what was answered."""
