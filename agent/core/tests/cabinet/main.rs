//! A cabinet's core driven as its shell drives it: commit, then effects, then the next input.

mod books;
mod doors;
mod link;
mod loading;
mod lockout;
mod pickup;
mod random;
mod restarts;
mod rig;
mod unlocking;
