"""Distil fine-grained sentiment understanding from a large language model into a T5 student."""
