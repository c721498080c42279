//! The store on a disk that forgets and fails: what `commit` promised is there, whatever a power cut leaves.

mod forgetful;
mod power_cuts;
mod witness;
