"""Where posts come from: a folder a network, and the thread that asks again."""
