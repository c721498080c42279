//! The command as it is called, and the files that it makes.

mod commands;
mod files;
mod helps;
