"""The workbench: a servo under the keys of a keyboard."""
