"""Where posts come from: one file a network, and the thread that asks again."""
