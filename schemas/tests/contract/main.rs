//! The published contract (grammars, vectors, integrators' document) held against the code that ships.

mod diagnostic;
mod examples;
mod grammar;
mod vectors;
