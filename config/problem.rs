//! Problems of a configuration: where, what, and what would be right; all of them at once.
