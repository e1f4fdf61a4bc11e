//! The shell of Weir: everything that touches the world. `config` computes, `gateway` acts.
