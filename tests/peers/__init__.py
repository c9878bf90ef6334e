"""
Peers to compare with: other ways to keep copies equal, each in one module, run in an environment of their own.

A peer's module may have `enqueue(person)`, called in the transaction that saves the row; `fill(people)`, which leaves
exactly one pending update for each; `work(number)`, which brings copies in line until it is killed; and `failures()`,
which says what the peer knows of what it could not do. Without `work`, `drain()` does it all in the asking process.
`tests.peers.registry` says what else is to be known of each.
"""
