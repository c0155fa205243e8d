"""How an object becomes the node's: durable, indexed, known to the gate; whatever brought it."""
